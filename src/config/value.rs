//! The values of options, from their text.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Place;
use crate::accounts::{self, Backend, GroupNames, Winbind};
use crate::authz::Require;
use crate::channel_binding::{self, EndPoint};
use crate::groups::Form;
use crate::http::{self, Scheme};
use crate::kerberos::{self, Keytab, ReplayCache, Services};
use crate::names::Escaped;
use crate::naming::{NameCase, NameFormat, RealmMap};
use crate::watched;

/// The arguments of one option.
pub(super) struct Args<'a> {
    args: Vec<&'a str>,
    base: &'a Path,
    place: Option<Place>,
}

impl<'a> Args<'a> {
    pub(super) fn new(
        args: &[&'a [u8]],
        base: &'a Path,
        place: Option<Place>,
    ) -> Result<Self, String> {
        let args = args
            .iter()
            .map(|arg| std::str::from_utf8(arg).map_err(|_| "an argument is not UTF-8".to_owned()))
            .collect::<Result<Vec<_>, _>>()?;
        match args.iter().any(|arg| arg.is_empty() || arg.contains('\0')) {
            true => Err("an argument is empty or has a NUL".to_owned()),
            false => Ok(Self { args, base, place }),
        }
    }

    fn one(&self) -> Result<&'a str, String> {
        match self.args[..] {
            [only] => Ok(only),
            [] => Err("needs an argument".to_owned()),
            _ => Err("takes one argument".to_owned()),
        }
    }

    /// Each argument read on its own; at least one, none twice.
    fn each<T: PartialEq>(
        &self,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut values = Vec::with_capacity(self.args.len());
        for arg in &self.args {
            let value = read(arg)?;
            if values.contains(&value) {
                return Err(format!("\"{}\" is there twice", Escaped(arg)));
            }
            values.push(value);
        }
        match values.is_empty() {
            true => Err("needs an argument".to_owned()),
            false => Ok(values),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }
}

fn unknown(arg: &str, known: &str) -> String {
    format!("\"{}\" is not one of {known}", Escaped(arg))
}

/// A way to prove an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4120.
    Kerberos,
    /// MS-NLMP.
    Ntlm,
}

pub(super) fn mechanisms(args: &Args<'_>) -> Result<Arc<[Mechanism]>, String> {
    args.each(|arg| match arg {
        "kerberos" => Ok(Mechanism::Kerberos),
        "ntlm" => Ok(Mechanism::Ntlm),
        _ => Err(unknown(arg, "kerberos, ntlm")),
    })
    .map(Arc::from)
}

pub(super) fn schemes(args: &Args<'_>) -> Result<Arc<[Scheme]>, String> {
    args.each(|arg| match arg {
        "negotiate" => Ok(Scheme::Negotiate),
        "ntlm" => Ok(Scheme::Ntlm),
        _ => Err(unknown(arg, "negotiate, ntlm")),
    })
    .map(Arc::from)
}

pub(super) fn accounts(args: &Args<'_>) -> Result<Backend, String> {
    let arg = args.one()?;
    let (kind, place) = arg.split_once(':').unwrap_or((arg, ""));
    match (kind, place) {
        ("winbind", "") if arg == kind => Winbind::open().map(Backend::Winbind),
        ("file", path) if !path.is_empty() => accounts::open(&args.path(path)).map(Backend::File),
        #[cfg(feature = "slow-accounts")]
        ("slow", place) => slow_accounts(args, place),
        _ => Err(format!("\"{}\" is neither file:PATH nor winbind", Escaped(arg))),
    }
}

pub(super) fn group_names(args: &Args<'_>) -> Result<Option<GroupNames>, String> {
    let arg = args.one()?;
    match arg.strip_prefix("file:") {
        Some(path) if !path.is_empty() => {
            accounts::open_group_names(&args.path(path)).map(|file| Some(GroupNames::File(file)))
        }
        None if arg == "none" => Ok(None),
        None if arg == "winbind" => Winbind::open().map(|open| Some(GroupNames::Winbind(open))),
        _ => Err(unknown(arg, "none, winbind, file:PATH")),
    }
}

