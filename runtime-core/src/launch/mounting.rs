//! The error of a mount: which of its fields, in runc's words.

use super::report::{call, plain, strings, text};
use crate::error::{Error, errno_text};
use crate::plan::action::{BindMount, FilesystemMount};
use crate::plan::options::MountOptions;
use oxrun_init::fault::{Detail, Record};
use std::path::Path;

/// A new filesystem that could not be mounted.
pub(super) fn filesystem(m: &FilesystemMount, field: &str, r: &Record<'_>) -> Error {
    let e = mounting(&m.source, &m.destination, r);
    let call = call(r);
    let errno = errno_text(r.errno);
    let head = format!("{}: {call}: {errno}", head(&m.source, &m.destination));
    match r.detail {
        Detail::NotOrdinary => e
            .saying(format!(
                "{}: filesystem {:?} must be mounted on ordinary directory",
                self::head(&m.source, &m.destination),
                m.fstype
            ))
            .at(format!("{field}/destination")),
        Detail::TypeMismatch => types(e, &m.destination, true).at(format!("{field}/destination")),
        Detail::FsLog => {
            // The kernel prefixes each line with its level.
            let said = text(r.text);
            let said = said.lines().next().unwrap_or("").split_once(' ').map_or("", |s| s.1).to_owned();
            at_option(e.saying(format!("{head}; {said}")).with_fs_log(said), m, field, r)
        }
        Detail::CopyUp => e,
        _ if call.starts_with("fsopen") && r.errno == libc::ENODEV => e.at(format!("{field}/type")).hint(
            format!("{:?} is unknown to this kernel; /proc/filesystems lists what it has loaded", m.fstype),
        ),
        _ if call.starts_with("fsopen") => e.at(format!("{field}/type")),
        _ if call.starts_with("fsconfig") => at_option(e, m, field, r),
        _ if call.starts_with("mount(") => e.hint(
            "options longer than 255 bytes go to mount(2), which gives no reason; the kernel's log may have it",
        ),
        _ if call.starts_with("openat2") || call.starts_with("mkdirat") => {
            e.at(format!("{field}/destination"))
        }
        _ => e,
    }
}

/// A mount of the container that could not be changed.
pub(super) fn remount(destination: &Path, r: &Record<'_>) -> Error {
    let e = mounting("", destination, r);
    match r.detail {
        Detail::Foreign => e
            .saying(format!("{}: no mount of this config made the filesystem there", head("", destination)))
            .hint(
                "with bind beside remount the mount is changed alone, and not the filesystem that others use",
            ),
        _ => e,
    }
}

/// A tree of the host that could not be bound.
pub(super) fn bind(b: &BindMount, field: &str, r: &Record<'_>) -> Error {
    let source = b.source.display().to_string();
    let e = mounting(&source, &b.destination, r);
    let call = call(r);
    match r.detail {
        Detail::TypeMismatch => {
            types(e, &b.destination, b.source.is_dir()).at(format!("{field}/destination"))
        }
        Detail::NotProc => e.at(format!("{field}/source")),
        Detail::DeviceMismatch => another_device(e, b),
        // The device of the host that stands for a node has no field of its own.
        _ if !field.starts_with("/mounts/") => e,
        _ if call.starts_with("open_tree") => e
            .saying(format!("{}: stat {source}: {}", head(&source, &b.destination), errno_text(r.errno)))
            .at(format!("{field}/source")),
        _ if call.starts_with("mount_setattr") => locked(e, b, r.errno).at(format!("{field}/options")),
        _ => e.at(format!("{field}/destination")),
    }
}

/// Inside a user namespace the host's node is bound, by the path that it is to have in the container.
fn another_device(e: Error, b: &BindMount) -> Error {
    let wanted = b.device.as_ref().map_or(String::new(), |d| format!("{} {}:{}", d.kind, d.major, d.minor));
    let path = b.source.display();
    e.saying(format!("error creating device {path}: {path} of the host is not {wanted}")).hint(
        "a user namespace makes no nodes: the host's is bound, so its path must be the same in the container",
    )
}

/// Names the flags that a user namespace may not take from a mount of its creator's.
fn locked(e: Error, b: &BindMount, errno: i32) -> Error {
    let clear = MountOptions { set: b.options.clear | b.options.clear_recursive, ..MountOptions::default() };
    let flags = clear.words();
    if errno != libc::EPERM || flags.is_empty() {
        return e;
    }
    e.hint(format!(
        "{} may be locked: inside a user namespace a flag of the mount that {} lies on cannot be taken away; \
         leave it on by giving it among the options",
        flags.join(" "),
        b.source.display()
    ))
}

fn head(source: &str, destination: &Path) -> String {
    let destination = destination.display().to_string();
    format!("error during container init: error mounting {source:?} to rootfs at {destination:?}")
}

fn mounting(source: &str, destination: &Path, r: &Record<'_>) -> Error {
    let (call, errno) = (call(r), errno_text(r.errno));
    let tail = match r.detail {
        Detail::TypeMismatch => format!("{call}: not a directory"),
        Detail::NotProc => {
            format!("{destination:?} cannot be mounted because it is not of type proc")
        }
        Detail::CopyUp => format!("copying {:?}: {call}: {errno}", text(r.text)),
        _ => format!("{call}: {errno}"),
    };
    plain("", r).saying(format!("{}: {tail}", head(source, destination)))
}

/// One is a file, the other a directory; which is known of the source.
fn types(e: Error, destination: &Path, source_is_dir: bool) -> Error {
    let words = |dir: bool| if dir { "directory" } else { "file" };
    e.hint(format!(
        "{} is a {}, the source is a {}",
        destination.display(),
        words(!source_is_dir),
        words(source_is_dir)
    ))
}

/// Names the very option that the filesystem did not take.
fn at_option(e: Error, m: &FilesystemMount, field: &str, r: &Record<'_>) -> Error {
    const KNOWN: [&str; 12] = [
        "size",
        "mode",
        "uid",
        "gid",
        "nr_inodes",
        "nr_blocks",
        "ptmxmode",
        "newinstance",
        "max",
        "hidepid",
        "lowerdir",
        "upperdir",
    ];
    let key = strings(r).into_iter().find(|s| s.0 == 2).map(|s| s.1);
    if key.as_deref() == Some("source") {
        return e.at(format!("{field}/source"));
    }
    let option = m.options.data.iter().find(|o| Some(&o.key) == key.as_ref());
    let Some((option, index)) =
        option.and_then(|o| Some((o, o.index?))).filter(|_| call(r).starts_with("fsconfig"))
    else {
        return e;
    };
    let e = e.at(format!("{field}/options/{index}"));
    if KNOWN.contains(&option.key.as_str()) {
        return e;
    }
    let near = KNOWN.iter().find(|k| (1..3).contains(&crate::bundle::keys::distance(&option.key, k)));
    match near {
        Some(near) => {
            let value = option.value.as_ref().map(|v| format!("={v}")).unwrap_or_default();
            e.hint(format!("did you mean \"{near}{value}\"?"))
        }
        None => e,
    }
}
