//! The only maker of a [`Proof`]: whether an AUTHENTICATE proves who it says (MS-NLMP 3.2.5.1.2).
//!
//! Cheap checks that need no key come first, so that no account is looked up, and no domain
//! controller asked, for a response that cannot be good. Nothing else in the response is believed
//! before NTProofStr fits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::av_pair::{AV_FLAG_MIC, AV_FLAG_UNTRUSTED_SPN, AvId, AvPairs};
use super::crypto;
use super::flags::Flags;
use super::message::{Authenticate, Challenge, MIC_END, MIC_OFFSET, Malformed, Ntlmv2Response};
use super::{Answer, Challenged, FileTime, Question, ServerNames};
use crate::accounts::{Account, AccountName, Accounts};
use crate::names::{self, Escaped, Name, NameError, Uppercase};
use crate::reason::Reason;
use crate::secret::Secret;

/// More ways to spell user and domain than this are not tried for one response.
const MOST_TRIES: usize = 6;

/// When a MIC has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicPolicy {
    /// When the authenticated MsvAvFlags says that there is one.
    WhenFlagged,
    /// Always; clients that send none are locked out.
    Always,
}

/// The choices that MS-NLMP leaves to the acceptor.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// When a MIC has to be there.
    pub mic: MicPolicy,
    /// Whether a response computed over an empty domain is good for a domain that was sent.
    pub nil_domain_retry: bool,
    /// How long a CHALLENGE may be answered.
    pub challenge_lifetime: Duration,
    /// How far TimeStamp may be off, if the CHALLENGE told no time.
    pub max_clock_skew: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mic: MicPolicy::WhenFlagged,
            nil_domain_retry: true,
            challenge_lifetime: Duration::from_secs(120),
            max_clock_skew: Duration::from_secs(36 * 60 * 60),
        }
    }
}

