//! The Authorization field (RFC 9110 11.6.2): one scheme, one token68, nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Scheme;
use crate::reason::Reason;

/// The largest token taken, decoded. Nothing is allocated for a larger one.
pub const MAX_TOKEN: usize = 64 << 10;

/// The Authorization fields of a request.
#[derive(Clone, Copy, Debug)]
pub enum Authorization<'a> {
    /// None.
    None,
    /// The value of the only one.
    One(&'a [u8]),
    /// More than one, which is never right.
    Several,
}

/// Credentials for one of our schemes.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The scheme.
    pub scheme: Scheme,
    token68: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Reads a field's value. Optional white space around it is not part of it.
    pub fn read(value: &'a [u8]) -> Result<Self, Reason> {
        let value = trim(value);
        if value.contains(&b',') && is_list(value) {
            return Err(Reason::DuplicateHeader);
        }
        let (name, rest) = match value.iter().position(|&byte| byte == b' ') {
            Some(space) => (&value[..space], trim_spaces(&value[space..])),
            None => (value, &value[value.len()..]),
        };
        if name.is_empty() || name.contains(&b'\t') {
            return Err(Reason::MalformedHeader);
        }
        let scheme = [Scheme::Negotiate, Scheme::Ntlm]
            .into_iter()
            .find(|scheme| name.eq_ignore_ascii_case(scheme.name().as_str().as_bytes()))
            .ok_or(Reason::OtherScheme)?;
        // A comma would begin a parameter or another credential.
        if rest.is_empty() || rest.contains(&b',') {
            return Err(Reason::MalformedHeader);
        }
        Ok(Self { scheme, token68: rest })
    }

    /// How long the token is at most, decoded.
    pub fn decoded_len(&self) -> usize {
        self.token68.len() / 4 * 3 + 2
    }

    /// Whether the token begins with these bytes, of which only whole groups of three count.
    pub fn begins_with(&self, bytes: &[u8]) -> bool {
        let whole = bytes.len() / 3;
        let mut head = [0; 12];
        self.token68
            .get(..whole * 4)
            .and_then(|head68| STANDARD.decode_slice(head68, &mut head).ok())
            .is_some_and(|len| head[..len] == bytes[..whole * 3])
    }

    /// Decodes the token into `buffer` (RFC 4648 4, padding and all); a larger one is refused
    /// before it is looked at.
    pub fn decode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], Reason> {
        if self.token68.len().div_ceil(4) * 3 > buffer.len() + 2 {
            return Err(Reason::TooLarge);
        }
        let len = STANDARD.decode_slice(self.token68, buffer).map_err(|error| match error {
            base64::DecodeSliceError::OutputSliceTooSmall => Reason::TooLarge,
            base64::DecodeSliceError::DecodeError(_) => Reason::BadBase64,
        })?;
        Ok(&buffer[..len])
    }
}

/// Whether a server has joined several fields into one value: a part behind a comma begins with a
/// scheme and a space. A parameter has an equals sign there; what is quoted counts for nothing.
fn is_list(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut parts = value.split(|&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    parts.next();
    parts.map(trim).any(|part| {
        let scheme = part.iter().take_while(|byte| is_tchar(**byte)).count();
        scheme > 0 && part.get(scheme) == Some(&b' ') && part.get(scheme + 1) != Some(&b'=')
    })
}

/// A letter of a token (RFC 9110 5.6.2).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: &[u8]) -> Result<(Scheme, Vec<u8>), Reason> {
        let credentials = Credentials::read(value)?;
        let mut buffer = [0; 64];
        credentials.decode(&mut buffer).map(|token| (credentials.scheme, token.to_vec()))
    }

    #[test]
    fn one_scheme_and_one_token_are_read() {
        let abc = |scheme| Ok((scheme, b"abc".to_vec()));
        assert_eq!(token(b"NTLM YWJj"), abc(Scheme::Ntlm));
        assert_eq!(token(b" \tnTLm   YWJj "), abc(Scheme::Ntlm));
        assert_eq!(token(b"Negotiate YWJj"), abc(Scheme::Negotiate));
    }

    #[test]
    fn everything_else_is_refused() {
        for (value, reason) in [
            (&b""[..], Reason::MalformedHeader),
            (b"NTLM", Reason::MalformedHeader),
            (b"NTLM\tYWJj", Reason::MalformedHeader),
            (b"NTLM YWJj, NTLM YWJj", Reason::DuplicateHeader),
            (b"NTLM YWJj,Basic YWJj", Reason::DuplicateHeader),
            (b"Basic YWJj, NTLM YWJj", Reason::DuplicateHeader),
            (b"NTLM YWJj, a=\"b\"", Reason::MalformedHeader),
            (b"NTLM YWJj, a = b", Reason::MalformedHeader),
            (b"NTLM YWJj, YWJj", Reason::MalformedHeader),
            (b"Digest username=\"a, NTLM b\", realm=\"b c\"", Reason::OtherScheme),
            (b"NTLMYWJj", Reason::OtherScheme),
            (b"Basic YWJj", Reason::OtherScheme),
            (b"Nego2 YWJj", Reason::OtherScheme),
            (b"NTLM Y", Reason::BadBase64),
            (b"NTLM YWI", Reason::BadBase64),
            (b"NTLM YW=j", Reason::BadBase64),
            (b"NTLM YW Jj", Reason::BadBase64),
            (b"NTLM YW\0j", Reason::BadBase64),
            (b"NTLM \"YWJj\"", Reason::BadBase64),
            (b"NTLM YW-_", Reason::BadBase64),
        ] {
            assert_eq!(token(value), Err(reason), "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn a_token_that_does_not_fit_is_too_large_and_one_that_just_fits_is_not() {
        let mut buffer = [0; 6];
        let mut decode = |token68: &str| {
            let value = format!("NTLM {token68}");
            Credentials::read(value.as_bytes())
                .and_then(|credentials| credentials.decode(&mut buffer).map(<[u8]>::len))
        };
        assert_eq!(decode("YWJjZGVm"), Ok(6));
        assert_eq!(decode("YWJjZGU="), Ok(5));
        assert_eq!(decode("YWJjZGVmZw=="), Err(Reason::TooLarge));
        assert_eq!(decode("YWJjZGVmZ2hp"), Err(Reason::TooLarge));
        assert_eq!(decode("****************"), Err(Reason::TooLarge));
    }
}
