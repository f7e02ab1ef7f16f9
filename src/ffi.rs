//! The C boundary: every exported symbol, in the order of the header.
//!
//! Nullability and ownership sit in the signatures: `Option<&T>` reads, `Option<&mut T>` changes,
//! `Option<Box<T>>` gives or takes. Bodies are one call inside [`guard`]: a panic becomes the
//! type's default, which never means success, and a session that panicked denies from then on.
#![allow(unsafe_code)]
// Doc comments become the header and speak to readers of C; what Rust needs to know about the
// pointers stands below them.
#![allow(clippy::missing_safety_doc)]

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::job::Job;
use crate::reason::{self, Reason};
use crate::session::{self, HeaderKind, Session, Verdict};
use crate::text::Text;

mod request;
mod text;

pub use request::auth_request;
pub use text::auth_str;

/// What to do with the request. Zero is never success.
#[allow(non_camel_case_types)]
pub type auth_verdict = u32;

/// Answer auth_status() with every auth_header(): a bad call, a bad
/// configuration, a back end out of reach or a fault in here.
pub const AUTH_ERROR: auth_verdict = 0;
/// Answer auth_status() with every auth_header(): the client has not signed in
/// yet and is expected to go on.
pub const AUTH_CHALLENGE: auth_verdict = 1;
/// Serve the request as auth_name(), with every auth_header() in the answer.
pub const AUTH_ACCEPTED: auth_verdict = 2;
/// Answer auth_status() with every auth_header(): this attempt was refused.
pub const AUTH_REJECTED: auth_verdict = 3;
/// The step needs something that may block: auth_detach() it.
pub const AUTH_WAIT: auth_verdict = 4;

/// Why, for the log: a stable number. 0 signed in, 1xx asks, 2xx refuses, 5xx
/// faults. Their names are listed by auth_reason_name().
#[allow(non_camel_case_types)]
pub type auth_reason = u32;

/// Flag of auth_begin(): HTTP/2 or later, where requests share the connection.
/// Such a session serves one request; nothing outlasts it.
pub const AUTH_MULTIPLEXED: u32 = 1;

/// Flags of auth_request. The client and this server's settings allow another
/// request on this connection.
pub const AUTH_REQUEST_PERSISTENT: u32 = 1;
/// The client's connection to this server uses TLS.
pub const AUTH_REQUEST_TLS: u32 = 2;
/// A Via, Forwarded or X-Forwarded-For field is present.
pub const AUTH_REQUEST_FORWARDED: u32 = 4;
/// This server acts as a proxy here: answer 407 and Proxy-Authenticate;
/// authorization holds the values of Proxy-Authorization.
pub const AUTH_REQUEST_PROXY: u32 = 8;
/// The same client request again, after a redirect inside the server: its
/// token was taken by the first step and is not looked at again.
pub const AUTH_REQUEST_AGAIN: u32 = 16;

/// Kinds of auth_header(). Send it only if the final status is 401 or 407.
pub const AUTH_HEADER_CHALLENGE: u32 = 1;
/// Send it whatever the final status is, unless that is a 401 or 407 with which
/// the server asks somebody who has signed in for something else.
pub const AUTH_HEADER_ALWAYS: u32 = 2;

/// Kinds of auth_option_kind(). Who can sign in here, and how: belongs to
/// servers, locations and directories, never to files of users.
pub const AUTH_OPTION_SCOPE: u32 = 1;
/// What follows from a sign-in: may be set wherever a user may set options.
pub const AUTH_OPTION_RULE: u32 = 2;

/// Runs `f`, turning a panic into `T::default()`: NULL, 0, "" or nothing.
fn guard<T: Default>(f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_default()
}

/// Runs a step of `session`; a panic denies this request and every later one.
fn guard_step(
    session: Option<&mut Session>,
    f: impl FnOnce(&mut Session) -> Verdict,
) -> auth_verdict {
    let Some(session) = session else {
        return AUTH_ERROR;
    };
    match catch_unwind(AssertUnwindSafe(|| f(session))) {
        Ok(verdict) => verdict as auth_verdict,
        Err(_) => {
            session.poison();
            AUTH_ERROR
        }
    }
}

