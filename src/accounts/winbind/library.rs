//! libwbclient, opened at run time: who has no domain needs none of it. All `unsafe` about it is
//! here.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use zeroize::Zeroize;

use crate::secret::Secret;
use crate::sid::Sid;

/// The parts of wbclient.h that are used; they have kept their layout since 0.8 of the interface.
mod sys {
    use super::{c_char, c_int, c_void};

    /// wbcErr
    pub(super) type Error = c_int;
    pub(super) const SUCCESS: Error = 0;
    pub(super) const WINBIND_NOT_AVAILABLE: Error = 6;
    pub(super) const DOMAIN_NOT_FOUND: Error = 7;

    /// WBC_AUTH_USER_LEVEL_RESPONSE
    pub(super) const LEVEL_RESPONSE: c_int = 3;
    /// WBC_MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT and ..._WORKSTATION_TRUST_ACCOUNT: computers sign in.
    pub(super) const ALLOW_TRUST_ACCOUNTS: u32 = 0x20 | 0x800;
    /// WBC_AUTH_USER_INFO_GUEST
    pub(super) const GUEST: u32 = 1;
    /// WBC_AUTH_USER_INFO_USED_LM_PASSWORD
    pub(super) const USED_LM_PASSWORD: u32 = 8;
    /// WBC_SID_ATTR_GROUP_ENABLED
    pub(super) const GROUP_ENABLED: u32 = 4;
    /// WBC_SID_ATTR_GROUP_USEFOR_DENY_ONLY
    pub(super) const GROUP_DENY_ONLY: u32 = 0x10;
    /// WBC_SID_NAME_DOM_GRP
    pub(super) const NAME_GROUP: c_int = 2;
    /// WBC_SID_NAME_ALIAS
    pub(super) const NAME_ALIAS: c_int = 4;
    /// WBC_SID_NAME_WKN_GRP
    pub(super) const NAME_WELL_KNOWN_GROUP: c_int = 5;
    /// What counts as a group.
    pub(super) const GROUPS: [c_int; 3] = [NAME_GROUP, NAME_ALIAS, NAME_WELL_KNOWN_GROUP];

    /// struct wbcDomainSid
    #[repr(C)]
    #[derive(Clone, Copy)]
    pub(super) struct Sid {
        pub(super) revision: u8,
        pub(super) count: u8,
        pub(super) authority: [u8; 6],
        pub(super) sub_authorities: [u32; 15],
    }

    /// struct wbcSidWithAttr
    #[repr(C)]
    pub(super) struct SidWithAttr {
        pub(super) sid: Sid,
        pub(super) attributes: u32,
    }

    /// struct wbcAuthUserParams, of level WBC_AUTH_USER_LEVEL_RESPONSE
    #[repr(C)]
    pub(super) struct AuthUserParams {
        pub(super) account_name: *const c_char,
        pub(super) domain_name: *const c_char,
        pub(super) workstation_name: *const c_char,
        pub(super) flags: u32,
        pub(super) parameter_control: u32,
        pub(super) level: c_int,
        pub(super) response: Response,
    }

    /// password.response of struct wbcAuthUserParams
    #[repr(C)]
    pub(super) struct Response {
        pub(super) challenge: [u8; 8],
        pub(super) nt_length: u32,
        pub(super) nt_data: *const u8,
        pub(super) lm_length: u32,
        pub(super) lm_data: *const u8,
        // The longest of the union is as long as this.
    }

    /// struct wbcAuthUserInfo
    #[repr(C)]
    pub(super) struct AuthUserInfo {
        pub(super) user_flags: u32,
        pub(super) account_name: *const c_char,
        pub(super) user_principal: *const c_char,
        pub(super) full_name: *const c_char,
        pub(super) domain_name: *const c_char,
        pub(super) dns_domain_name: *const c_char,
        pub(super) acct_flags: u32,
        pub(super) user_session_key: [u8; 16],
        pub(super) lm_session_key: [u8; 8],
        pub(super) logon_count: u16,
        pub(super) bad_password_count: u16,
        pub(super) times: [u64; 6],
        pub(super) strings: [*const c_char; 5],
        pub(super) num_sids: u32,
        pub(super) sids: *const SidWithAttr,
    }

