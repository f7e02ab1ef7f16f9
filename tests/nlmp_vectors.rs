//! Every value of MS-NLMP 4.2, by the section that publishes it.
//!
//! NTLMv1 is refused by this library, which therefore computes none of its values: the few lines
//! that do are here, so that the published messages are known to be genuine when they are refused.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{corpus, hex, hex_of, utf16le};
use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use hmac::Mac;
use md4::{Digest, Md4};
use md5::Md5;
use std::time::Duration;

use negotiate_auth::accounts::{Account, AccountName, Accounts, Entry};
use negotiate_auth::ntlm::flags::Flags;
use negotiate_auth::ntlm::message::{Authenticate, Challenge, ChallengeParts, Ntlmv2Response};
use negotiate_auth::ntlm::session_security::{Sender, SessionSecurity, seal_key, sign_key};
use negotiate_auth::ntlm::{
    Authority, Challenged, ChannelBindings, Context, FileTime, Policy, Proof, ServerNames,
    ServiceNames, crypto,
};
use negotiate_auth::reason::Reason;
use negotiate_auth::secret::Secret;
use serde_json::Value;

const V1: &str = "4.2.2_ntlmv1";
const V1_WITH_CLIENT_CHALLENGE: &str = "4.2.3_ntlm2session";
const V2: &str = "4.2.4_ntlmv2";

/// The values of one section, and the common ones of 4.2.1.
struct Vectors {
    common: Value,
    section: Value,
}

impl Vectors {
    fn of(section: &str) -> Self {
        let mut file = corpus("vectors/ms-nlmp-4.2.json");
        Self { common: file["common"].take(), section: file[section].take() }
    }

    fn value(&self, name: &str) -> Vec<u8> {
        hex_of(&self.section[name])
    }

    fn key(&self, name: &str) -> Secret<16> {
        Secret::from_slice(&self.value(name)).expect("16 bytes")
    }

    fn common(&self, name: &str) -> Vec<u8> {
        hex_of(&self.common[name])
    }

    fn text(&self, name: &str) -> &str {
        self.common[name].as_str().expect("text")
    }

    fn server_challenge(&self) -> [u8; 8] {
        self.common("ServerChallenge").try_into().expect("8 bytes")
    }

    fn random_session_key(&self) -> Secret<16> {
        Secret::from_slice(&self.common("RandomSessionKey")).expect("16 bytes")
    }

    fn flags(&self) -> Flags {
        let digits = self.section["flags"].as_str().expect("flags").trim_start_matches("0x");
        Flags(u32::from_str_radix(digits, 16).expect("hex digits"))
    }

    /// "Plaintext" as the first message that the client wraps with `key`.
    fn wrap(&self, key: &Secret<16>) -> (Vec<u8>, [u8; 16]) {
        let mut message = plaintext();
        let signature = SessionSecurity::new(self.flags(), key, Sender::Client).seal(&mut message);
        (message, signature)
    }

    /// Judges an AUTHENTICATE of these vectors as the answer to `challenge`.
    fn judge(&self, challenge: &Challenged, token: &[u8]) -> Result<Proof, Reason> {
        let context = Context {
            authority: Authority::Hashes(&OneUser::new(self)),
            names: &names(),
            policy: Policy::default(),
            channel_bindings: ChannelBindings::Off,
            service_names: ServiceNames::Any,
            now: FileTime(0),
            age: Duration::ZERO,
        };
        challenge.verify(token, &context)
    }
}

fn plaintext() -> Vec<u8> {
    utf16le("Plaintext")
}

fn names() -> ServerNames {
    ServerNames {
        nb_computer: "Server".into(),
        nb_domain: "Domain".into(),
        dns_computer: String::new(),
        dns_domain: String::new(),
        dns_tree: String::new(),
    }
}

/// Domain\User.
struct OneUser(Arc<Account>, Secret<16>);

impl OneUser {
    fn new(vectors: &Vectors) -> Self {
        let entry = Entry {
            domain: vectors.text("UserDom").into(),
            user: vectors.text("User").into(),
            nt_hash: Some(crypto::ntowf_v1(vectors.text("Passwd"))),
            groups: Vec::new(),
        };
        Self(Arc::new(entry.into()), Secret::new([0; 16]))
    }
}

impl Accounts for OneUser {
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>> {
        let account = &self.0;
        let is = |units: &[u16], text: &str| units.iter().copied().eq(text.encode_utf16());
        (is(&name.domain, account.domain().as_str()) && is(name.user, account.user().as_str()))
            .then(|| account.clone())
    }

    fn decoy(&self) -> &Secret<16> {
        &self.1
    }
}