/// A static text for C; NULL if there is none.
fn static_text(f: impl FnOnce() -> Option<&'static Text>) -> *const c_char {
    guard(f).map_or(ptr::null(), |text| text.with_nul().as_ptr().cast())
}

/// The bytes of a C string, without the NUL.
// Safety: `text` is NULL or points to a NUL-terminated string that outlives the result.
unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

// ---- Options ------------------------------------------------------------------------------

/// Returns the key of the index-th option, or NULL past the last. Static, like
/// all that auth_option_...() return.
#[unsafe(no_mangle)]
pub extern "C" fn auth_option_key(index: usize) -> *const c_char {
    static_text(|| config::option(index).map(|option| &option.key))
}

/// Returns the index-th option's arguments, as a manual writes them, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn auth_option_syntax(index: usize) -> *const c_char {
    static_text(|| config::option(index).map(|option| &option.syntax))
}

/// Returns the index-th option's default, as a manual writes it, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn auth_option_default(index: usize) -> *const c_char {
    static_text(|| config::option(index).map(|option| &option.default))
}

/// Returns the index-th option's help, one line, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn auth_option_help(index: usize) -> *const c_char {
    static_text(|| config::option(index).map(|option| &option.help))
}

/// Returns AUTH_OPTION_SCOPE or AUTH_OPTION_RULE, or 0 past the last option.
#[unsafe(no_mangle)]
pub extern "C" fn auth_option_kind(index: usize) -> u32 {
    guard(|| config::option(index).map_or(0, |option| option.kind as u32))
}

/// Returns a new configuration without any option set, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn auth_config_new() -> Option<Box<Config>> {
    guard(|| Some(Box::default()))
}

/// Names the directory that relative paths in later auth_config_set() calls
/// start from. Fails on NULL.
// Safety: `directory` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_config_base(
    config: Option<&mut Config>,
    directory: *const c_char,
) -> bool {
    guard(|| {
        // SAFETY: the caller's promise.
        let (Some(config), Some(directory)) = (config, unsafe { bytes(directory) }) else {
            return false;
        };
        config.set_base(directory)
    })
}

