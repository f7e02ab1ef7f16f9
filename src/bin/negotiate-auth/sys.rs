//! What the standard library lacks: file locks, access control lists, and a terminal that is put
//! right when the user interrupts.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Waits for the exclusive lock on a file; closing the file gives it back. `busy` is called once
/// if another process holds the lock.
pub(crate) fn lock(file: &File, busy: impl FnOnce()) -> io::Result<()> {
    match flock(file, libc::LOCK_EX | libc::LOCK_NB) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        outcome => return outcome,
    }
    busy();
    flock(file, libc::LOCK_EX)
}

fn flock(file: &File, operation: libc::c_int) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is open as long as `file` is borrowed.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The attributes, beside owner and mode, that say who may read a file.
const ACCESS: [&CStr; 2] = [c"system.posix_acl_access", c"security.selinux"];

/// Gives `new` the access control list and the security label of `old`, or takes from it those that
/// it got from its folder. An error names the attribute.
pub(crate) fn copy_access(old: &File, new: &File) -> Result<(), (&'static str, io::Error)> {
    for name in ACCESS {
        let copy = || {
            let (wanted, present) = (attribute(old, name)?, attribute(new, name)?);
            match wanted {
                _ if wanted == present => Ok(()),
                Some(value) => set_attribute(new, name, &value),
                None => remove_attribute(new, name),
            }
        };
        copy().map_err(|error| (name.to_str().unwrap_or_default(), error))?;
    }
    Ok(())
}

/// The value of an extended attribute; `None` if the file or its file system has none.
fn attribute(file: &File, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    // The kernel's own limit, XATTR_SIZE_MAX.
    let mut value = vec![0; 65_536];
    // SAFETY: `name` ends with a NUL and `value` is writable to its length.
    let length = unsafe {
        libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    match usize::try_from(length) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::ENOTSUP)) => {
                Ok(None)
            }
            error => Err(error),
        },
    }
}

fn set_attribute(file: &File, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: `name` ends with a NUL and `value` is readable to its length.
    done(unsafe {
        libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })
}

fn remove_attribute(file: &File, name: &CStr) -> io::Result<()> {
    // SAFETY: `name` ends with a NUL.
    done(unsafe { libc::fremovexattr(file.as_raw_fd(), name.as_ptr()) })
}

fn done(outcome: libc::c_int) -> io::Result<()> {
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ignores SIGINT while it lives, so that a prompt which turned echo off can turn it on again.
pub(crate) struct NoInterrupt(libc::sighandler_t);

impl NoInterrupt {
    pub(crate) fn new() -> Self {
        // SAFETY: SIG_IGN runs no code.
        Self(unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) })
    }
}

impl Drop for NoInterrupt {
    fn drop(&mut self) {
        // SAFETY: this is what the first call found.
        unsafe { libc::signal(libc::SIGINT, self.0) };
    }
}

/// Ends the process by SIGINT, as its shell expects after Ctrl-C; returns if that is ignored.
pub(crate) fn interrupt() {
    // SAFETY: raise has no preconditions.
    unsafe { libc::raise(libc::SIGINT) };
}
