//! The machine's initial memory filesystem: busybox, the scripts of `guest/`, the modules that the
//! root filesystem and the channels need, and the job.

use std::fs;
use std::path::Path;

use super::kernels::Kernel;
use super::{program, unpack};

/// Modules to load, in this order, each after what it needs. Those built in are not in the list of
/// modules and left out.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "9pnet_virtio",
    "9p",
    "overlay",
    "crc32c_generic",
    "ext4",
];

/// A cpio archive in the "newc" format that the kernel unpacks.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory.
    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entry(name, 0o100_000 | mode, content);
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Magic, inode, mode, uid, gid, links, mtime, size, device and its minor, device of the
        // file and its minor, length of the name, checksum.
        let fields =
            [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

/// The filesystem for a kernel, with the files of the job below `job/`.
pub(super) fn make(kernel: &Kernel, job: &[(&str, String)]) -> Result<Vec<u8>, String> {
    let mut archive = Archive::default();
    for name in ["bin", "modules", "job"] {
        archive.directory(name);
    }
    let busybox = program("busybox")?;
    let bytes = fs::read(&busybox).map_err(|e| format!("{}: {e}", busybox.display()))?;
    archive.file("bin/busybox", 0o755, &bytes);
    archive.file("init", 0o755, include_bytes!("guest/init.sh"));
    for (name, text) in [
        ("job/plain.sh", include_str!("guest/plain.sh")),
        ("job/systemd.sh", include_str!("guest/systemd.sh")),
        ("job/units.sh", include_str!("guest/units.sh")),
        ("job/job.sh", include_str!("guest/job.sh")),
    ] {
        archive.file(name, 0o644, text.as_bytes());
    }
    for (name, text) in job {
        archive.file(&format!("job/{name}"), 0o644, text.as_bytes());
    }
    if let Some(modules) = &kernel.modules {
        let base = modules.join(&kernel.release);
        let list = base.join("modules.dep");
        let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
        for (number, file) in order(&text, MODULES).iter().enumerate() {
            let content = unpack::module(&base.join(file))?;
            archive.file(&format!("modules/{number:02}-{}.ko", stem(file)), 0o644, &content);
        }
    }
    Ok(archive.finish())
}

/// The name of a module by its file: `kernel/fs/9p/9p.ko.xz` is `9p`.
fn stem(file: &str) -> &str {
    let name = Path::new(file).file_name().and_then(|n| n.to_str()).unwrap_or(file);
    name.split_once(".ko").map_or(name, |(stem, _)| stem)
}

/// The files of these modules in the order in which they can be loaded, from the text of
/// modules.dep: on each line a file, a colon, and the files that it needs, the first one last.
fn order<'a>(text: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut files: Vec<&str> = Vec::new();
    for name in wanted {
        let line = text.lines().find_map(|line| line.split_once(':').filter(|(file, _)| stem(file) == *name));
        let Some((file, needs)) = line else { continue };
        for one in needs.split_whitespace().rev().chain([file]) {
            if !files.contains(&one) {
                files.push(one);
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_needs_and_once() {
        let text = "kernel/fs/9p/9p.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/fs/netfs.ko.xz\n\
                    kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko.xz kernel/virtio_ring.ko.xz\n\
                    kernel/other.ko:\n";
        assert_eq!(
            order(text, &["9pnet_virtio", "9p", "built_in"]).into_iter().map(stem).collect::<Vec<_>>(),
            ["virtio_ring", "9pnet", "9pnet_virtio", "netfs", "9p"]
        );
    }

    #[test]
    fn an_archive_is_aligned_and_ends_with_its_trailer() {
        let mut archive = Archive::default();
        archive.directory("job");
        archive.file("job/a", 0o644, b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"07070100000001000041ED"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("job/a\0"), "{text:?}");
        assert!(text.contains("TRAILER!!!\0"), "{text:?}");
    }
}
