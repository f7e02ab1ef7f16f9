//! SPNEGO's tokens (RFC 4178 4.2, MS-SPNG 2.2.1): read without a copy, written at their exact size.

use crate::der::{self, tag};

/// A token that is not what it has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// More mechanisms than this are in no client's list.
const MOST_MECHS: usize = 64;

/// TOK_ID of the only token that begins a Kerberos context (RFC 4121 4.1).
const KRB_AP_REQ: [u8; 2] = [1, 0];

/// The contents octets of OBJECT IDENTIFIERs.
mod oid {
    /// 1.3.6.1.5.5.2
    pub(super) const SPNEGO: &[u8] = &[0x2b, 6, 1, 5, 5, 2];
    /// 1.2.840.113554.1.2.2
    pub(super) const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2];
    /// 1.2.840.48018.1.2.2
    pub(super) const MS_KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2];
    /// 1.3.6.1.4.1.311.2.2.10
    pub(super) const NTLMSSP: &[u8] = &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10];
}

/// A mechanism, as a client lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MechType {
    /// Kerberos V5.
    Krb5,
    /// The same under the number that Windows 2000 gave it by mistake.
    MsKrb5,
    /// NTLMSSP.
    Ntlmssp,
}

impl MechType {
    /// One of those that are known; NEGOEX, IAKERB, user-to-user and SPNEGO itself are not.
    fn of(oid: &[u8]) -> Option<Self> {
        [Self::Krb5, Self::MsKrb5, Self::Ntlmssp].into_iter().find(|mech| mech.oid() == oid)
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::Krb5 => oid::KRB5,
            Self::MsKrb5 => oid::MS_KRB5,
            Self::Ntlmssp => oid::NTLMSSP,
        }
    }
}

/// A client's first token, by its framing.
#[derive(Clone, Copy, Debug)]
pub enum InitialToken<'a> {
    /// An InitialContextToken of Kerberos (RFC 4121 4.1), whole.
    Kerberos(&'a [u8]),
    /// SPNEGO's.
    Spnego(NegTokenInit<'a>),
}

impl<'a> InitialToken<'a> {
    /// Reads an InitialContextToken (RFC 2743 3.1). Bytes behind it are ignored, as Windows does.
    pub fn read(token: &'a [u8]) -> Result<Self, Malformed> {
        let (body, behind) = der::expect(token, tag::INITIAL_CONTEXT_TOKEN).ok_or(Malformed)?;
        let (mech, inner) = der::expect(body, tag::OID).ok_or(Malformed)?;
        match mech {
            oid::SPNEGO => NegTokenInit::read(inner).map(Self::Spnego),
            oid::KRB5 | oid::MS_KRB5 if inner.starts_with(&KRB_AP_REQ) => {
                Ok(Self::Kerberos(&token[..token.len() - behind.len()]))
            }
            _ => Err(Malformed),
        }
    }
}

/// NegTokenInit, also in the form of NegTokenInit2: its hints mean nothing from a client.
#[derive(Clone, Copy, Debug)]
pub struct NegTokenInit<'a> {
    /// MechTypeList as received, from its own tag on: what mechListMIC is over.
    pub mech_types: MechTypes<'a>,
    /// The optimistic token, for the first mechanism of the list; an empty one is none.
    pub mech_token: Option<&'a [u8]>,
    /// mechListMIC of a client whose mechanism is done with that token.
    pub mech_list_mic: Option<&'a [u8]>,
}

impl<'a> NegTokenInit<'a> {
    fn read(choice: &'a [u8]) -> Result<Self, Malformed> {
        let mut mech_types = Err(Malformed);
        let (mut mech_token, mut mech_list_mic) = (None, None);
        for field in Fields::of(choice, tag::CONTEXT_0)?.0 {
            match field? {
                (0, value) => mech_types = MechTypes::read(value),
                (2, value) => mech_token = Some(octets(value)?),
                // In NegTokenInit2 there are hints in this place, which come from servers.
                (3, value) if value.first() == Some(&tag::OCTET_STRING) => {
                    mech_list_mic = Some(octets(value)?);
                }
                // ContextFlags are not protected and never counted; the rest is for later versions
                // (RFC 4178 6).
                _ => {}
            }
        }
        let mech_token = mech_token.filter(|token| !token.is_empty());
        Ok(Self { mech_types: mech_types?, mech_token, mech_list_mic })
    }
}

/// A checked MechTypeList.
#[derive(Clone, Copy, Debug)]
pub struct MechTypes<'a>(&'a [u8]);

impl<'a> MechTypes<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Malformed> {
        let (mut list, behind) = der::expect(value, tag::SEQUENCE).ok_or(Malformed)?;
        let mut count = 0;
        while !list.is_empty() {
            let (oid, rest) = der::expect(list, tag::OID).ok_or(Malformed)?;
            list = rest;
            count += 1;
            if oid.is_empty() || count > MOST_MECHS {
                return Err(Malformed);
            }
        }
        if count == 0 || !behind.is_empty() {
            return Err(Malformed);
        }
        Ok(Self(value))
    }

    /// The bytes, as received.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The mechanisms, in the client's order; `None` for each that is not known.
    pub fn iter(&self) -> impl Iterator<Item = Option<MechType>> + use<'a> {
        let mut list = der::expect(self.0, tag::SEQUENCE).map_or(&[][..], |(list, _)| list);
        std::iter::from_fn(move || {
            let (oid, rest) = der::expect(list, tag::OID)?;
            list = rest;
            Some(MechType::of(oid))
        })
    }
}

