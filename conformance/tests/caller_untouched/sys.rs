//! The kernel calls of this test: what a process can ask about itself, and the changes of it that must be
//! noticed. Each change is made in a process of its own that ends thereafter.
#![allow(unsafe_code)]
#![allow(dead_code)] // each test program uses a part

use std::io;
use std::mem::MaybeUninit;

/// The disposition of a signal: handler, flags, mask; `None` for a number that has none.
pub(crate) fn disposition(signal: i32) -> Option<(usize, i32, Vec<i32>)> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills the buffer.
    let action = unsafe {
        if libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return None;
        }
        action.assume_init()
    };
    // SAFETY: the set was filled by the call above.
    let member = |s: &i32| unsafe { libc::sigismember(&raw const action.sa_mask, *s) == 1 };
    Some((action.sa_sigaction, action.sa_flags, (1..=64).filter(member).collect()))
}

/// What only calls tell of the process and of the calling thread.
pub(crate) fn flags() -> Vec<(&'static str, i64)> {
    let (mut subreaper, mut death) = (0i32, 0i32);
    let mut timer = MaybeUninit::<libc::itimerval>::zeroed();
    let keyring = |which: i32| {
        // KEYCTL_GET_KEYRING_ID, without making one.
        // SAFETY: the call takes numbers only.
        unsafe { libc::syscall(libc::SYS_keyctl, 0, which, 0) }
    };
    // SAFETY: the calls take numbers, and pointers to locals of the right type.
    unsafe {
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper, 0, 0, 0);
        libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut death, 0, 0, 0);
        libc::getitimer(libc::ITIMER_REAL, timer.as_mut_ptr());
        let timer = timer.assume_init();
        vec![
            ("dumpable", libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0).into()),
            ("securebits", libc::prctl(libc::PR_GET_SECUREBITS, 0, 0, 0, 0).into()),
            ("timer slack", libc::prctl(libc::PR_GET_TIMERSLACK, 0, 0, 0, 0).into()),
            ("no huge pages", libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0).into()),
            ("subreaper", subreaper.into()),
            ("parent death signal", death.into()),
            ("alarm", i64::from(timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0)),
            ("I/O priority", libc::syscall(libc::SYS_ioprio_get, 1, 0)),
            ("thread keyring", keyring(-1)),
            ("process keyring", keyring(-2)),
            ("session keyring", keyring(-3)),
        ]
    }
}

/// The two flag words of a descriptor.
pub(crate) fn descriptor_flags(fd: i32) -> (i32, i32) {
    // SAFETY: both calls take numbers only.
    unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) }
}

/// Changes the file mode creation mask.
pub(crate) fn set_umask(mask: u32) -> io::Result<()> {
    // SAFETY: the call takes a number and cannot fail.
    unsafe { libc::umask(mask) };
    Ok(())
}

/// Ignores a signal.
pub(crate) fn ignore(signal: i32) -> io::Result<()> {
    // SAFETY: SIG_IGN is no function: nothing of this process runs in a handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
    Ok(())
}

/// Blocks a signal in the calling thread.
pub(crate) fn block(signal: i32) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is filled before it is used, and nothing is asked for.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
    Ok(())
}

fn done(result: i64) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// prctl(2) with one number.
pub(crate) fn prctl(option: i32, value: u64) -> io::Result<()> {
    // SAFETY: only used with options that take numbers.
    done(unsafe { libc::prctl(option, value, 0, 0, 0) }.into())
}

/// The same with the number 1, which switches on.
pub(crate) fn prctl_set(option: i32) -> io::Result<()> {
    prctl(option, 1)
}

/// Sets a variable of the environment.
pub(crate) fn set_variable() -> io::Result<()> {
    // SAFETY: no other thread of this process reads the environment.
    unsafe { std::env::set_var("OXRUN_TEST_CHANGE", "made") };
    Ok(())
}

/// unshare(2).
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: the call takes a number only.
    done(unsafe { libc::unshare(flags) }.into())
}

/// personality(2).
pub(crate) fn personality(value: u64) -> io::Result<()> {
    // SAFETY: the call takes a number only.
    done(unsafe { libc::personality(value) }.into())
}

/// nice(2) of the calling thread.
pub(crate) fn nicer() -> io::Result<()> {
    // SAFETY: the call takes a number only.
    unsafe { libc::nice(1) };
    Ok(())
}

/// A new session keyring.
pub(crate) fn new_keyring() -> io::Result<()> {
    // KEYCTL_JOIN_SESSION_KEYRING.
    // SAFETY: the call takes a number and a null pointer.
    done(unsafe { libc::syscall(libc::SYS_keyctl, 1, std::ptr::null::<u8>()) })
}

/// alarm(2).
pub(crate) fn alarm(seconds: u32) -> io::Result<()> {
    // SAFETY: the call takes a number only.
    unsafe { libc::alarm(seconds) };
    Ok(())
}

/// The I/O priority of the calling thread: idle.
pub(crate) fn idle_io() -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    done(unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, 3 << 13) })
}

/// A smaller limit of locked memory.
pub(crate) fn lower_limit() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local.
    done(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }.into())
}

/// A child that has ended and that nobody has waited for.
pub(crate) fn ended_child() -> io::Result<i32> {
    // SAFETY: the child calls nothing but _exit.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(7),
            pid if pid < 0 => Err(io::Error::last_os_error()),
            pid => {
                // Until it has ended, but it stays.
                let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
                done(
                    libc::waitid(
                        libc::P_PID,
                        pid.cast_unsigned(),
                        info.as_mut_ptr(),
                        libc::WEXITED | libc::WNOWAIT,
                    )
                    .into(),
                )?;
                Ok(pid)
            }
        }
    }
}

/// Waits for a child, and returns its exit status as wait(2) has it.
pub(crate) fn wait(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: the pointer is to a local.
    match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
        got if got == pid => Ok(status),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes a descriptor that somebody else has.
pub(crate) fn close(fd: i32) -> io::Result<()> {
    // SAFETY: none for whoever uses it: this is what must be noticed. The process ends thereafter, and uses no
    // descriptor of this number before.
    done(unsafe { libc::close(fd) }.into())
}
