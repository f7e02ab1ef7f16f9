//! The corpus: recorded and constructed messages with their verdicts, read from the folder that
//! NEGOTIATE_CORPUS names, else from tests/corpus. Its README says what the files hold.
//!
//! Every decided verdict is compared, with identity and keys. `either` may be accepted or refused,
//! but never as somebody else. Cases that ask for a policy this library does not have on purpose
//! (NTLMv1, LM, anonymous, no strict echo of the challenge) have to be refused. What is not run is
//! counted and said.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use negotiate_auth::accounts::{Account, AccountName, Accounts, Entry};
use negotiate_auth::channel_binding;
use negotiate_auth::http::{Authorization, Credentials, MAX_TOKEN};
use negotiate_auth::names;
use negotiate_auth::ntlm::{
    Authority, Challenged, ChannelBindings, Context, FileTime, MicPolicy, Policy, Proof, SIGNATURE,
    ServerNames, ServiceNames, crypto, message,
};
use negotiate_auth::reason::Reason;
use negotiate_auth::secret::Secret;
use negotiate_auth::spnego::{self, Completion, InitialToken, MechType, NegTokenResp, Negotiation};
use serde_json::Value;

use common::{corpus as load, hex_of as hex};

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

/// The accounts of the corpus. They are those of the default domain, whatever its name.
struct Users {
    accounts: Vec<(String, Arc<Account>, String)>,
    decoy: Secret<16>,
}

impl Users {
    fn load(users: &Value, corpus_domain: &str, default_domain: &str) -> Self {
        let accounts = users.as_array().expect("users").iter().map(|user| {
            let domain = match text(&user["domain"]) {
                domain if domain == corpus_domain => default_domain,
                domain => domain,
            };
            let entry = Entry {
                domain: domain.to_owned(),
                user: text(&user["user"]).to_owned(),
                nt_hash: Secret::from_slice(&hex(&user["nt_hash"])),
                groups: Vec::new(),
            };
            let upn = text(&user["upn"]).to_owned();
            (domain.to_owned(), Arc::new(Account::from(entry)), upn)
        });
        Self { accounts: accounts.collect(), decoy: Secret::new([0x5a; 16]) }
    }

    /// Whether `account` is the one that the corpus means by these names.
    fn is(&self, account: &Account, domain: &str, user: &str) -> bool {
        let same = |a: &str, b: &str| names::same(a.encode_utf16(), b.encode_utf16());
        self.accounts.iter().any(|(_, known, upn)| {
            known.name() == account.name()
                && (same(known.user().as_str(), user) || domain.is_empty() && same(upn, user))
        })
    }
}

impl Accounts for Users {
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>> {
        let same = |a: &str, b: &[u16]| names::same(a.encode_utf16(), b.iter().copied());
        self.accounts
            .iter()
            .find(|(domain, account, _)| {
                same(domain, &name.domain) && same(account.user().as_str(), name.user)
            })
            .map(|(_, account, _)| account.clone())
    }

    fn decoy(&self) -> &Secret<16> {
        &self.decoy
    }
}

/// Defaults of a case with the case's own values over them.
struct Settings(BTreeMap<String, Value>);

impl Settings {
    fn of(default: &Value, overrides: &Value) -> Self {
        let mut all = BTreeMap::new();
        for object in [default, overrides].into_iter().filter_map(Value::as_object) {
            for (key, value) in object {
                all.insert(key.clone(), value.clone());
            }
        }
        Self(all)
    }

    fn text(&self, key: &str) -> String {
        text(&self.0[key]).to_owned()
    }

    fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_else(|| panic!("{key} is a number"))
    }

    fn yes(&self, key: &str) -> bool {
        self.0[key].as_bool().unwrap_or_else(|| panic!("{key} is a boolean"))
    }
}

/// Everything a case is judged with.
struct Bench {
    config: Settings,
    policy: Settings,
    users: Users,
    names: ServerNames,
    bindings: Vec<[u8; 16]>,
    spns: Vec<String>,
    /// The case asks for what is refused always.
    never: bool,
}