/// NegState.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegState {
    /// accept-completed
    AcceptCompleted = 0,
    /// accept-incomplete
    AcceptIncomplete = 1,
    /// reject
    Reject = 2,
    /// request-mic
    RequestMic = 3,
}

/// NegTokenResp.
#[derive(Clone, Copy, Debug, Default)]
pub struct NegTokenResp<'a> {
    /// negState
    pub neg_state: Option<NegState>,
    /// The contents octets of supportedMech.
    pub supported_mech: Option<&'a [u8]>,
    /// responseToken, which is never empty.
    pub response_token: Option<&'a [u8]>,
    /// mechListMIC
    pub mech_list_mic: Option<&'a [u8]>,
}

impl<'a> NegTokenResp<'a> {
    /// Reads a token other than the first. Nothing may stand behind it.
    pub fn read(token: &'a [u8]) -> Result<Self, Malformed> {
        let (fields, behind) = Fields::of(token, tag::CONTEXT_1)?;
        if !behind.is_empty() {
            return Err(Malformed);
        }
        let mut read = Self::default();
        for field in fields {
            match field? {
                (0, value) => read.neg_state = Some(neg_state(value)?),
                (1, value) => read.supported_mech = Some(whole(value, tag::OID)?),
                (2, value) => read.response_token = Some(octets(value)?),
                (3, value) => read.mech_list_mic = Some(octets(value)?),
                _ => {}
            }
        }
        match read.response_token {
            Some([]) => Err(Malformed),
            _ => Ok(read),
        }
    }

    /// Whether the client names another mechanism than the one that was chosen.
    pub fn names_other(&self, chosen: MechType) -> bool {
        self.supported_mech.is_some_and(|oid| oid != chosen.oid())
    }

    /// The token for a client, in DER.
    pub fn write(&self) -> Vec<u8> {
        let state = self.neg_state.map(|state| [state as u8]);
        let parts = [
            (tag::ENUMERATED, state.as_ref().map(|state| &state[..])),
            (tag::OID, self.supported_mech),
            (tag::OCTET_STRING, self.response_token),
            (tag::OCTET_STRING, self.mech_list_mic),
        ];
        let size = |contents: &[u8]| der::size(der::size(contents.len()));
        let fields = parts.iter().filter_map(|part| part.1).map(size).sum();
        let mut out = Vec::with_capacity(der::size(der::size(fields)));
        der::begin(&mut out, tag::CONTEXT_1, der::size(fields));
        der::begin(&mut out, tag::SEQUENCE, fields);
        for (number, (tag, contents)) in (0..).zip(parts) {
            if let Some(contents) = contents {
                der::begin(&mut out, tag::CONTEXT_0 + number, der::size(contents.len()));
                der::begin(&mut out, tag, contents.len());
                out.extend_from_slice(contents);
            }
        }
        out
    }

    /// What a server says first: which mechanism it chose, too.
    pub fn choosing(mech: MechType, neg_state: NegState) -> NegTokenResp<'static> {
        NegTokenResp {
            neg_state: Some(neg_state),
            supported_mech: Some(mech.oid()),
            ..NegTokenResp::default()
        }
    }
}

/// The fields of a SEQUENCE, by the numbers of their context-specific tags, which ascend.
struct Fields<'a> {
    rest: &'a [u8],
    least: u8,
}

impl<'a> Fields<'a> {
    /// Those of the SEQUENCE that is all there is in an element of this tag, and what follows it.
    fn of(bytes: &'a [u8], tag: u8) -> Result<(Self, &'a [u8]), Malformed> {
        let (choice, behind) = der::expect(bytes, tag).ok_or(Malformed)?;
        Ok((Self { rest: whole(choice, tag::SEQUENCE)?, least: 0 }, behind))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = der::read(self.rest).filter(|(element, _)| {
            element.tag & 0xe0 == tag::CONTEXT_0 && element.tag & 0x1f >= self.least
        });
        let Some((element, rest)) = read else {
            self.rest = &[];
            return Some(Err(Malformed));
        };
        let number = element.tag & 0x1f;
        (self.rest, self.least) = (rest, number + 1);
        Some(Ok((number, element.contents)))
    }
}

/// The contents of the only element of `bytes`.
fn whole(bytes: &[u8], tag: u8) -> Result<&[u8], Malformed> {
    match der::expect(bytes, tag) {
        Some((contents, [])) => Ok(contents),
        _ => Err(Malformed),
    }
}

fn octets(value: &[u8]) -> Result<&[u8], Malformed> {
    whole(value, tag::OCTET_STRING)
}

fn neg_state(value: &[u8]) -> Result<NegState, Malformed> {
    match whole(value, tag::ENUMERATED)? {
        [0] => Ok(NegState::AcceptCompleted),
        [1] => Ok(NegState::AcceptIncomplete),
        [2] => Ok(NegState::Reject),
        [3] => Ok(NegState::RequestMic),
        _ => Err(Malformed),
    }
}
