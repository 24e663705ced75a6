//! Kernels by name: unpacked once from Debian's packages into the user's cache, one process at a
//! time, and complete or absent. A path names a kernel that is there already.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::Apt;
use super::{output, unpack};

/// The names that `--kernel` takes, each with the Debian release that has it.
const NAMES: &[(&str, &str)] =
    &[("5.10", "bullseye"), ("6.1", "bookworm"), ("6.12", "trixie"), ("newest", "sid")];

/// A kernel ready to boot.
pub(super) struct Kernel {
    /// An ELF image or a bzImage.
    pub(super) image: PathBuf,
    /// What `uname -r` says; empty if unknown.
    pub(super) release: String,
    /// The directory that holds `RELEASE/modules.dep`, if the kernel has modules.
    pub(super) modules: Option<PathBuf>,
}

/// The directory of kernels, made if needed.
fn cache() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|p| !p.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = base.or_else(home).ok_or("neither XDG_CACHE_HOME nor HOME is set")?;
    let cache = base.join("oxrun-vm");
    fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
    Ok(cache)
}

/// The number inside a package name such as `linux-image-6.12.117+deb13-amd64`, as numbers that
/// compare; `None` for packages of other flavours and for those that only depend on a kernel.
fn version(package: &str) -> Option<Vec<u64>> {
    let middle = package.strip_prefix("linux-image-")?.strip_suffix("-amd64")?;
    if !middle.starts_with(|c: char| c.is_ascii_digit())
        || middle.ends_with("-rt")
        || middle.ends_with("-cloud")
    {
        return None;
    }
    Some(middle.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect())
}

/// The newest kernel package whose version starts with the numbers in `name`; any for `newest`.
fn newest<'a>(packages: &'a [String], name: &str) -> Option<&'a str> {
    let wanted: Vec<u64> = name.split('.').filter_map(|part| part.parse().ok()).collect();
    packages
        .iter()
        .filter_map(|package| Some((version(package)?, package.as_str())))
        .filter(|(version, _)| version.starts_with(&wanted))
        .max()
        .map(|(_, package)| package)
}

fn package(apt: &Apt, name: &str, release: &str) -> Result<String, String> {
    let packages = apt.names("linux-image-")?;
    let package = newest(&packages, name).ok_or_else(|| format!("Debian {release} has no kernel {name}"))?;
    Ok(package.to_owned())
}

/// Prints the kernels that can be had.
pub(super) fn list() -> Result<(), String> {
    let cache = cache()?;
    for (name, release) in NAMES {
        let line = match Apt::new(&cache, release).and_then(|apt| package(&apt, name, release)) {
            Ok(package) => package,
            Err(why) => format!("not to be had: {why}"),
        };
        let here = match read(&cache.join(name)) {
            Some(kernel) => format!(" (here: {})", kernel.release),
            None => String::new(),
        };
        println!("{name:<8} {release:<10} {line}{here}");
    }
    Ok(())
}

/// The kernel of this name or path.
pub(super) fn find(name: &str) -> Result<Kernel, String> {
    if name.contains('/') {
        return given(Path::new(name));
    }
    let Some((_, release)) = NAMES.iter().find(|(known, _)| *known == name) else {
        return Err(format!("--kernel {name}: neither 5.10, 6.1, 6.12, newest nor a path"));
    };
    let cache = cache()?;
    let lock = File::create(cache.join("lock")).map_err(|e| format!("lock: {e}"))?;
    lock.lock().map_err(|e| format!("lock: {e}"))?;
    let directory = cache.join(name);
    if let Some(kernel) = read(&directory) {
        return Ok(kernel);
    }
    let spare = cache.join(format!("{name}.new"));
    let _ = fs::remove_dir_all(&spare);
    let made = fetch(&cache, name, release, &spare)
        .and_then(|()| fs::rename(&spare, &directory).map_err(|e| format!("{}: {e}", directory.display())));
    if made.is_err() {
        let _ = fs::remove_dir_all(&spare);
    }
    made?;
    read(&directory).ok_or_else(|| format!("{} is incomplete", directory.display()))
}