    /// The beginning of struct wbcAuthErrorInfo
    #[repr(C)]
    pub(super) struct AuthErrorInfo {
        pub(super) nt_status: u32,
        pub(super) nt_string: *const c_char,
    }

    /// struct wbcInterfaceDetails
    #[repr(C)]
    pub(super) struct InterfaceDetails {
        pub(super) interface_version: u32,
        pub(super) winbind_version: *const c_char,
        pub(super) winbind_separator: c_char,
        pub(super) netbios_name: *const c_char,
        pub(super) netbios_domain: *const c_char,
        pub(super) dns_domain: *const c_char,
    }

    pub(super) type CtxCreate = unsafe extern "C" fn() -> *mut c_void;
    pub(super) type CtxFree = unsafe extern "C" fn(*mut c_void);
    pub(super) type FreeMemory = unsafe extern "C" fn(*mut c_void);
    pub(super) type CtxInterfaceDetails =
        unsafe extern "C" fn(*mut c_void, *mut *mut InterfaceDetails) -> Error;
    pub(super) type CtxAuthenticateUserEx = unsafe extern "C" fn(
        *mut c_void,
        *const AuthUserParams,
        *mut *mut AuthUserInfo,
        *mut *mut AuthErrorInfo,
    ) -> Error;
    pub(super) type CtxLookupSid = unsafe extern "C" fn(
        *mut c_void,
        *const Sid,
        *mut *mut c_char,
        *mut *mut c_char,
        *mut c_int,
    ) -> Error;
    pub(super) type CtxLookupName = unsafe extern "C" fn(
        *mut c_void,
        *const c_char,
        *const c_char,
        *mut Sid,
        *mut c_int,
    ) -> Error;
    pub(super) type CtxPingDc =
        unsafe extern "C" fn(*mut c_void, *const c_char, *mut *mut AuthErrorInfo) -> Error;
    pub(super) type CtxCheckTrustCredentials =
        unsafe extern "C" fn(*mut c_void, *const c_char, *mut *mut AuthErrorInfo) -> Error;
}

/// The library's functions. It stays open as long as the process lives.
pub(super) struct Library {
    ctx_create: sys::CtxCreate,
    ctx_free: sys::CtxFree,
    free_memory: sys::FreeMemory,
    interface_details: sys::CtxInterfaceDetails,
    authenticate_user_ex: sys::CtxAuthenticateUserEx,
    lookup_sid: sys::CtxLookupSid,
    lookup_name: sys::CtxLookupName,
    ping_dc: sys::CtxPingDc,
    check_trust_credentials: sys::CtxCheckTrustCredentials,
}

impl Library {
    /// Opens it, the first time; the error names the package.
    pub(super) fn open() -> Result<&'static Self, String> {
        static LIBRARY: OnceLock<Library> = OnceLock::new();
        if let Some(library) = LIBRARY.get() {
            return Ok(library);
        }
        // SAFETY: the name is a C string; what the library does when it is opened is its own matter.
        let handle = unsafe {
            libc::dlopen(c"libwbclient.so.0".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL)
        };
        if handle.is_null() {
            return Err(format!(
                "winbind needs libwbclient (Debian: libwbclient0; Fedora: libwbclient): {}",
                dl_error()
            ));
        }
        let library = Self::resolve(handle)?;
        Ok(LIBRARY.get_or_init(|| library))
    }

    fn resolve(handle: *mut c_void) -> Result<Self, String> {
        let find = |name: &CStr| {
            // SAFETY: the handle is open and the name a C string.
            let symbol = unsafe { libc::dlsym(handle, name.as_ptr()) };
            let name = name.to_string_lossy();
            (!symbol.is_null())
                .then_some(symbol)
                .ok_or_else(|| format!("winbind needs a newer libwbclient: it has no {name}"))
        };
        /// A function that wbclient.h declares so.
        macro_rules! function {
            ($name:literal, $kind:ty) => {
                // SAFETY: that is its declaration.
                unsafe { std::mem::transmute::<*mut c_void, $kind>(find($name)?) }
            };
        }
        Ok(Self {
            ctx_create: function!(c"wbcCtxCreate", sys::CtxCreate),
            ctx_free: function!(c"wbcCtxFree", sys::CtxFree),
            free_memory: function!(c"wbcFreeMemory", sys::FreeMemory),
            interface_details: function!(c"wbcCtxInterfaceDetails", sys::CtxInterfaceDetails),
            authenticate_user_ex: function!(
                c"wbcCtxAuthenticateUserEx",
                sys::CtxAuthenticateUserEx
            ),
            lookup_sid: function!(c"wbcCtxLookupSid", sys::CtxLookupSid),
            lookup_name: function!(c"wbcCtxLookupName", sys::CtxLookupName),
            ping_dc: function!(c"wbcCtxPingDc", sys::CtxPingDc),
            check_trust_credentials: function!(
                c"wbcCtxCheckTrustCredentials",
                sys::CtxCheckTrustCredentials
            ),
        })
    }
}

