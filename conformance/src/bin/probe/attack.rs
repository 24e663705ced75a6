//! What a hostile payload does to whoever shows up in its pid namespace, until SIGTERM. Nothing is changed that
//! counts: what is written is what stands there.

use crate::{Ending, say, sys, text};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

/// The directories of other processes in /proc.
fn others() -> Vec<(i32, PathBuf)> {
    let own = std::process::id().cast_signed();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = |path: PathBuf| Some((path.file_name()?.to_str()?.parse().ok()?, path));
    entries.filter_map(|entry| pid(entry.path())).filter(|(pid, _)| *pid != own).collect()
}

/// Looks for something again and again, and writes into `out` what was found; null if SIGTERM came first.
fn until_term(out: &str, look: impl Fn() -> Option<Value>) -> Ending {
    sys::block_term();
    say("ready")?;
    let mut found = None;
    while found.is_none() && !sys::term_is_pending() {
        found = look();
    }
    fs::write(out, json!(found).to_string()).map(|()| 0).map_err(text)
}

/// Holds the executable of another process, kills that process, and writes into its file.
pub(crate) fn hold_exe(out: &str) -> Ending {
    let own = fs::metadata("/proc/self/exe").map_err(text)?;
    until_term(out, || {
        others().into_iter().find_map(|(pid, path)| {
            let file = File::open(path.join("exe")).ok()?;
            let meta = file.metadata().ok()?;
            if (meta.dev(), meta.ino()) == (own.dev(), own.ino()) {
                return None;
            }
            let name = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
            // It may be gone by now.
            let _ = sys::kill_and_wait(pid);
            let answer = |result: io::Result<()>| match result {
                Ok(()) => json!("ok"),
                Err(error) => json!(error.raw_os_error()),
            };
            let mut written = rewrite(&file);
            // Some other process still executes it.
            while written.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::ExecutableFileBusy)
                && !sys::term_is_pending()
            {
                written = rewrite(&file);
            }
            Some(json!({ "path": name, "write": answer(written) }))
        })
    })
}

/// Writes the first byte of a file over itself, through a second open.
fn rewrite(file: &File) -> io::Result<()> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0)?;
    let again = File::options().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    again.write_all_at(&byte, 0)
}

/// Stops every other process as soon as it shows up.
pub(crate) fn stop_others() -> Ending {
    sys::block_term();
    say("ready")?;
    while !sys::term_is_pending() {
        others().into_iter().for_each(|(pid, _)| sys::stop(pid));
    }
    Ok(0)
}

/// Reads a file through the root of another process.
pub(crate) fn peek(path: &str, out: &str) -> Ending {
    until_term(out, || {
        others().into_iter().find_map(|(_, process)| {
            let text = fs::read_to_string(format!("{}/root{path}", process.display())).ok()?;
            Some(json!({ "text": text }))
        })
    })
}

/// Mounts a procfs of its own, as anybody may in a user namespace of their own, and writes what the kernel answered.
pub(crate) fn fresh_procfs(place: &str, out: &str) -> Ending {
    let answer = match sys::mount_procfs(std::path::Path::new(place)).map_err(text)? {
        0 => json!("ok"),
        errno => json!(errno),
    };
    fs::write(out, json!({ "procfs": answer }).to_string()).map(|()| 0).map_err(text)
}
