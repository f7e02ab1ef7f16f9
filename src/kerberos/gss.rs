//! GSSAPI (RFC 2744) for an acceptor of Kerberos. All `unsafe` about it is here.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::ptr;
use std::time::Duration;

use libgssapi::oid::GSS_MECH_KRB5;
use libgssapi_sys as sys;

use super::mic::Verdict;

/// What GSSAPI calls a routine error (RFC 2744 3.9.1), and the mechanism's own code.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) major: u32,
    pub(super) minor: i32,
    /// What the mechanism says about it.
    pub(super) message: String,
}

impl Status {
    /// # Safety
    /// Called before anything else of GSSAPI on this thread, which knows the last error's words.
    unsafe fn of(major: u32, minor: u32) -> Self {
        let mut text = Buffer::empty();
        let (mut ignored, mut more) = (0, 0);
        let mut mech = Mech::krb5();
        // SAFETY: all of these are valid for the call.
        unsafe {
            sys::gss_display_status(
                &mut ignored,
                minor,
                sys::GSS_C_MECH_CODE as c_int,
                &mut mech.0,
                &mut more,
                &mut text.0,
            );
        }
        let message = String::from_utf8_lossy(text.bytes()).into_owned();
        Self { major, minor: minor as i32, message }
    }

    /// Whether the mechanism has something to say: it has not about what GSSAPI itself refuses, and
    /// about a handshake that does not end here.
    pub(super) fn tells_more(&self) -> bool {
        self.major > 0xffff && self.minor != 0 && self.message != "Success"
    }

    /// Whether it is this routine error.
    pub(super) fn is(&self, routine_error: u32) -> bool {
        self.major & 0x00ff_0000 == routine_error
    }
}

/// The object identifier of Kerberos, as the library takes it.
struct Mech(sys::gss_OID_desc);

impl Mech {
    fn krb5() -> Self {
        let oid: &'static [u8] = &GSS_MECH_KRB5;
        // The library reads it only.
        Self(sys::gss_OID_desc {
            length: u32::try_from(oid.len()).unwrap_or(0),
            elements: oid.as_ptr().cast_mut().cast(),
        })
    }
}

/// A buffer of the library's.
struct Buffer(sys::gss_buffer_desc);

impl Buffer {
    fn empty() -> Self {
        Self(sys::gss_buffer_desc { length: 0, value: ptr::null_mut() })
    }