impl Bench {
    fn new(file: &Value, case: &Value) -> Self {
        let config = Settings::of(&file["default_config"], &case["config_override"]);
        let policy = Settings::of(&file["default_config"]["policy"], &case["policy_override"]);
        let names = ServerNames {
            nb_computer: config.text("nb_computer"),
            nb_domain: config.text("nb_domain"),
            dns_computer: config.text("dns_computer"),
            dns_domain: config.text("dns_domain"),
            dns_tree: config.text("dns_tree"),
        };
        assert_eq!(names.domain_joined(), config.yes("domain_joined"));
        let default_domain = text(&file["default_config"]["policy"]["default_domain"]);
        let bindings = match &policy.0["channel_binding_app_data"] {
            Value::Null => Vec::new(),
            data => vec![channel_binding::bindings_md5(&hex(data))],
        };
        let spns = policy.0["accepted_spns"].as_array().map_or(&[][..], Vec::as_slice);
        let spns = spns.iter().map(|spn| {
            let (class, host) = text(spn).split_once('/').expect("class/host");
            assert_eq!(class, "HTTP");
            host.to_owned()
        });
        let never = Self::asks_for_what_is_never_given(&policy);
        Self {
            users: Users::load(&file["users"], default_domain, names.default_domain()),
            spns: spns.collect(),
            bindings,
            names,
            config,
            policy,
            never,
        }
    }

    /// An unknown key must not pass for one that makes no difference.
    fn asks_for_what_is_never_given(policy: &Settings) -> bool {
        policy.0.iter().any(|(key, value)| match key.as_str() {
            "ntlmv1" | "lm" | "lmv2_only" | "anonymous" | "guest" | "allow_lmv2_fallback" => {
                value != &Value::Bool(false)
            }
            "strict_av_echo" => value != &Value::Bool(true),
            "max_message" => value.as_u64() > Some(message::MAX_MESSAGE as u64),
            "require_mic"
            | "challenge_lifetime_s"
            | "blob_max_skew_s"
            | "epa"
            | "channel_binding_app_data"
            | "accepted_spns"
            | "nil_domain_retry"
            | "default_domain" => false,
            other => panic!("the corpus has a policy this test does not know: {other}"),
        })
    }

    fn answer(&self, negotiate: &[u8]) -> Result<Challenged, Reason> {
        let challenge = hex(&self.config.0["server_challenge"]).try_into().expect("8 bytes");
        let time = FileTime(self.config.number("time"));
        let timestamp = self.config.yes("send_timestamp").then_some(time);
        Challenged::answer(negotiate, &self.names, &challenge, timestamp)
    }

    fn verify(&self, challenged: &Challenged, token: &[u8]) -> Result<Proof, Reason> {
        let now = FileTime(self.config.number("now"));
        let context = Context {
            authority: Authority::Hashes(&self.users),
            names: &self.names,
            policy: Policy {
                mic: match self.policy.text("require_mic").as_str() {
                    "when-flagged" => MicPolicy::WhenFlagged,
                    "always" => MicPolicy::Always,
                    other => panic!("require_mic={other}"),
                },
                nil_domain_retry: self.policy.yes("nil_domain_retry"),
                challenge_lifetime: Duration::from_secs(self.policy.number("challenge_lifetime_s")),
                max_clock_skew: Duration::from_secs(self.policy.number("blob_max_skew_s")),
            },
            channel_bindings: match self.policy.text("epa").as_str() {
                "off" => ChannelBindings::Off,
                "allow" if self.bindings.is_empty() => ChannelBindings::Off,
                "allow" => ChannelBindings::Allow(&self.bindings),
                "require" => ChannelBindings::Require(&self.bindings),
                other => panic!("epa={other}"),
            },
            service_names: match self.policy.0["accepted_spns"] {
                Value::Null => ServiceNames::Any,
                _ => ServiceNames::Hosts(&self.spns),
            },
            now,
            age: now.distance(FileTime(self.config.number("challenge_issued"))),
        };
        challenged.verify(token, &context)
    }
}

/// What came of a file.
#[derive(Default)]
struct Tally {
    right: usize,
    either: usize,
    refused_by_design: usize,
    not_yet_run: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn count(&mut self, case: &Value, verdict: &str, result: Result<(), String>) {
        match (result, verdict) {
            (Err(wrong), _) => {
                let title = case["title"].as_str().or(case["source"].as_str()).unwrap_or("");
                self.wrong.push(format!("{} ({title}): {wrong}", text(&case["id"])));
            }
            (Ok(()), "either") => self.either += 1,
            (Ok(()), _) => self.right += 1,
        }
    }