// ---- What NTLMv1 computes (3.3.1, 3.4.5.1) --------------------------------------------------

/// DES of one block under seven bytes of key.
fn des(key: &[u8], block: &[u8]) -> Vec<u8> {
    let bits = key.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    // Seven bits to a byte; the eighth is parity, which nobody checks.
    let key: [u8; 8] = std::array::from_fn(|at| (bits >> (49 - 7 * at) << 1) as u8);
    let mut block = <[u8; 8]>::try_from(block).expect("8 bytes").into();
    Des::new(&key.into()).encrypt_block(&mut block);
    block.to_vec()
}

/// DESL (6): the block under each third of the key.
fn desl(key: &[u8], block: &[u8]) -> Vec<u8> {
    let key = [key, &[0; 5]].concat();
    key.chunks(7).flat_map(|third| des(third, block)).collect()
}

fn lmowf_v1(password: &str) -> Vec<u8> {
    let mut password = password.to_ascii_uppercase().into_bytes();
    password.resize(14, 0);
    password.chunks(7).flat_map(|half| des(half, b"KGS!@#$%")).collect()
}

fn session_base_key_v1(vectors: &Vectors) -> Vec<u8> {
    Md4::digest(vectors.value("NTOWFv1")).to_vec()
}

fn rc4k(key: &[u8], data: &[u8]) -> Vec<u8> {
    let key = Secret::from_slice(key).expect("16 bytes");
    crypto::rc4k(&key, data.try_into().expect("16 bytes")).expose().to_vec()
}

// ---- 4.2.2 NTLM v1 Authentication -----------------------------------------------------------

#[test]
fn nlmp_4_2_2_1_1_lmowf_v1() {
    let v = Vectors::of(V1);
    assert_eq!(lmowf_v1(v.text("Passwd")), v.value("LMOWFv1"));
}

#[test]
fn nlmp_4_2_2_1_2_ntowf_v1() {
    let v = Vectors::of(V1);
    assert_eq!(crypto::ntowf_v1(v.text("Passwd")).expose()[..], v.value("NTOWFv1"));
}

#[test]
fn nlmp_4_2_2_1_3_session_base_key_and_key_exchange_key() {
    let v = Vectors::of(V1);
    let (lmowf, response) = (v.value("LMOWFv1"), v.value("LmChallengeResponse"));
    assert_eq!(session_base_key_v1(&v), v.value("SessionBaseKey"));
    assert_eq!(v.value("KeyExchangeKey"), v.value("SessionBaseKey"));
    assert_eq!([&lmowf[..8], &[0; 8]].concat(), v.value("KeyExchangeKey_NON_NT"));
    let second = [&lmowf[7..8], &[0xbd; 6]].concat();
    let halves = [des(&lmowf[..7], &response[..8]), des(&second, &response[..8])];
    assert_eq!(halves.concat(), v.value("KeyExchangeKey_LM_KEY"));
}

#[test]
fn nlmp_4_2_2_2_1_ntlmv1_response() {
    let v = Vectors::of(V1);
    assert_eq!(desl(&v.value("NTOWFv1"), &v.server_challenge()), v.value("NtChallengeResponse"));
}

#[test]
fn nlmp_4_2_2_2_2_lmv1_response() {
    let v = Vectors::of(V1);
    assert_eq!(desl(&v.value("LMOWFv1"), &v.server_challenge()), v.value("LmChallengeResponse"));
}

#[test]
fn nlmp_4_2_2_2_3_encrypted_session_key() {
    let v = Vectors::of(V1);
    for suffix in ["", "_NON_NT", "_LM_KEY"] {
        let key = v.value(&format!("KeyExchangeKey{suffix}"));
        let encrypted = v.value(&format!("EncryptedSessionKey{suffix}"));
        assert_eq!(rc4k(&key, &v.common("RandomSessionKey")), encrypted, "{suffix}");
        assert_eq!(rc4k(&key, &encrypted), v.common("RandomSessionKey"), "{suffix}");
    }
}

#[test]
fn nlmp_4_2_2_3_challenge() {
    challenge_is_written_as_published(&Vectors::of(V1), &[]);
}

#[test]
fn nlmp_4_2_2_3_authenticate_is_genuine_and_refused() {
    let v = Vectors::of(V1);
    let message = v.value("AUTHENTICATE");
    let read = authenticate_reads_as_published(&v, &message, 0xe280_8235);
    assert_eq!(read.encrypted_session_key, v.value("EncryptedSessionKey"));
    ntlmv1_is_refused(&v, &message);
}