/// What the MsvAvChannelBindings of this connection may be. Where there is nothing to compare with,
/// whatever a client sends is wrong.
#[derive(Clone, Copy, Debug)]
pub enum ChannelBindings<'a> {
    /// Not looked at.
    Off,
    /// Absent, or one of these.
    Allow(&'a [[u8; 16]]),
    /// One of these.
    Require(&'a [[u8; 16]]),
    /// There is none, and one is required.
    Impossible,
}

/// The services that a client may have meant.
#[derive(Clone, Copy, Debug)]
pub enum ServiceNames<'a> {
    /// Any, and none.
    Any,
    /// HTTP on one of these hosts; a host may carry a port.
    Hosts(&'a [String]),
    /// HTTP on this host: the one that the request names.
    Host(&'a str),
}

/// Who knows the accounts.
#[derive(Clone, Copy)]
pub enum Authority<'a> {
    /// We do, by their NT hashes.
    Hashes(&'a dyn Accounts),
    /// A domain controller, which has been asked about the response, or not yet.
    Domain(Option<&'a Answer>),
}

/// Everything that judging takes besides the messages.
pub struct Context<'a> {
    /// Who knows the accounts.
    pub authority: Authority<'a>,
    /// This server's names.
    pub names: &'a ServerNames,
    /// The acceptor's choices.
    pub policy: Policy,
    /// This connection's bindings.
    pub channel_bindings: ChannelBindings<'a>,
    /// The services.
    pub service_names: ServiceNames<'a>,
    /// Now.
    pub now: FileTime,
    /// How long ago the CHALLENGE was made.
    pub age: Duration,
}

/// That a client knows the password of an account. Nothing but [`verify`] makes one.
pub struct Proof {
    account: Arc<Account>,
    channel_bound: bool,
    keys: SessionKeys,
}

impl Proof {
    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Whether the response was bound to this TLS connection.
    pub fn channel_bound(&self) -> bool {
        self.channel_bound
    }

    /// SessionBaseKey.
    pub fn session_base_key(&self) -> &Secret<16> {
        &self.keys.key_exchange_key
    }

    /// ExportedSessionKey.
    pub fn exported_session_key(&self) -> Secret<16> {
        self.keys.exported_session_key()
    }

    /// What was agreed upon: the flags of the CHALLENGE.
    pub fn flags(&self) -> Flags {
        self.keys.flags
    }
}

/// Who an AUTHENTICATE says to be.
pub struct Claim {
    domain: Name,
    user: Name,
    /// The domain that is meant, if it is not spelt out.
    meant: Option<String>,
}

impl Claim {
    pub(super) fn read(
        challenge: &Challenge<'_>,
        token: &[u8],
        names: &ServerNames,
    ) -> Result<Self, Reason> {
        let mut claim = Self::of(challenge, &Authenticate::read(token)?)?;
        let name = AccountName::resolve(&claim.domain, &claim.user, names);
        claim.meant = name
            .filter(|name| *name.domain != *claim.domain.units())
            .map(|name| String::from_utf16_lossy(&name.domain));
        Ok(claim)
    }

    fn of(challenge: &Challenge<'_>, message: &Authenticate<'_>) -> Result<Self, Reason> {
        let name = |bytes| Self::name(challenge, bytes);
        Ok(Self { domain: name(message.domain)?, user: name(message.user)?, meant: None })
    }

    /// A name, from the negotiated charset.
    #[inline(always)]
    fn name(challenge: &Challenge<'_>, bytes: &[u8]) -> Result<Name, Reason> {
        let decode = match challenge.flags.any(Flags::UNICODE) {
            true => Name::from_utf16le,
            false => Name::from_oem,
        };
        decode(bytes).map_err(|error| match error {
            NameError::OddLength => Reason::MalformedToken,
            NameError::TooLong | NameError::Character => Reason::BadName,
        })
    }

    /// DomainName, as sent.
    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// UserName, as sent.
    pub fn user(&self) -> &Name {
        &self.user
    }
}

/// `"DOMAIN\user"`, or `"user" of "DOMAIN"` where the domain is worked out, escaped for a log.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain.is_empty() {
            write!(f, "\"{}\"", self.user)?;
        } else {
            write!(f, "\"{}\\{}\"", self.domain, self.user)?;
        }
        match &self.meant {
            Some(domain) => write!(f, " of \"{}\"", Escaped(domain)),
            None => Ok(()),
        }
    }
}

/// Judges `token` as the answer to `challenge`.
pub(super) fn verify(
    exchange: &Challenged,
    challenge: &Challenge<'_>,
    token: &[u8],
    context: &Context<'_>,
) -> Result<Proof, Reason> {
    let attempt = Attempt::read(challenge, token, context)?;
    let name = attempt.account(context.names)?;
    let Attempt { message, claim, response } = &attempt;

    let (account, key_exchange_key) = match context.authority {
        Authority::Hashes(accounts) => prove(challenge, response, claim, &name, accounts, context)?,
        Authority::Domain(answer) => {
            let answer = answer.ok_or(Reason::Internal)?;
            let vouched = answer.about(&challenge.server_challenge, message.nt_response)?;
            (vouched.account.clone(), vouched.session_base_key.clone())
        }
    };

    let keys = SessionKeys::new(challenge.flags, key_exchange_key, message)?;
    check_mic(exchange, message, &response.av_pairs, &keys, context.policy.mic)?;
    let channel_bound = check_channel_bindings(&response.av_pairs, context.channel_bindings)?;
    check_service_name(&response.av_pairs, context.service_names)?;
    Ok(Proof { account, channel_bound, keys })
}

/// An AUTHENTICATE that nothing speaks against but what takes a key to see.
pub(super) struct Attempt<'a> {
    message: Authenticate<'a>,
    claim: Claim,
    response: Ntlmv2Response<'a>,
}

