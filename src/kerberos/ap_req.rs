//! What an AP-REQ shows before it is decrypted (RFC 4120 5.5.1): none of it is proved, but it tells
//! which key would prove it.

use std::fmt::{self, Write};

use super::enctype;
use crate::der::{self, tag};
use crate::names::Escaped;

/// Identifier octets of RFC 4120.
mod id {
    /// [APPLICATION 1]
    pub(super) const TICKET: u8 = 0x61;
    /// [APPLICATION 14]
    pub(super) const AP_REQ: u8 = 0x6e;
}

/// No name in a ticket has more components.
const MOST_COMPONENTS: usize = 8;

/// An AP-REQ.
pub(super) struct ApReq<'a> {
    /// mutual-required
    pub(super) mutual: bool,
    /// The service's realm.
    pub(super) realm: &'a [u8],
    /// sname, as encoded.
    pub(super) sname: &'a [u8],
    /// The components of its name-string.
    pub(super) components: Vec<&'a [u8]>,
    /// What the ticket is encrypted with.
    pub(super) enctype: i32,
    /// The version of that key.
    pub(super) kvno: Option<u32>,
    /// What the authenticator is encrypted with: the session key.
    pub(super) session_enctype: i32,
}

impl<'a> ApReq<'a> {
    /// Reads the AP-REQ of an InitialContextToken (RFC 4121 4.1), whose mechanism and TOK_ID have
    /// been looked at.
    pub(super) fn read(token: &'a [u8]) -> Option<Self> {
        let (body, _) = der::expect(token, tag::INITIAL_CONTEXT_TOKEN)?;
        let (_mech, inner) = der::expect(body, tag::OID)?;
        let (ap_req, _) = der::expect(inner.get(2..)?, id::AP_REQ)?;
        let mut fields = Fields::of(ap_req)?;
        fields.integer(0).filter(|&pvno| pvno == 5)?;
        fields.integer(1).filter(|&msg_type| msg_type == 14)?;
        let (options, _) = der::expect(fields.take(2)?, tag::BIT_STRING)?;
        // The first octet tells how many bits of the last do not count.
        let mutual = options.get(1)? & 0x20 != 0;
        let (ticket, _) = der::expect(fields.take(3)?, id::TICKET)?;
        let (session_enctype, _) = encrypted_data(fields.take(4)?)?;

        let mut fields = Fields::of(ticket)?;
        fields.integer(0).filter(|&tkt_vno| tkt_vno == 5)?;
        let (realm, _) = der::expect(fields.take(1)?, tag::GENERAL_STRING)?;
        let sname = fields.take(2)?;
        let (enctype, kvno) = encrypted_data(fields.take(3)?)?;
        let components = components(sname)?;
        // Encoders take the sign bit for one or not: 32 bits count.
        let kvno = kvno.map(|kvno| kvno as u32);
        Some(Self { mutual, realm, sname, components, enctype, kvno, session_enctype })
    }

    /// Whether the ticket is for this service on some host.
    pub(super) fn is_for_service(&self, service: &[u8]) -> bool {
        matches!(self.components[..], [first, _] if first.eq_ignore_ascii_case(service))
    }

    /// Whether a key of this version is the one that the ticket names.
    pub(super) fn is_of_version(&self, kvno: u32) -> bool {
        // A file of the first format has one octet for the version.
        self.kvno.is_none_or(|of| kvno == of || kvno == of & 0xff)
    }

    /// Whether its names are as short as those of services are: longer ones are not repeated whole.
    pub(super) fn is_modest(&self) -> bool {
        self.sname.len() + self.realm.len() <= 1024
    }
}

/// A name of no more than so many bytes is told whole.
const MOST_TOLD: usize = 256;

/// A name for people, escaped, and cut if it is very long.
fn tell(f: &mut fmt::Formatter<'_>, name: &[u8]) -> fmt::Result {
    let (told, dots) = match name.get(..MOST_TOLD) {
        Some(told) if name.len() > MOST_TOLD => (told, "..."),
        _ => (name, ""),
    };
    write!(f, "{}{dots}", Escaped(&String::from_utf8_lossy(told)))
}

/// "ticket for HTTP/host@REALM, kvno 2, aes256-cts-hmac-sha1-96"
impl fmt::Display for ApReq<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ticket for ")?;
        for (at, component) in self.components.iter().enumerate() {
            if at > 0 {
                f.write_char('/')?;
            }
            tell(f, component)?;
        }
        f.write_char('@')?;
        tell(f, self.realm)?;
        if let Some(kvno) = self.kvno {
            write!(f, ", kvno {kvno}")?;
        }
        write!(f, ", {}", enctype::name(self.enctype))
    }
}

/// name-string of a PrincipalName.
fn components(sname: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Fields::of(sname)?;
    fields.integer(0)?;
    let (mut list, _) = der::expect(fields.take(1)?, tag::SEQUENCE)?;
    let mut components = Vec::with_capacity(2);
    while !list.is_empty() && components.len() < MOST_COMPONENTS {
        let (component, rest) = der::expect(list, tag::GENERAL_STRING)?;
        components.push(component);
        list = rest;
    }
    (list.is_empty() && !components.is_empty()).then_some(components)
}

/// etype and kvno of EncryptedData.
fn encrypted_data(value: &[u8]) -> Option<(i32, Option<i64>)> {
    let mut fields = Fields::of(value)?;
    let enctype = i32::try_from(fields.integer(0)?).ok()?;
    let kvno = match fields.take(1) {
        Some(kvno) => Some(integer(kvno)?),
        None => None,
    };
    der::expect(fields.take(2)?, tag::OCTET_STRING)?;
    Some((enctype, kvno))
}

/// The fields of a SEQUENCE, taken in the order of their tags.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(value: &'a [u8]) -> Option<Self> {
        der::expect(value, tag::SEQUENCE).map(|(fields, _)| Self(fields))
    }

    /// The next field, if it has this number.
    fn take(&mut self, number: u8) -> Option<&'a [u8]> {
        let (contents, rest) = der::expect(self.0, tag::CONTEXT_0 + number)?;
        self.0 = rest;
        Some(contents)
    }

    fn integer(&mut self, number: u8) -> Option<i64> {
        integer(self.take(number)?)
    }
}

/// An INTEGER of up to 8 octets.
fn integer(value: &[u8]) -> Option<i64> {
    let (octets, _) = der::expect(value, tag::INTEGER)?;
    let (&first, rest) = octets.split_first().filter(|_| octets.len() <= 8)?;
    let first = i64::from(first as i8);
    Some(rest.iter().fold(first, |value, &octet| value << 8 | i64::from(octet)))
}
