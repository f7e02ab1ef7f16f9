//! Kerberos, the acceptor's side (RFC 4120, RFC 4121): a ticket in, a principal out.
//!
//! Tokens are Kerberos' own: SPNEGO is unwrapped before, and the library that knows the keys is
//! never asked for anything else. A keytab is read once, by who may, and kept in memory together
//! with the credentials that are made from it.

mod ap_req;
mod enctype;
mod gss;
mod keytab;
mod krb5;
mod krb_error;
mod mic;
pub mod pac;
mod principal;
mod ticket;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ap_req::ApReq;
use gss::{Accepted, Credential, Status};
pub use keytab::{Choice, Keytab, ReplayCache, Services, open};
use keytab::{Holder, KeyRing, Keys, Lack, Pair};
pub use mic::Established;
pub use pac::{Authorization, SealedPac};
pub use principal::Principal;

use crate::channel_binding::{EndPoint, Expected};
use crate::http;
use crate::job::{Audience, Job};
use crate::names;
use crate::reason::Reason;
use crate::watched::{Notice, Source};

/// What a client proved with a ticket. Nothing but [`Acceptor::accept`] makes one.
pub struct Proof {
    principal: Principal,
    channel_bound: bool,
    lifetime: Duration,
    pac: Option<Arc<SealedPac>>,
}

impl Proof {
    /// What tells the groups, if the ticket has it.
    pub fn pac(&self) -> Option<&Arc<SealedPac>> {
        self.pac.as_ref()
    }

    /// Who it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether the proof was bound to this TLS connection.
    pub fn channel_bound(&self) -> bool {
        self.channel_bound
    }

    /// How long the ticket is good for, with the skew of clocks that the library grants.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// A ticket that was not good.
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What the log should say besides: which ticket, and the library's own words.
    pub subject: Option<String>,
    /// KRB-ERROR for a client that wants an answer, in its framing (RFC 4121 4.1).
    pub token: Option<Vec<u8>>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self { reason, subject: None, token: None }
    }
}

/// A keytab, and what of it counts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Acceptor {
    keytab: Arc<Keytab>,
    choice: Arc<Choice>,
}

impl Acceptor {
    /// An acceptor; the error says why it could never accept a ticket.
    pub(crate) fn new(keytab: Arc<Keytab>, choice: Choice) -> Result<Self, String> {
        let choice = Arc::new(choice);
        keytab.choose(&choice).map_err(|error| {
            let path = keytab.source().path().to_string_lossy();
            format!("{}: {error}", names::Escaped(&path))
        })?;
        Ok(Self { keytab, choice })
    }

    /// What has to be done before a token can be judged: the keytab is read again, if it has
    /// changed. Whoever comes meanwhile goes on with the keys of before.
    pub(crate) fn before_accept(&self) -> Option<Job> {
        let reread = self.keytab.reread_if_changed()?;
        Some(Job::new(Audience::All, Box::new(move || reread.run())))
    }

    /// Takes what an administrator has to be told.
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        self.keytab.take_notice()
    }

    /// Accepts an InitialContextToken of Kerberos in a request to `host`: the proof, the token that
    /// ends the handshake, if the client wants to see one, and what signs with the ticket's key.
    pub fn accept(
        &self,
        host: &str,
        token: &[u8],
        expected: &Expected,
    ) -> Result<(Proof, Option<Vec<u8>>, Established), Refusal> {
        let token = with_own_mech(token);
        let ap_req = ApReq::read(&token).ok_or(Reason::MalformedToken)?;
        let ring = self.keytab.value();
        let host = http::without_port(host);
        let attempt =
            Attempt { choice: &self.choice, ring: &ring, host, token: &token, ap_req: &ap_req };
        attempt.accept(expected).map_err(|(reason, refused)| attempt.refuse(reason, refused))
    }
}

/// The token with the number that the library has for the mechanism. Windows 2000's differs in one
/// octet.
fn with_own_mech(token: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    const WINDOWS_2000: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7];
    // In front of it stand two identifiers and lengths.
    let at = token.windows(WINDOWS_2000.len()).take(10).position(|oid| oid == WINDOWS_2000);
    match at {
        None => token.into(),
        Some(at) => {
            let mut token = token.to_vec();
            token[at + 3] = 0x86;
            token.into()
        }
    }
}

/// One token, and what it is judged with.
struct Attempt<'a> {
    choice: &'a Arc<Choice>,
    ring: &'a KeyRing,
    host: &'a str,
    token: &'a [u8],
    ap_req: &'a ApReq<'a>,
}

/// Why a token was refused, and what the library said.
type Refused = (Reason, Option<gss::Refused>);

