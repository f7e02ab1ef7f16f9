//! A thread that no signal is delivered to: they are for those of the server.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;

/// Runs `work` in one.
pub(super) fn without_signals(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut before = MaybeUninit::uninit();
    let mut all = MaybeUninit::uninit();
    // SAFETY: both places are valid; sigfillset fills the first that is read.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    // It begins with the signals that its maker has.
    let made = thread::Builder::new().spawn(work);
    // SAFETY: the set was filled above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
    }
    made.map(drop)
}
