//! What each claimed mount option does, as the kernel tells it.

use super::{REPORT, features, list, sandbox};
use oxrun_conformance::harness::Config;
use oxrun_conformance::{Check, Failed, check, check_eq, sys};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A shared mount in the test's own namespace.
struct HostMount(PathBuf);

impl HostMount {
    fn shared(target: &Path) -> Check<Self> {
        sys::mount(Path::new("oxrun-test"), target, "tmpfs", 0)?;
        let mount = Self(target.to_owned());
        sys::propagation(target, libc::MS_SHARED)?;
        Ok(mount)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

/// How a claimed mount option is asked for, and what the kernel then says of the mount.
enum Seen {
    /// Of a new filesystem with these options: a word among its mount's options, or not among them.
    Mount(Vec<String>, &'static str, bool),
    /// The same of its superblock.
    Super(Vec<String>, &'static str, bool),
    /// Of a recursive bind with these options: a word among those of the mount below it, or not among them.
    Below(Vec<String>, &'static str, bool),
    /// Of a bind of a shared tree with these options: what ties it to others.
    Tied(Vec<String>, &'static str),
    /// Whether what is mounted below the source of a bind is there.
    Tree(Vec<String>, bool),
    /// A file that the mount covers is in it.
    Copied,
    /// Nothing.
    Nowhere,
}

/// Words for what a mount may do, each with its opposite.
const RIGHTS: [(&str, &str); 7] = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("nosymfollow", "symfollow"),
    ("noatime", "atime"),
    ("nodiratime", "diratime"),
];

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What an option without its `r` does to mount or tree: the options to ask with, a word and whether it is seen.
fn right(option: &str) -> Option<(Vec<String>, &'static str, bool)> {
    for (word, opposite) in RIGHTS {
        if option == word {
            return Some((strings(&[word]), word, true));
        }
        if option == opposite {
            return Some((strings(&[word, opposite]), word, false));
        }
    }
    match option {
        "relatime" => Some((strings(&["noatime", "relatime"]), "relatime", true)),
        "strictatime" => Some((strings(&["strictatime"]), "relatime", false)),
        "norelatime" => Some((strings(&["norelatime"]), "relatime", true)),
        "nostrictatime" => Some((strings(&["strictatime", "nostrictatime"]), "relatime", true)),
        _ => None,
    }
}

fn seen(option: &str) -> Option<Seen> {
    if let Some((options, word, there)) = right(option) {
        return Some(Seen::Mount(options, word, there));
    }
    for (word, opposite) in
        [("sync", "async"), ("dirsync", ""), ("mand", "nomand"), ("lazytime", "nolazytime")]
    {
        if option == word {
            return Some(Seen::Super(strings(&[word]), word, true));
        }
        if option == opposite {
            return Some(Seen::Super(strings(&[word, opposite]), word, false));
        }
    }
    let tied = |tag| Some(Seen::Tied(strings(&[option]), tag));
    match option {
        "defaults" | "silent" | "loud" | "iversion" | "noiversion" => Some(Seen::Nowhere),
        "bind" => Some(Seen::Tree(strings(&["bind"]), false)),
        "rbind" => Some(Seen::Tree(strings(&["rbind"]), true)),
        "private" | "rprivate" => tied(""),
        "slave" | "rslave" => tied("master"),
        "shared" | "rshared" => tied("shared"),
        "unbindable" | "runbindable" => tied("unbindable"),
        "tmpcopyup" => Some(Seen::Copied),
        _ => {
            let (options, word, there) = right(option.strip_prefix('r')?)?;
            let options = options.iter().map(|word| format!("r{word}")).collect();
            Some(Seen::Below(options, word, there))
        }
    }
}

/// The words that stand under a key of the uppermost mount on a place.
fn words_of(report: &Value, target: &str, key: &str) -> Check<Vec<String>> {
    let mounts = report["mounts"].as_array().into_iter().flatten();
    let mount = mounts.rev().find(|mount| mount["target"] == target);
    let mount = mount.ok_or_else(|| Failed::from(format!("nothing is mounted on {target}")))?;
    let words = mount[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(words.map(|word| word.split(':').next().unwrap_or(word).to_owned()).collect())
}

/// One mount for each option, all in one container.
pub(super) fn every_mount_option_has_its_effect() -> Check {
    let s = sandbox()?;
    let claimed = list(&features(&s)?, "/mountOptions")?;
    let tree = HostMount::shared(&s.make_dir("tree")?)?;
    let below = HostMount::shared(&s.make_dir("tree/below")?)?;
    let mut config = Config::new(&["/bin/probe", "report", "--stat", "/copied/file"]);
    let mut places = Vec::new();
    for (n, option) in claimed.iter().filter(|option| *option != "remount").enumerate() {
        let seen = seen(option).ok_or_else(|| Failed::from(format!("nobody knows what {option} does")))?;
        let place = if matches!(seen, Seen::Copied) { "/copied".to_owned() } else { format!("/o/{n}") };
        let with = |first: &[&str], more: &[String]| -> Vec<String> {
            first.iter().map(|word| (*word).to_owned()).chain(more.iter().cloned()).collect()
        };
        let (kind, source, options) = match &seen {
            Seen::Mount(options, ..) | Seen::Super(options, ..) => {
                ("tmpfs", Path::new("tmpfs"), options.clone())
            }
            Seen::Below(options, ..) | Seen::Tied(options, _) => {
                ("bind", &*tree.0, with(&["rbind"], options))
            }
            Seen::Tree(options, _) => ("none", &*tree.0, options.clone()),
            Seen::Copied | Seen::Nowhere => ("tmpfs", Path::new("tmpfs"), vec![option.clone()]),
        };
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        config = config.mount(kind, source, &place, &options);
        places.push((option, place, seen));
    }
    let bundle = s.bundle(&config)?;
    std::fs::create_dir(bundle.rootfs().join("copied"))?;
    std::fs::write(bundle.rootfs().join("copied/file"), "x")?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.stderr, "", "stderr");
    let report = output.json()?;
    for (option, place, seen) in &places {
        let (key, target, word, there) = match seen {
            Seen::Mount(_, word, there) => ("options", place.clone(), *word, *there),
            Seen::Super(_, word, there) => ("super", place.clone(), *word, *there),
            Seen::Below(_, word, there) => ("options", format!("{place}/below"), *word, *there),
            Seen::Tied(_, tag) => {
                check_eq!(words_of(&report, place, "tags")?.join(" "), *tag, "{option}");
                continue;
            }
            Seen::Tree(_, there) => {
                check_eq!(words_of(&report, &format!("{place}/below"), "tags").is_ok(), *there, "{option}");
                continue;
            }
            Seen::Copied => {
                check_eq!(report["stat"]["/copied/file"]["type"], "file", "{option}");
                continue;
            }
            Seen::Nowhere => continue,
        };
        let words = words_of(&report, &target, key)?;
        check_eq!(words.iter().any(|found| found == word), there, "{option}: {word} in {words:?}");
    }
    drop((below, tree));
    Ok(())
}

pub(super) fn a_remount_has_its_effect() -> Check {
    let s = sandbox()?;
    check!(list(&features(&s)?, "/mountOptions")?.contains(&"remount".to_owned()), "remount is not claimed");
    let config = Config::new(REPORT).mount("tmpfs", Path::new("tmpfs"), "/dev/shm", &["remount", "ro"]);
    let options = words_of(&s.report(&config)?, "/dev/shm", "options")?;
    check!(options.iter().any(|o| o == "ro"), "{options:?}");
    Ok(())
}