    fn finish(self, what: &str) {
        println!(
            "{what}: {} decided and right, {} either, {} asking for a policy that is never given \
             and refused, {} not yet run",
            self.right, self.either, self.refused_by_design, self.not_yet_run
        );
        assert!(self.wrong.is_empty(), "{} wrong:\n{}", self.wrong.len(), self.wrong.join("\n"));
    }
}

#[test]
fn ntlm_cases() {
    let file = load("ntlm_cases.json");
    assert_eq!(text(&file["format"]), "ntlm-cases/1");
    let mut tally = Tally::default();
    for case in file["cases"].as_array().expect("cases") {
        if !case["expect"]["precondition"].is_null() && other_challenge(case).is_none() {
            println!("not run, its precondition is not understood: {}", text(&case["id"]));
            tally.not_yet_run += 1;
            continue;
        }
        let bench = Bench::new(&file, case);
        let verdict = text(&case["expect"]["verdict"]);
        if bench.never && verdict == "accept" {
            match judge(&bench, case, "reject") {
                Ok(()) => tally.refused_by_design += 1,
                wrong => tally.count(case, verdict, wrong),
            }
            continue;
        }
        tally.count(case, verdict, judge(&bench, case, verdict));
    }
    assert!(tally.right > 100);
    tally.finish("NTLM");
}

fn judge(bench: &Bench, case: &Value, verdict: &str) -> Result<(), String> {
    match text(&case["stage"]) {
        "negotiate" => judge_negotiate(bench, case, verdict),
        "authenticate" => judge_authenticate(bench, case, verdict),
        stage => Err(format!("unknown stage {stage}")),
    }
}

fn judge_negotiate(bench: &Bench, case: &Value, verdict: &str) -> Result<(), String> {
    match (bench.answer(&hex(&case["input"])), verdict) {
        (Ok(challenged), "continue") => {
            let flags = text(&case["expect"]["challenge_flags"]);
            let expected = u32::from_str_radix(flags.trim_start_matches("0x"), 16).expect("flags");
            let sent = message::Challenge::read(challenged.challenge())
                .map_err(|_| "our own CHALLENGE cannot be read")?;
            match sent.flags.0 == expected {
                true => Ok(()),
                false => Err(format!("flags {:#010x} instead of {flags}", sent.flags.0)),
            }
        }
        (Err(_), "reject") | (_, "either") => Ok(()),
        (Ok(_), _) => Err(format!("answered instead of {verdict}")),
        (Err(reason), _) => Err(format!("{} instead of {verdict}", reason.name().as_str())),
    }
}

fn judge_authenticate(bench: &Bench, case: &Value, verdict: &str) -> Result<(), String> {
    let token = hex(&case["input"]);
    if case["state"]["challenge"].is_null() {
        // Without a CHALLENGE before it, the message has to begin a handshake.
        return match (bench.answer(&token), verdict) {
            (Err(_), "reject" | "either") => Ok(()),
            _ => Err(format!("not judged {verdict} without a challenge")),
        };
    }
    let mut challenge = hex(&case["state"]["challenge"]);
    if let Some(other) = other_challenge(case) {
        challenge[24..32].copy_from_slice(&hex(&Value::from(other)));
    }
    let challenged = Challenged::import(&hex(&case["state"]["negotiate"]), &challenge)
        .map_err(|reason| reason.name().as_str().to_owned())?;
    compare(bench, &challenged, &token, &case["expect"], verdict)
}

/// The challenge that the acceptor had sent, if not that of the case's state.
fn other_challenge(case: &Value) -> Option<&str> {
    let precondition = case["expect"]["precondition"].as_str()?;
    precondition.strip_prefix("acceptor issued challenge ")?.strip_suffix(" instead")
}