// What is inlined always is called in two places, of which the one without a domain counts
// instructions.
impl<'a> Attempt<'a> {
    /// Takes what can be good; the rest is worth no question to whoever knows the accounts.
    #[inline(always)]
    pub(super) fn read(
        challenge: &Challenge<'_>,
        token: &'a [u8],
        context: &Context<'_>,
    ) -> Result<Self, Reason> {
        if context.age > context.policy.challenge_lifetime {
            return Err(Reason::Expired);
        }
        let message = Authenticate::read(token)?;
        let claim = Claim::of(challenge, &message)?;
        let response = ntlmv2_response(&message, &claim)?;
        check_target_info(challenge, &response, context)?;
        Ok(Self { message, claim, response })
    }

    /// What a domain controller is to be asked. It is not asked about a response that would be
    /// refused whatever it said.
    // A domain controller takes far longer.
    #[cold]
    pub(super) fn question(
        &self,
        challenge: &Challenge<'_>,
        context: &Context<'_>,
    ) -> Result<Question, Reason> {
        let Self { message, claim, response } = self;
        self.account(context.names)?;
        let keys = SessionKeys::new(challenge.flags, Secret::new([0; 16]), message)?;
        drop(keys);
        check_mic_is_there(message, &response.av_pairs, context.policy.mic)?;
        check_channel_bindings(&response.av_pairs, context.channel_bindings)?;
        check_service_name(&response.av_pairs, context.service_names)?;
        let workstation = Claim::name(challenge, message.workstation())?;
        let domain = asked_about(&claim.domain)?;
        if has_no_users(&domain) {
            return Err(Reason::UnknownUser);
        }
        let told = |id| challenge.target_info.get(id).map(text_of).unwrap_or_default();
        Ok(Question {
            domain,
            user: asked_about(&claim.user)?,
            workstation: asked_about(&workstation)?,
            server_challenge: challenge.server_challenge,
            nt_response: message.nt_response.into(),
            told: (told(AvId::NB_COMPUTER_NAME), told(AvId::NB_DOMAIN_NAME)),
        })
    }

    /// The account that is meant.
    pub(super) fn account(&self, names: &ServerNames) -> Result<AccountName<'_>, Reason> {
        AccountName::resolve(&self.claim.domain, &self.claim.user, names).ok_or(Reason::BadName)
    }
}

/// A name as winbindd takes it: of a longer one it would ask for the beginning.
fn asked_about(name: &Name) -> Result<String, Reason> {
    const MOST: usize = 255;
    let name = String::from_utf16(name.units()).map_err(|_| Reason::BadName)?;
    if name.len() <= MOST { Ok(name) } else { Err(Reason::BadName) }
}

/// Whether this is a domain that every computer knows and that nobody signs in to (MS-DTYP
/// 2.4.2.4): winbindd would look for its domain controllers.
fn has_no_users(domain: &str) -> bool {
    ["BUILTIN", "NT AUTHORITY"].iter().any(|name| domain.eq_ignore_ascii_case(name))
}

/// Our own text in UTF-16LE.
fn text_of(utf16le: &[u8]) -> String {
    let units = utf16le.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units).map(|letter| letter.unwrap_or('\u{fffd}')).collect()
}

/// Tells NTLMv2 from everything that is refused always (NTLMv1, NTLM2 session response, LM, LMv2
/// alone, anonymous).
fn ntlmv2_response<'a>(
    message: &Authenticate<'a>,
    claim: &Claim,
) -> Result<Ntlmv2Response<'a>, Reason> {
    if claim.user.is_empty() {
        return Err(match (message.nt_response, message.lm_response) {
            ([], [] | [0]) => Reason::AnonymousRefused,
            _ => Reason::BadName,
        });
    }
    match message.nt_response.len() {
        0 => Err(Reason::LmRefused),
        24 => Err(Reason::Ntlmv1Refused),
        _ => Ok(Ntlmv2Response::read(message.nt_response)?),
    }
}

/// The response repeats our TargetInfo: it was not made for another server's challenge. If we told
/// no time, the client's own has to be near ours.
fn check_target_info(
    challenge: &Challenge<'_>,
    response: &Ntlmv2Response<'_>,
    context: &Context<'_>,
) -> Result<(), Reason> {
    if !response.av_pairs.echo(&challenge.target_info) {
        return Err(Reason::AvMismatch);
    }
    let skew = FileTime(response.timestamp).distance(context.now);
    if challenge.target_info.get(AvId::TIMESTAMP).is_none() && skew > context.policy.max_clock_skew
    {
        return Err(Reason::ClockSkew);
    }
    Ok(())
}

