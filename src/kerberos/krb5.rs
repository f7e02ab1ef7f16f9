//! libkrb5, as far as reading a keytab and using its keys needs it: GSSAPI has no calls for that. All
//! `unsafe` about it is here.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

use parking_lot::Mutex;
use zeroize::Zeroizing;

/// The parts of krb5.h that are used; they have kept their layout since 1.0 of the library.
mod sys {
    use super::{c_char, c_uint, c_void};

    /// krb5_data
    #[repr(C)]
    pub(super) struct Data {
        pub(super) magic: i32,
        pub(super) length: c_uint,
        pub(super) data: *mut c_char,
    }

    /// krb5_principal_data
    #[repr(C)]
    pub(super) struct Principal {
        pub(super) magic: i32,
        pub(super) realm: Data,
        pub(super) data: *mut Data,
        pub(super) length: i32,
        pub(super) kind: i32,
    }

    /// krb5_keyblock
    #[repr(C)]
    pub(super) struct Keyblock {
        pub(super) magic: i32,
        pub(super) enctype: i32,
        pub(super) length: c_uint,
        pub(super) contents: *mut u8,
    }

    /// krb5_keytab_entry
    #[repr(C)]
    pub(super) struct Entry {
        pub(super) magic: i32,
        pub(super) principal: *mut Principal,
        pub(super) timestamp: i32,
        pub(super) vno: c_uint,
        pub(super) key: Keyblock,
    }

    /// krb5_enc_data
    #[repr(C)]
    pub(super) struct EncData {
        pub(super) magic: i32,
        pub(super) enctype: i32,
        pub(super) kvno: c_uint,
        pub(super) ciphertext: Data,
    }

    #[link(name = "krb5")]
    unsafe extern "C" {
        pub(super) fn krb5_init_context(context: *mut *mut c_void) -> i32;
        pub(super) fn krb5_free_context(context: *mut c_void);
        pub(super) fn krb5_kt_resolve(
            context: *mut c_void,
            name: *const c_char,
            keytab: *mut *mut c_void,
        ) -> i32;
        pub(super) fn krb5_kt_close(context: *mut c_void, keytab: *mut c_void) -> i32;
        pub(super) fn krb5_kt_start_seq_get(
            context: *mut c_void,
            keytab: *mut c_void,
            cursor: *mut *mut c_void,
        ) -> i32;
        pub(super) fn krb5_kt_next_entry(
            context: *mut c_void,
            keytab: *mut c_void,
            entry: *mut Entry,
            cursor: *mut *mut c_void,
        ) -> i32;
        pub(super) fn krb5_kt_end_seq_get(
            context: *mut c_void,
            keytab: *mut c_void,
            cursor: *mut *mut c_void,
        ) -> i32;
        pub(super) fn krb5_kt_add_entry(
            context: *mut c_void,
            keytab: *mut c_void,
            entry: *mut Entry,
        ) -> i32;
        pub(super) fn krb5_free_keytab_entry_contents(
            context: *mut c_void,
            entry: *mut Entry,
        ) -> i32;
        pub(super) fn krb5_pac_parse(
            context: *mut c_void,
            bytes: *const c_void,
            length: usize,
            pac: *mut *mut c_void,
        ) -> i32;
        pub(super) fn krb5_pac_verify(
            context: *mut c_void,
            pac: *mut c_void,
            authtime: i32,
            principal: *const Principal,
            server: *const Keyblock,
            privsvr: *const Keyblock,
        ) -> i32;
        pub(super) fn krb5_pac_free(context: *mut c_void, pac: *mut c_void);
        pub(super) fn krb5_get_error_message(context: *mut c_void, code: i32) -> *const c_char;
        pub(super) fn krb5_free_error_message(context: *mut c_void, message: *const c_char);
    }

    #[link(name = "k5crypto")]
    unsafe extern "C" {
        pub(super) fn krb5_k_create_key(
            context: *mut c_void,
            keyblock: *const Keyblock,
            key: *mut *mut c_void,
        ) -> i32;
        pub(super) fn krb5_k_free_key(context: *mut c_void, key: *mut c_void);
        pub(super) fn krb5_k_decrypt(
            context: *mut c_void,
            key: *mut c_void,
            usage: i32,
            cipher_state: *const Data,
            input: *const EncData,
            output: *mut Data,
        ) -> i32;
    }