    fn bytes(&self) -> &[u8] {
        match self.0.length {
            0 => &[],
            // SAFETY: the library filled it.
            length => unsafe { std::slice::from_raw_parts(self.0.value.cast(), length) },
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: the library made what is in it, if there is anything.
        unsafe { sys::gss_release_buffer(&mut minor, &mut self.0) };
    }
}

/// Our bytes for the library, which reads them only.
fn lend(bytes: &[u8]) -> sys::gss_buffer_desc {
    sys::gss_buffer_desc { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
}

/// A credential to accept Kerberos with, and nothing else: what a plug-in of the library offers
/// besides is never asked.
pub(super) struct Credential(sys::gss_cred_id_t);

// SAFETY: the library locks what is changed in a credential.
unsafe impl Send for Credential {}
// SAFETY: likewise.
unsafe impl Sync for Credential {}

impl Credential {
    /// For all keys of a keytab, with a replay cache; both by the library's names for them.
    pub(super) fn acquire(keytab: &CStr, rcache: &CStr) -> Result<Self, Status> {
        let mut mech = Mech::krb5();
        let mut mechs = sys::gss_OID_set_desc { count: 1, elements: &mut mech.0 };
        let pair = |key: &'static CStr, value: &CStr| sys::gss_key_value_element_desc {
            key: key.as_ptr(),
            value: value.as_ptr(),
        };
        let mut elements = [pair(c"keytab", keytab), pair(c"rcache", rcache)];
        let store = sys::gss_key_value_set_desc { count: 2, elements: elements.as_mut_ptr() };
        let (mut minor, mut credential) = (0, ptr::null_mut());
        // SAFETY: all of these are valid for the call.
        unsafe {
            let major = sys::gss_acquire_cred_from(
                &mut minor,
                ptr::null_mut(),
                u32::MAX,
                &mut mechs,
                sys::GSS_C_ACCEPT as c_int,
                &store,
                &mut credential,
                ptr::null_mut(),
                ptr::null_mut(),
            );
            match major {
                sys::GSS_S_COMPLETE => Ok(Self(credential)),
                major => Err(Status::of(major, minor)),
            }
        }
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: it is released once.
        unsafe { sys::gss_release_cred(&mut minor, &mut self.0) };
    }
}

/// A security context.
pub(super) struct Context(sys::gss_ctx_id_t);

// SAFETY: a context may be used by any thread, one at a time.
unsafe impl Send for Context {}

/// What came of a client's token.
pub(super) struct Accepted {
    pub(super) context: Context,
    /// AP-REP, if the client wants one.
    pub(super) token: Option<Vec<u8>>,
    /// GSS_C_..._FLAG
    pub(super) flags: u32,
    /// How long the ticket is good for.
    pub(super) lifetime: Duration,
}

/// A context that could not be established, and the token that tells the client.
pub(super) struct Refused {
    pub(super) status: Status,
    pub(super) token: Option<Vec<u8>>,
}

/// GSS_Accept_sec_context with an InitialContextToken, to be established in this one step. Of the
/// channel bindings there is application data only.
pub(super) fn accept(
    credential: &Credential,
    token: &[u8],
    bindings: Option<&[u8]>,
) -> Result<Accepted, Refused> {
    let nothing = || lend(&[]);
    let mut bindings = bindings.map(|data| sys::gss_channel_bindings_struct {
        initiator_addrtype: 0,
        initiator_address: nothing(),
        acceptor_addrtype: 0,
        acceptor_address: nothing(),
        application_data: lend(data),
    });
    let bindings = bindings.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let (mut minor, mut flags, mut lifetime) = (0, 0, 0);
    let mut context = Context(ptr::null_mut());
    let (mut input, mut output) = (lend(token), Buffer::empty());
    // SAFETY: all of these are valid for the call; what it makes is owned by guards.
    unsafe {
        let major = sys::gss_accept_sec_context(
            &mut minor,
            &mut context.0,
            credential.0,
            &mut input,
            bindings,
            // Whoever wants the name can ask for it; few have to.
            ptr::null_mut(),
            ptr::null_mut(),
            &mut output.0,
            &mut flags,
            &mut lifetime,
            ptr::null_mut(),
        );
        let token = || Some(output.bytes()).filter(|token| !token.is_empty()).map(<[u8]>::to_vec);
        match major {
            sys::GSS_S_COMPLETE => {
                let lifetime = Duration::from_secs(lifetime.into());
                Ok(Accepted { context, token: token(), flags, lifetime })
            }
            major => Err(Refused { status: Status::of(major, minor), token: token() }),
        }
    }
}

impl Context {
    /// The client's principal, as RFC 1964 2.1.1 has it displayed. Takes as long as a third of what
    /// accepting it took.
    pub(super) fn client(&self) -> Result<Vec<u8>, Status> {
        let (mut minor, mut client) = (0, Name(ptr::null_mut()));
        // SAFETY: all of these are valid for the call; what it makes is owned by a guard.
        unsafe {
            let major = sys::gss_inquire_context(
                &mut minor,
                self.0,
                &mut client.0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            );
            match major {
                sys::GSS_S_COMPLETE => client.display(),
                major => Err(Status::of(major, minor)),
            }
        }
    }

    /// GSS_GetMIC
    pub(super) fn get_mic(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (mut minor, mut mic) = (0, Buffer::empty());
        // SAFETY: all of these are valid for the call.
        let major =
            unsafe { sys::gss_get_mic(&mut minor, self.0, 0, &mut lend(message), &mut mic.0) };
        (major == sys::GSS_S_COMPLETE).then(|| mic.bytes().to_vec())
    }

    /// GSS_VerifyMIC
    pub(super) fn verify_mic(&self, message: &[u8], mic: &[u8]) -> Verdict {
        let mut minor = 0;
        // SAFETY: all of these are valid for the call.
        let major = unsafe {
            let (mut message, mut mic) = (lend(message), lend(mic));
            sys::gss_verify_mic(&mut minor, self.0, &mut message, &mut mic, ptr::null_mut())
        };
        match major {
            sys::GSS_S_COMPLETE => Verdict::Right,
            // Supplementary information (RFC 2744 3.9.1): duplicate, old, out of sequence.
            1..=0xffff => Verdict::OutOfSequence,
            _ => Verdict::Wrong,
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: it is deleted once; there may be none.
        unsafe { sys::gss_delete_sec_context(&mut minor, &mut self.0, ptr::null_mut()) };
    }
}

/// A name of the library's.
struct Name(sys::gss_name_t);

impl Name {
    fn display(&self) -> Result<Vec<u8>, Status> {
        let (mut minor, mut text) = (0, Buffer::empty());
        // SAFETY: all of these are valid for the call.
        unsafe {
            let major = sys::gss_display_name(&mut minor, self.0, &mut text.0, ptr::null_mut());
            match major {
                sys::GSS_S_COMPLETE => Ok(text.bytes().to_vec()),
                major => Err(Status::of(major, minor)),
            }
        }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut minor = 0;
        // SAFETY: it is released once; there may be none.
        unsafe { sys::gss_release_name(&mut minor, &mut self.0) };
    }
}