/// Compares verdict and, on accept, identity and keys.
fn compare(
    bench: &Bench,
    challenged: &Challenged,
    token: &[u8],
    expect: &Value,
    verdict: &str,
) -> Result<(), String> {
    let proof = match (bench.verify(challenged, token), verdict) {
        (Ok(proof), "accept" | "either") => proof,
        (Err(_), "reject" | "either") => return Ok(()),
        (Ok(_), _) => return Err(format!("accepted instead of {verdict}")),
        (Err(reason), _) => return Err(format!("{} instead of {verdict}", reason.name().as_str())),
    };
    let claim = challenged.claim(token, &bench.names).ok_or("accepted without names")?;
    let claimed = |name: &names::Name| String::from_utf16(name.units()).expect("checked");
    let (domain, user) = (claimed(claim.domain()), claimed(claim.user()));
    if let Some(identity) = expect["identity"].as_object() {
        if (text(&identity["domain"]), text(&identity["user"])) != (&domain, &user) {
            return Err(format!("identity {domain}\\{user}"));
        }
    }
    // One backslash in the user of an empty domain reads as DOMAIN\user.
    let (domain, user) = match user.split_once('\\') {
        Some((domain, user)) => (domain.to_owned(), user.to_owned()),
        None => (domain, user),
    };
    if !bench.users.is(proof.account(), &domain, &user) {
        return Err(format!("{domain}\\{user} became {}", proof.account().name().as_str()));
    }
    for (key, ours) in [
        ("session_base_key", proof.session_base_key().expose()),
        ("exported_session_key", proof.exported_session_key().expose()),
    ] {
        if !expect[key].is_null() && hex(&expect[key]) != ours {
            return Err(format!("{key} {ours:02x?}"));
        }
    }
    match expect["negotiate_flags"].as_str() {
        Some(flags) if flags != format!("{:#010x}", proof.flags().0) => {
            Err(format!("flags {:#010x}", proof.flags().0))
        }
        _ => Ok(()),
    }
}

#[test]
fn captured_tokens() {
    let (captured, ntlm) = (load("captured.json"), load("ntlm_cases.json"));
    assert_eq!(text(&captured["format"]), "captured/1");
    let mut tally = Tally::default();
    for token in captured["tokens"].as_array().expect("tokens") {
        match text(&token["kind"]) {
            "exchange" => {
                let verdict = text(&token["expect"]["verdict"]);
                tally.count(token, verdict, judge_captured(&ntlm, token));
            }
            "negotiate" => tally.count(token, "accept", parse_negotiate(token)),
            "challenge" => tally.count(token, "accept", parse_challenge(token)),
            "authenticate" => tally.count(token, "accept", parse_authenticate(token)),
            "malformed" => tally.count(token, "reject", refuse_malformed(token)),
            "spnego" => tally.count(token, "accept", parse_spnego(token)),
            "kerberos" => tally.count(token, "accept", parse_kerberos(token)),
            "spnego-exchange" => {
                let verdict = text(&token["expect"]["verdict"]);
                tally.count(token, verdict, judge_captured_spnego(&ntlm, token, verdict));
            }
            kind => panic!("unknown kind {kind}"),
        }
    }
    assert!(tally.right > 10);
    tally.finish("captured");
}

/// A captured exchange under the default policy and under every policy it has a verdict for.
fn judge_captured(ntlm: &Value, token: &Value) -> Result<(), String> {
    let mut policies = vec![(Value::Null, text(&token["expect"]["verdict"]).to_owned())];
    for (policy, verdict) in token["model_verdicts"].as_object().into_iter().flatten() {
        let policy = serde_json::from_str(policy).expect("a policy is JSON");
        policies.push((policy, text(verdict).split(':').next().expect("a verdict").to_owned()));
    }
    let message = hex(&token["input"]);
    for (policy, verdict) in policies {
        let case = serde_json::json!({ "policy_override": policy });
        let bench = Bench::new(ntlm, &case);
        let state = &token["state"];
        let challenged = Challenged::import(&hex(&state["negotiate"]), &hex(&state["challenge"]))
            .map_err(|reason| reason.name().as_str().to_owned())?;
        let mut expect = token["expect"].clone();
        expect["session_base_key"] = token["checks"]["session_base_key"].clone();
        compare(&bench, &challenged, &message, &expect, &verdict)
            .map_err(|wrong| format!("{wrong}, policy {policy}"))?;
    }
    Ok(())
}

