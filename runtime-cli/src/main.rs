//! Where the C library hands over: `main`, without the preparations of `std`.
//!
//! What must hold: descriptors 0 to 2 are open before anything else is opened, SIGPIPE is ignored, and what
//! was printed is written before the process ends. `std` does as much, and also reads /proc/self/maps to
//! tell an overflow of the stack from other faults: a fifth of the time of a short command.

#![allow(unsafe_code)]
#![no_main]

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{self, c_char, c_int};
use oxrun_cli::heap::Heap;
use std::ffi::{CStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

#[global_allocator]
static HEAP: Heap = Heap::new();

#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    if let Some(fd) = (0..3).find(|fd| !standard_stream(*fd)) {
        let text = c"cannot open /dev/null in place of a closed standard stream\n".to_bytes();
        // SAFETY: a live text with its length. If nobody gets it, the exit code is left.
        let _ = unsafe { libc::write(if fd == 2 { 1 } else { 2 }, text.as_ptr().cast(), text.len()) };
        return 1;
    }
    // SAFETY: ignoring a signal runs no handler; nothing else runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let args = (0..usize::try_from(argc).unwrap_or(0)).map(|i| {
        // SAFETY: the C library passes `argc` strings that nobody changes.
        let arg = unsafe { CStr::from_ptr(*argv.add(i)) };
        OsString::from_vec(arg.to_bytes().to_vec())
    });
    let code = oxrun_cli::run(args);
    // Unlike a return, this writes what `std` holds back of the output.
    std::process::exit(code.into())
}

/// Opens /dev/null in place of a standard stream that is closed; those below it are open.
fn standard_stream(fd: c_int) -> bool {
    // SAFETY: used for one call, which tells whether it is open.
    let stream = unsafe { BorrowedFd::borrow_raw(fd) };
    fcntl(stream, FcntlArg::F_GETFD) != Err(Errno::EBADF)
        // SAFETY: a C string; the lowest free number is `fd`.
        || unsafe { libc::open(c"/dev/null".as_ptr(), OFlag::O_RDWR.bits()) } == fd
}