/// Compares NTProofStr. An unknown user and a disabled account take the same path with a decoy's
/// key, and as many tries as a wrong password.
fn prove(
    challenge: &Challenge<'_>,
    response: &Ntlmv2Response<'_>,
    claim: &Claim,
    name: &AccountName<'_>,
    accounts: &dyn Accounts,
    context: &Context<'_>,
) -> Result<(Arc<Account>, Secret<16>), Reason> {
    let account = accounts.find(name);
    let known = account.as_ref().and_then(|account| account.nt_hash());
    let can_sign_in = known.is_some();
    let hash = known.unwrap_or_else(|| accounts.decoy());
    let mut key = None;
    for_each_spelling(claim, context.policy, |user_and_domain| {
        let ntowf_v2 = crypto::hmac_md5(&crypto::ntowf_v2(hash, user_and_domain));
        let proof = crypto::nt_proof_str(&ntowf_v2, &challenge.server_challenge, response.blob);
        if proof == Secret::new(*response.proof) {
            key = Some(crypto::session_base_key(&ntowf_v2, response.proof));
        }
        key.is_some()
    });
    match (account, can_sign_in, key) {
        (Some(account), true, Some(key)) => Ok((account, key)),
        (None, ..) => Err(Reason::UnknownUser),
        (Some(account), ..) if account.is_disabled() => Err(Reason::AccountDisabled),
        _ => Err(Reason::WrongResponse),
    }
}

/// A domain as a client may have hashed it (3.3.2 and its notes).
#[derive(Clone, Copy)]
enum DomainForm {
    AsSent,
    Empty,
    Upper,
}

impl DomainForm {
    fn write(self, domain: &[u16], out: &mut Vec<u8>) {
        match self {
            Self::AsSent => domain.iter().for_each(|unit| out.extend(unit.to_le_bytes())),
            Self::Empty => {}
            Self::Upper => Uppercase::Simple.write(domain, out),
        }
    }

    /// The forms that differ for `domain`, the likeliest first.
    fn variants(domain: &[u16], policy: Policy) -> impl Iterator<Item = Self> {
        let is_upper = names::is_upper(domain);
        [
            (Self::AsSent, true),
            (Self::Empty, policy.nil_domain_retry && !domain.is_empty()),
            (Self::Upper, !is_upper),
        ]
        .into_iter()
        .filter_map(|(form, differs)| differs.then_some(form))
    }
}

/// Calls `found` with each spelling of user and domain, until it says yes. Their number depends on
/// what was sent and on nothing else.
fn for_each_spelling(claim: &Claim, policy: Policy, mut found: impl FnMut(&[u8]) -> bool) {
    let (user, domain) = (claim.user.units(), claim.domain.units());
    let spellings = DomainForm::variants(domain, policy)
        .flat_map(|form| Uppercase::variants(user).map(move |mapping| (mapping, form)));
    let mut bytes = Vec::with_capacity(2 * (user.len() + domain.len()));
    for (mapping, form) in spellings.take(MOST_TRIES) {
        bytes.clear();
        mapping.write(user, &mut bytes);
        form.write(domain, &mut bytes);
        if found(&bytes) {
            return;
        }
    }
}

/// KeyExchangeKey, and what ExportedSessionKey is made of (3.2.5.1.2, 3.4.5.1).
struct SessionKeys {
    flags: Flags,
    key_exchange_key: Secret<16>,
    encrypted: Option<[u8; 16]>,
}

impl SessionKeys {
    #[inline(always)]
    fn new(
        flags: Flags,
        key_exchange_key: Secret<16>,
        message: &Authenticate<'_>,
    ) -> Result<Self, Malformed> {
        let encrypted = message.encrypted_session_key.try_into().ok();
        let keys = Self { flags, key_exchange_key, encrypted };
        match keys.is_exchanged() && keys.encrypted.is_none() {
            true => Err(Malformed),
            false => Ok(keys),
        }
    }