    /// KRB5_KT_END: there are no more entries.
    pub(super) const KT_END: i32 = -1_765_328_202;

    /// KRB5_KEYUSAGE_KDC_REP_TICKET (RFC 4120 7.5.1)
    pub(super) const KEYUSAGE_TICKET: i32 = 2;

    /// No error.
    pub(super) const SUCCESS: i32 = 0;
}

/// A krb5_context.
struct Context(*mut c_void);

// SAFETY: a context may be used by any thread, one at a time; the mutex around the one that is
// shared sees to that.
unsafe impl Send for Context {}

impl Context {
    /// A new one; an error is what the library says about krb5.conf.
    fn new() -> Result<Self, String> {
        let mut context = ptr::null_mut();
        // SAFETY: the place for the context is valid.
        let code = unsafe { sys::krb5_init_context(&mut context) };
        let made = Self(context);
        made.check(code).map(|()| made)
    }

    /// The one that is kept as long as the process lives: those that the library makes for each
    /// sign-in find the profile parsed.
    fn shared() -> Result<&'static Mutex<Self>, String> {
        static SHARED: OnceLock<Mutex<Context>> = OnceLock::new();
        if let Some(context) = SHARED.get() {
            return Ok(context);
        }
        let made = Self::new()?;
        Ok(SHARED.get_or_init(|| Mutex::new(made)))
    }

    fn check(&self, code: i32) -> Result<(), String> {
        match code {
            sys::SUCCESS => Ok(()),
            code => Err(self.message(code)),
        }
    }

    fn message(&self, code: i32) -> String {
        // SAFETY: a null context is allowed; the message is a C string until it is freed.
        unsafe {
            let message = sys::krb5_get_error_message(self.0, code);
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            sys::krb5_free_error_message(self.0, message);
            text
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it is freed once; there may be none.
        unsafe { sys::krb5_free_context(self.0) };
    }
}

/// A key of a keytab.
pub(super) struct Key<'a> {
    /// The components of its principal.
    pub(super) components: Vec<&'a [u8]>,
    /// The realm.
    pub(super) realm: &'a [u8],
    /// The key version number.
    pub(super) kvno: u32,
    /// The encryption type.
    pub(super) enctype: i32,
    /// The key itself.
    pub(super) secret: &'a [u8],
}

impl<'a> Key<'a> {
    fn of(entry: &'a sys::Entry) -> Self {
        // SAFETY: the library filled the entry; counts and pointers fit, and live as long as it.
        let (components, realm, secret) = unsafe {
            let principal = &*entry.principal;
            let count = usize::try_from(principal.length).unwrap_or(0);
            let components = slice(principal.data, count).iter().map(|data| bytes(data));
            let secret = slice(entry.key.contents, entry.key.length as usize);
            (components.collect(), bytes(&principal.realm), secret)
        };
        Self { components, realm, kvno: entry.vno, enctype: entry.key.enctype, secret }
    }
}

/// # Safety
/// Unless `count` is 0, so many items live at `first`.
unsafe fn slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    match count {
        0 => &[],
        // SAFETY: the caller's word.
        _ => unsafe { std::slice::from_raw_parts(first, count) },
    }
}

/// # Safety
/// The library filled `data`.
unsafe fn bytes(data: &sys::Data) -> &[u8] {
    // SAFETY: so many bytes are there, if there are any.
    unsafe { slice(data.data.cast(), data.length as usize) }
}

/// An open keytab.
struct Keytab<'a> {
    context: &'a Context,
    handle: *mut c_void,
}

impl<'a> Keytab<'a> {
    fn resolve(context: &'a Context, name: &CStr) -> Result<Self, String> {
        let mut handle = ptr::null_mut();
        // SAFETY: context and name are valid, and so is the place for the keytab.
        let code = unsafe { sys::krb5_kt_resolve(context.0, name.as_ptr(), &mut handle) };
        context.check(code).map(|()| Self { context, handle })
    }
}