/// Sets one option from its arguments; each keeps what its quotes held. where
/// is the place in the configuration, "file:line", or NULL: it starts every
/// error about this option. Fails on an unknown key, a bad value, a second
/// value for one option, or a file that cannot be used; config is then as
/// before but for auth_config_error(). Reads the files that the arguments
/// name: call it while still privileged.
// Safety: `key` and `place` are NULL or NUL-terminated; `args` points to `count` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_config_set(
    config: Option<&mut Config>,
    key: *const c_char,
    args: *const auth_str,
    count: usize,
    r#where: *const c_char,
) -> bool {
    guard(|| {
        // SAFETY: the caller's promise.
        let (Some(config), Some(key)) = (config, unsafe { bytes(key) }) else {
            return false;
        };
        // SAFETY: the caller's promise.
        let place = unsafe { bytes(r#where) };
        // SAFETY: the caller's promise.
        match unsafe { text::slices(args, count) } {
            Some(args) => config.set(key, &args, place),
            None => config.refuse_call("the arguments are NULL or too many"),
        }
    })
}

/// Returns a new configuration: child's options, and parent's where child has
/// none. Either may be NULL. Pure and quick: no file is touched, and equal
/// results share what they hold. NULL when out of memory.
#[unsafe(no_mangle)]
pub extern "C" fn auth_config_inherit(
    child: Option<&Config>,
    parent: Option<&Config>,
) -> Option<Box<Config>> {
    guard(|| Some(Box::new(Config::inherit(child, parent))))
}

/// Says whether somebody could sign in with these options as they stand, all
/// inherited ones included; if not, auth_config_error() says why. where is the
/// place that wants to use them, or NULL: it starts the error unless one option
/// is to blame. Not a must: auth_step() answers 500 with the same words.
// Safety: `r#where` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_config_check(
    config: Option<&mut Config>,
    r#where: *const c_char,
) -> bool {
    // SAFETY: the caller's promise.
    guard(|| config.is_some_and(|config| config.check(unsafe { bytes(r#where) })))
}

/// The same for a server whose sections are put together for each request: says
/// whether somebody could sign in with config and some of what it may inherit,
/// all of which inherited has. What only single requests can get wrong is left
/// to auth_step().
// Safety: `r#where` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_config_check_section(
    config: Option<&mut Config>,
    inherited: Option<&Config>,
    r#where: *const c_char,
) -> bool {
    guard(|| {
        let place = || {
            // SAFETY: the caller's promise.
            unsafe { bytes(r#where) }
        };
        config.is_some_and(|config| config.check_section(inherited, place()))
    })
}

/// Returns why the last auth_config_set() or one of the checks failed, else "".
#[unsafe(no_mangle)]
pub extern "C" fn auth_config_error(config: Option<&Config>) -> auth_str {
    guard(|| config.map_or(auth_str::EMPTY, |config| config.error().into()))
}

/// Returns what the last auth_config_check() or auth_config_check_section()
/// found that is hardly meant, one to a line, each with its place; else "".
#[unsafe(no_mangle)]
pub extern "C" fn auth_config_warning(config: Option<&Config>) -> auth_str {
    guard(|| config.map_or(auth_str::EMPTY, |config| config.warning().into()))
}

/// Looks whether anybody could meet the rules that rules has, in a place with
/// these options; what speaks against it is in auth_config_warning(rules).
#[unsafe(no_mangle)]
pub extern "C" fn auth_config_check_rules(rules: Option<&mut Config>, config: Option<&Config>) {
    guard(|| {
        if let (Some(rules), Some(config)) = (rules, config) {
            rules.check_rules(config);
        }
    });
}

/// Frees config. Sessions that used it go on.
#[unsafe(no_mangle)]
pub extern "C" fn auth_config_free(config: Option<Box<Config>>) {
    guard(|| drop(config));
}

// ---- Sessions -----------------------------------------------------------------------------

/// Returns a new session, for one client connection, or for one request if
/// flags has AUTH_MULTIPLEXED. NULL if flags has a bit that is not known.
#[unsafe(no_mangle)]
pub extern "C" fn auth_begin(flags: u32) -> Option<Box<Session>> {
    guard(|| match flags {
        0 => Some(Box::new(Session::new(session::Connection::Serial))),
        AUTH_MULTIPLEXED => Some(Box::new(Session::new(session::Connection::Multiplexed))),
        _ => None,
    })
}

/// Takes the next request and says what to do with it. Call it once per
/// request, with or without credentials; once more, with AUTH_REQUEST_AGAIN,
/// after each redirect inside the server that leads to a protected place.
// Safety: `request` is NULL or starts with its size and is readable to that length; so are the strings
// and lists that it names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_step(
    session: Option<&mut Session>,
    config: Option<&Config>,
    request: *const auth_request,
) -> auth_verdict {
    guard_step(session, |session| {
        // SAFETY: the caller's promise.
        let request = unsafe { auth_request::read(request) };
        match (config, &request) {
            (Some(config), Some(request)) => {
                // SAFETY: the caller's promise.
                match unsafe { request.parts() } {
                    Some(parts) => session.step(config, &parts.request()),
                    None => session.refuse_call(),
                }
            }
            _ => session.refuse_call(),
        }
    })
}

/// Says whether the rules that the option require has in rules let in whom the
/// last step accepted: AUTH_ACCEPTED, AUTH_REJECTED (403), AUTH_ERROR, or
/// AUTH_WAIT as for a step. Nothing else that rules has counts. For servers
/// that combine rules themselves; others have them in a step's configuration.
#[unsafe(no_mangle)]
pub extern "C" fn auth_authorize(
    session: Option<&mut Session>,
    rules: Option<&Config>,
) -> auth_verdict {
    guard_step(session, |session| match rules {
        Some(rules) => session.authorize(rules),
        None => session.refuse_call(),
    })
}

/// After AUTH_WAIT: returns the job to run, or NULL if the session does not
/// wait. Each call gives out a count of its own, yours to auth_job_free(): take
/// one for every thread that will use the job.
#[unsafe(no_mangle)]
pub extern "C" fn auth_detach(session: Option<&Session>) -> *const Job {
    guard(|| session.and_then(|session| session.detach())).map_or(ptr::null(), Arc::into_raw)
}

/// After AUTH_WAIT: returns for how many milliseconds to wait for the job, from
/// then on, before auth_resume() without it; 0 if the session does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn auth_timeout(session: Option<&Session>) -> u32 {
    guard(|| {
        let timeout = session.map(Session::timeout).unwrap_or_default();
        u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)
    })
}

/// Does what may block, on any thread; once, later calls return at once. It
/// touches nothing but the job: session, configuration and the server's memory
/// may be gone.
// Safety: `job` is NULL or came from auth_detach and is not freed before this call begins.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_job_run(job: *const Job) {
    // SAFETY: the caller's promise. The job holds itself while it runs.
    let job = unsafe { retain(job) };
    guard(|| {
        if let Some(job) = job {
            job.run();
        }
    });
}

/// Takes the result of the session's own job and goes on with the step. The
/// verdict may be AUTH_WAIT once more: for another job. With NULL the step is given up: AUTH_ERROR with
/// status 503. A job that has not finished counts as given up. Call it on the
/// session's own thread.
// Safety: `job` is NULL or came from auth_detach and is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_resume(
    session: Option<&mut Session>,
    job: *const Job,
) -> auth_verdict {
    // SAFETY: the caller's promise.
    let job = unsafe { retain(job) };
    guard_step(session, |session| session.resume(job))
}

/// Gives one count of a job back, at any time: also while it runs, and after
/// its session and configuration are gone.
// Safety: `job` is NULL or came from auth_detach and is not used again by this caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn auth_job_free(job: *const Job) {
    guard(|| {
        if !job.is_null() {
            // SAFETY: the caller gives back the count that auth_detach gave out.
            drop(unsafe { Arc::from_raw(job) });
        }
    });
}

/// A count of its own on a job that C holds.
// Safety: `job` is NULL or came from auth_detach and is not freed.
unsafe fn retain(job: *const Job) -> Option<Arc<Job>> {
    if job.is_null() {
        return None;
    }
    // SAFETY: the pointer came from Arc::into_raw and its count is still held.
    unsafe {
        Arc::increment_strong_count(job);
        Some(Arc::from_raw(job))
    }
}

/// Ends the session: wipes its secrets and frees it.
#[unsafe(no_mangle)]
pub extern "C" fn auth_finish(session: Option<Box<Session>>) {
    guard(|| drop(session));
}

// ---- What the last step found -------------------------------------------------------------

/// Returns the HTTP status to answer with, or 0 to go on with the request.
#[unsafe(no_mangle)]
pub extern "C" fn auth_status(session: Option<&Session>) -> u32 {
    guard(|| session.map_or(500, |session| u32::from(session.status())))
}

/// Gives the index-th field of the answer and returns its kind, or 0 past the
/// last. One field to a line: names may repeat.
#[unsafe(no_mangle)]
pub extern "C" fn auth_header(
    session: Option<&Session>,
    index: usize,
    name: Option<&mut MaybeUninit<auth_str>>,
    value: Option<&mut MaybeUninit<auth_str>>,
) -> u32 {
    guard(|| {
        let (Some(session), Some(name), Some(value)) = (session, name, value) else {
            return 0;
        };
        let Some(header) = session.header(index) else {
            return 0;
        };
        name.write(header.name.into());
        value.write((&header.value).into());
        match header.kind {
            HeaderKind::Challenge => AUTH_HEADER_CHALLENGE,
            HeaderKind::Always => AUTH_HEADER_ALWAYS,
        }
    })
}

/// Returns who the client is, as the application sees it (REMOTE_USER). This
/// and the other parts of the identity are "" or 0 unless the last verdict was
/// AUTH_ACCEPTED, or AUTH_REJECTED with status 403 for somebody who has signed
/// in and may not come in: a name for the log, and for nothing else.
#[unsafe(no_mangle)]
pub extern "C" fn auth_name(session: Option<&Session>) -> auth_str {
    identity_text(session, |identity| identity.name())
}

/// Returns the user without the domain, in the account's own spelling.
#[unsafe(no_mangle)]
pub extern "C" fn auth_user(session: Option<&Session>) -> auth_str {
    identity_text(session, |identity| identity.user())
}

/// Returns the user's domain, in the account's own spelling.
#[unsafe(no_mangle)]
pub extern "C" fn auth_domain(session: Option<&Session>) -> auth_str {
    identity_text(session, |identity| identity.domain())
}

/// Returns the mechanism that proved the identity: "kerberos" or "ntlm". Static.
#[unsafe(no_mangle)]
pub extern "C" fn auth_mechanism(session: Option<&Session>) -> auth_str {
    identity_text(session, |identity| identity.mechanism())
}

/// Returns the HTTP authentication scheme that the client signed in with:
/// "NTLM" or "Negotiate". Static.
#[unsafe(no_mangle)]
pub extern "C" fn auth_scheme(session: Option<&Session>) -> auth_str {
    identity_text(session, |identity| identity.scheme())
}

/// Returns the user's security identifier, or "" if it is not known. This and
/// the groups are told only where the option groups says so.
#[unsafe(no_mangle)]
pub extern "C" fn auth_sid(session: Option<&Session>) -> auth_str {
    session_text(session, |session| session.sid())
}

/// Returns the index-th of the user's groups; "" past the last.
#[unsafe(no_mangle)]
pub extern "C" fn auth_group(session: Option<&Session>, index: usize) -> auth_str {
    session_text(session, |session| session.group(index))
}

/// Returns all of the user's groups in one list, as the option groups_form has
/// it; "" if it would be longer than groups_limit.
#[unsafe(no_mangle)]
pub extern "C" fn auth_groups(session: Option<&Session>) -> auth_str {
    session_text(session, |session| session.groups())
}

/// Says whether the proof was bound to this TLS connection.
#[unsafe(no_mangle)]
pub extern "C" fn auth_channel_bound(session: Option<&Session>) -> bool {
    guard(|| session.and_then(Session::identity).is_some_and(|identity| identity.channel_bound()))
}

fn identity_text<'a>(
    session: Option<&'a Session>,
    part: impl FnOnce(&'a crate::identity::Identity) -> &'a Text,
) -> auth_str {
    guard(|| {
        session
            .and_then(Session::identity)
            .map_or(auth_str::EMPTY, |identity| part(identity).into())
    })
}

fn session_text<'a>(
    session: Option<&'a Session>,
    part: impl FnOnce(&'a Session) -> &'a Text,
) -> auth_str {
    guard(|| session.map_or(auth_str::EMPTY, |session| part(session).into()))
}

/// Returns why, as a number for the log. Never send it to a client.
#[unsafe(no_mangle)]
pub extern "C" fn auth_why(session: Option<&Session>) -> auth_reason {
    guard(|| session.map_or(Reason::BadCall.number(), |session| session.reason().number()))
}

/// Returns why, in one sentence for the log: names in it are escaped. Never
/// send it to a client.
#[unsafe(no_mangle)]
pub extern "C" fn auth_detail(session: Option<&Session>) -> auth_str {
    guard(|| session.map_or(auth_str::EMPTY, |session| session.detail().into()))
}

/// Returns more about a refusal, for a log of those who look closer, such as
/// the groups of a user who may not come in; else "".
#[unsafe(no_mangle)]
pub extern "C" fn auth_more(session: Option<&Session>) -> auth_str {
    session_text(session, Session::more)
}

/// Returns what an administrator should read once, whatever became of this
/// request, such as a file that could not be read again; else "".
#[unsafe(no_mangle)]
pub extern "C" fn auth_notice(session: Option<&Session>) -> auth_str {
    guard(|| session.map_or(auth_str::EMPTY, |session| (&session.notice().text).into()))
}

/// Says whether auth_notice() is a warning: something does not work as it was
/// meant to, and goes on as before.
#[unsafe(no_mangle)]
pub extern "C" fn auth_notice_warns(session: Option<&Session>) -> bool {
    guard(|| session.is_some_and(|session| session.notice().warns))
}

// ---- The library --------------------------------------------------------------------------

/// Returns "wrong-response" for 211, and so on; "unknown" for a number that has
/// no name. Static.
#[unsafe(no_mangle)]
pub extern "C" fn auth_reason_name(reason: auth_reason) -> *const c_char {
    static_text(|| Some(reason::name(reason)))
}

/// Returns the version of the library, such as "1.0.0". Static.
#[unsafe(no_mangle)]
pub extern "C" fn auth_version() -> *const c_char {
    static_text(|| Some(crate::VERSION))
}
