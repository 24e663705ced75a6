//! The fork that the library does not do.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// fork(2) as it is, in a process with threads: `busy` runs in the child, which then executes
/// `program`. Returns the child's pid.
pub(crate) fn fork_and_go_on(program: &Path, busy: impl FnOnce()) -> io::Result<i32> {
    let program = CString::new(program.as_os_str().as_bytes())?;
    // SAFETY: none. POSIX allows the child nothing but async-signal-safe calls, and `busy` does
    // others: that they can hang is what is shown here. The child ends in any case without running
    // anything of its parent's: by the execv, or by _exit.
    unsafe {
        match libc::fork() {
            0 => {
                busy();
                let argv = [program.as_ptr(), std::ptr::null()];
                libc::execv(program.as_ptr(), argv.as_ptr());
                libc::_exit(127)
            }
            pid if pid < 0 => Err(io::Error::last_os_error()),
            pid => Ok(pid),
        }
    }
}