pub(super) fn require(args: &Args<'_>) -> Result<Arc<Require>, String> {
    Require::read(&args.args, args.place.clone()).map(Arc::new)
}

/// One line more.
pub(super) fn require_too(
    earlier: &Arc<Require>,
    later: &Arc<Require>,
) -> Result<Arc<Require>, String> {
    Require::clone(earlier).and(later).map(Arc::new)
}

/// Whether groups are told by their names; `None` if they are not told.
pub(super) fn groups(args: &Args<'_>) -> Result<Option<bool>, String> {
    match args.one()? {
        "off" => Ok(None),
        "names" => Ok(Some(true)),
        "sids" => Ok(Some(false)),
        arg => Err(unknown(arg, "off, names, sids")),
    }
}

pub(super) fn groups_form(args: &Args<'_>) -> Result<Form, String> {
    match args.one()? {
        "comma" => Ok(Form::Comma),
        "semicolon" => Ok(Form::Semicolon),
        "json" => Ok(Form::Json),
        arg => Err(unknown(arg, "comma, semicolon, json")),
    }
}

pub(super) fn groups_limit(args: &Args<'_>) -> Result<usize, String> {
    let arg = args.one()?;
    size(arg)
        .filter(|size| (1 << 10..=64 << 10).contains(size))
        .ok_or_else(|| format!("\"{}\" is no size from 1k to 64k", Escaped(arg)))
}

/// A number of bytes, with k or m.
fn size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        _ => return None,
    };
    let number: usize = digits.parse().ok().filter(|_| !digits.starts_with('+'))?;
    number.checked_mul(unit)
}

pub(super) fn keytab(args: &Args<'_>) -> Result<Arc<Keytab>, String> {
    let arg = args.one()?;
    match arg.strip_prefix("FILE:").unwrap_or(arg) {
        "" => Err("needs the path of a keytab".to_owned()),
        path => kerberos::open(&args.path(path)),
    }
}

/// Whether tickets that have been shown are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReplayCacheMode {
    /// In a place that processes share.
    On(ReplayCache),
    /// Not where a binding makes sure that nobody else can show them.
    Off,
    /// Not.
    OffByForce,
}

pub(super) fn replay_cache(args: &Args<'_>) -> Result<ReplayCacheMode, String> {
    match args.args[..] {
        ["on"] => Ok(ReplayCacheMode::On(ReplayCache::Default)),
        ["off"] => Ok(ReplayCacheMode::Off),
        ["off", "force"] => Ok(ReplayCacheMode::OffByForce),
        [path] if path.contains('/') => {
            let path = args.path(path);
            check_folder(&path)
                .map_err(|error| format!("{}: {error}", Escaped(&path.to_string_lossy())))?;
            Ok(ReplayCacheMode::On(ReplayCache::Directory(path)))
        }
        [arg] => Err(unknown(arg, "on, off, off force, or the path of a folder")),
        _ => Err("takes on, off, off force, or the path of a folder".to_owned()),
    }
}

/// That a folder is there, and that nobody else can put a file of another's making into it.
fn check_folder(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).map_err(|error| watched::unreadable(&error))?;
    if !meta.is_dir() {
        return Err("is no folder".to_owned());
    }
    match meta.mode() & 0o002 {
        0 => Ok(()),
        _ => Err("others can write into it: chmod o-w".to_owned()),
    }
}

pub(super) fn realm_map(args: &Args<'_>) -> Result<Arc<RealmMap>, String> {
    let pairs = args.each(|arg| {
        let (realm, domain) = arg
            .split_once('=')
            .ok_or_else(|| format!("\"{}\" is not REALM=DOMAIN", Escaped(arg)))?;
        if !is_netbios(domain) {
            return Err(format!(
                "\"{}\" is no NetBIOS name: 1 to 15 letters, digits, hyphens or underscores",
                Escaped(domain)
            ));
        }
        Ok((self::realm(realm)?, domain.to_owned()))
    })?;
    RealmMap::new(pairs).map(Arc::new)
}

