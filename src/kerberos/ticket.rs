//! The client's name in a ticket (RFC 4120 5.3), for the key that the ticket is encrypted with.
//!
//! GSSAPI tells who the client is as well, and takes a third of the time of a whole sign-in for it.
//! What is read here is the name of a ticket that GSSAPI has accepted, and of no other: where in the
//! token it is found is beyond doubt, or nothing is read. The PAC is found here, too.

use super::krb5::Client;
use crate::der::{self, tag};

/// Identifier octets of RFC 4120.
mod id {
    /// [APPLICATION 1]
    pub(super) const TICKET: u8 = 0x61;
    /// [APPLICATION 3]
    pub(super) const ENC_TICKET_PART: u8 = 0x63;
    /// [APPLICATION 14]
    pub(super) const AP_REQ: u8 = 0x6e;
}

/// The encrypted part of the ticket in an InitialContextToken (RFC 4121 4.1) that is DER as far as
/// the ticket goes, with every field of RFC 4120 and no other, and nothing after it. Of such a token
/// there is one reading only: whoever decodes it finds this ticket.
pub(super) fn cipher(token: &[u8]) -> Option<&[u8]> {
    let body = der::only(token, tag::INITIAL_CONTEXT_TOKEN)?;
    let (_mech, inner) = der::strictly(body, tag::OID)?;
    let ap_req = der::only(der::only(inner.get(2..)?, id::AP_REQ)?, tag::SEQUENCE)?;
    let [_pvno, _msg_type, _ap_options, ticket, _authenticator] = fields(ap_req, 0)?;
    let ticket = der::only(der::only(ticket, id::TICKET)?, tag::SEQUENCE)?;
    let [_tkt_vno, _realm, _sname, enc_part] = fields(ticket, 0)?;
    let enc_part = der::only(enc_part, tag::SEQUENCE)?;
    let cipher = match fields(enc_part, 0) {
        Some([_etype, _kvno, cipher]) => cipher,
        // kvno is optional.
        None => {
            let (_etype, rest) = der::strictly(enc_part, tag::CONTEXT_0)?;
            let [cipher] = fields(rest, 2)?;
            cipher
        }
    };
    der::only(cipher, tag::OCTET_STRING)
}

/// EncTicketPart, as far as it is of use here.
pub(super) struct Part<'a> {
    crealm: &'a [u8],
    client: Client<'a>,
    /// What follows transited.
    rest: &'a [u8],
}

/// The PAC of a ticket.
pub(super) enum Pac<'a> {
    /// There is none.
    None,
    /// The one, and the time of the first authentication, in seconds since 1970.
    One(&'a [u8], i32),
    /// There may be one, or several.
    Unclear,
}

impl<'a> Part<'a> {
    /// From a decrypted ticket in DER.
    pub(super) fn read(enc_ticket_part: &'a [u8]) -> Option<Self> {
        let part = der::only(der::only(enc_ticket_part, id::ENC_TICKET_PART)?, tag::SEQUENCE)?;
        let (_flags, rest) = der::strictly(part, tag::CONTEXT_0)?;
        let (_key, rest) = der::strictly(rest, tag::CONTEXT_0 + 1)?;
        let (crealm, rest) = der::strictly(rest, tag::CONTEXT_0 + 2)?;
        let (cname, rest) = der::strictly(rest, tag::CONTEXT_0 + 3)?;
        let crealm = der::only(crealm, tag::GENERAL_STRING)?;
        let [name_type, name_string] = fields(der::only(cname, tag::SEQUENCE)?, 0)?;
        let name_type = i32::try_from(integer(name_type)?).ok()?;
        let mut names = der::only(name_string, tag::SEQUENCE)?;
        let mut components = Vec::with_capacity(2);
        while !names.is_empty() {
            let (component, rest) = der::strictly(names, tag::GENERAL_STRING)?;
            components.push(component);
            names = rest;
        }
        Some(Self { crealm, client: Client { name_type, components }, rest })
    }