fn dl_error() -> String {
    // SAFETY: the text is good until the next call of this thread.
    unsafe {
        match libc::dlerror() {
            text if text.is_null() => String::new(),
            text => CStr::from_ptr(text).to_string_lossy().into_owned(),
        }
    }
}

/// Something of the library's, to be freed by it.
struct Owned<T>(*mut T, &'static Library);

impl<T> Owned<T> {
    fn none(library: &'static Library) -> Self {
        Self(ptr::null_mut(), library)
    }

    fn get(&self) -> Option<&T> {
        // SAFETY: the library filled it, if there is anything.
        unsafe { self.0.as_ref() }
    }

    fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: the library filled it, if there is anything, and nobody else has it.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it is the library's, and freed once.
            unsafe { (self.1.free_memory)(self.0.cast()) };
        }
    }
}

/// What winbindd did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It did not answer, or could not be asked.
    NotAvailable,
    /// It, or a domain controller, said no (MS-ERREF 2.3).
    NtStatus(u32),
    /// The library failed in another way: its wbcErr.
    Other(i32),
}

impl Failure {
    fn of(error: sys::Error, info: &Owned<sys::AuthErrorInfo>) -> Self {
        match (error, info.get().map(|info| info.nt_status)) {
            (_, Some(status)) if status != 0 => Self::NtStatus(status),
            (sys::WINBIND_NOT_AVAILABLE, _) => Self::NotAvailable,
            // NT_STATUS_NO_SUCH_DOMAIN
            (sys::DOMAIN_NOT_FOUND, _) => Self::NtStatus(0xc000_00df),
            (error, _) => Self::Other(error),
        }
    }
}

/// One AUTHENTICATE, as a domain controller is asked about it.
pub(super) struct LogonRequest<'a> {
    pub(super) domain: &'a str,
    pub(super) user: &'a str,
    pub(super) workstation: &'a str,
    pub(super) server_challenge: [u8; 8],
    pub(super) nt_response: &'a [u8],
}

/// Who signed in.
pub(super) struct Logon {
    /// `None` if winbindd has no name, or one that is not UTF-8; so with the others.
    pub(super) domain: Option<String>,
    pub(super) user: Option<String>,
    pub(super) guest: bool,
    /// Whether another response than the one that was asked about counted.
    pub(super) by_lm: bool,
    /// `None` if winbindd had none.
    pub(super) user_session_key: Option<Secret<16>>,
    pub(super) sid: Option<Sid>,
    /// Those that count for access.
    pub(super) groups: Vec<Sid>,
}

/// A group, as winbindd calls it.
pub(super) struct TranslatedName {
    pub(super) domain: String,
    pub(super) name: String,
}

/// The names of this computer in its domain.
pub(super) struct Interface {
    pub(super) netbios_name: String,
    pub(super) netbios_domain: String,
    pub(super) dns_domain: String,
}

/// A wbcContext: a connection to winbindd, for one thread at a time.
pub(super) struct Context {
    context: *mut c_void,
    library: &'static Library,
}

// SAFETY: a context may be used by any thread, one at a time.
unsafe impl Send for Context {}

impl Context {
    /// A new one; nothing is connected yet.
    pub(super) fn new(library: &'static Library) -> Option<Self> {
        // SAFETY: it takes nothing.
        let context = unsafe { (library.ctx_create)() };
        (!context.is_null()).then_some(Self { context, library })
    }

