//! Who a client has proved to be.

use std::sync::Arc;

use crate::accounts::{Account, Backend};
use crate::http::Scheme;
use crate::ntlm;
use crate::text;
use crate::text::Text;

/// A proved identity. It is made from a [`ntlm::Proof`] and from nothing else.
pub struct Identity {
    account: Arc<Account>,
    scheme: Scheme,
    channel_bound: bool,
}

impl Identity {
    /// From what an NTLM handshake proved.
    pub(crate) fn from_ntlm(proof: &ntlm::Proof, scheme: Scheme) -> Self {
        Self { account: proof.account().clone(), scheme, channel_bound: proof.channel_bound() }
    }

    /// Takes over what `accounts` say of the account now; `false` if the proof is not good for it
    /// any more.
    pub(crate) fn renew(&mut self, accounts: &Backend) -> bool {
        let renewed = accounts.renewed(&self.account);
        renewed.map(|account| self.account = account).is_some()
    }

    /// The name for the application: `DOMAIN\user` in the account's own spelling.
    pub fn name(&self) -> &Text {
        self.account.name()
    }

    /// The user.
    pub fn user(&self) -> &Text {
        self.account.user()
    }

    /// The domain.
    pub fn domain(&self) -> &Text {
        self.account.domain()
    }

    /// The mechanism.
    pub fn mechanism(&self) -> &Text {
        static NTLM: Text = text!("ntlm");
        &NTLM
    }

    /// The scheme of the request that signed in.
    pub fn scheme(&self) -> &Text {
        self.scheme.name()
    }

    /// The security identifier; a file of accounts has none.
    pub fn sid(&self) -> &Text {
        static NONE: Text = Text::EMPTY;
        &NONE
    }

    /// The index-th group, "" past the last.
    pub fn group(&self, index: usize) -> &Text {
        static NONE: Text = Text::EMPTY;
        self.account.groups().get(index).unwrap_or(&NONE)
    }

    /// Whether the proof was bound to the TLS connection.
    pub fn channel_bound(&self) -> bool {
        self.channel_bound
    }
}