    /// Whether the client chose the session key.
    fn is_exchanged(&self) -> bool {
        self.flags.any(Flags::KEY_EXCH) && self.flags.any(Flags::SIGN | Flags::SEAL)
    }

    fn exported_session_key(&self) -> Secret<16> {
        match self.encrypted {
            Some(encrypted) if self.is_exchanged() => {
                crypto::rc4k(&self.key_exchange_key, &encrypted)
            }
            _ => self.key_exchange_key.clone(),
        }
    }

    /// With KEY_EXCH but neither SIGN nor SEAL, some clients unwrap the key for the MIC although
    /// the specification does not. It comes from the same proof.
    fn second_mic_key(&self) -> Option<Secret<16>> {
        let encrypted = self.encrypted.as_ref()?;
        (self.flags.any(Flags::KEY_EXCH) && !self.is_exchanged())
            .then(|| crypto::rc4k(&self.key_exchange_key, encrypted))
    }
}

/// Whether there has to be a MIC is read from the authenticated MsvAvFlags and from nothing else:
/// neither layout, version, flags nor zeros are evidence that there is none.
fn check_mic(
    exchange: &Challenged,
    message: &Authenticate<'_>,
    av_pairs: &AvPairs<'_>,
    keys: &SessionKeys,
    policy: MicPolicy,
) -> Result<(), Reason> {
    let Some(sent) = check_mic_is_there(message, av_pairs, policy)? else { return Ok(()) };
    let sent = Secret::new(*sent);
    let (before, after) = (&message.message[..MIC_OFFSET], &message.message[MIC_END..]);
    let fits = |key: &Secret<16>| crypto::mic(key, &exchange.messages, before, after) == sent;
    if fits(&keys.exported_session_key()) || keys.second_mic_key().is_some_and(|key| fits(&key)) {
        Ok(())
    } else {
        Err(Reason::WrongMic)
    }
}

/// The MIC, if there has to be one.
#[inline(always)]
fn check_mic_is_there<'a>(
    message: &Authenticate<'a>,
    av_pairs: &AvPairs<'_>,
    policy: MicPolicy,
) -> Result<Option<&'a [u8; 16]>, Reason> {
    match (av_pairs.flags() & AV_FLAG_MIC, policy) {
        (0, MicPolicy::WhenFlagged) => Ok(None),
        (0, MicPolicy::Always) => Err(Reason::MissingMic),
        _ => message.mic().ok_or(Reason::MissingMic).map(Some),
    }
}

/// Compares MsvAvChannelBindings; says whether it was there and right. Zeros are no absence.
#[inline(always)]
fn check_channel_bindings(
    av_pairs: &AvPairs<'_>,
    expected: ChannelBindings<'_>,
) -> Result<bool, Reason> {
    let (ours, required) = match expected {
        ChannelBindings::Off => return Ok(false),
        ChannelBindings::Allow(ours) => (ours, false),
        ChannelBindings::Require(ours) => (ours, true),
        ChannelBindings::Impossible => return Err(Reason::MissingChannelBinding),
    };
    match av_pairs.get(AvId::CHANNEL_BINDINGS) {
        None if required => Err(Reason::MissingChannelBinding),
        None => Ok(false),
        Some(_) if ours.is_empty() => Err(Reason::UnknownCertificate),
        Some(theirs) if ours.iter().any(|ours| ours == theirs) => Ok(true),
        Some(_) => Err(Reason::WrongChannelBinding),
    }
}

