//! The request as C describes it.

use std::mem::{MaybeUninit, size_of};

use super::text::{auth_str, slices};
use crate::http::Authorization;
use crate::session::Request;

/// A request. Zero it, set size to sizeof(auth_request) and fill in the rest;
/// what is left zero counts as absent. Nothing of it is kept after the call.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct auth_request {
    /// sizeof(auth_request) of the caller. Fields past it read as zero.
    pub size: usize,
    /// The values of every Authorization field, in order.
    pub authorization: *const auth_str,
    /// Their number.
    pub authorization_count: usize,
    /// The method, "GET".
    pub method: auth_str,
    /// The host that the client asked for; a port may follow.
    pub host: auth_str,
    /// 1000 * major + minor: 1000, 1001, 2000, 3000.
    pub http_version: u32,
    /// AUTH_REQUEST_... together.
    pub flags: u32,
    /// The address of the other end of the TCP connection, "192.0.2.7".
    pub peer: auth_str,
    /// The Cookie field.
    pub cookie: auth_str,
    /// The certificates, in DER, that the client may have been shown on this
    /// connection: needed only with an Authorization field and TLS.
    pub certificates: *const auth_str,
    /// Their number.
    pub certificate_count: usize,
}

/// A request whose strings are Rust's.
pub(crate) struct Parts<'a> {
    authorization: Authorization<'a>,
    host: &'a [u8],
    http_version: u32,
    flags: u32,
    peer: &'a [u8],
    certificates: Vec<&'a [u8]>,
}

impl auth_request {
    /// Copies the fields that the caller's version of the struct has.
    ///
    /// # Safety
    /// `request` is NULL or starts with its size and is readable to that length.
    pub(crate) unsafe fn read(request: *const Self) -> Option<Self> {
        if request.is_null() {
            return None;
        }
        // SAFETY: every version of the struct starts with its size.
        let size = unsafe { (*request).size };
        if size < size_of::<usize>() {
            return None;
        }
        let mut copy = MaybeUninit::<Self>::zeroed();
        // SAFETY: both sides are as long as the smaller of the two sizes; all zeros, and any bytes
        // of C, are a value of every field.
        unsafe {
            request
                .cast::<u8>()
                .copy_to_nonoverlapping(copy.as_mut_ptr().cast(), size.min(size_of::<Self>()));
            Some(copy.assume_init())
        }
    }

    /// Checks every pointer and length.
    ///
    /// # Safety
    /// The strings and lists that it names are readable and outlive the result.
    pub(crate) unsafe fn parts<'a>(&self) -> Option<Parts<'a>> {
        // SAFETY: the caller's promise, for every call below.
        unsafe {
            self.method.bytes()?;
            self.cookie.bytes()?;
            Some(Parts {
                authorization: match self.authorization_count {
                    0 => Authorization::None,
                    _ if self.authorization.is_null() => return None,
                    1 => Authorization::One((*self.authorization).bytes()?),
                    _ => Authorization::Several,
                },
                host: self.host.bytes()?,
                http_version: self.http_version,
                flags: self.flags,
                peer: self.peer.bytes()?,
                certificates: slices(self.certificates, self.certificate_count)?,
            })
        }
    }
}

impl Parts<'_> {
    /// The request as the session reads it.
    pub(crate) fn request(&self) -> Request<'_> {
        let flag = |bit| self.flags & bit != 0;
        Request {
            authorization: self.authorization,
            host: self.host,
            http_version: self.http_version,
            persistent: flag(super::AUTH_REQUEST_PERSISTENT),
            tls: flag(super::AUTH_REQUEST_TLS),
            forwarded: flag(super::AUTH_REQUEST_FORWARDED),
            proxy: flag(super::AUTH_REQUEST_PROXY),
            again: flag(super::AUTH_REQUEST_AGAIN),
            peer: self.peer,
            certificates: &self.certificates,
        }
    }
}