impl Attempt<'_> {
    fn accept(
        &self,
        expected: &Expected,
    ) -> Result<(Proof, Option<Vec<u8>>, Established), Refused> {
        let enctypes = [self.ap_req.enctype, self.ap_req.session_enctype];
        if !enctypes.iter().all(|&enctype| enctype::is_acceptable(enctype, self.choice.rc4)) {
            return Err((Reason::WeakEnctype, None));
        }
        let keys = self.ring.keys(self.choice, self.ap_req, self.host);
        let keys = keys.ok_or((Reason::WrongServiceName, None))?;
        let pair = keys.credentials(&self.choice.replay_cache);
        let pair = pair.map_err(|_| (Reason::KerberosRefused, None))?;
        let accepted = self.with_bindings(&pair, expected)?;
        let channel_bound = is_bound(&accepted);
        if matches!(expected, Expected::Require(_)) && !channel_bound {
            return Err((Reason::MissingChannelBinding, None));
        }
        let Holder { client, pac } = self.holder(keys, &accepted)?;
        let principal = Principal::read(&client).ok_or((Reason::BadName, None))?;
        if principal.is_anonymous() || accepted.flags & libgssapi_sys::GSS_C_ANON_FLAG != 0 {
            return Err((Reason::AnonymousRefused, None));
        }
        let proof = Proof { principal, channel_bound, lifetime: accepted.lifetime, pac };
        Ok((proof, accepted.token, Established::new(accepted.context, accepted.flags)))
    }

    /// Whose ticket it is that was accepted.
    fn holder(&self, keys: &Keys, accepted: &Accepted) -> Result<Holder, Refused> {
        let asked = || accepted.context.client();
        let refused =
            |status| (Reason::KerberosRefused, Some(gss::Refused { status, token: None }));
        let Some(holder) = keys.client(self.ap_req, self.token) else {
            // A PAC that we do not find counts for nothing.
            let pac = Some(Arc::new(SealedPac::unusable()));
            return asked().map(|client| Holder { client, pac }).map_err(refused);
        };
        debug_assert!(asked().is_ok_and(|asked| Principal::are_same(&asked, &holder.client)));
        Ok(holder)
    }

    /// With several certificates that the client may have seen, which one it has is tried out: a
    /// second try with the replay cache would find the first.
    fn with_bindings(&self, pair: &Pair, expected: &Expected) -> Result<Accepted, Refused> {
        let end_points = match expected {
            Expected::Off => return self.once(&pair.once, None),
            Expected::Impossible => return Err((Reason::MissingChannelBinding, None)),
            Expected::Allow(end_points) | Expected::Require(end_points) => end_points,
        };
        let Some((last, others)) = end_points.split_last() else {
            return self.with_unknown_bindings(pair);
        };
        let fits = |end_point: &&EndPoint| {
            let trial = gss::accept(&pair.trial, self.token, Some(end_point.application_data()));
            !trial.is_err_and(|refused| refused.status.is(libgssapi_sys::_GSS_S_BAD_BINDINGS))
        };
        let end_point = others.iter().find(fits).unwrap_or(last);
        self.once(&pair.once, Some(end_point.application_data()))
    }

    /// Those of a client that sent some have to be somebody's, and cannot be known to be ours.
    fn with_unknown_bindings(&self, pair: &Pair) -> Result<Accepted, Refused> {
        match self.once(&pair.once, Some(&[])) {
            Err((Reason::WrongChannelBinding, refused)) => {
                Err((Reason::UnknownCertificate, refused))
            }
            // Nothing at all, signed and sealed.
            Ok(accepted) if is_bound(&accepted) => Err((Reason::UnknownCertificate, None)),
            result => result,
        }
    }

    fn once(&self, credential: &Credential, bindings: Option<&[u8]>) -> Result<Accepted, Refused> {
        gss::accept(credential, self.token, bindings)
            .map_err(|refused| (self.judge(&refused.status), Some(refused)))
    }

    /// What an error of the library means here.
    fn judge(&self, status: &Status) -> Reason {
        if status.is(libgssapi_sys::_GSS_S_BAD_BINDINGS) {
            return Reason::WrongChannelBinding;
        }
        match status.minor {
            code::AP_ERR_REPEAT | code::RC_REPLAY => Reason::Replayed,
            code::AP_ERR_SKEW => Reason::ClockSkew,
            code::AP_ERR_TKT_EXPIRED => Reason::TicketExpired,
            code::AP_ERR_TKT_NYV => Reason::TicketNotYetValid,
            code::NOPERM_ETYPE | code::ETYPE_NOSUPP | code::BAD_ENCTYPE => Reason::WeakEnctype,
            code::AP_ERR_BAD_INTEGRITY
            | code::AP_ERR_NOT_US
            | code::AP_ERR_BADKEYVER
            | code::AP_ERR_NOKEY
            | code::AP_WRONG_PRINC
            | code::KT_NOTFOUND
            | code::KT_KVNONOTFOUND => match self.ring.lack(self.choice, self.ap_req, self.host) {
                Lack::Service => Reason::WrongServiceName,
                Lack::Kvno => Reason::WrongKvno,
                Lack::Enctype => Reason::WrongEnctype,
                Lack::Key => Reason::WrongKey,
            },
            // What it says of a PAC that is none.
            libc::EINVAL | libc::ERANGE => Reason::KerberosRefused,
            // What the system says of the cache's file is passed on as it is.
            1..=4095 | code::RC_MALLOC..=code::RC_IO_SPACE
                if self.choice.replay_cache != ReplayCache::Off =>
            {
                Reason::ReplayCacheFailed
            }
            _ => Reason::KerberosRefused,
        }
    }

    fn refuse(&self, reason: Reason, refused: Option<gss::Refused>) -> Refusal {
        let mut subject = self.ap_req.to_string();
        let (status, token) =
            refused.map_or((None, None), |refused| (Some(refused.status), refused.token));
        if let Some(status) = status.filter(Status::tells_more) {
            let message = names::Escaped(&status.message);
            subject = format!("{subject} ({message})");
        }
        let answers = self.ap_req.mutual && self.ap_req.is_modest();
        let token = token.or_else(|| answers.then(|| self.krb_error(reason)));
        Refusal { reason, subject: Some(subject), token }
    }

    fn krb_error(&self, reason: Reason) -> Vec<u8> {
        // KRB_ERR_GENERIC where there is no word for it.
        let error_code = match reason {
            Reason::WeakEnctype => 14,
            Reason::WrongKey => 31,
            Reason::TicketExpired => 32,
            Reason::TicketNotYetValid => 33,
            Reason::Replayed => 34,
            Reason::WrongServiceName => 35,
            Reason::ClockSkew => 37,
            Reason::WrongKvno => 44,
            Reason::WrongEnctype => 45,
            _ => 60,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        krb_error::token(self.ap_req, error_code, now)
    }
}

