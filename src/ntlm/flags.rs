//! NegotiateFlags (MS-NLMP 2.2.2.5).

use std::ops::{BitAnd, BitOr};

/// The flags of a message, with the bits nobody knows kept as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

#[allow(missing_docs)] // The names are the specification's.
impl Flags {
    pub const UNICODE: Self = Self(0x0000_0001);
    pub const OEM: Self = Self(0x0000_0002);
    pub const REQUEST_TARGET: Self = Self(0x0000_0004);
    pub const SIGN: Self = Self(0x0000_0010);
    pub const SEAL: Self = Self(0x0000_0020);
    pub const NTLM: Self = Self(0x0000_0200);
    pub const ALWAYS_SIGN: Self = Self(0x0000_8000);
    pub const TARGET_TYPE_DOMAIN: Self = Self(0x0001_0000);
    pub const TARGET_TYPE_SERVER: Self = Self(0x0002_0000);
    pub const EXTENDED_SESSIONSECURITY: Self = Self(0x0008_0000);
    pub const TARGET_INFO: Self = Self(0x0080_0000);
    pub const VERSION: Self = Self(0x0200_0000);
    pub const KEY_128: Self = Self(0x2000_0000);
    pub const KEY_EXCH: Self = Self(0x4000_0000);
    pub const KEY_56: Self = Self(0x8000_0000);

    /// What the acceptor repeats if the client offers it (MS-NLMP 3.2.5.1.1). SIGN and SEAL must
    /// be repeated: clients that protect a mechanism list fail without.
    const ECHOED: Self = Self(
        Self::SIGN.0
            | Self::SEAL.0
            | Self::EXTENDED_SESSIONSECURITY.0
            | Self::KEY_128.0
            | Self::KEY_EXCH.0
            | Self::KEY_56.0,
    );

    /// What every CHALLENGE says. VERSION is always there: some clients misplace their MIC without.
    const ALWAYS: Self = Self(
        Self::REQUEST_TARGET.0
            | Self::NTLM.0
            | Self::ALWAYS_SIGN.0
            | Self::TARGET_INFO.0
            | Self::VERSION.0,
    );

    /// Whether one of `bits` is set.
    pub const fn any(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }

    /// The flags of the CHALLENGE that answers an offer of `self`; `None` when the client offers
    /// neither UNICODE nor OEM (SEC_E_INVALID_TOKEN).
    pub fn answer(self, domain_joined: bool) -> Option<Self> {
        let charset = match () {
            () if self.any(Self::UNICODE) => Self::UNICODE,
            () if self.any(Self::OEM) => Self::OEM,
            () => return None,
        };
        let target = match domain_joined {
            true => Self::TARGET_TYPE_DOMAIN,
            false => Self::TARGET_TYPE_SERVER,
        };
        Some(charset | target | Self::ALWAYS | (self & Self::ECHOED))
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Flags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