    /// What winbindd says about itself: no domain controller is asked.
    pub(super) fn interface(&self) -> Result<Interface, Failure> {
        let mut details = Owned::none(self.library);
        // SAFETY: context and place are valid.
        let error = unsafe { (self.library.interface_details)(self.context, &mut details.0) };
        let details = success(error, &details)?;
        // SAFETY: these are C strings, or null.
        unsafe {
            Ok(Interface {
                netbios_name: text(details.netbios_name).unwrap_or_default(),
                netbios_domain: text(details.netbios_domain).unwrap_or_default(),
                dns_domain: text(details.dns_domain).unwrap_or_default(),
            })
        }
    }

    /// Has a domain controller judge a response. It takes as long as it takes.
    pub(super) fn authenticate(&self, request: &LogonRequest<'_>) -> Result<Logon, Failure> {
        // There is no NUL in a name.
        let name = |name: &str| CString::new(name).unwrap_or_default();
        let (user, domain) = (name(request.user), name(request.domain));
        let workstation = name(request.workstation);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0);
        let params = sys::AuthUserParams {
            account_name: user.as_ptr(),
            domain_name: domain.as_ptr(),
            workstation_name: workstation.as_ptr(),
            flags: 0,
            parameter_control: sys::ALLOW_TRUST_ACCOUNTS,
            level: sys::LEVEL_RESPONSE,
            response: sys::Response {
                challenge: request.server_challenge,
                nt_length: length(request.nt_response),
                nt_data: request.nt_response.as_ptr(),
                lm_length: 0,
                lm_data: ptr::null(),
            },
        };
        let (mut info, mut error_info) = (Owned::none(self.library), Owned::none(self.library));
        // SAFETY: context, parameters and places are valid.
        let error = unsafe {
            let authenticate = self.library.authenticate_user_ex;
            authenticate(self.context, &params, &mut info.0, &mut error_info.0)
        };
        match (error, info.get_mut()) {
            // SAFETY: the library filled it.
            (sys::SUCCESS, Some(info)) => Ok(unsafe { logon(info) }),
            (sys::SUCCESS, None) => Err(Failure::Other(error)),
            (error, _) => Err(Failure::of(error, &error_info)),
        }
    }

    /// Domain and name of a group; `None` where there is none, or nobody can tell. A question about
    /// many at once would have no answer where one of them is unknown.
    pub(super) fn group_name(&self, sid: &Sid) -> Result<Option<TranslatedName>, Failure> {
        let (sid, mut kind) = (sid_of(sid), 0);
        let (mut domain, mut name) = (Owned::none(self.library), Owned::none(self.library));
        // SAFETY: context, SID and places are valid.
        let error = unsafe {
            let lookup = self.library.lookup_sid;
            lookup(self.context, &sid, &mut domain.0, &mut name.0, &mut kind)
        };
        match error {
            sys::SUCCESS if sys::GROUPS.contains(&kind) => {
                // SAFETY: these are C strings, or null.
                let (domain, name) = unsafe { (text(domain.0), text(name.0)) };
                Ok(domain.zip(name).map(|(domain, name)| TranslatedName { domain, name }))
            }
            sys::WINBIND_NOT_AVAILABLE => Err(Failure::NotAvailable),
            _ => Ok(None),
        }
    }

    /// The group of that name in a domain; `None` where there is none, or nobody can tell.
    pub(super) fn group_sid(&self, domain: &str, name: &str) -> Result<Option<Sid>, Failure> {
        let (Ok(domain), Ok(name)) = (CString::new(domain), CString::new(name)) else {
            return Ok(None);
        };
        let (mut sid, mut kind) = (sid_of(&Sid::NOBODY), 0);
        // SAFETY: context, names and places are valid.
        let error = unsafe {
            let lookup = self.library.lookup_name;
            lookup(self.context, domain.as_ptr(), name.as_ptr(), &mut sid, &mut kind)
        };
        match error {
            sys::SUCCESS if sys::GROUPS.contains(&kind) => Ok(read(&sid)),
            sys::WINBIND_NOT_AVAILABLE => Err(Failure::NotAvailable),
            _ => Ok(None),
        }
    }

    /// Whether a domain controller of that domain answers.
    pub(super) fn ping_domain(&self, domain: &str) -> Result<(), Failure> {
        let domain = CString::new(domain).map_err(|_| Failure::NotAvailable)?;
        let mut info = Owned::none(self.library);
        // SAFETY: context, name and place are valid.
        let error = unsafe { (self.library.ping_dc)(self.context, domain.as_ptr(), &mut info.0) };
        match error {
            sys::SUCCESS => Ok(()),
            error => Err(Failure::of(error, &info)),
        }
    }

    /// Whether a domain controller takes the password of this computer's account.
    pub(super) fn check_trust(&self) -> Result<(), Failure> {
        let mut info = Owned::none(self.library);
        // SAFETY: context and place are valid; no name means our own domain.
        let error = unsafe {
            let check = self.library.check_trust_credentials;
            check(self.context, ptr::null(), &mut info.0)
        };
        match error {
            sys::SUCCESS => Ok(()),
            error => Err(Failure::of(error, &info)),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it is freed once.
        unsafe { (self.library.ctx_free)(self.context) };
    }
}