/// Whether the client's bindings were there and right.
fn is_bound(accepted: &Accepted) -> bool {
    accepted.flags & libgssapi_sys::GSS_C_CHANNEL_BOUND_FLAG != 0
}

/// Codes of the library that mean something to us (krb5.h).
mod code {
    /// ERROR_TABLE_BASE_krb5: RFC 4120's own codes follow.
    const BASE: i32 = -1_765_328_384;
    pub(super) const ETYPE_NOSUPP: i32 = BASE + 14;
    pub(super) const AP_ERR_BAD_INTEGRITY: i32 = BASE + 31;
    pub(super) const AP_ERR_TKT_EXPIRED: i32 = BASE + 32;
    pub(super) const AP_ERR_TKT_NYV: i32 = BASE + 33;
    pub(super) const AP_ERR_REPEAT: i32 = BASE + 34;
    pub(super) const AP_ERR_NOT_US: i32 = BASE + 35;
    pub(super) const AP_ERR_SKEW: i32 = BASE + 37;
    pub(super) const AP_ERR_BADKEYVER: i32 = BASE + 44;
    pub(super) const AP_ERR_NOKEY: i32 = BASE + 45;
    pub(super) const AP_WRONG_PRINC: i32 = BASE + 144;
    pub(super) const RC_MALLOC: i32 = BASE + 160;
    pub(super) const RC_REPLAY: i32 = BASE + 163;
    pub(super) const RC_IO_SPACE: i32 = BASE + 172;
    pub(super) const KT_NOTFOUND: i32 = BASE + 181;
    pub(super) const BAD_ENCTYPE: i32 = BASE + 188;
    pub(super) const KT_KVNONOTFOUND: i32 = BASE + 230;
    pub(super) const NOPERM_ETYPE: i32 = BASE + 236;
}

/// The name that the local system has for a principal (auth_to_local of krb5.conf). What tells it
/// may take its time.
pub(crate) fn local_name(principal: &str) -> Option<String> {
    let mech = libgssapi::oid::GSS_MECH_KRB5;
    let kind = libgssapi::oid::GSS_NT_KRB5_PRINCIPAL;
    let name = libgssapi::name::Name::new(principal.as_bytes(), Some(kind)).ok()?;
    let local = name.canonicalize(Some(mech)).ok()?.local_name(None).ok()?;
    let local = std::str::from_utf8(&local).ok().filter(|name| names::is_acceptable(name))?;
    (!local.is_empty()).then(|| local.to_owned())
}