/// Compares MsvAvTargetName, a service principal name: class, host and, where it is configured,
/// port. One from an untrusted source counts as absent.
#[inline(always)]
fn check_service_name(av_pairs: &AvPairs<'_>, expected: ServiceNames<'_>) -> Result<(), Reason> {
    let hosts = match &expected {
        ServiceNames::Any => return Ok(()),
        ServiceNames::Hosts(hosts) => ServiceHosts::Listed(hosts),
        ServiceNames::Host(host) => ServiceHosts::Only(host),
    };
    let spn = av_pairs
        .get(AvId::TARGET_NAME)
        .filter(|name| !name.is_empty() && av_pairs.flags() & AV_FLAG_UNTRUSTED_SPN == 0)
        .ok_or(Reason::MissingServiceName)?;
    let spn = Name::from_utf16le(spn).map_err(|_| Reason::WrongServiceName)?;
    let spn = String::from_utf16(spn.units()).map_err(|_| Reason::WrongServiceName)?;
    match spn.split_once('/') {
        Some((class, host)) if class.eq_ignore_ascii_case("http") && hosts.contain(host) => Ok(()),
        _ => Err(Reason::WrongServiceName),
    }
}

enum ServiceHosts<'a> {
    Listed(&'a [String]),
    Only(&'a str),
}

impl ServiceHosts<'_> {
    fn contain(&self, host: &str) -> bool {
        match self {
            Self::Listed(ours) => ours.iter().any(|ours| same_host(host, ours)),
            Self::Only(ours) => same_host(host, without_port(ours)),
        }
    }
}

/// Whether the client's host is ours. A port that the client adds matters only if ours has one.
fn same_host(theirs: &str, ours: &str) -> bool {
    !ours.is_empty()
        && (theirs.eq_ignore_ascii_case(ours) || without_port(theirs).eq_ignore_ascii_case(ours))
}

/// The host in "host:port" or "[address]:port".
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|digit| digit.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_matters_only_where_it_is_configured() {
        for (theirs, ours, fits) in [
            ("www.example.com", "www.example.com", true),
            ("WWW.example.com:8443", "www.example.com", true),
            ("www.example.com:8443", "www.example.com:8443", true),
            ("www.example.com", "www.example.com:8443", false),
            ("www.example.com:80", "www.example.com:8443", false),
            ("[::1]:80", "[::1]", true),
            ("::1", "::1", true),
            ("evil.example", "www.example.com", false),
            ("", "", false),
        ] {
            assert_eq!(same_host(theirs, ours), fits, "{theirs} {ours}");
        }
        assert_eq!(without_port("[::1]:8080"), "[::1]");
        assert_eq!(without_port("::1"), "::1");
    }

    #[test]
    fn channel_bindings_follow_the_table() {
        let pairs = |value: Option<[u8; 16]>| {
            let mut bytes = Vec::new();
            if let Some(value) = value {
                super::super::av_pair::write(&mut bytes, AvId::CHANNEL_BINDINGS, &value);
            }
            super::super::av_pair::write(&mut bytes, AvId::EOL, &[]);
            bytes
        };
        let ours = [[1; 16], [2; 16]];
        let judge = |value, expected| {
            check_channel_bindings(&AvPairs::read(&pairs(value)).unwrap(), expected)
        };
        use ChannelBindings::{Allow, Impossible, Off, Require};
        for value in [None, Some([0; 16]), Some([1; 16]), Some([9; 16])] {
            assert_eq!(judge(value, Off), Ok(false));
            assert_eq!(judge(value, Impossible), Err(Reason::MissingChannelBinding));
            assert_eq!(judge(value, Allow(&[])).is_ok(), value.is_none());
            let unknown =
                value.map_or(Reason::MissingChannelBinding, |_| Reason::UnknownCertificate);
            assert_eq!(judge(value, Require(&[])), Err(unknown));
        }
        for expected in [Allow(&ours), Require(&ours)] {
            assert_eq!(judge(Some([2; 16]), expected), Ok(true));
            assert_eq!(judge(Some([0; 16]), expected), Err(Reason::WrongChannelBinding));
            assert_eq!(judge(Some([9; 16]), expected), Err(Reason::WrongChannelBinding));
        }
        assert_eq!(judge(None, Allow(&ours)), Ok(false));
        assert_eq!(judge(None, Require(&ours)), Err(Reason::MissingChannelBinding));
    }
}