fn success<T>(error: sys::Error, made: &Owned<T>) -> Result<&T, Failure> {
    match (error, made.get()) {
        (sys::SUCCESS, Some(made)) => Ok(made),
        (sys::WINBIND_NOT_AVAILABLE, _) => Err(Failure::NotAvailable),
        (error, _) => Err(Failure::Other(error)),
    }
}

fn read(sid: &sys::Sid) -> Option<Sid> {
    Sid::new(sid.authority, sid.sub_authorities.get(..usize::from(sid.count))?)
}

fn sid_of(sid: &Sid) -> sys::Sid {
    let mut parts = [0; 15];
    let count = sid.sub_authorities().len().min(parts.len());
    parts[..count].copy_from_slice(&sid.sub_authorities()[..count]);
    sys::Sid { revision: 1, count: count as u8, authority: sid.authority(), sub_authorities: parts }
}

/// # Safety
/// The library filled `info`.
unsafe fn logon(info: &mut sys::AuthUserInfo) -> Logon {
    // SAFETY: the caller's word: so many are there, and these are C strings or null.
    let (sids, domain, user) = unsafe {
        let sids = match info.num_sids {
            0 => &[][..],
            count => std::slice::from_raw_parts(info.sids, count as usize),
        };
        (sids, text(info.domain_name), text(info.account_name))
    };
    let counts = |group: &&sys::SidWithAttr| {
        group.attributes & (sys::GROUP_ENABLED | sys::GROUP_DENY_ONLY) == sys::GROUP_ENABLED
    };
    let key = Secret::new(info.user_session_key);
    info.user_session_key.zeroize();
    info.lm_session_key.zeroize();
    Logon {
        domain,
        user,
        guest: info.user_flags & sys::GUEST != 0,
        by_lm: info.user_flags & sys::USED_LM_PASSWORD != 0,
        user_session_key: (key != Secret::new([0; 16])).then_some(key),
        sid: sids.first().and_then(|first| read(&first.sid)),
        groups: sids.iter().skip(1).filter(counts).filter_map(|group| read(&group.sid)).collect(),
    }
}