    /// The client, as RFC 1964 2.1.1 has principals displayed. Control characters stay what they
    /// are; nobody has them.
    pub(super) fn display(&self) -> Vec<u8> {
        let mut display = Vec::with_capacity(64);
        for (at, component) in self.client.components.iter().enumerate() {
            if at > 0 {
                display.push(b'/');
            }
            quote(component, &mut display);
        }
        display.push(b'@');
        quote(self.crealm, &mut display);
        display
    }

    /// The client, without the realm.
    pub(super) fn client(&self) -> &Client<'a> {
        &self.client
    }

    /// The PAC in authorization-data.
    pub(super) fn pac(&self) -> Pac<'a> {
        self.find_pac().unwrap_or(Pac::Unclear)
    }

    fn find_pac(&self) -> Option<Pac<'a>> {
        let (_transited, rest) = der::strictly(self.rest, tag::CONTEXT_0 + 4)?;
        let (authtime, mut rest) = der::strictly(rest, tag::CONTEXT_0 + 5)?;
        // starttime, endtime, renew-till, caddr: of these only endtime is always there.
        for number in 6..=9 {
            if rest.first() == Some(&(tag::CONTEXT_0 + number)) {
                (_, rest) = der::strictly(rest, tag::CONTEXT_0 + number)?;
            }
        }
        if rest.is_empty() {
            return Some(Pac::None);
        }
        let data = der::only(rest, tag::CONTEXT_0 + 10)?;
        let (mut pac, mut count) = (&[][..], 0);
        for (kind, contents) in elements(data)? {
            let inside = match kind {
                ad_type::WIN2K_PAC => vec![(kind, contents)],
                ad_type::IF_RELEVANT => elements(contents)?,
                _ => Vec::new(),
            };
            for (_, contents) in inside.iter().filter(|(kind, _)| *kind == ad_type::WIN2K_PAC) {
                (pac, count) = (contents, count + 1);
            }
        }
        Some(match count {
            0 => Pac::None,
            1 => Pac::One(pac, seconds(der::only(authtime, tag::GENERALIZED_TIME)?)?),
            _ => Pac::Unclear,
        })
    }
}

/// Types of authorization data (RFC 4120 7.5.4).
mod ad_type {
    pub(super) const IF_RELEVANT: i64 = 1;
    pub(super) const WIN2K_PAC: i64 = 128;
}

/// The elements of AuthorizationData (RFC 4120 5.2.6).
fn elements(data: &[u8]) -> Option<Vec<(i64, &[u8])>> {
    let mut rest = der::only(data, tag::SEQUENCE)?;
    let mut elements = Vec::with_capacity(2);
    while !rest.is_empty() {
        let element;
        (element, rest) = der::strictly(rest, tag::SEQUENCE)?;
        let [kind, contents] = fields(element, 0)?;
        elements.push((integer(kind)?, der::only(contents, tag::OCTET_STRING)?));
    }
    Some(elements)
}

/// An INTEGER of up to four octets.
fn integer(value: &[u8]) -> Option<i64> {
    let octets = der::only(value, tag::INTEGER)?;
    let (&first, rest) = octets.split_first().filter(|_| octets.len() <= 4)?;
    Some(rest.iter().fold(i64::from(first as i8), |value, &octet| value << 8 | i64::from(octet)))
}