#[test]
fn nlmp_4_2_2_4_gss_wrap_ex() {
    let v = Vectors::of(V1);
    let (sealed, signature) = v.wrap(&v.random_session_key());
    assert_eq!(sealed, v.value("wrap_sealed"));
    assert_eq!(signature[..], v.value("wrap_signature_on_wire_randompad_zero"));
    // The example leaves RandomPad, bytes 4 to 7, as RC4 made it; 3.4.4.1 sets it to zero.
    let published = v.value("wrap_signature_doc");
    assert_eq!((&signature[..4], &signature[8..]), (&published[..4], &published[8..]));
    let checksum = crc32fast::hash(&plaintext()).to_le_bytes();
    assert_eq!(checksum[..], v.value("crc32"));
}

// ---- 4.2.3 NTLM v1 with Client Challenge ----------------------------------------------------

#[test]
fn nlmp_4_2_3_1_1_ntowf_v1() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    assert_eq!(crypto::ntowf_v1(v.text("Passwd")).expose()[..], v.value("NTOWFv1"));
}

#[test]
fn nlmp_4_2_3_1_2_session_base_key() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    assert_eq!(session_base_key_v1(&v), v.value("SessionBaseKey"));
}

#[test]
fn nlmp_4_2_3_1_3_key_exchange_key() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    let key = crypto::hmac_md5(&v.key("SessionBaseKey"))
        .chain_update(v.server_challenge())
        .chain_update(&v.value("LmChallengeResponse")[..8]);
    assert_eq!(key.finalize().into_bytes()[..], v.value("KeyExchangeKey"));
}

#[test]
fn nlmp_4_2_3_2_1_lmv1_response() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    let response = [v.common("ClientChallenge"), vec![0; 16]].concat();
    assert_eq!(response, v.value("LmChallengeResponse"));
}

#[test]
fn nlmp_4_2_3_2_2_ntlmv1_response() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    let both = Md5::new()
        .chain_update(v.server_challenge())
        .chain_update(v.common("ClientChallenge"))
        .finalize();
    assert_eq!(desl(&v.value("NTOWFv1"), &both[..8]), v.value("NtChallengeResponse"));
}

#[test]
fn nlmp_4_2_3_3_challenge() {
    challenge_is_written_as_published(&Vectors::of(V1_WITH_CLIENT_CHALLENGE), &[]);
}

#[test]
fn nlmp_4_2_3_3_authenticate_is_genuine_and_refused() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    let message = v.value("AUTHENTICATE");
    let read = authenticate_reads_as_published(&v, &message, 0x8208_8235);
    assert!(read.encrypted_session_key.is_empty());
    ntlmv1_is_refused(&v, &message);
}

#[test]
fn nlmp_4_2_3_4_gss_wrap_ex() {
    let v = Vectors::of(V1_WITH_CLIENT_CHALLENGE);
    let key = v.key("KeyExchangeKey");
    let sealing = seal_key(v.flags(), &key, Sender::Client);
    assert_eq!(sealing.expose()[..], v.value("SealKey"));
    assert_eq!(sign_key(&key, Sender::Client).expose()[..], v.value("SignKey"));
    let (sealed, signature) = v.wrap(&key);
    assert_eq!(sealed, v.value("wrap_sealed"));
    // Without KEY_EXCH the checksum stands in the signature as it is.
    assert_eq!(signature[4..12], v.value("checksum"));
    assert_eq!(signature[..], v.value("wrap_signature"));
}

// ---- 4.2.4 NTLMv2 Authentication ------------------------------------------------------------

#[test]
fn nlmp_4_2_4_1_1_ntowf_v2_and_lmowf_v2() {
    let v = Vectors::of(V2);
    let user_and_domain = utf16le(&(v.text("User").to_uppercase() + v.text("UserDom")));
    let key = crypto::ntowf_v2(&crypto::ntowf_v1(v.text("Passwd")), &user_and_domain);
    assert_eq!(key.expose()[..], v.value("NTOWFv2"));
    assert_eq!(key.expose()[..], v.value("LMOWFv2"));
}

#[test]
fn nlmp_4_2_4_1_2_session_base_key() {
    let v = Vectors::of(V2);
    let proof = v.value("NTProofStr").try_into().expect("16 bytes");
    let key = crypto::session_base_key(&crypto::hmac_md5(&v.key("NTOWFv2")), &proof);
    assert_eq!(key.expose()[..], v.value("SessionBaseKey"));
    // KXKEY (3.4.5.1) leaves it as it is.
    assert_eq!(v.value("KeyExchangeKey"), v.value("SessionBaseKey"));
}

