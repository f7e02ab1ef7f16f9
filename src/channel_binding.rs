//! tls-server-end-point (RFC 5929 4.1) and its form in NTLM and Kerberos (RFC 4121 4.1.1.2).

use md5::{Digest, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::der::{self, tag};

/// The hash that a certificate's signature calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// What the application data of the bindings begins with.
const PREFIX: &[u8] = b"tls-server-end-point:";

/// A server certificate as the end point of a channel.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EndPoint {
    application_data: Box<[u8]>,
    ntlm: [u8; 16],
}

impl EndPoint {
    /// Of a certificate in DER; `None` if it is none, or one whose signature has no single hash
    /// (Ed25519, Ed448), for which no binding is defined.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let hash = signature_hash(certificate)?;
        let application_data = match hash {
            Hash::Sha224 => [PREFIX, &Sha224::digest(certificate)].concat(),
            Hash::Sha256 => [PREFIX, &Sha256::digest(certificate)].concat(),
            Hash::Sha384 => [PREFIX, &Sha384::digest(certificate)].concat(),
            Hash::Sha512 => [PREFIX, &Sha512::digest(certificate)].concat(),
        };
        let ntlm = bindings_md5(&application_data);
        Some(Self { application_data: application_data.into(), ntlm })
    }

    /// The application data of gss_channel_bindings_struct.
    pub fn application_data(&self) -> &[u8] {
        &self.application_data
    }

    /// MsvAvChannelBindings.
    pub fn ntlm(&self) -> &[u8; 16] {
        &self.ntlm
    }
}

/// The end point of a certificate's file, in PEM (RFC 7468; the first certificate of a chain) or DER.
pub(crate) fn of_file(bytes: &[u8]) -> Result<EndPoint, &'static str> {
    let der = match bytes.first() {
        Some(&tag::SEQUENCE) => bytes.to_vec(),
        _ => pem::parse_many(bytes)
            .map_err(|_| "is no certificate in PEM or DER")?
            .into_iter()
            .find(|part| part.tag() == "CERTIFICATE")
            .ok_or("has no certificate")?
            .into_contents(),
    };
    EndPoint::of(&der).ok_or("is no certificate for which a channel binding is defined")
}

/// What the bindings of a connection may be. Where there is nothing to compare with, whatever a
/// client sends is wrong.
pub enum Expected {
    /// Not looked at.
    Off,
    /// Absent, or one of these.
    Allow(Vec<EndPoint>),
    /// One of these.
    Require(Vec<EndPoint>),
    /// There is none, and one is required.
    Impossible,
}

/// MsvAvChannelBindings for a server certificate in DER, as [`EndPoint::of`] has it.
pub fn ntlm_binding(certificate: &[u8]) -> Option<[u8; 16]> {
    EndPoint::of(certificate).map(|end_point| end_point.ntlm)
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

/// The hash that signatureAlgorithm (RFC 5280 4.1.1.2) stands for.
fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    let (certificate, _) = der::expect(certificate, tag::SEQUENCE)?;
    let (_tbs_certificate, rest) = der::expect(certificate, tag::SEQUENCE)?;
    let (algorithm, _) = der::expect(rest, tag::SEQUENCE)?;
    let (algorithm, parameters) = der::expect(algorithm, tag::OID)?;
    match algorithm {
        RSASSA_PSS => by_pss_parameters(parameters),
        _ => SIGNATURES.iter().find(|row| row.0 == algorithm).map(|row| row.1),
    }
}

/// id-RSASSA-PSS, 1.2.840.113549.1.1.10.
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// Signature algorithms by the contents of their OBJECT IDENTIFIER. Where the signature's hash is
/// MD5 or SHA-1, SHA-256 takes its place (RFC 5929 4.1).
const SIGNATURES: &[(&[u8], Hash)] = &[
    // 1.2.840.113549.1.1: RSA with SHA-256, 384, 512, 224, MD5, SHA-1
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], Hash::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], Hash::Sha384),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], Hash::Sha512),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 14], Hash::Sha224),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], Hash::Sha256),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], Hash::Sha256),
    // 1.2.840.10045.4: ECDSA with SHA-1, 224, 256, 384, 512
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], Hash::Sha256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], Hash::Sha224),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], Hash::Sha256),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], Hash::Sha384),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], Hash::Sha512),
    // 1.2.840.10040.4.3 and 2.16.840.1.101.3.4.3: DSA with SHA-1, 224, 256
    (&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3], Hash::Sha256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 1], Hash::Sha224),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], Hash::Sha256),
];

/// Hashes by themselves, as RSASSA-PSS parameters name them (RFC 4055 2.1).
const HASHES: &[(&[u8], Hash)] = &[
    // 2.16.840.1.101.3.4.2: SHA-256, 384, 512, 224
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], Hash::Sha256),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], Hash::Sha384),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], Hash::Sha512),
    (&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4], Hash::Sha224),
    // 1.3.14.3.2.26: SHA-1
    (&[0x2b, 0x0e, 3, 2, 0x1a], Hash::Sha256),
];

/// hashAlgorithm [0] of RSASSA-PSS-params; SHA-1 if it is not there (RFC 4055 3.1).
fn by_pss_parameters(parameters: &[u8]) -> Option<Hash> {
    let (parameters, _) = der::expect(parameters, tag::SEQUENCE)?;
    let Some((hash_algorithm, _)) = der::expect(parameters, tag::CONTEXT_0) else {
        return Some(Hash::Sha256);
    };
    let (algorithm, _) = der::expect(hash_algorithm, tag::SEQUENCE)?;
    let (hash, _) = der::expect(algorithm, tag::OID)?;
    HASHES.iter().find(|row| row.0 == hash).map(|row| row.1)
}