/// A captured exchange in SPNEGO: the same answers to the same tokens, and the same keys.
fn judge_captured_spnego(ntlm: &Value, exchange: &Value, verdict: &str) -> Result<(), String> {
    let case = serde_json::json!({ "config": { "mechs": ["ntlm"] } });
    let mut acceptor = Acceptor::new(Bench::new(ntlm, &case), &case);
    let mut last = Answered::Reject(Reason::NoCredentials);
    for step in exchange["steps"].as_array().expect("steps") {
        if let Answered::Accept(..) = last {
            return Err("accepted too early".to_owned());
        }
        last = acceptor.step(&hex(&step["client"]));
        match &last {
            Answered::Continue(output) | Answered::Accept(output, _)
                if *output == hex(&step["server"]) => {}
            Answered::Continue(output) | Answered::Accept(output, _) => {
                return Err(format!("output {output:02x?}"));
            }
            Answered::Reject(reason) => return Err(reason.name().as_str().to_owned()),
            Answered::Route { mech, .. } => return Err(format!("routed to {mech}")),
        }
    }
    compare_step(&last, &exchange["expect"], verdict)?;
    match &last {
        Answered::Accept(_, proof)
            if proof.session_base_key().expose()[..]
                != hex(&exchange["checks"]["session_base_key"])[..] =>
        {
            Err("another session_base_key".to_owned())
        }
        _ => Ok(()),
    }
}

/// A token of SPNEGO: a client's first, or one of those after it.
fn parse_spnego(token: &Value) -> Result<(), String> {
    let (bytes, decode) = (hex(&token["input"]), &token["decode"]);
    if decode.is_null() {
        let resp = NegTokenResp::read(&bytes).map_err(|_| "malformed")?;
        let chosen = [MechType::Krb5, MechType::MsKrb5, MechType::Ntlmssp];
        let named = chosen.iter().filter(|&&mech| !resp.names_other(mech)).count();
        return match (resp.write() == bytes, named, resp.response_token) {
            (true, 1, Some(_)) => Ok(()),
            _ => Err(format!("read as {resp:02x?}")),
        };
    }
    let Ok(InitialToken::Spnego(init)) = InitialToken::read(&bytes) else {
        return Err("not read as SPNEGO's first token".to_owned());
    };
    let listed: Vec<_> = init.mech_types.iter().map(name_of).collect();
    let wanted: Vec<_> =
        decode["mech_types"].as_array().expect("a list").iter().map(text).collect();
    if listed != wanted {
        return Err(format!("mechanisms {listed:?}"));
    }
    let optimistic = init.mech_token.ok_or("no token")?;
    if optimistic.len() as u64 != decode["mech_token_len"].as_u64().expect("a length") {
        return Err(format!("a token of {} bytes", optimistic.len()));
    }
    match InitialToken::read(optimistic) {
        Ok(InitialToken::Kerberos(all)) if all == optimistic => {}
        read => return Err(format!("the token in it is read as {read:02x?}")),
    }
    for (offered, chosen, token) in [
        (&[MechType::Krb5, MechType::Ntlmssp][..], MechType::Krb5, Some(optimistic)),
        (&[MechType::Ntlmssp], MechType::Ntlmssp, None),
    ] {
        let (negotiation, given) = Negotiation::begin(&init, offered).map_err(name_of_reason)?;
        if (negotiation.mech(), given) != (chosen, token) {
            return Err(format!("{:?} chosen of {offered:?}", negotiation.mech()));
        }
    }
    Ok(())
}

fn name_of(mech: Option<MechType>) -> &'static str {
    match mech {
        Some(MechType::Krb5) => "1.2.840.113554.1.2.2",
        Some(MechType::MsKrb5) => "1.2.840.48018.1.2.2",
        Some(MechType::Ntlmssp) => "1.3.6.1.4.1.311.2.2.10",
        None => "another",
    }
}

fn name_of_reason(reason: Reason) -> String {
    reason.name().as_str().to_owned()
}

/// A message of Kerberos: a client begins with AP-REQ in its framing, and with nothing else.
fn parse_kerberos(token: &Value) -> Result<(), String> {
    /// The identifier octet of a framed message.
    const FRAMED: u8 = 0x60;
    /// TOK_ID of AP-REP and of KRB-ERROR (RFC 4121 4.1).
    const OTHERS: [u8; 2] = [2, 3];
    let bytes = hex(&token["input"]);
    match (bytes[0], InitialToken::read(&bytes)) {
        (FRAMED, Ok(InitialToken::Kerberos(all))) if all == bytes => {}
        (first, Err(_)) if first != FRAMED => return Ok(()),
        (_, read) => return Err(format!("read as {read:02x?}")),
    }
    let tok_id = bytes.windows(2).position(|pair| pair == [1, 0]).ok_or("no TOK_ID")?;
    for other in OTHERS {
        let mut changed = bytes.clone();
        changed[tok_id] = other;
        if InitialToken::read(&changed).is_ok() {
            return Err(format!("TOK_ID {other} begins a context"));
        }
    }
    // Behind a token there may be anything.
    let more = [&bytes[..], b"more"].concat();
    match InitialToken::read(&more) {
        Ok(InitialToken::Kerberos(all)) if all == bytes => Ok(()),
        read => Err(format!("read as {read:02x?}")),
    }
}

