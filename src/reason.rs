//! Why a request was answered as it was: one table of number, name and sentence.

use crate::text;
use crate::text::Text;

macro_rules! reasons {
    ($($number:literal $variant:ident $name:literal $sentence:literal)*) => {
        /// A stable reason. 0 signed in, 1xx asks, 2xx refuses, 5xx faults.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $sentence] $variant = $number,)*
        }

        impl Reason {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name, as it stands in logs.
            pub fn name(self) -> &'static Text {
                match self {
                    $(Self::$variant => { static NAME: Text = text!($name); &NAME })*
                }
            }

            /// What it means, in one sentence without names.
            pub fn sentence(self) -> &'static Text {
                match self {
                    $(Self::$variant => { static SENTENCE: Text = text!($sentence); &SENTENCE })*
                }
            }
        }
    };
}

reasons! {
    0 SignedIn "signed-in" "the client has signed in"
    100 NoCredentials "no-credentials" "the request has no credentials"
    101 InProgress "in-progress" "the handshake goes on"
    200 MalformedHeader "malformed-header" "the Authorization field is not one scheme and one token"
    201 MalformedToken "malformed-token" "the token is not a well-formed message of NTLM, Kerberos or SPNEGO"
    202 OutOfSequence "out-of-sequence" "the token does not continue a handshake of this connection and scope"
    203 MechanismNotOffered "mechanism-not-offered" "the token is for a mechanism that is not offered here"
    204 Ntlmv1Refused "ntlmv1-refused" "the client answered with NTLMv1 or NTLM2 session response; only NTLMv2 is accepted"
    205 AnonymousRefused "anonymous-refused" "the client asked for an anonymous session"
    206 LmRefused "lm-refused" "the client answered without an NTLMv2 response; LM and LMv2 alone are never accepted"
    207 BadBase64 "bad-base64" "the token is not base64 with its padding"
    208 TooLarge "too-large" "the token is larger than its mechanism allows"
    209 DuplicateHeader "duplicate-header" "the request has more than one Authorization field"
    210 UnknownUser "unknown-user" "no account has this name"
    211 WrongResponse "wrong-response" "the response does not fit the account's password"
    212 WrongMic "wrong-mic" "the MIC does not fit: the messages were changed on their way, or the client's key differs"
    213 MissingMic "missing-mic" "the MIC that the response promises, or that is required, is missing"
    214 WrongChannelBinding "wrong-channel-binding" "the channel binding is not that of this TLS connection: the client talked to another end point (a TLS proxy or a relay), or sent zeros"
    215 MissingChannelBinding "missing-channel-binding" "a channel binding is required and is missing, or none is possible: no TLS, or none is defined for the server's certificate"
    216 Expired "expired" "the challenge is older than handshake_lifetime"
    217 AccountDisabled "account-disabled" "the account is disabled"
    218 BadName "bad-name" "the name of the user, the domain or the client's computer has characters that names must not have, or is empty or too long"
    219 AvMismatch "av-mismatch" "the response does not repeat the names and the time of this server's challenge: it was made for another server"
    220 WrongServiceName "wrong-service-name" "the client asked for another service than this one: the keytab has no key for it, or service_name does not want it"
    221 MissingServiceName "missing-service-name" "service_name is set and the client did not say which service it wants"
    222 NoCommonCharset "no-common-charset" "the client offers neither Unicode nor OEM strings"
    223 OtherScheme "other-scheme" "the Authorization field uses a scheme that is not NTLM or Negotiate"
    224 SchemeNotOffered "scheme-not-offered" "the Authorization field uses a scheme that is not offered here"
    225 ClockSkew "clock-skew" "the client's clock is too far from this server's: let both follow the same time servers"
    226 AccountChanged "account-changed" "the account was changed, disabled or removed after this connection had signed in"
    227 UnknownCertificate "unknown-certificate" "the client sent a channel binding, and the server cannot tell which certificate this resumed TLS session was made with: end session tickets and cache, or choose certificates without variables"
    228 WrongMechListMic "wrong-mech-list-mic" "the signature of the list of mechanisms does not fit: the list was changed on its way"
    229 MissingMechListMic "missing-mech-list-mic" "the list of mechanisms has to be signed and is not: it may have been changed on its way"
    230 Forwarded "forwarded" "NTLM needs a connection of the client's own, and this request came through a proxy (Via, Forwarded or X-Forwarded-For); list it in proxies if it never shares connections"
    231 NotPersistent "not-persistent" "NTLM needs a connection that stays open, and this one closes after the answer"
    232 Multiplexed "multiplexed" "a handshake of several tokens, such as NTLM's, cannot be used over HTTP/2 or HTTP/3"
    233 Replayed "replayed" "the ticket was shown with the same authenticator before: somebody sends a request again, or the server steps a token twice"
    234 TicketExpired "ticket-expired" "the ticket has expired: the client needs a new one"
    235 TicketNotYetValid "ticket-not-yet-valid" "the ticket is not valid yet: a postdated one, or the clock of the KDC is ahead of this server's"
    236 WrongKey "wrong-key" "the keytab's key of that name, version and encryption type does not decrypt the ticket: the password was set anew without a new keytab, or another account has the service name"
    237 WrongKvno "wrong-kvno" "the keytab lacks that version of the key: renew the keytab and keep the old keys in it, or let the client get a new ticket"
    238 WrongEnctype "wrong-enctype" "the keytab has no key of that encryption type: write one with all that the account has"
    239 WeakEnctype "weak-enctype" "the ticket or its session key has an encryption type that is refused: DES, RC4 unless allow_rc4 is on, or what krb5.conf does not permit"
    240 KerberosRefused "kerberos-refused" "Kerberos refused the ticket"
    241 NoLocalName "no-local-name" "the user signed in and has no local name here: see auth_to_local in krb5.conf, and realm_map for users of NTLM"
    242 AccountExpired "account-expired" "the account has expired"
    243 AccountLockedOut "account-locked-out" "the account is locked after too many wrong passwords"
    244 AccountRestricted "account-restricted" "the account may not sign in over the network here: see its restrictions and the authentication policies of the domain"
    245 PasswordExpired "password-expired" "the password has expired: the user has to choose another one elsewhere"
    246 PasswordMustChange "password-must-change" "the password has to be changed before the first sign-in: the user has to do that elsewhere"
    247 LogonHours "logon-hours" "the account may not sign in at this hour"
    248 LogonWorkstation "logon-workstation" "the account may not sign in from this workstation"
    249 NoLogonServers "no-logon-servers" "no domain controller answered: see `wbinfo -P` and the network"
    250 DomainClock "domain-clock" "this server's clock is too far from the domain controller's: let both follow the same time servers"
    251 BrokenTrust "broken-trust" "the domain refuses this computer itself: it does not know it any more, has another password for it, or its clock is more than five minutes off: see `wbinfo -t` and the clock, and join again with `net ads join`"
    252 StaleNames "stale-names" "the challenge told names of this computer that are not those of the domain any more; the next one will do"
    253 LogonFailure "logon-failure" "the domain refused the sign-in without saying why; `wbinfo -t` tells whether it still knows this computer"
    254 WinbindUnavailable "winbind-unavailable" "winbindd does not run: start it"
    255 NotPrivileged "not-privileged" "the server's user may not ask winbindd to check passwords: add it to the group winbindd_priv with `usermod -aG winbindd_priv USER`, and restart the server"
    256 NoSessionKey "no-session-key" "the domain accepted the user without a session key: nothing shows that the response was the one of this handshake"
    257 DomainRefused "domain-refused" "the domain refused the sign-in"
    258 NotAllowed "not-allowed" "the user has signed in and may not come in here"
    259 MissingPac "missing-pac" "the rules here ask for groups, and the ticket has no PAC that tells them: let the KDC issue one, or list its realm in realms_without_pac"
    260 WrongPac "wrong-pac" "the rules here ask for groups, and nothing in the ticket's PAC counts: it is not signed with this service's key, is malformed, or is about somebody else"
    500 BadCall "bad-call" "the server called the library with arguments that make no sense"
    501 BadConfig "bad-config" "the configuration cannot sign anyone in"
    502 BackendUnavailable "backend-unavailable" "what knows accounts, keys, local names or groups did not answer in time, or no thread was free to ask it"
    503 NoRandomness "no-randomness" "the system gave no random bytes for a challenge"
    504 Busy "busy" "as many sign-ins as max_jobs allows wait for the accounts already"
    505 ReplayCacheFailed "replay-cache-failed" "the replay cache cannot be used: see that its folder exists and belongs to the user of the server's processes"
    506 UntrustedMic "untrusted-mic" "the Kerberos library takes signatures that are wrong: update it; nobody who has to sign the list of mechanisms is signed in before"
    507 NoAnswers "no-answers" "the domain did not answer several sign-ins in a row: until it does, one at a time is tried"
    599 Internal "internal" "the library failed; this connection signs nobody in any more"
}

impl Reason {
    /// The number, for C and for logs.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// Whether it is about somebody who has signed in all the same.
    pub const fn is_denial(self) -> bool {
        matches!(self, Self::NotAllowed | Self::MissingPac | Self::WrongPac)
    }

    /// Whether it is a fault of ours: a 5xx.
    pub const fn is_fault(self) -> bool {
        self.number() >= 500
    }
}

/// The name of a number that came from C.
pub fn name(number: u32) -> &'static Text {
    static UNKNOWN: Text = text!("unknown");
    Reason::ALL
        .iter()
        .find(|reason| reason.number() == number)
        .map_or(&UNKNOWN, |reason| reason.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_are_unique() {
        assert!(Reason::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert!(Reason::ALL[..at].iter().all(|other| other.name() != reason.name()));
            assert_eq!(name(reason.number()), reason.name());
        }
        assert_eq!(name(9999).as_str(), "unknown");
    }
}