impl Drop for Keytab<'_> {
    fn drop(&mut self) {
        // SAFETY: it is open, and closed once.
        unsafe { sys::krb5_kt_close(self.context.0, self.handle) };
    }
}

/// A keytab in the memory of this process, with a name under which the library finds it. It is gone
/// when neither this nor a credential has it open any more.
pub(super) struct MemoryKeytab {
    name: CString,
    handle: *mut c_void,
}

// SAFETY: the library locks what is changed in a keytab.
unsafe impl Send for MemoryKeytab {}
// SAFETY: likewise.
unsafe impl Sync for MemoryKeytab {}

impl MemoryKeytab {
    /// An empty one.
    fn new(context: &Context) -> Result<Self, String> {
        // The library knows them by name, and other copies of this code that the process has
        // loaded name theirs in the same way.
        let mut number = [0; 16];
        getrandom::fill(&mut number).map_err(|error| error.to_string())?;
        let name = format!("MEMORY:negotiate-auth-{:032x}", u128::from_ne_bytes(number));
        let name = CString::new(name).unwrap_or_default();
        let keytab = Keytab::resolve(context, &name)?;
        // From here on it is closed by itself.
        let handle = std::mem::ManuallyDrop::new(keytab).handle;
        Ok(Self { name, handle })
    }

    /// The name.
    pub(super) fn name(&self) -> &CStr {
        &self.name
    }
}

/// Reads the keytab `source` and copies its keys into keytabs in memory: `choose` sees each and
/// tells the indices of those that it goes into; one that is not there yet is made.
pub(super) fn sort_keys(
    source: &CStr,
    mut choose: impl FnMut(&Key<'_>) -> Vec<usize>,
) -> Result<Vec<MemoryKeytab>, String> {
    // Who accepts tickets needs the process to keep a context, and not to wait for this one.
    Context::shared()?;
    let context = Context::new()?;
    let source = Keytab::resolve(&context, source)?;
    let mut sorted = Vec::new();
    let mut cursor = Cursor::new(&source)?;
    while let Some(mut entry) = cursor.next()? {
        for index in choose(&Key::of(&entry.0)) {
            while sorted.len() <= index {
                sorted.push(MemoryKeytab::new(&context)?);
            }
            entry.copy_to(&sorted[index])?;
        }
    }
    Ok(sorted)
}

impl Drop for MemoryKeytab {
    fn drop(&mut self) {
        if let Ok(context) = Context::shared() {
            drop(Keytab { context: &context.lock(), handle: self.handle });
        }
    }
}

/// A walk through a keytab.
struct Cursor<'a> {
    keytab: &'a Keytab<'a>,
    cursor: *mut c_void,
}

impl<'a> Cursor<'a> {
    fn new(keytab: &'a Keytab<'a>) -> Result<Self, String> {
        let mut cursor = ptr::null_mut();
        let context = keytab.context;
        // SAFETY: the keytab is open, and the place for the cursor is valid.
        let code = unsafe { sys::krb5_kt_start_seq_get(context.0, keytab.handle, &mut cursor) };
        context.check(code).map(|()| Self { keytab, cursor })
    }

    fn next(&mut self) -> Result<Option<Entry<'a>>, String> {
        let context = self.keytab.context;
        let mut entry = std::mem::MaybeUninit::zeroed();
        // SAFETY: the walk has begun and has not ended.
        let code = unsafe {
            let (handle, cursor) = (self.keytab.handle, &mut self.cursor);
            sys::krb5_kt_next_entry(context.0, handle, entry.as_mut_ptr(), cursor)
        };
        match code {
            sys::KT_END => Ok(None),
            code => {
                context.check(code)?;
                // SAFETY: the library has filled it.
                Ok(Some(Entry(unsafe { entry.assume_init() }, context)))
            }
        }
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // SAFETY: the walk has begun, and ends once.
        unsafe {
            let keytab = self.keytab;
            sys::krb5_kt_end_seq_get(keytab.context.0, keytab.handle, &mut self.cursor);
        }
    }
}

/// One entry of a keytab, with its key.
struct Entry<'a>(sys::Entry, &'a Context);

