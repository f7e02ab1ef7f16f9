//! The names that a CHALLENGE tells (MS-NLMP 2.2.1.2 TargetName, 2.2.2.1) and what they mean for
//! the lookup of accounts.

use std::borrow::Cow;

use super::FileTime;
use super::av_pair::{self, AvId};
use super::flags::Flags;
use crate::names;

/// The server's own names. Compared as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerNames {
    /// MsvAvNbComputerName.
    pub nb_computer: String,
    /// MsvAvNbDomainName; the computer's name if it is in no domain.
    pub nb_domain: String,
    /// MsvAvDnsComputerName; "" if unknown.
    pub dns_computer: String,
    /// MsvAvDnsDomainName; "" if unknown.
    pub dns_domain: String,
    /// MsvAvDnsTreeName; "" if unknown.
    pub dns_tree: String,
}

impl ServerNames {
    /// Whether the computer belongs to a domain (TARGET_TYPE_DOMAIN).
    pub fn domain_joined(&self) -> bool {
        self.nb_domain != self.nb_computer
    }

    /// Whether a computer of this name, in this domain, is this one.
    pub fn is_computer(&self, nb_computer: &str, nb_domain: &str) -> bool {
        let same = |one: &str, other: &str| names::same(one.encode_utf16(), other.encode_utf16());
        same(&self.nb_computer, nb_computer) && same(&self.nb_domain, nb_domain)
    }

    /// The domain whose accounts a name without a domain means.
    pub fn default_domain(&self) -> &str {
        &self.nb_domain
    }

    /// Whether a domain that a client sent means the default domain: it is empty, or our own
    /// NetBIOS or DNS name, which also is our TargetName.
    pub fn is_default(&self, domain: &[u16]) -> bool {
        domain.is_empty()
            || [&self.nb_domain, &self.dns_domain]
                .iter()
                .any(|name| names::same(name.encode_utf16(), domain.iter().copied()))
    }

    /// TargetName in the negotiated charset.
    pub fn target_name(&self, flags: Flags) -> Cow<'_, [u8]> {
        if flags.any(Flags::UNICODE) {
            Cow::Owned(utf16le(&self.nb_domain))
        } else {
            Cow::Borrowed(self.nb_domain.as_bytes())
        }
    }

    /// TargetInfo, in the order in which Windows sends it. MsvAvFlags and MsvAvChannelBindings are
    /// the client's to add.
    pub fn target_info(&self, timestamp: Option<FileTime>) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        for (id, name) in [
            (AvId::NB_DOMAIN_NAME, &self.nb_domain),
            (AvId::NB_COMPUTER_NAME, &self.nb_computer),
            (AvId::DNS_DOMAIN_NAME, &self.dns_domain),
            (AvId::DNS_COMPUTER_NAME, &self.dns_computer),
            (AvId::DNS_TREE_NAME, &self.dns_tree),
        ] {
            if !name.is_empty() {
                av_pair::write(&mut out, id, &utf16le(name));
            }
        }
        if let Some(FileTime(time)) = timestamp {
            av_pair::write(&mut out, AvId::TIMESTAMP, &time.to_le_bytes());
        }
        av_pair::write(&mut out, AvId::EOL, &[]);
        out
    }
}

fn utf16le(text: &str) -> Vec<u8> {
    // No letter takes more in UTF-16 than twice what it takes in UTF-8.
    let mut out = Vec::with_capacity(2 * text.len());
    text.encode_utf16().for_each(|unit| out.extend_from_slice(&unit.to_le_bytes()));
    out
}