/// What is not UTF-8 is no name: two of them might become the same.
///
/// # Safety
/// A C string, or null.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's word.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};
    use std::process::Command;

    /// Fields, in C's words, and where they are in ours.
    fn layout() -> Vec<(&'static str, usize)> {
        let response = offset_of!(sys::AuthUserParams, response);
        vec![
            ("sizeof(struct wbcDomainSid)", size_of::<sys::Sid>()),
            ("offsetof(struct wbcDomainSid, id_auth)", offset_of!(sys::Sid, authority)),
            ("offsetof(struct wbcDomainSid, sub_auths)", offset_of!(sys::Sid, sub_authorities)),
            ("sizeof(struct wbcSidWithAttr)", size_of::<sys::SidWithAttr>()),
            (
                "offsetof(struct wbcSidWithAttr, attributes)",
                offset_of!(sys::SidWithAttr, attributes),
            ),
            (
                "offsetof(struct wbcAuthUserParams, workstation_name)",
                offset_of!(sys::AuthUserParams, workstation_name),
            ),
            (
                "offsetof(struct wbcAuthUserParams, parameter_control)",
                offset_of!(sys::AuthUserParams, parameter_control),
            ),
            ("offsetof(struct wbcAuthUserParams, level)", offset_of!(sys::AuthUserParams, level)),
            ("offsetof(struct wbcAuthUserParams, password)", response),
            (
                "offsetof(struct wbcAuthUserParams, password.response.nt_length)",
                response + offset_of!(sys::Response, nt_length),
            ),
            (
                "offsetof(struct wbcAuthUserParams, password.response.nt_data)",
                response + offset_of!(sys::Response, nt_data),
            ),
            (
                "offsetof(struct wbcAuthUserParams, password.response.lm_data)",
                response + offset_of!(sys::Response, lm_data),
            ),
            ("sizeof(struct wbcAuthUserParams)", size_of::<sys::AuthUserParams>()),
            ("WBC_SID_NAME_DOM_GRP", sys::NAME_GROUP as usize),
            ("WBC_SID_NAME_ALIAS", sys::NAME_ALIAS as usize),
            ("WBC_SID_NAME_WKN_GRP", sys::NAME_WELL_KNOWN_GROUP as usize),
            ("WBC_AUTH_USER_INFO_USED_LM_PASSWORD", sys::USED_LM_PASSWORD as usize),
            (
                "offsetof(struct wbcAuthUserInfo, account_name)",
                offset_of!(sys::AuthUserInfo, account_name),
            ),
            (
                "offsetof(struct wbcAuthUserInfo, domain_name)",
                offset_of!(sys::AuthUserInfo, domain_name),
            ),
            (
                "offsetof(struct wbcAuthUserInfo, user_session_key)",
                offset_of!(sys::AuthUserInfo, user_session_key),
            ),
            ("offsetof(struct wbcAuthUserInfo, num_sids)", offset_of!(sys::AuthUserInfo, num_sids)),
            ("offsetof(struct wbcAuthUserInfo, sids)", offset_of!(sys::AuthUserInfo, sids)),
            (
                "offsetof(struct wbcAuthErrorInfo, nt_status)",
                offset_of!(sys::AuthErrorInfo, nt_status),
            ),
            (
                "offsetof(struct wbcInterfaceDetails, netbios_name)",
                offset_of!(sys::InterfaceDetails, netbios_name),
            ),
            (
                "offsetof(struct wbcInterfaceDetails, dns_domain)",
                offset_of!(sys::InterfaceDetails, dns_domain),
            ),
            ("WBC_ERR_WINBIND_NOT_AVAILABLE", sys::WINBIND_NOT_AVAILABLE as usize),
            ("WBC_ERR_DOMAIN_NOT_FOUND", sys::DOMAIN_NOT_FOUND as usize),
            ("WBC_AUTH_USER_LEVEL_RESPONSE", sys::LEVEL_RESPONSE as usize),
            (
                "(WBC_MSV1_0_ALLOW_SERVER_TRUST_ACCOUNT | WBC_MSV1_0_ALLOW_WORKSTATION_TRUST_ACCOUNT)",
                sys::ALLOW_TRUST_ACCOUNTS as usize,
            ),
            ("WBC_AUTH_USER_INFO_GUEST", sys::GUEST as usize),
            ("WBC_SID_ATTR_GROUP_ENABLED", sys::GROUP_ENABLED as usize),
            ("WBC_SID_ATTR_GROUP_USEFOR_DENY_ONLY", sys::GROUP_DENY_ONLY as usize),
        ]
    }

    #[test]
    fn what_is_declared_here_is_what_the_header_declares() {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("layout.c"), folder.path().join("layout"));
        let mut text = ["stddef", "stdint", "stdbool", "stdio", "sys/types", "wbclient"]
            .map(|header| format!("#include <{header}.h>\n"))
            .concat();
        text += "int main(void) {\n";
        for (expression, _) in layout() {
            text += &format!("    printf(\"%zu\\n\", (size_t)({expression}));\n");
        }
        text += "    return 0;\n}\n";
        std::fs::write(&source, text).unwrap();
        let made = Command::new("cc")
            .args(["-I/usr/include/samba-4.0", "-w", "-o"])
            .args([&program, &source])
            .status()
            .unwrap();
        assert!(made.success(), "it takes a compiler and libwbclient's header");
        let said = Command::new(&program).output().unwrap().stdout;
        let theirs: Vec<usize> =
            String::from_utf8(said).unwrap().lines().map(|line| line.parse().unwrap()).collect();
        for ((expression, ours), theirs) in layout().into_iter().zip(theirs) {
            assert_eq!(ours, theirs, "{expression}");
        }
    }
}
