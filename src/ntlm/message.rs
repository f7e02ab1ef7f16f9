//! NEGOTIATE, CHALLENGE and AUTHENTICATE messages (MS-NLMP 2.2.1).
//!
//! Reading checks sizes and bounds and copies nothing; what a field means is for others. Offsets
//! are compared as numbers too wide to wrap. No layout is ever derived from flags.

use super::av_pair::AvPairs;
use super::flags::Flags;
use crate::reader::Reader;

/// The largest message taken, as Windows Server 2012 R2 has it.
pub const MAX_MESSAGE: usize = 2888;

/// What every NTLM message begins with.
pub const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// Where WorkstationFields are in an AUTHENTICATE.
const WORKSTATION_FIELDS: usize = 44;

/// The first byte behind the fixed header of the shortest AUTHENTICATE.
const AUTHENTICATE_HEADER: usize = 64;

/// Where the MIC stands in an AUTHENTICATE that has one.
pub const MIC_OFFSET: usize = 72;

/// The first byte behind the fixed header of an AUTHENTICATE with a MIC.
pub const MIC_END: usize = MIC_OFFSET + 16;

/// The message does not follow MS-NLMP 2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// MessageType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// NEGOTIATE_MESSAGE (2.2.1.1).
    Negotiate,
    /// AUTHENTICATE_MESSAGE (2.2.1.3).
    Authenticate,
}

impl MessageType {
    /// The type of a message that a client may send.
    pub fn of(message: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        match (reader.array(), reader.u32()) {
            (Some(SIGNATURE), Some(1)) => Ok(Self::Negotiate),
            (Some(SIGNATURE), Some(3)) => Ok(Self::Authenticate),
            _ => Err(Malformed),
        }
    }
}

/// What counts of a NEGOTIATE: domain, workstation and version are the client's own affair.
#[derive(Clone, Copy, Debug)]
pub struct Negotiate {
    /// NegotiateFlags.
    pub flags: Flags,
}

impl Negotiate {
    /// Reads a message of 16 bytes and up.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        if MessageType::of(message)? != MessageType::Negotiate {
            return Err(Malformed);
        }
        let mut reader = Reader::new(message);
        reader.take(12).ok_or(Malformed)?;
        Ok(Self { flags: Flags(reader.u32().ok_or(Malformed)?) })
    }
}

/// What a CHALLENGE said that the answer is checked against.
#[derive(Clone)]
pub struct Challenge<'a> {
    /// NegotiateFlags: what was agreed upon.
    pub flags: Flags,
    /// ServerChallenge.
    pub server_challenge: [u8; 8],
    /// TargetInfo.
    pub target_info: AvPairs<'a>,
    /// TargetName, in the negotiated charset.
    pub target_name: &'a [u8],
}

impl<'a> Challenge<'a> {
    /// Reads a CHALLENGE that this side wrote.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        if (reader.array(), reader.u32()) != (Some(SIGNATURE), Some(2)) {
            return Err(Malformed);
        }
        let target_name = Field::read(&mut reader)?;
        let flags = Flags(reader.u32().ok_or(Malformed)?);
        let server_challenge = *reader.array().ok_or(Malformed)?;
        reader.take(8).ok_or(Malformed)?;
        let target_info = Field::read(&mut reader)?;
        Ok(Self {
            flags,
            server_challenge,
            target_info: AvPairs::read(target_info.bytes(message, 0)?)?,
            target_name: target_name.bytes(message, 0)?,
        })
    }
}

/// What a CHALLENGE says.
pub struct ChallengeParts<'a> {
    /// NegotiateFlags.
    pub flags: Flags,
    /// ServerChallenge.
    pub server_challenge: &'a [u8; 8],
    /// TargetName, in the negotiated charset.
    pub target_name: &'a [u8],
    /// TargetInfo, with its EOL.
    pub target_info: &'a [u8],
}

impl ChallengeParts<'_> {
    /// The size of the header with Version. Shorter ones make some clients misread the rest.
    const HEADER: usize = 56;

    /// Version: 10.0 build 17763, NTLM revision 15 (2.2.2.10).
    const VERSION: [u8; 8] = [0x0a, 0x00, 0x63, 0x45, 0x00, 0x00, 0x00, 0x0f];

    /// Appends the message to `out`. The parts are names of at most 256 units and a list of them,
    /// so that every length fits its field.
    pub fn write(&self, out: &mut Vec<u8>) {
        let field = |out: &mut Vec<u8>, len: usize, offset: usize| {
            let len = u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes();
            out.extend_from_slice(&len);
            out.extend_from_slice(&len);
            out.extend_from_slice(&u32::try_from(offset).unwrap_or(u32::MAX).to_le_bytes());
        };
        out.reserve_exact(Self::HEADER + self.target_name.len() + self.target_info.len());
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&2_u32.to_le_bytes());
        field(out, self.target_name.len(), Self::HEADER);
        out.extend_from_slice(&self.flags.0.to_le_bytes());
        out.extend_from_slice(self.server_challenge);
        out.extend_from_slice(&[0; 8]);
        field(out, self.target_info.len(), Self::HEADER + self.target_name.len());
        out.extend_from_slice(&Self::VERSION);
        out.extend_from_slice(self.target_name);
        out.extend_from_slice(self.target_info);
    }
}

