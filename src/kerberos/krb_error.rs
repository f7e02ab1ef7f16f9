//! KRB-ERROR (RFC 4120 5.9.1): why a ticket was refused, in words that a client's library knows.

use std::time::Duration;

use super::ap_req::ApReq;
use crate::der::{self, tag};

/// [APPLICATION 30]
const KRB_ERROR: u8 = 0x7e;

/// TOK_ID of a KRB-ERROR (RFC 4121 4.1).
const TOK_ID: [u8; 2] = [3, 0];

/// 1.2.840.113554.1.2.2
const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2];

/// The token that tells a client why its AP-REQ was refused. `now` is the time since 1970: a client
/// whose clock differs can take ours from it (MS-KILE 3.2.5.7 has clients try again with it).
pub(super) fn token(ap_req: &ApReq<'_>, error_code: u8, now: Duration) -> Vec<u8> {
    let field = |number: u8, tag: u8, contents: &[u8]| {
        element(tag::CONTEXT_0 + number, &element(tag, contents))
    };
    let susec = now.subsec_micros().to_be_bytes();
    // An INTEGER has no octet in front that tells nothing.
    let silent = susec.windows(2).take_while(|pair| pair[0] == 0 && pair[1] < 0x80).count();
    let fields = [
        field(0, tag::INTEGER, &[5]),
        field(1, tag::INTEGER, &[30]),
        field(4, tag::GENERALIZED_TIME, kerberos_time(now.as_secs()).as_bytes()),
        field(5, tag::INTEGER, &susec[silent..]),
        field(6, tag::INTEGER, &[error_code]),
        field(9, tag::GENERAL_STRING, ap_req.realm),
        element(tag::CONTEXT_0 + 10, ap_req.sname),
    ];
    let krb_error = element(KRB_ERROR, &element(tag::SEQUENCE, &fields.concat()));
    let inner = [&element(tag::OID, KRB5), &TOK_ID[..], &krb_error].concat();
    element(tag::INITIAL_CONTEXT_TOKEN, &inner)
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(der::size(contents.len()));
    der::begin(&mut out, tag, contents.len());
    out.extend_from_slice(contents);
    out
}

/// KerberosTime: 19700101000000Z and on.
fn kerberos_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

/// The Gregorian date so many days after 1970-01-01. Years begin in March here, so that the day
/// that not all of them have comes last.
fn date(days: u64) -> (u64, u64, u64) {
    /// From 0000-03-01 to 1970-01-01, and the days of 400 years.
    const TO_1970: u64 = 719_468;
    const ERA: u64 = 146_097;
    let days = days + TO_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, time) in [
            (0, "19700101000000Z"),
            (951_782_399, "20000228235959Z"),
            (951_782_400, "20000229000000Z"),
            (951_868_800, "20000301000000Z"),
            (1_709_164_800, "20240229000000Z"),
            (4_107_542_399, "21000228235959Z"),
            (4_107_542_400, "21000301000000Z"),
        ] {
            assert_eq!(kerberos_time(seconds), time);
        }
    }
}
