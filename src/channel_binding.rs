//! tls-server-end-point (RFC 5929 4.1) and its form in NTLM and Kerberos (RFC 4121 4.1.1.2).

use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier as Oid;
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_cert::spki::AlgorithmIdentifierOwned;

/// The hash that a certificate's signature calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// MsvAvChannelBindings for a server certificate in DER; `None` if it is no certificate, or one
/// whose signature has no single hash (Ed25519, Ed448), for which no binding is defined.
pub fn ntlm_binding(certificate: &[u8]) -> Option<[u8; 16]> {
    let hash = signature_hash(certificate)?;
    let mut application_data = b"tls-server-end-point:".to_vec();
    match hash {
        Hash::Sha224 => application_data.extend_from_slice(&Sha224::digest(certificate)),
        Hash::Sha256 => application_data.extend_from_slice(&Sha256::digest(certificate)),
        Hash::Sha384 => application_data.extend_from_slice(&Sha384::digest(certificate)),
        Hash::Sha512 => application_data.extend_from_slice(&Sha512::digest(certificate)),
    }
    Some(bindings_md5(&application_data))
}

/// MD5 of gss_channel_bindings_struct with application data only: the address types and lengths
/// are zero, and hashed.
pub fn bindings_md5(application_data: &[u8]) -> [u8; 16] {
    let len = u32::try_from(application_data.len()).unwrap_or(u32::MAX);
    Md5::new()
        .chain_update([0; 16])
        .chain_update(len.to_le_bytes())
        .chain_update(application_data)
        .finalize()
        .into()
}

fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let algorithm = certificate.signature_algorithm();
    by_signature(algorithm.oid).or_else(|| match algorithm.oid {
        RSASSA_PSS => by_pss_parameters(algorithm),
        _ => None,
    })
}

const fn oid(text: &str) -> Oid {
    Oid::new_unwrap(text)
}

const RSASSA_PSS: Oid = oid("1.2.840.113549.1.1.10");

/// Where the signature's hash is MD5 or SHA-1, SHA-256 takes its place (RFC 5929 4.1).
const SIGNATURES: &[(Oid, Hash)] = &[
    (oid("1.2.840.113549.1.1.11"), Hash::Sha256), // sha256WithRSAEncryption
    (oid("1.2.840.10045.4.3.2"), Hash::Sha256),   // ecdsa-with-SHA256
    (oid("1.2.840.113549.1.1.12"), Hash::Sha384), // sha384WithRSAEncryption
    (oid("1.2.840.10045.4.3.3"), Hash::Sha384),   // ecdsa-with-SHA384
    (oid("1.2.840.113549.1.1.13"), Hash::Sha512), // sha512WithRSAEncryption
    (oid("1.2.840.10045.4.3.4"), Hash::Sha512),   // ecdsa-with-SHA512
    (oid("1.2.840.113549.1.1.14"), Hash::Sha224), // sha224WithRSAEncryption
    (oid("1.2.840.10045.4.3.1"), Hash::Sha224),   // ecdsa-with-SHA224
    (oid("1.2.840.113549.1.1.4"), Hash::Sha256),  // md5WithRSAEncryption
    (oid("1.2.840.113549.1.1.5"), Hash::Sha256),  // sha1WithRSAEncryption
    (oid("1.2.840.10045.4.1"), Hash::Sha256),     // ecdsa-with-SHA1
    (oid("1.2.840.10040.4.3"), Hash::Sha256),     // dsa-with-SHA1
    (oid("2.16.840.1.101.3.4.3.1"), Hash::Sha224), // dsa-with-SHA224
    (oid("2.16.840.1.101.3.4.3.2"), Hash::Sha256), // dsa-with-SHA256
];

/// The hashes by themselves, as RSASSA-PSS parameters name them (RFC 4055 2.1).
const HASHES: &[(Oid, Hash)] = &[
    (oid("2.16.840.1.101.3.4.2.1"), Hash::Sha256),
    (oid("2.16.840.1.101.3.4.2.2"), Hash::Sha384),
    (oid("2.16.840.1.101.3.4.2.3"), Hash::Sha512),
    (oid("2.16.840.1.101.3.4.2.4"), Hash::Sha224),
    (oid("1.3.14.3.2.26"), Hash::Sha256), // SHA-1
];

fn by_signature(algorithm: Oid) -> Option<Hash> {
    SIGNATURES.iter().find(|row| row.0 == algorithm).map(|row| row.1)
}

/// hashAlgorithm [0] of RSASSA-PSS-params; SHA-1 if it is not there (RFC 4055 3.1).
fn by_pss_parameters(algorithm: &AlgorithmIdentifierOwned) -> Option<Hash> {
    let parameters = algorithm.parameters.as_ref()?;
    if parameters.tag() != Tag::Sequence {
        return None;
    }
    let mut fields = SliceReader::new(parameters.value()).ok()?;
    let Some(first) = (!fields.is_finished()).then(|| fields.tlv_bytes()).transpose().ok()? else {
        return Some(Hash::Sha256);
    };
    let first = x509_cert::der::asn1::AnyRef::from_der(first).ok()?;
    if first.tag().to_der().ok()? != [0xa0] {
        return Some(Hash::Sha256);
    }
    let hash = AlgorithmIdentifierOwned::from_der(first.value()).ok()?;
    HASHES.iter().find(|row| row.0 == hash.oid).map(|row| row.1)
}