fn parse_negotiate(token: &Value) -> Result<(), String> {
    let flags = message::Negotiate::read(&hex(&token["input"])).map_err(|_| "malformed")?.flags;
    match token["decode"]["flags"].as_str() {
        Some(expected) if expected != format!("{:#010x}", flags.0) => {
            Err(format!("flags {:#010x}", flags.0))
        }
        _ => Ok(()),
    }
}

fn parse_challenge(token: &Value) -> Result<(), String> {
    let bytes = hex(&token["input"]);
    let challenge = message::Challenge::read(&bytes).map_err(|_| "malformed")?;
    match challenge.target_info.iter().count() {
        0 => Err("no AV pairs".into()),
        _ => Ok(()),
    }
}

fn parse_authenticate(token: &Value) -> Result<(), String> {
    let bytes = hex(&token["input"]);
    let parsed = message::Authenticate::read(&bytes).map_err(|_| "malformed")?;
    for (key, ours) in [("lm", parsed.lm_response), ("nt", parsed.nt_response)] {
        if !token["decode"][key].is_null() && hex(&token["decode"][key]) != ours {
            return Err(format!("{key} {ours:02x?}"));
        }
    }
    message::Ntlmv2Response::read(parsed.nt_response).map_err(|_| "response malformed")?;
    Ok(())
}

fn refuse_malformed(token: &Value) -> Result<(), String> {
    match message::Authenticate::read(&hex(&token["input"])) {
        Ok(_) => Err("read".into()),
        Err(message::Malformed) => Ok(()),
    }
}

#[test]
fn http_cases() {
    let file = load("http_cases.json");
    assert_eq!(text(&file["format"]), "http-cases/1");
    let mut tally = Tally::default();
    for case in file["cases"].as_array().expect("cases") {
        let verdict = text(&case["expect"]["verdict"]);
        tally.count(case, verdict, judge_http(case, verdict));
    }
    assert!(tally.right > 10);
    tally.finish("HTTP");
}