#[test]
fn nlmp_4_2_4_1_3_temp() {
    let v = Vectors::of(V2);
    let response = v.value("NtChallengeResponse");
    let read = Ntlmv2Response::read(&response).expect("a response");
    assert_eq!(read.blob, v.value("temp"));
    assert_eq!(read.timestamp.to_le_bytes()[..], v.common("Time"));
    let pairs: Vec<_> = read.av_pairs.iter().map(|(id, value)| (id.0, value.to_vec())).collect();
    assert_eq!(pairs, [(2, utf16le("Domain")), (1, utf16le("Server"))]);
    // Reserved and version, time, client challenge, TargetInfo, four more bytes.
    let parts = [
        hex("0101000000000000"),
        v.common("Time"),
        v.common("ClientChallenge"),
        vec![0; 4],
        v.value("TargetInfo"),
        vec![0; 4],
    ];
    assert_eq!(parts.concat(), v.value("temp"));
}

#[test]
fn nlmp_4_2_4_2_1_lmv2_response() {
    let v = Vectors::of(V2);
    let proof = crypto::hmac_md5(&v.key("LMOWFv2"))
        .chain_update(v.server_challenge())
        .chain_update(v.common("ClientChallenge"));
    let response = [&proof.finalize().into_bytes()[..], &v.common("ClientChallenge")].concat();
    assert_eq!(response, v.value("LmChallengeResponse"));
}

#[test]
fn nlmp_4_2_4_2_2_ntlmv2_response() {
    let v = Vectors::of(V2);
    let key = crypto::hmac_md5(&v.key("NTOWFv2"));
    let proof = crypto::nt_proof_str(&key, &v.server_challenge(), &v.value("temp"));
    assert_eq!(proof.expose()[..], v.value("NTProofStr"));
    let response = [v.value("NTProofStr"), v.value("temp")].concat();
    assert_eq!(response, v.value("NtChallengeResponse"));
}

#[test]
fn nlmp_4_2_4_2_3_encrypted_session_key() {
    let v = Vectors::of(V2);
    let (key, encrypted) = (v.value("KeyExchangeKey"), v.value("EncryptedSessionKey"));
    assert_eq!(rc4k(&key, &v.common("RandomSessionKey")), encrypted);
    assert_eq!(rc4k(&key, &encrypted), v.common("RandomSessionKey"));
}

#[test]
fn nlmp_4_2_4_3_challenge() {
    let v = Vectors::of(V2);
    challenge_is_written_as_published(&v, &v.value("TargetInfo"));
    let message = v.value("CHALLENGE");
    let read = Challenge::read(&message).expect("a CHALLENGE");
    assert_eq!(read.flags, v.flags());
    assert_eq!(read.server_challenge, v.server_challenge());
    assert_eq!(read.target_name, utf16le("Server"));
    let pairs: Vec<_> = read.target_info.iter().map(|(id, value)| (id.0, value)).collect();
    assert_eq!(pairs, [(2, &utf16le("Domain")[..]), (1, &utf16le("Server")[..])]);
}

#[test]
fn nlmp_4_2_4_3_authenticate_is_accepted() {
    let v = Vectors::of(V2);
    let message = v.value("AUTHENTICATE");
    let read = authenticate_reads_as_published(&v, &message, 0xe288_8235);
    assert_eq!(read.encrypted_session_key, v.value("EncryptedSessionKey"));
    assert_eq!(read.mic(), None);

    let challenged = Challenged::import(&negotiate(), &v.value("CHALLENGE"));
    let proof = v.judge(&challenged.expect("messages"), &message).expect("a proof");
    assert_eq!(proof.account().name().as_str(), "Domain\\User");
    assert_eq!(proof.session_base_key().expose()[..], v.value("SessionBaseKey"));
    assert_eq!(proof.exported_session_key().expose()[..], v.common("RandomSessionKey"));
    assert_eq!(proof.flags(), v.flags());
}

#[test]
fn nlmp_4_2_4_4_gss_wrap_ex() {
    let v = Vectors::of(V2);
    let key = v.random_session_key();
    assert_eq!(sign_key(&key, Sender::Client).expose()[..], v.value("SignKey_client"));
    assert_eq!(sign_key(&key, Sender::Server).expose()[..], v.value("SignKey_server"));
    let (sealed, signature) = v.wrap(&key);
    assert_eq!(sealed, v.value("wrap_sealed"));
    assert_eq!(signature[..], v.value("wrap_signature"));
    let checksum = crypto::hmac_md5(&v.key("SignKey_client"))
        .chain_update(0_u32.to_le_bytes())
        .chain_update(plaintext());
    assert_eq!(checksum.finalize().into_bytes()[..8], v.value("checksum"));
}

