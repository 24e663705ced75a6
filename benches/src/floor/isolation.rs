//! What the floor isolates, as data. What must hold: it is what the bundle's config.json says, and the
//! defaults of the OCI runtime specification (devices, symlinks).

use std::ffi::{CStr, c_int};

/// The 14 capabilities of the bundle, as a mask.
pub(crate) const CAPS: u64 = 1 << 0 // CHOWN
    | 1 << 1 // DAC_OVERRIDE
    | 1 << 3 // FOWNER
    | 1 << 4 // FSETID
    | 1 << 5 // KILL
    | 1 << 6 // SETGID
    | 1 << 7 // SETUID
    | 1 << 8 // SETPCAP
    | 1 << 10 // NET_BIND_SERVICE
    | 1 << 12 // NET_ADMIN
    | 1 << 13 // NET_RAW
    | 1 << 18 // SYS_CHROOT
    | 1 << 29 // AUDIT_WRITE
    | 1 << 31; // SETFCAP
/// The last capability that this kernel series knows.
pub(crate) const LAST_CAP: c_int = 40;

/// Path, major, minor of the default devices.
pub(crate) const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"dev/null", 1, 3),
    (c"dev/zero", 1, 5),
    (c"dev/full", 1, 7),
    (c"dev/random", 1, 8),
    (c"dev/urandom", 1, 9),
    (c"dev/tty", 5, 0),
];
/// Target and path of the default symlinks.
pub(crate) const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"pts/ptmx", c"dev/ptmx"),
];
/// Masked paths that are files wherever they exist.
pub(crate) const MASKED_FILES: [&CStr; 6] = [
    c"proc/kcore",
    c"proc/keys",
    c"proc/latency_stats",
    c"proc/timer_list",
    c"proc/timer_stats",
    c"proc/sched_debug",
];
/// Masked paths that are directories wherever they exist.
pub(crate) const MASKED_DIRS: [&CStr; 5] =
    [c"proc/acpi", c"proc/asound", c"sys/firmware", c"sys/devices/virtual/powercap", c"proc/scsi"];
/// Read-only paths.
pub(crate) const READONLY: [&CStr; 5] =
    [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];