fn judge_http(case: &Value, verdict: &str) -> Result<(), String> {
    let values: Vec<&str> = case["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .filter(|header| text(&header[0]).eq_ignore_ascii_case("authorization"))
        .map(|header| text(&header[1]))
        .collect();
    let authorization = match values[..] {
        [] => Authorization::None,
        [value] => Authorization::One(value.as_bytes()),
        _ => Authorization::Several,
    };
    let mut buffer = vec![0; MAX_TOKEN];
    let (ours, scheme, token) = match authorization {
        Authorization::None => ("challenge", "", None),
        Authorization::Several => ("error400", "", None),
        Authorization::One(value) => match Credentials::read(value) {
            Err(Reason::DuplicateHeader) => ("error400", "", None),
            Err(_) => ("challenge", "", None),
            Ok(credentials) => match credentials.decode(&mut buffer) {
                Err(_) => ("challenge", "", None),
                Ok(token) => ("token", credentials.scheme.name().as_str(), Some(token)),
            },
        },
    };
    if verdict != "either" && ours != verdict {
        return Err(format!("{ours} instead of {verdict}"));
    }
    let expect = &case["expect"];
    if !expect["token"].is_null() && Some(&hex(&expect["token"])[..]) != token {
        return Err(format!("token {token:02x?}"));
    }
    match expect["scheme"].as_str() {
        Some(expected) if expected != scheme => Err(format!("scheme {scheme}")),
        _ => Ok(()),
    }
}

#[test]
fn spnego_cases() {
    let (file, ntlm) = (load("spnego_cases.json"), load("ntlm_cases.json"));
    assert_eq!(text(&file["format"]), "spnego-cases/1");
    let mut tally = Tally::default();
    for case in file["cases"].as_array().expect("cases") {
        let mut steps = case["steps"].as_array().expect("steps").iter();
        let mut acceptor = Acceptor::new(Bench::new(&ntlm, case), case);
        let mut judged = Ok(());
        let mut verdict = "reject";
        while let (Some(step), Ok(())) = (steps.next(), &judged) {
            verdict = text(&step["expect"]["verdict"]);
            let token = hex(&step["input"]);
            let answer = acceptor.step(&token);
            judged = compare_step(&answer, &step["expect"], verdict);
            if let Answered::Reject(_) = answer {
                let again = acceptor.step(&token);
                assert!(matches!(again, Answered::Reject(_)), "{} again", text(&case["id"]));
            }
        }
        tally.count(case, verdict, judged);
    }
    assert!(tally.right > 50);
    tally.finish("SPNEGO");
}

/// What an acceptor says to a token.
enum Answered {
    Continue(Vec<u8>),
    Accept(Vec<u8>, Box<Proof>),
    Reject(Reason),
    Route { mech: &'static str, token: Vec<u8>, raw: bool },
}

/// SPNEGO in front of NTLM, and of a Kerberos that is somewhere else.
struct Acceptor {
    bench: Bench,
    offered: Vec<MechType>,
    state: State,
}

enum State {
    Start,
    Raw(Challenged),
    Negotiating(Negotiation, Option<Challenged>),
    Over,
}

impl Acceptor {
    fn new(bench: Bench, case: &Value) -> Self {
        let offered = case["config"]["mechs"].as_array().expect("mechs").iter();
        let offered = offered.map(|mech| match text(mech) {
            "krb5" => MechType::Krb5,
            "ntlm" => MechType::Ntlmssp,
            other => panic!("unknown mechanism {other}"),
        });
        Self { bench, offered: offered.collect(), state: State::Start }
    }

    fn step(&mut self, token: &[u8]) -> Answered {
        self.take(token).unwrap_or_else(Answered::Reject)
    }

    fn take(&mut self, token: &[u8]) -> Result<Answered, Reason> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start if token.starts_with(SIGNATURE) => {
                if !self.offered.contains(&MechType::Ntlmssp) {
                    return Err(Reason::MechanismNotOffered);
                }
                let challenged = self.bench.answer(token)?;
                let challenge = challenged.challenge().to_vec();
                self.state = State::Raw(challenged);
                Ok(Answered::Continue(challenge))
            }
            State::Start => match InitialToken::read(token)? {
                InitialToken::Kerberos(token) => {
                    Ok(Answered::Route { mech: "krb5", token: token.to_vec(), raw: true })
                }
                InitialToken::Spnego(init) => {
                    let (mut negotiation, token) = Negotiation::begin(&init, &self.offered)?;
                    match (negotiation.mech(), token) {
                        (MechType::Ntlmssp, None) => {
                            let answer = negotiation.ask(None);
                            self.state = State::Negotiating(negotiation, None);
                            Ok(Answered::Continue(answer))
                        }
                        (MechType::Ntlmssp, Some(token)) => self.challenge(negotiation, token),
                        (_, token) => {
                            let token = token.unwrap_or_default().to_vec();
                            Ok(Answered::Route { mech: "krb5", token, raw: false })
                        }
                    }
                }
            },
            State::Raw(challenged) => {
                let proof = self.bench.verify(&challenged, token)?;
                Ok(Answered::Accept(Vec::new(), Box::new(proof)))
            }
            State::Negotiating(negotiation, None) => {
                let client = negotiation.read(token)?;
                if client.mech_list_mic.is_some() {
                    return Err(Reason::OutOfSequence);
                }
                self.challenge(negotiation, client.response_token)
            }
            State::Negotiating(mut negotiation, Some(challenged)) => {
                let client = negotiation.read(token)?;
                let proof = self.bench.verify(&challenged, client.response_token)?;
                let integrity = spnego::integrity(&proof);
                match negotiation.complete(&client, None, integrity)? {
                    Completion::Done(answer) => Ok(Answered::Accept(answer, Box::new(proof))),
                    Completion::Asks(_) => panic!("NTLM's client has signed or never will"),
                }
            }
            State::Over => Err(Reason::OutOfSequence),
        }
    }

    fn challenge(
        &mut self,
        mut negotiation: Negotiation,
        token: &[u8],
    ) -> Result<Answered, Reason> {
        let challenged = self.bench.answer(token)?;
        let answer = negotiation.ask(Some(challenged.challenge()));
        self.state = State::Negotiating(negotiation, Some(challenged));
        Ok(Answered::Continue(answer))
    }
}