pub(super) fn realms(args: &Args<'_>) -> Result<Arc<[String]>, String> {
    match args.args[..] {
        ["none"] => Ok(Arc::new([])),
        _ => args.each(realm).map(Arc::from),
    }
}

fn realm(arg: &str) -> Result<String, String> {
    let is_letter = |letter: char| !letter.is_control() && !" /:=@\\\"".contains(letter);
    match !arg.is_empty() && arg.len() <= 255 && arg.chars().all(is_letter) {
        true => Ok(arg.to_owned()),
        false => Err(format!("\"{}\" is no realm", Escaped(arg))),
    }
}

pub(super) fn name_format(args: &Args<'_>) -> Result<Arc<NameFormat>, String> {
    let format = match args.args[..] {
        ["full"] => NameFormat::Full,
        ["domain"] => NameFormat::Domain,
        ["local"] => NameFormat::Local,
        ["short"] => return Err("short needs the realms to leave out".to_owned()),
        ["short", ..] => {
            let realms = Args { args: args.args[1..].to_vec(), base: args.base, place: None };
            NameFormat::Short(realms.each(realm)?)
        }
        ["full" | "domain" | "local", ..] => {
            return Err("only short takes realms".to_owned());
        }
        [arg, ..] => return Err(unknown(arg, "full, short, domain, local")),
        [] => return Err("needs an argument".to_owned()),
    };
    Ok(Arc::new(format))
}

pub(super) fn name_case(args: &Args<'_>) -> Result<NameCase, String> {
    match args.one()? {
        "keep" => Ok(NameCase::Keep),
        "lower" => Ok(NameCase::Lower),
        arg => Err(unknown(arg, "keep, lower")),
    }
}

/// More certificates than this end TLS for nobody.
const MOST_CERTIFICATES: usize = 64;

pub(super) fn certificates(args: &Args<'_>) -> Result<Arc<[EndPoint]>, String> {
    let mut end_points = Vec::new();
    for path in args.each(|path| Ok(args.path(path)))? {
        let error = |error: &str| format!("{}: {error}", Escaped(&path.to_string_lossy()));
        let bytes = std::fs::read(&path).map_err(|e| error(&watched::unreadable(&e)))?;
        let end_point = channel_binding::of_file(&bytes).map_err(error)?;
        if !end_points.contains(&end_point) {
            end_points.push(end_point);
        }
    }
    match end_points.len() <= MOST_CERTIFICATES {
        true => Ok(end_points.into()),
        false => Err(format!("takes at most {MOST_CERTIFICATES} certificates")),
    }
}

/// For tests: `slow:TIME:PATH`.
#[cfg(feature = "slow-accounts")]
fn slow_accounts(args: &Args<'_>, place: &str) -> Result<Backend, String> {
    let slow = place.split_once(':').and_then(|(time, path)| Some((duration(time)?, path)));
    let (delay, path) = slow.ok_or_else(|| format!("\"{place}\" is not slow:TIME:PATH"))?;
    let file = accounts::open(&args.path(path))?;
    Ok(Backend::Slow(accounts::SlowFile::open(file, delay)))
}

/// A domain's own names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DomainNames {
    pub(super) netbios: String,
    pub(super) dns: Option<String>,
}