/// An AUTHENTICATE, its fields checked against the message's bounds.
#[derive(Clone)]
pub struct Authenticate<'a> {
    /// The whole message, as received: what the MIC covers.
    pub message: &'a [u8],
    /// LmChallengeResponse.
    pub lm_response: &'a [u8],
    /// NtChallengeResponse.
    pub nt_response: &'a [u8],
    /// DomainName, in the negotiated charset.
    pub domain: &'a [u8],
    /// UserName, in the negotiated charset.
    pub user: &'a [u8],
    /// EncryptedRandomSessionKey.
    pub encrypted_session_key: &'a [u8],
    /// NegotiateFlags.
    pub flags: Flags,
    /// The lowest offset of a field that is not empty: where the header ended for its writer.
    pub payload: usize,
}

impl<'a> Authenticate<'a> {
    /// Reads a message of 64 bytes and up.
    pub fn read(message: &'a [u8]) -> Result<Self, Malformed> {
        if MessageType::of(message)? != MessageType::Authenticate {
            return Err(Malformed);
        }
        let mut reader = Reader::new(message);
        reader.take(12).ok_or(Malformed)?;
        let mut fields = [Field { len: 0, offset: 0 }; 6];
        for field in &mut fields {
            *field = Field::read(&mut reader)?;
        }
        let flags = Flags(reader.u32().ok_or(Malformed)?);
        let mut bytes: [&[u8]; 6] = [&[]; 6];
        let mut payload = message.len();
        for (bytes, field) in bytes.iter_mut().zip(fields) {
            *bytes = field.bytes(message, AUTHENTICATE_HEADER)?;
            if !bytes.is_empty() {
                payload = payload.min(field.start());
            }
        }
        if overlap(&fields) {
            return Err(Malformed);
        }
        let [lm_response, nt_response, domain, user, _workstation, encrypted_session_key] = bytes;
        Ok(Self {
            message,
            lm_response,
            nt_response,
            domain,
            user,
            encrypted_session_key,
            flags,
            payload,
        })
    }

    /// Workstation, in the negotiated charset: few ask for it.
    pub fn workstation(&self) -> &'a [u8] {
        let mut reader = Reader::new(&self.message[WORKSTATION_FIELDS..]);
        let field = Field::read(&mut reader);
        field.and_then(|field| field.bytes(self.message, AUTHENTICATE_HEADER)).unwrap_or_default()
    }

    /// The MIC, if the header has room for one before the first payload.
    pub fn mic(&self) -> Option<&'a [u8; 16]> {
        if self.payload < MIC_END {
            return None;
        }
        self.message.get(MIC_OFFSET..MIC_END)?.try_into().ok()
    }
}

/// Len, MaxLen and BufferOffset of a payload field. MaxLen must be ignored.
#[derive(Clone, Copy)]
struct Field {
    len: u16,
    offset: u32,
}

impl Field {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let len = reader.u16().ok_or(Malformed)?;
        reader.u16().ok_or(Malformed)?;
        let offset = reader.u32().ok_or(Malformed)?;
        Ok(Self { len, offset })
    }

    fn start(self) -> usize {
        usize::try_from(self.offset).unwrap_or(usize::MAX)
    }

    fn end(self) -> usize {
        self.start().saturating_add(usize::from(self.len))
    }

    /// The bytes, which lie behind the header. The offset of an empty field means nothing.
    fn bytes(self, message: &[u8], header: usize) -> Result<&[u8], Malformed> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.start() < header {
            return Err(Malformed);
        }
        message.get(self.start()..self.end()).ok_or(Malformed)
    }
}

/// Whether two fields that are not empty share a byte: no writer means that.
fn overlap(fields: &[Field]) -> bool {
    fields.iter().enumerate().any(|(at, a)| {
        fields[at + 1..]
            .iter()
            .any(|b| a.len != 0 && b.len != 0 && a.start() < b.end() && b.start() < a.end())
    })
}

/// NTLMv2_RESPONSE (2.2.2.8): NTProofStr and the blob it was computed over.
#[derive(Clone)]
pub struct Ntlmv2Response<'a> {
    /// NTProofStr.
    pub proof: &'a [u8; 16],
    /// NTLMv2_CLIENT_CHALLENGE (2.2.2.7), to the end of the field.
    pub blob: &'a [u8],
    /// TimeStamp.
    pub timestamp: u64,
    /// The blob's AvPairs.
    pub av_pairs: AvPairs<'a>,
}

impl<'a> Ntlmv2Response<'a> {
    /// The smallest response: proof, fixed part of the blob, EOL.
    pub const MIN: usize = 16 + 28 + 4;

    /// Reads a response that is neither empty nor of 24 bytes. Reserved fields are ignored.
    pub fn read(response: &'a [u8]) -> Result<Self, Malformed> {
        if response.len() < Self::MIN {
            return Err(Malformed);
        }
        let mut reader = Reader::new(response);
        let proof = reader.array().ok_or(Malformed)?;
        let blob = reader.rest();
        if reader.array() != Some(&[1, 1]) {
            return Err(Malformed);
        }
        reader.take(6).ok_or(Malformed)?;
        let timestamp = reader.u64().ok_or(Malformed)?;
        reader.take(8 + 4).ok_or(Malformed)?;
        Ok(Self { proof, blob, timestamp, av_pairs: AvPairs::read(reader.rest())? })
    }
}