impl Entry<'_> {
    fn copy_to(&mut self, keytab: &MemoryKeytab) -> Result<(), String> {
        // SAFETY: both are valid; the entry is copied.
        let code = unsafe { sys::krb5_kt_add_entry(self.1.0, keytab.handle, &mut self.0) };
        self.1.check(code)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        // SAFETY: the library filled it; it zeroes the key.
        unsafe { sys::krb5_free_keytab_entry_contents(self.1.0, &mut self.0) };
    }
}

/// A key that tickets are encrypted with.
pub(super) struct TicketKey {
    /// Its version.
    pub(super) kvno: u32,
    /// Its encryption type.
    pub(super) enctype: i32,
    secret: Zeroizing<Vec<u8>>,
    /// What has been made of it and is not in use.
    idle: Mutex<Vec<DerivedKey>>,
}

impl TicketKey {
    /// A copy of a keytab's.
    pub(super) fn copy_of(key: &Key<'_>) -> Self {
        let secret = Zeroizing::new(key.secret.to_vec());
        Self { kvno: key.kvno, enctype: key.enctype, secret, idle: Mutex::default() }
    }

    /// Whether a PAC was signed with this key (MS-PAC 2.8.1), for a ticket of this client and time.
    pub(super) fn has_signed_pac(&self, pac: &[u8], authtime: i32, client: &Client<'_>) -> bool {
        let idle = self.idle.lock().pop();
        let Some(derived) = idle.or_else(|| DerivedKey::new(self.enctype, &self.secret)) else {
            return false;
        };
        let has_signed = derived.context.parse_pac(pac).is_some_and(|pac| {
            let keyblock = keyblock(self.enctype, &self.secret);
            keyblock.is_some_and(|key| pac.verify(authtime, client, &key))
        });
        self.idle.lock().push(derived);
        has_signed
    }

    /// What is in the encrypted part of a ticket, if it was encrypted with this key and has not been
    /// changed since.
    pub(super) fn decrypt(&self, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        // Two threads may not use the same one.
        let idle = self.idle.lock().pop();
        let derived = idle.or_else(|| DerivedKey::new(self.enctype, &self.secret))?;
        let plain = derived.decrypt(self.enctype, ciphertext);
        self.idle.lock().push(derived);
        plain
    }
}

/// A krb5_key: it keeps what has been derived from it, and has a context of its own.
struct DerivedKey {
    key: *mut c_void,
    context: Context,
}

// SAFETY: a key may be used by any thread, one at a time.
unsafe impl Send for DerivedKey {}

impl DerivedKey {
    fn new(enctype: i32, secret: &[u8]) -> Option<Self> {
        let context = Context::new().ok()?;
        let keyblock = keyblock(enctype, secret)?;
        let mut key = ptr::null_mut();
        // SAFETY: context and key block are valid, and so is the place for the key.
        let code = unsafe { sys::krb5_k_create_key(context.0, &keyblock, &mut key) };
        (code == sys::SUCCESS).then_some(Self { key, context })
    }

    fn decrypt(&self, enctype: i32, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(vec![0; ciphertext.len()]);
        let data = |bytes: *mut u8, length| sys::Data { magic: 0, length, data: bytes.cast() };
        let length = c_uint::try_from(ciphertext.len()).ok()?;
        let input = sys::EncData {
            magic: 0,
            enctype,
            kvno: 0,
            // The library reads it only.
            ciphertext: data(ciphertext.as_ptr().cast_mut(), length),
        };
        let mut output = data(plain.as_mut_ptr(), length);
        // SAFETY: context and key are valid; what is decrypted is no longer than what is encrypted.
        let code = unsafe {
            let (context, usage) = (self.context.0, sys::KEYUSAGE_TICKET);
            sys::krb5_k_decrypt(context, self.key, usage, ptr::null(), &input, &mut output)
        };
        plain.truncate(output.length as usize);
        (code == sys::SUCCESS).then_some(plain)
    }
}

/// A secret for the library, which reads it only.
fn keyblock(enctype: i32, secret: &[u8]) -> Option<sys::Keyblock> {
    let length = c_uint::try_from(secret.len()).ok()?;
    Some(sys::Keyblock { magic: 0, enctype, length, contents: secret.as_ptr().cast_mut() })
}