/// What `fetch` has left in a directory.
fn read(directory: &Path) -> Option<Kernel> {
    let release = fs::read_to_string(directory.join("release")).ok()?;
    let modules = directory.join("modules");
    Some(Kernel { image: directory.join("image"), release, modules: modules.is_dir().then_some(modules) })
}

/// Makes `directory`: `image`, `modules/RELEASE`, `release`.
fn fetch(cache: &Path, name: &str, release: &str, directory: &Path) -> Result<(), String> {
    let apt = Apt::new(cache, release)?;
    let package = package(&apt, name, release)?;
    eprintln!("oxrun-conformance vm: fetching {package} of Debian {release}");
    let at = |e: std::io::Error| format!("{}: {e}", directory.display());
    let unpacked = directory.join("unpacked");
    fs::create_dir_all(&unpacked).map_err(at)?;
    apt.unpack(&package, &unpacked)?;
    // Newer packages only depend on those with the files.
    let known = apt.names("linux-")?;
    for kind in ["linux-binary-", "linux-modules-"] {
        let part = package.replacen("linux-image-", kind, 1);
        if known.contains(&part) {
            apt.unpack(&part, &unpacked)?;
        }
    }
    let modules =
        ["usr/lib/modules", "lib/modules"].map(|p| unpacked.join(p)).into_iter().find(|p| p.is_dir());
    let modules = modules.ok_or_else(|| format!("{package} has no modules"))?;
    let kernel_release = only_entry(&modules).ok_or_else(|| format!("{package} has no modules"))?;
    let own = modules.join(&kernel_release);
    let image = [unpacked.join("boot").join(format!("vmlinuz-{kernel_release}")), own.join("vmlinuz")];
    let image = image.iter().find(|p| p.is_file()).ok_or_else(|| format!("{package} has no kernel"))?;
    unpack::kernel(image, &directory.join("image"))?;
    for link in ["build", "source"] {
        let _ = fs::remove_file(own.join(link));
    }
    fs::rename(&modules, directory.join("modules")).map_err(at)?;
    // The packages do not have the order in which modules need each other.
    let tree = unpacked.join("tree/lib");
    fs::create_dir_all(&tree).map_err(at)?;
    std::os::unix::fs::symlink(directory.join("modules"), tree.join("modules")).map_err(at)?;
    let mut depmod = Command::new(super::program("depmod")?);
    output(depmod.arg("-b").arg(unpacked.join("tree")).arg(&kernel_release))?;
    fs::remove_dir_all(&unpacked).map_err(at)?;
    fs::write(directory.join("release"), kernel_release).map_err(at)
}

fn only_entry(directory: &Path) -> Option<String> {
    let mut entries = fs::read_dir(directory).ok()?;
    entries.next()?.ok()?.file_name().into_string().ok()
}

/// A kernel image somewhere, with the modules that lie where a distribution puts them.
fn given(path: &Path) -> Result<Kernel, String> {
    let image = fs::canonicalize(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let release = unpack::release(&image)?.unwrap_or_default();
    let near = image.parent().map(|p| p.join("modules"));
    let modules = [near, Some(PathBuf::from("/lib/modules"))]
        .into_iter()
        .flatten()
        .find(|p| !release.is_empty() && p.join(&release).join("modules.dep").is_file());
    Ok(Kernel { image, release, modules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_found_by_its_numbers() {
        let packages = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.1.0-58-cloud-amd64",
            "linux-image-6.1.0-59-amd64-dbg",
            "linux-image-6.12.9+deb13-amd64",
            "linux-image-6.12.117+deb13-amd64",
            "linux-image-amd64",
        ]
        .map(str::to_owned);
        assert_eq!(newest(&packages, "6.1"), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(newest(&packages, "6.12"), Some("linux-image-6.12.117+deb13-amd64"));
        assert_eq!(newest(&packages, "newest"), Some("linux-image-6.12.117+deb13-amd64"));
        assert_eq!(newest(&packages, "5.10"), None);
    }
}