/// KerberosTime (RFC 4120 5.2.3), `19700101000000Z`, in seconds since then, as long as these have
/// 32 bits.
fn seconds(time: &[u8]) -> Option<i32> {
    let digits = time.strip_suffix(b"Z").filter(|digits| digits.len() == 14)?;
    let number = |from: usize, to: usize| {
        digits[from..to].iter().try_fold(0_i64, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of the Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let since_1970 = days - 719_468;
    i32::try_from(((since_1970 * 24 + hour) * 60 + minute) * 60 + second).ok()
}

fn quote(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        if matches!(byte, b'/' | b'@' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// The contents of the fields of a SEQUENCE, numbered from `first`: so many, and no more.
fn fields<const N: usize>(mut rest: &[u8], first: u8) -> Option<[&[u8]; N]> {
    let mut fields = [&[][..]; N];
    for (number, field) in (first..).zip(&mut fields) {
        (*field, rest) = der::strictly(rest, tag::CONTEXT_0 + number)?;
    }
    rest.is_empty().then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Node {
        Octets(u8, Vec<u8>),
        Elements(u8, Vec<Node>),
        /// Without identifier and length.
        Bare([u8; 2]),
    }

    /// What is wrong with an element.
    #[derive(Clone, Copy)]
    enum Wrong {
        LongLength,
        Trailing,
        Twice,
    }

    fn octets(tag: u8, contents: &[u8]) -> Node {
        Node::Octets(tag, contents.to_vec())
    }

    fn elements(tag: u8, nodes: Vec<Node>) -> Node {
        Node::Elements(tag, nodes)
    }

    fn field(number: u8, node: Node) -> Node {
        elements(tag::CONTEXT_0 + number, vec![node])
    }

    fn encrypted(kvno: Option<u8>, cipher: &[u8]) -> Node {
        let mut fields = vec![field(0, octets(tag::INTEGER, &[18]))];
        fields.extend(kvno.map(|kvno| field(1, octets(tag::INTEGER, &[kvno]))));
        fields.push(field(2, octets(tag::OCTET_STRING, cipher)));
        elements(tag::SEQUENCE, fields)
    }

    fn token(kvno: Option<u8>) -> Node {
        let sname = elements(tag::SEQUENCE, vec![field(0, octets(tag::INTEGER, &[1]))]);
        let ticket = vec![
            field(0, octets(tag::INTEGER, &[5])),
            field(1, octets(tag::GENERAL_STRING, b"DEMO.TEST")),
            field(2, sname),
            field(3, encrypted(kvno, &[7; 300])),
        ];
        let ticket = elements(id::TICKET, vec![elements(tag::SEQUENCE, ticket)]);
        let ap_req = vec![
            field(0, octets(tag::INTEGER, &[5])),
            field(1, octets(tag::INTEGER, &[14])),
            field(2, octets(tag::BIT_STRING, &[0; 5])),
            field(3, ticket),
            field(4, octets(tag::SEQUENCE, b"authenticator")),
        ];
        let ap_req = elements(id::AP_REQ, vec![elements(tag::SEQUENCE, ap_req)]);
        let mech = octets(tag::OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2]);
        elements(tag::INITIAL_CONTEXT_TOKEN, vec![mech, Node::Bare([1, 0]), ap_req])
    }

    impl Node {
        /// Writes it, with something wrong with the element that `countdown` ends at.
        fn write(&self, out: &mut Vec<u8>, countdown: &mut usize, what: Wrong) {
            let (tag, nodes) = match self {
                Self::Bare(octets) => return out.extend(octets),
                Self::Octets(tag, _) => (*tag, &[][..]),
                Self::Elements(tag, nodes) => (*tag, &nodes[..]),
            };
            let wrong = (*countdown == 0).then_some(what);
            *countdown = countdown.wrapping_sub(1);
            let mut contents = match self {
                Self::Octets(_, octets) => octets.clone(),
                _ => Vec::new(),
            };
            nodes.iter().for_each(|node| node.write(&mut contents, countdown, what));
            let from = out.len();
            match wrong {
                Some(Wrong::LongLength) => {
                    out.extend([tag, 0x84]);
                    out.extend(u32::try_from(contents.len()).unwrap_or(0).to_be_bytes());
                }
                _ => der::begin(out, tag, contents.len()),
            }
            out.extend(contents);
            match wrong {
                Some(Wrong::Trailing) => out.extend([tag::INTEGER, 1, 0]),
                Some(Wrong::Twice) => out.extend_from_within(from..),
                _ => {}
            }
        }
    }

    #[test]
    fn a_cipher_is_found_only_where_nobody_would_find_another() {
        let write = |kvno, mut countdown, what| {
            let mut out = Vec::new();
            token(kvno).write(&mut out, &mut countdown, what);
            out
        };
        // The insides of the fields that the cipher is not in.
        let beside = [5, 7, 9, 14, 16, 18, 19, 20, 24];
        let cases: [(_, &[usize], usize); 2] = [(Some(3), &[26, 30], 31), (None, &[28], 29)];
        for (kvno, also_beside, end) in cases {
            for what in [Wrong::LongLength, Wrong::Trailing, Wrong::Twice] {
                for at in 0..=end {
                    let found = cipher(&write(kvno, at, what)) == Some(&[7; 300][..]);
                    let harmless = [&beside, also_beside].concat().contains(&at);
                    assert_eq!(found, harmless || at == end, "{kvno:?} {at}");
                }
            }
        }
    }

    #[test]
    fn a_client_is_displayed_with_what_is_part_of_a_name_quoted() {
        let name = |components: &[&[u8]], realm: &[u8]| {
            let string = |name: &&[u8]| octets(tag::GENERAL_STRING, name);
            let components = components.iter().map(string).collect();
            let cname = vec![
                field(0, octets(tag::INTEGER, &[1])),
                field(1, elements(tag::SEQUENCE, components)),
            ];
            let part = vec![
                field(0, octets(tag::BIT_STRING, &[0; 5])),
                field(1, octets(tag::SEQUENCE, b"key")),
                field(2, octets(tag::GENERAL_STRING, realm)),
                field(3, elements(tag::SEQUENCE, cname)),
                field(4, octets(tag::SEQUENCE, b"transited")),
            ];
            let part = elements(id::ENC_TICKET_PART, vec![elements(tag::SEQUENCE, part)]);
            let mut out = Vec::new();
            part.write(&mut out, &mut { usize::MAX }, Wrong::Twice);
            Part::read(&out).map(|part| part.display())
        };
        let display = |text: &[u8]| Some(text.to_vec());
        assert_eq!(name(&[b"alice"], b"DEMO.TEST"), display(b"alice@DEMO.TEST"));
        assert_eq!(name(&[b"alice", b"admin"], b"R"), display(b"alice/admin@R"));
        assert_eq!(name(&[b"a/b@c\\d"], b"R@S"), display(br"a\/b\@c\\d@R\@S"));
        assert_eq!(name(&[b"", b"x"], b"R"), display(b"/x@R"));
        assert_eq!(name(&[], b"R"), display(b"@R"));
        assert!(Part::read(b"").is_none());
    }

    fn authorization_data(each: Vec<(&[u8], Vec<u8>)>) -> Node {
        let element = |(kind, contents): (&[u8], Vec<u8>)| {
            let fields = vec![
                field(0, octets(tag::INTEGER, kind)),
                field(1, octets(tag::OCTET_STRING, &contents)),
            ];
            elements(tag::SEQUENCE, fields)
        };
        elements(tag::SEQUENCE, each.into_iter().map(element).collect())
    }

    fn written(node: &Node) -> Vec<u8> {
        let mut out = Vec::new();
        node.write(&mut out, &mut { usize::MAX }, Wrong::Twice);
        out
    }

    const AD_IF_RELEVANT: &[u8] = &[1];
    const AD_WIN2K_PAC: &[u8] = &[0, 128];

    fn if_relevant(each: Vec<(&[u8], Vec<u8>)>) -> (&'static [u8], Vec<u8>) {
        (AD_IF_RELEVANT, written(&authorization_data(each)))
    }

    fn pac() -> (&'static [u8], Vec<u8>) {
        (AD_WIN2K_PAC, b"pac".to_vec())
    }

    /// Ends with these fields.
    fn part_with(last: Vec<Node>) -> Vec<u8> {
        let name = elements(tag::SEQUENCE, vec![octets(tag::GENERAL_STRING, b"alice")]);
        let cname = vec![field(0, octets(tag::INTEGER, &[1])), field(1, name)];
        let mut fields = vec![
            field(0, octets(tag::BIT_STRING, &[0; 5])),
            field(1, octets(tag::SEQUENCE, b"key")),
            field(2, octets(tag::GENERAL_STRING, b"R")),
            field(3, elements(tag::SEQUENCE, cname)),
            field(4, octets(tag::SEQUENCE, b"transited")),
        ];
        fields.extend(last);
        written(&elements(id::ENC_TICKET_PART, vec![elements(tag::SEQUENCE, fields)]))
    }

    fn time(number: u8) -> Node {
        field(number, octets(tag::GENERALIZED_TIME, b"20010909014640Z"))
    }

    /// The PAC, or what is said instead of it.
    fn found(last: Vec<Node>) -> &'static str {
        match Part::read(&part_with(last)).map(|part| part.pac()) {
            None => "no ticket",
            Some(Pac::None) => "none",
            Some(Pac::One(b"pac", 1_000_000_000)) => "one",
            Some(Pac::One(..)) => "another",
            Some(Pac::Unclear) => "unclear",
        }
    }

    fn found_in(each: Vec<(&[u8], Vec<u8>)>) -> &'static str {
        found(vec![time(5), time(7), field(10, authorization_data(each))])
    }

    #[test]
    fn a_pac_is_found_where_libraries_find_it() {
        let other = || (&[0, 0xaa][..], b"other".to_vec());
        assert_eq!(found_in(vec![if_relevant(vec![pac()])]), "one");
        assert_eq!(found_in(vec![pac()]), "one");
        assert_eq!(found_in(vec![other(), if_relevant(vec![other(), pac(), other()])]), "one");
        assert_eq!(found_in(vec![if_relevant(vec![other()]), if_relevant(vec![pac()])]), "one");
        assert_eq!(found_in(vec![(&[128], b"pac".to_vec())]), "none");
        assert_eq!(found_in(vec![other(), if_relevant(vec![other()])]), "none");
        assert_eq!(found_in(vec![]), "none");
        assert_eq!(found_in(vec![if_relevant(vec![if_relevant(vec![pac()])])]), "none");
        assert_eq!(found(vec![time(5), time(7)]), "none");
    }

    #[test]
    fn a_pac_that_is_not_the_only_one_is_none_that_counts() {
        assert_eq!(found_in(vec![pac(), pac()]), "unclear");
        assert_eq!(found_in(vec![if_relevant(vec![pac(), pac()])]), "unclear");
        assert_eq!(found_in(vec![pac(), if_relevant(vec![pac()])]), "unclear");
        assert_eq!(found_in(vec![if_relevant(vec![pac()]), if_relevant(vec![pac()])]), "unclear");
    }

    #[test]
    fn what_is_not_understood_is_never_taken_for_no_pac() {
        assert_eq!(found_in(vec![(AD_IF_RELEVANT, b"what".to_vec())]), "unclear");
        assert_eq!(found_in(vec![(&[1, 2, 3, 4, 5], Vec::new())]), "unclear");
        let data = || field(10, authorization_data(vec![if_relevant(vec![pac()])]));
        let address = || field(9, octets(tag::SEQUENCE, b""));
        assert_eq!(found(vec![time(5), time(6), time(7), time(8), address(), data()]), "one");
        let strange = [
            vec![],
            vec![time(7), data()],
            vec![time(5), time(7), time(6), data()],
            vec![time(5), time(7), data(), data()],
            vec![time(5), time(7), data(), field(11, octets(tag::SEQUENCE, b""))],
            vec![time(5), time(7), field(11, octets(tag::SEQUENCE, b""))],
            vec![field(5, octets(tag::GENERALIZED_TIME, b"20010909014640+")), data()],
            vec![field(5, octets(tag::OCTET_STRING, b"20010909014640Z")), data()],
        ];
        for fields in strange {
            assert_eq!(found(fields), "unclear");
        }
        let part = part_with(vec![time(5), time(7), data()]);
        for at in 0..8 * part.len() {
            let mut flipped = part.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = Part::read(&flipped).map(|part| part.pac());
        }
    }

    #[test]
    fn a_time_is_that_of_the_calendar() {
        for (time, expected) in [
            ("19700101000000Z", Some(0)),
            ("19691231235959Z", Some(-1)),
            ("20000229123456Z", Some(951_827_696)),
            ("20000301000000Z", Some(951_868_800)),
            ("21000301000000Z", None),
            ("20380119031407Z", Some(i32::MAX)),
            ("20380119031408Z", None),
            ("20001301000000Z", None),
            ("20000001000000Z", None),
            ("20000100000000Z", None),
            ("2000010100000Z", None),
            ("20000101000000", None),
            ("20000101000000.Z", None),
            ("2000010100000-Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(time.as_bytes()), expected, "{time}");
        }
    }
}