#[test]
fn nlmp_4_2_4_4_seal_key_in_every_strength_and_direction() {
    let v = Vectors::of(V2);
    let key = v.random_session_key();
    let all = Flags::EXTENDED_SESSIONSECURITY.0 | Flags::KEY_128.0 | Flags::KEY_56.0;
    for (bits, flags) in [
        (128, all),
        (128, all ^ Flags::KEY_56.0),
        (56, all ^ Flags::KEY_128.0),
        (40, Flags::EXTENDED_SESSIONSECURITY.0),
    ] {
        for (sender, name) in [(Sender::Client, "client"), (Sender::Server, "server")] {
            let ours = seal_key(Flags(flags), &key, sender);
            let published = v.value(&format!("SealKey_{name}_{bits}"));
            assert_eq!(ours.expose()[..], published, "{name} {bits}");
        }
    }
}

// ---- All sections ---------------------------------------------------------------------------

/// A value that the corpus gains has to gain a test.
#[test]
fn no_value_is_left_out() {
    let file = corpus("vectors/ms-nlmp-4.2.json");
    let messages = ["flags", "CHALLENGE", "AUTHENTICATE", "wrap_sealed", "SessionBaseKey"];
    let responses = ["NtChallengeResponse", "LmChallengeResponse", "KeyExchangeKey"];
    for (section, own) in [
        (
            V1,
            "LMOWFv1 NTOWFv1 KeyExchangeKey_LM_KEY KeyExchangeKey_NON_NT EncryptedSessionKey \
             EncryptedSessionKey_NON_NT EncryptedSessionKey_LM_KEY wrap_signature_doc crc32 \
             wrap_signature_on_wire_randompad_zero note",
        ),
        (V1_WITH_CLIENT_CHALLENGE, "NTOWFv1 SealKey SignKey checksum wrap_signature"),
        (
            V2,
            "TargetInfo NTOWFv2 LMOWFv2 temp NTProofStr EncryptedSessionKey SignKey_client \
             SignKey_server SealKey_client_128 SealKey_server_128 SealKey_client_56 \
             SealKey_server_56 SealKey_client_40 SealKey_server_40 checksum wrap_signature",
        ),
    ] {
        let tested: BTreeSet<_> = own.split_whitespace().chain(messages).chain(responses).collect();
        let published = file[section].as_object().expect("a section");
        assert_eq!(published.keys().map(String::as_str).collect::<BTreeSet<_>>(), tested);
    }
}

/// A NEGOTIATE that offers what the published CHALLENGEs answer.
fn negotiate() -> Vec<u8> {
    [&b"NTLMSSP\0"[..], &1_u32.to_le_bytes(), &0xe208_8233_u32.to_le_bytes()].concat()
}

/// Our writer gives the published bytes, except for Version and the offset of nothing.
fn challenge_is_written_as_published(v: &Vectors, target_info: &[u8]) {
    let parts = ChallengeParts {
        flags: v.flags(),
        server_challenge: &v.server_challenge(),
        target_name: &utf16le(v.text("ServerName")),
        target_info,
    };
    let (mut ours, published) = (Vec::new(), v.value("CHALLENGE"));
    parts.write(&mut ours);
    assert_eq!(ours[..44], published[..44]);
    assert!(target_info.is_empty() || ours[44..48] == published[44..48]);
    assert_eq!(ours[56..], published[56..]);
}

/// All that the three sections have in common.
fn authenticate_reads_as_published<'a>(
    v: &Vectors,
    message: &'a [u8],
    flags: u32,
) -> Authenticate<'a> {
    let read = Authenticate::read(message).expect("an AUTHENTICATE");
    assert_eq!(read.message, message);
    assert_eq!(read.lm_response, v.value("LmChallengeResponse"));
    assert_eq!(read.nt_response, v.value("NtChallengeResponse"));
    assert_eq!(read.domain, utf16le(v.text("UserDom")));
    assert_eq!(read.user, utf16le(v.text("User")));
    assert_eq!(read.flags, Flags(flags));
    assert_eq!(read.payload, 72);
    read
}

/// Our own CHALLENGE with the published ServerChallenge: right as it is, the response is refused.
fn ntlmv1_is_refused(v: &Vectors, message: &[u8]) {
    let challenged = Challenged::answer(&negotiate(), &names(), &v.server_challenge(), None);
    let result = v.judge(&challenged.expect("a CHALLENGE"), message);
    assert_eq!(result.err(), Some(Reason::Ntlmv1Refused));
}