pub(super) fn domain(args: &Args<'_>) -> Result<Arc<DomainNames>, String> {
    let (netbios, dns) = match args.args[..] {
        [netbios] => (netbios, None),
        [netbios, dns] => (netbios, Some(dns)),
        _ => return Err("needs a NetBIOS name and may have a DNS name".to_owned()),
    };
    if !is_netbios(netbios) {
        return Err(format!(
            "\"{}\" is no NetBIOS name: 1 to 15 letters, digits, hyphens or underscores",
            Escaped(netbios)
        ));
    }
    if let Some(dns) = dns.filter(|dns| !is_dns(dns)) {
        return Err(format!("\"{}\" is no DNS name of at most {MAX_DNS} letters", Escaped(dns)));
    }
    Ok(Arc::new(DomainNames {
        netbios: netbios.to_ascii_uppercase(),
        dns: dns.map(str::to_ascii_lowercase),
    }))
}

fn is_netbios(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The longest DNS name that a domain may have, or a computer. Every half-done handshake holds it.
pub(crate) const MAX_DNS: usize = 64;

fn is_dns(name: &str) -> bool {
    name.len() <= MAX_DNS
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        })
}

/// Whether a sign-in over TLS is bound to the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelBindingMode {
    /// Not looked at.
    Off,
    /// Checked where the client sends it.
    Allow,
    /// Required.
    Require,
}

pub(super) fn channel_binding(args: &Args<'_>) -> Result<ChannelBindingMode, String> {
    match args.one()? {
        "off" => Ok(ChannelBindingMode::Off),
        "allow" => Ok(ChannelBindingMode::Allow),
        "require" => Ok(ChannelBindingMode::Require),
        arg => Err(unknown(arg, "off, allow, require")),
    }
}

/// The service that clients must mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServiceName {
    /// Any.
    Any,
    /// HTTP on the request's host.
    Host,
    /// HTTP on one of these.
    Hosts(Vec<String>),
}

impl ServiceName {
    /// The services that tickets may be for: Kerberos knows no ports.
    pub(super) fn for_kerberos(&self) -> Services {
        match self {
            Self::Any => Services::Any,
            Self::Host => Services::RequestHost,
            Self::Hosts(hosts) => {
                let bare = |host: &String| http::without_port(host).to_owned();
                Services::Hosts(hosts.iter().map(bare).collect())
            }
        }
    }
}

pub(super) fn service_name(args: &Args<'_>) -> Result<Arc<ServiceName>, String> {
    let names = match args.args[..] {
        ["any"] => ServiceName::Any,
        ["host"] => ServiceName::Host,
        _ => ServiceName::Hosts(args.each(host)?),
    };
    Ok(Arc::new(names))
}

fn host(arg: &str) -> Result<String, String> {
    let host = match arg.split_once('/') {
        None => arg,
        Some((class, host)) if class.eq_ignore_ascii_case("http") => host,
        Some(_) => return Err(format!("\"{}\" is not of the service HTTP", Escaped(arg))),
    };
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if matches!(host, "" | "any" | "host") || !host.bytes().all(is_letter) {
        return Err(format!("\"{}\" is no host name here", Escaped(arg)));
    }
    Ok(host.to_ascii_lowercase())
}

/// Addresses of proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An address and how many of its bits count.
    Ip(IpAddr, u8),
    /// Any peer on a socket of the local machine.
    Unix,
}

