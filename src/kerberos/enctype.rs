//! Encryption types (RFC 3961 8), by their numbers.

/// The name of one, for people.
pub(super) fn name(enctype: i32) -> String {
    let name = match enctype {
        1 => "des-cbc-crc",
        3 => "des-cbc-md5",
        16 => "des3-cbc-sha1",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        RC4 => "arcfour-hmac",
        RC4_EXP => "arcfour-hmac-exp",
        25 => "camellia128-cts-cmac",
        26 => "camellia256-cts-cmac",
        _ => return format!("enctype {enctype}"),
    };
    name.to_owned()
}

const RC4: i32 = 23;

/// RC4 with 56 bits.
const RC4_EXP: i32 = 24;

/// Whether one is strong enough (RFC 6649, RFC 8429): single and triple DES never are, and RC4 is
/// where it is allowed.
pub(super) fn is_acceptable(enctype: i32, rc4: bool) -> bool {
    match enctype {
        RC4 => rc4,
        // AES and Camellia; what comes later is not known to be strong.
        17..=20 | 25 | 26 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn des_is_refused_always_and_rc4_unless_it_is_allowed() {
        for enctype in [-1, 0, 1, 2, 3, 5, 7, 16, 21, 24, 511] {
            assert!(!is_acceptable(enctype, true), "{}", name(enctype));
        }
        assert!(!is_acceptable(23, false) && is_acceptable(23, true));
        for enctype in [17, 18, 19, 20, 25, 26] {
            assert!(is_acceptable(enctype, false), "{}", name(enctype));
        }
    }
}
