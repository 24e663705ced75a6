//! Debian packages of other releases, from the archives that this machine's apt is configured for.
//! Everything happens in a directory of our own: the machine's apt neither changes nor learns of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::output;

/// How old the list of packages may be.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// Where Debian keeps the keys of all its releases.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt as if this machine ran another release.
pub(super) struct Apt {
    directory: PathBuf,
}

/// The addresses of the ordinary and of the security archive among `CREATED_BY|URI|RELEASE|COMPONENT`
/// lines of a machine with the release `own`.
fn archives(targets: &str, own: &str) -> Option<(String, Option<String>)> {
    let find = |release: &str| {
        targets.lines().find_map(|line| {
            let fields: Vec<&str> = line.split('|').collect();
            match fields[..] {
                ["Packages", uri, of, "main"] if of == release => Some(uri.to_owned()),
                _ => None,
            }
        })
    };
    let security = find(&format!("{own}-security")).or_else(|| find("stable-security"));
    Some((find(own).or_else(|| find("stable"))?, security))
}

fn own_release() -> Result<String, String> {
    let text = fs::read_to_string("/etc/os-release").map_err(|e| format!("/etc/os-release: {e}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .ok_or_else(|| "/etc/os-release names no release of Debian".to_owned())
}

impl Apt {
    /// apt for the release `release`, with a fresh list of packages.
    pub(super) fn new(cache: &Path, release: &str) -> Result<Self, String> {
        let mut query = Command::new(super::program("apt-get")?);
        query.args(["indextargets", "--format", "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"]);
        let targets = String::from_utf8_lossy(&output(&mut query)?).into_owned();
        let (main, security) = archives(&targets, &own_release()?)
            .ok_or("apt knows no Debian archive: is there one in its sources, and was apt-get update run?")?;
        let apt = Self { directory: cache.join("apt").join(release) };
        apt.configure(release, &main, security.as_deref())
            .map_err(|e| format!("{}: {e}", apt.directory.display()))?;
        apt.update()?;
        Ok(apt)
    }

    fn configure(&self, release: &str, main: &str, security: Option<&str>) -> std::io::Result<()> {
        let dir = &self.directory;
        for one in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(one))?;
        }
        let signed =
            if Path::new(KEYRING).exists() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let mut sources = format!("deb {signed}{main} {release} main\n");
        // There is no security archive of what is not released.
        if let Some(security) = security.filter(|_| release != "sid") {
            sources.push_str(&format!("deb {signed}{security} {release}-security main\n"));
        }
        fs::write(dir.join("sources.list"), sources)?;
        fs::write(dir.join("status"), "")?;
        let base = dir.display();
        fs::write(
            dir.join("apt.conf"),
            format!(
                r#"Dir::Etc::sourcelist "{base}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "{base}/state";
Dir::State::status "{base}/status";
Dir::Cache "{base}/cache";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "5";
"#
            ),
        )
    }

    fn command(&self, program: &str) -> Result<Command, String> {
        let mut command = Command::new(super::program(program)?);
        command.env("APT_CONFIG", self.directory.join("apt.conf"));
        Ok(command)
    }

    fn update(&self) -> Result<(), String> {
        let stamp = self.directory.join("updated");
        let age = fs::metadata(&stamp)
            .and_then(|m| m.modified())
            .map(|then| SystemTime::now().duration_since(then));
        if age.is_ok_and(|age| age.is_ok_and(|age| age < FRESH)) {
            return Ok(());
        }
        output(self.command("apt-get")?.args(["-qq", "--error-on=any", "update"]))?;
        fs::write(&stamp, "").map_err(|e| format!("{}: {e}", stamp.display()))
    }

    /// The names of all packages that start with `prefix`.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, String> {
        let text = output(self.command("apt-cache")?.args(["pkgnames", prefix]))?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// Downloads a package into `directory` and unpacks it there.
    pub(super) fn unpack(&self, package: &str, directory: &Path) -> Result<(), String> {
        output(self.command("apt-get")?.args(["-qq", "download", package]).current_dir(directory))?;
        let entries = fs::read_dir(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|e| e == "deb") {
                output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(directory))?;
                fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
DEP-11|http://a.example/debian/|bookworm|main
Packages|http://vendor.example/debian/|bookworm|stable
Packages|http://a.example/debian/|bookworm-updates|main
Packages|http://a.example/debian/|bookworm|main
Packages|http://b.example/debian-security/|bookworm-security|main
";

    #[test]
    fn archives_are_those_of_the_machines_own_release() {
        let (main, security) = archives(TARGETS, "bookworm").unwrap();
        assert_eq!(main, "http://a.example/debian/");
        assert_eq!(security.as_deref(), Some("http://b.example/debian-security/"));
        assert_eq!(archives(TARGETS, "trixie"), None);
    }
}