/// A ticket's client: PrincipalName without the realm (RFC 4120 5.2.2).
pub(super) struct Client<'a> {
    /// name-type
    pub(super) name_type: i32,
    /// The components of name-string.
    pub(super) components: Vec<&'a [u8]>,
}

/// A krb5_pac.
struct Pac<'a> {
    pac: *mut c_void,
    context: &'a Context,
}

impl Context {
    fn parse_pac(&self, bytes: &[u8]) -> Option<Pac<'_>> {
        let mut pac = ptr::null_mut();
        // SAFETY: the bytes are copied; the place for the PAC is valid.
        let code =
            unsafe { sys::krb5_pac_parse(self.0, bytes.as_ptr().cast(), bytes.len(), &mut pac) };
        (code == sys::SUCCESS).then_some(Pac { pac, context: self })
    }
}

impl Pac<'_> {
    fn verify(&self, authtime: i32, client: &Client<'_>, key: &sys::Keyblock) -> bool {
        let data = |bytes: &[u8]| sys::Data {
            magic: 0,
            length: c_uint::try_from(bytes.len()).unwrap_or(0),
            // The library reads it only.
            data: bytes.as_ptr().cast_mut().cast(),
        };
        let mut components: Vec<_> = client.components.iter().map(|one| data(one)).collect();
        let principal = sys::Principal {
            magic: 0,
            // The PAC does not tell it.
            realm: data(&[]),
            data: components.as_mut_ptr(),
            length: i32::try_from(components.len()).unwrap_or(0),
            kind: client.name_type,
        };
        // SAFETY: all of these are valid for the call; only the server's signature is looked at.
        let code = unsafe {
            let context = self.context.0;
            sys::krb5_pac_verify(context, self.pac, authtime, &principal, key, ptr::null())
        };
        code == sys::SUCCESS
    }
}

impl Drop for Pac<'_> {
    fn drop(&mut self) {
        // SAFETY: it is freed once.
        unsafe { sys::krb5_pac_free(self.context.0, self.pac) };
    }
}

impl Drop for DerivedKey {
    fn drop(&mut self) {
        // SAFETY: it is freed once, before its context.
        unsafe { sys::krb5_k_free_key(self.context.0, self.key) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// krb5_checksum
    #[repr(C)]
    struct Checksum {
        magic: i32,
        checksum_type: i32,
        length: c_uint,
        contents: *mut u8,
    }

    #[link(name = "k5crypto")]
    unsafe extern "C" {
        fn krb5_c_make_checksum(
            context: *mut c_void,
            checksum_type: i32,
            key: *const sys::Keyblock,
            usage: i32,
            input: *const sys::Data,
            checksum: *mut Checksum,
        ) -> i32;
    }

    #[link(name = "krb5")]
    unsafe extern "C" {
        fn krb5_free_checksum_contents(context: *mut c_void, checksum: *mut Checksum);
    }

    impl TicketKey {
        /// What signs a PAC (MS-PAC 2.8.1), of any type that the library knows.
        pub(in crate::kerberos) fn checksum(&self, kind: i32, pac: &[u8]) -> Option<Vec<u8>> {
            /// KRB5_KEYUSAGE_APP_DATA_CKSUM
            const USAGE: i32 = 17;
            let context = Context::new().ok()?;
            let keyblock = keyblock(self.enctype, &self.secret)?;
            let length = c_uint::try_from(pac.len()).ok()?;
            let input = sys::Data { magic: 0, length, data: pac.as_ptr().cast_mut().cast() };
            let (magic, checksum_type, length) = (0, 0, 0);
            let mut made = Checksum { magic, checksum_type, length, contents: ptr::null_mut() };
            // SAFETY: all of these are valid for the calls; what the library made is freed once.
            unsafe {
                let code =
                    krb5_c_make_checksum(context.0, kind, &keyblock, USAGE, &input, &mut made);
                let bytes = slice(made.contents, made.length as usize).to_vec();
                krb5_free_checksum_contents(context.0, &mut made);
                (code == sys::SUCCESS).then_some(bytes)
            }
        }
    }
}