impl Network {
    fn read(arg: &str) -> Result<Self, String> {
        if arg == "unix:" {
            return Ok(Self::Unix);
        }
        let wrong = || format!("\"{}\" is no ADDRESS, ADDRESS/BITS or unix:", Escaped(arg));
        let (address, bits) = match arg.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (arg, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        if address.to_canonical() != address {
            return Err(format!("\"{}\": write the IPv4 address itself", Escaped(arg)));
        }
        let all = if address.is_ipv4() { 32 } else { 128 };
        match bits.unwrap_or(all) {
            bits if bits <= all => Ok(Self::Ip(address, bits)),
            _ => Err(format!("\"{}\" has too many bits", Escaped(arg))),
        }
    }

    /// Whether a peer, as servers write it, is in here.
    pub fn contains(&self, peer: &str) -> bool {
        match (self, peer.parse::<IpAddr>().map(|address| address.to_canonical())) {
            (Self::Unix, _) => peer.starts_with("unix:"),
            (Self::Ip(IpAddr::V4(net), bits), Ok(IpAddr::V4(peer))) => {
                let differing = u32::from(*net) ^ u32::from(peer);
                differing.leading_zeros() >= u32::from(*bits)
            }
            (Self::Ip(IpAddr::V6(net), bits), Ok(IpAddr::V6(peer))) => {
                let differing = u128::from(*net) ^ u128::from(peer);
                differing.leading_zeros() >= u32::from(*bits)
            }
            _ => false,
        }
    }
}

pub(super) fn proxies(args: &Args<'_>) -> Result<Arc<[Network]>, String> {
    match args.args[..] {
        ["none"] => Ok(Arc::new([])),
        _ => args.each(Network::read).map(Arc::from),
    }
}

pub(super) fn handshake_lifetime(args: &Args<'_>) -> Result<Duration, String> {
    let arg = args.one()?;
    duration(arg)
        .filter(|time| (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(time))
        .ok_or_else(|| format!("\"{}\" is no time from 1s to 1h", Escaped(arg)))
}

pub(super) fn timeout(args: &Args<'_>) -> Result<Duration, String> {
    let arg = args.one()?;
    duration(arg)
        .filter(|time| (Duration::from_millis(100)..=Duration::from_secs(600)).contains(time))
        .ok_or_else(|| format!("\"{}\" is no time from 100ms to 10m", Escaped(arg)))
}

pub(super) fn max_jobs(args: &Args<'_>) -> Result<usize, String> {
    let arg = args.one()?;
    let number = arg.parse().ok().filter(|number| (1..=1024).contains(number));
    number.ok_or_else(|| format!("\"{}\" is no number from 1 to 1024", Escaped(arg)))
}

/// Numbers with ms, s, m, h or d, one after the other as in `1m30s`; without a unit, seconds.
fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let number: u32 = rest[..unit].parse().ok()?;
        rest = &rest[unit..];
        let end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let one = match &rest[..end] {
            "ms" => Duration::from_millis(1),
            "" | "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(60 * 60),
            "d" => Duration::from_secs(24 * 60 * 60),
            _ => return None,
        };
        total = total.checked_add(one.checked_mul(number)?)?;
        rest = &rest[end..];
    }
    (!text.is_empty()).then_some(total)
}

pub(super) fn on_off(args: &Args<'_>) -> Result<bool, String> {
    match args.one()? {
        arg if arg.eq_ignore_ascii_case("on") => Ok(true),
        arg if arg.eq_ignore_ascii_case("off") => Ok(false),
        arg => Err(unknown(arg, "on, off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("2m", 120), ("1m30s", 90), ("1h", 3600)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("1500ms"), Some(Duration::from_millis(1500)));
        for bad in ["", "s", "-1s", "1w", "1.5s", "99999999999s", "1 s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("1024", 1024), ("8k", 8192), ("8K", 8192), ("1m", 1 << 20)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for bad in ["", "k", "8kb", "-1", "+1", "1.5k", "8 k", "99999999999999999999"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        let net = |text| Network::read(text).unwrap();
        assert!(net("10.1.0.0/16").contains("10.1.2.3"));
        assert!(net("10.1.0.0/16").contains("::ffff:10.1.2.3"));
        assert!(!net("10.1.0.0/16").contains("10.2.0.1"));
        assert!(net("192.0.2.7").contains("192.0.2.7"));
        assert!(!net("192.0.2.7").contains("192.0.2.8"));
        assert!(net("0.0.0.0/0").contains("203.0.113.1"));
        assert!(!net("0.0.0.0/0").contains("2001:db8::1"));
        assert!(net("2001:db8::/32").contains("2001:db8:1::1"));
        assert!(net("unix:").contains("unix:"));
        assert!(!net("unix:").contains("127.0.0.1"));
        assert!(!net("127.0.0.1").contains("unix:"));
        assert!(!net("127.0.0.1").contains(""));
    }
}