fn compare_step(answer: &Answered, expect: &Value, verdict: &str) -> Result<(), String> {
    let same_output = |output: &[u8]| match expect["output"].as_str() {
        Some(expected) if hex(&Value::from(expected)) != output => {
            Err(format!("output {output:02x?}"))
        }
        _ => Ok(()),
    };
    let same_identity = |proof: &Proof| match &expect["identity"] {
        Value::Null => Ok(()),
        identity => {
            let expected = format!("{}\\{}", text(&identity["domain"]), text(&identity["user"]));
            match proof.account().name().as_str() == expected {
                true => Ok(()),
                false => Err(format!("identity {}", proof.account().name().as_str())),
            }
        }
    };
    match (verdict, answer) {
        ("continue", Answered::Continue(output)) => same_output(output),
        ("accept", Answered::Accept(output, proof)) => {
            same_output(output)?;
            same_identity(proof)
        }
        ("reject", Answered::Reject(_)) => Ok(()),
        ("either", Answered::Accept(_, proof)) => same_identity(proof),
        ("either", _) => Ok(()),
        ("route", Answered::Route { mech, token, raw }) => {
            let wanted = expect["mech_token"].as_str();
            match text(&expect["mech"]) == *mech
                && wanted.is_none_or(|wanted| hex(&Value::from(wanted)) == *token)
                && expect["raw"].as_bool().unwrap_or(false) == *raw
            {
                true => Ok(()),
                false => Err(format!("routed to {mech}: {token:02x?}")),
            }
        }
        (_, Answered::Reject(reason)) => Err(format!("rejected: {}", reason.name().as_str())),
        (_, Answered::Continue(_)) => Err("goes on".to_owned()),
        (_, Answered::Accept(..)) => Err("accepted".to_owned()),
        (_, Answered::Route { mech, .. }) => Err(format!("routed to {mech}")),
    }
}

#[test]
fn channel_binding_vectors() {
    let file = load("vectors/channel-bindings.json");
    let certificates = file["certs"].as_array().expect("certs");
    assert!(certificates.len() > 5);
    for vector in certificates {
        let name = text(&vector["name"]);
        let ours = channel_binding::ntlm_binding(&hex(&vector["cert_der"])).map(Vec::from);
        // A signature without a single hash has no binding defined.
        let expected = (!vector["md5"].is_null()).then(|| hex(&vector["md5"]));
        assert_eq!(ours, expected, "{name}");
    }
    for vector in file["structs"].as_array().expect("structs") {
        let bytes = hex(&vector["gss_struct"]);
        // Those with addresses are not for TLS.
        if let Some(data) = bytes.strip_prefix(&[0; 16]) {
            let ours = channel_binding::bindings_md5(&data[4..]).to_vec();
            assert_eq!(ours, hex(&vector["md5"]), "{}", text(&vector["name"]));
        }
    }
}

#[test]
fn ntowfv2_vectors() {
    let file = load("vectors/ntowfv2-case.json");
    for entry in file["entries"].as_array().expect("entries") {
        let user: Vec<u16> = text(&entry["user"]).encode_utf16().collect();
        let domain = text(&entry["domain"]);
        let ntowf_v1 = crypto::ntowf_v1(text(&entry["password"]));
        assert_eq!(ntowf_v1.expose().to_vec(), hex(&entry["NTOWFv1"]));
        let ours = |mapping: names::Uppercase| {
            let mut bytes = Vec::new();
            mapping.write(&user, &mut bytes);
            bytes.extend(domain.encode_utf16().flat_map(u16::to_le_bytes));
            crypto::ntowf_v2(&ntowf_v1, &bytes).expose().to_vec()
        };
        // Every spelling that the vectors know is one of those that are tried.
        let tried: Vec<_> = names::Uppercase::variants(&user).map(ours).collect();
        for key in ["NTOWFv2_simple", "NTOWFv2_full"] {
            let found = entry[key].is_null() || tried.contains(&hex(&entry[key]));
            assert!(found, "{} {key}", text(&entry["user"]));
        }
    }
}
