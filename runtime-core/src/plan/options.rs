//! Mount options: the complete table of the specification, and what a list of them comes to.
//!
//! Per mount are ro nosuid nodev noexec, the atime kinds and nosymfollow; per superblock sync, dirsync,
//! mand, lazytime; propagation is an operation of its own. What is in no table is data of the filesystem.

use serde::{Deserialize, Serialize};

/// linux/mount.h; libc has it not for every target.
const MS_NOSYMFOLLOW: u64 = 256;

/// MOUNT_ATTR_* of mount_setattr(2).
pub mod attr {
    #![allow(missing_docs)] // the kernel's names
    pub const RDONLY: u64 = 0x1;
    pub const NOSUID: u64 = 0x2;
    pub const NODEV: u64 = 0x4;
    pub const NOEXEC: u64 = 0x8;
    pub const ATIME: u64 = 0x70;
    /// The kernel's number is 0; while options are read it needs a bit.
    pub const RELATIME: u64 = 1 << 63;
    pub const NOATIME: u64 = 0x10;
    pub const STRICTATIME: u64 = 0x20;
    pub const NODIRATIME: u64 = 0x80;
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
    /// What a mount may do, as opposed to when it notes access.
    pub const RIGHTS: u64 = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;
}

/// MS_* propagation flags of mount(2).
pub mod propagation {
    #![allow(missing_docs)] // the kernel's names
    pub const REC: u64 = 1 << 14;
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
}

/// What one option does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Sets bits of the mount, clearing the others of its group first.
    Set(u64),
    /// Clears bits of the mount.
    Clear(u64),
    /// The same for the whole tree below.
    SetRecursive(u64),
    /// The same for the whole tree below.
    ClearRecursive(u64),
    /// A flag of the superblock, under the name that fsconfig(2) takes.
    Superblock(&'static str),
    /// Propagation.
    Propagation(u64),
    /// The mount is a bind of one mount, or of a tree.
    Bind(bool),
    /// Copy what the mount covers into it.
    CopyUp,
    /// Map ids; recursively or not.
    IdMap(bool),
    /// Change what is mounted there instead of mounting something.
    Remount,
    /// Nothing.
    Nothing,
}

use Effect::{
    Bind, Clear, ClearRecursive, CopyUp, IdMap, Nothing, Propagation, Remount, Set, SetRecursive, Superblock,
};
use attr::*;

/// Every option with a meaning of its own.
pub const TABLE: &[(&str, Effect)] = &[
    ("defaults", Nothing),
    ("ro", Set(RDONLY)),
    ("rw", Clear(RDONLY)),
    ("suid", Clear(NOSUID)),
    ("nosuid", Set(NOSUID)),
    ("dev", Clear(NODEV)),
    ("nodev", Set(NODEV)),
    ("exec", Clear(NOEXEC)),
    ("noexec", Set(NOEXEC)),
    ("atime", Clear(NOATIME)),
    ("noatime", Set(NOATIME)),
    ("diratime", Clear(NODIRATIME)),
    ("nodiratime", Set(NODIRATIME)),
    ("relatime", Set(RELATIME)),
    ("norelatime", Clear(RELATIME)),
    ("strictatime", Set(STRICTATIME)),
    ("nostrictatime", Clear(STRICTATIME)),
    ("symfollow", Clear(NOSYMFOLLOW)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("sync", Superblock("sync")),
    ("async", Superblock("async")),
    ("dirsync", Superblock("dirsync")),
    ("mand", Superblock("mand")),
    ("nomand", Superblock("nomand")),
    ("lazytime", Superblock("lazytime")),
    ("nolazytime", Superblock("nolazytime")),
    // The kernel keeps i_version for the filesystems that have it whatever is asked, and the new
    // mount API has no silent flag: nothing is printed either way.
    ("iversion", Nothing),
    ("noiversion", Nothing),
    ("silent", Nothing),
    ("loud", Nothing),
    ("remount", Remount),
    ("bind", Bind(false)),
    ("rbind", Bind(true)),
    ("private", Propagation(propagation::PRIVATE)),
    ("rprivate", Propagation(propagation::PRIVATE | propagation::REC)),
    ("shared", Propagation(propagation::SHARED)),
    ("rshared", Propagation(propagation::SHARED | propagation::REC)),
    ("slave", Propagation(propagation::SLAVE)),
    ("rslave", Propagation(propagation::SLAVE | propagation::REC)),
    ("unbindable", Propagation(propagation::UNBINDABLE)),
    ("runbindable", Propagation(propagation::UNBINDABLE | propagation::REC)),
    ("rro", SetRecursive(RDONLY)),
    ("rrw", ClearRecursive(RDONLY)),
    ("rsuid", ClearRecursive(NOSUID)),
    ("rnosuid", SetRecursive(NOSUID)),
    ("rdev", ClearRecursive(NODEV)),
    ("rnodev", SetRecursive(NODEV)),
    ("rexec", ClearRecursive(NOEXEC)),
    ("rnoexec", SetRecursive(NOEXEC)),
    ("ratime", ClearRecursive(NOATIME)),
    ("rnoatime", SetRecursive(NOATIME)),
    ("rdiratime", ClearRecursive(NODIRATIME)),
    ("rnodiratime", SetRecursive(NODIRATIME)),
    ("rrelatime", SetRecursive(RELATIME)),
    ("rnorelatime", ClearRecursive(RELATIME)),
    ("rstrictatime", SetRecursive(STRICTATIME)),
    ("rnostrictatime", ClearRecursive(STRICTATIME)),
    ("rsymfollow", ClearRecursive(NOSYMFOLLOW)),
    ("rnosymfollow", SetRecursive(NOSYMFOLLOW)),
    ("tmpcopyup", CopyUp),
    ("idmap", IdMap(false)),
    ("ridmap", IdMap(true)),
];

/// An option that is the filesystem's own business.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DataOption {
    /// What stands before `=`.
    pub key: String,
    /// What stands behind it; none for a flag.
    pub value: Option<String>,
    /// Its place in the config's list, if it is from there.
    pub index: Option<usize>,
}

impl DataOption {
    /// An option that the config does not have.
    #[must_use]
    pub fn implied(key: &str, value: Option<&str>) -> DataOption {
        DataOption { key: key.to_owned(), value: value.map(str::to_owned), index: None }
    }
}

/// What the options of one mount come to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MountOptions {
    /// Bits to set on the mount.
    pub set: u64,
    /// Bits to clear on it first (of a bind, which otherwise keeps its source's). Those of access times go
    /// together: all of them are here if one kind was asked for.
    pub clear: u64,
    /// Bits to set on the tree.
    pub set_recursive: u64,
    /// Bits to clear on the tree.
    pub clear_recursive: u64,
    /// MS_* propagation, with MS_REC; 0 for none.
    pub propagation: u64,
    /// Whether any option was about the mount alone.
    pub changes: bool,
    /// Flags of the superblock.
    pub superblock: Vec<String>,
    /// Data of the filesystem.
    pub data: Vec<DataOption>,
    /// `bind` (false) or `rbind` (true).
    pub bind: Option<bool>,
    /// `remount`.
    pub remount: bool,
    /// `tmpcopyup`.
    pub copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub idmap: Option<bool>,
}

/// The bits of access times of which a mount has one.
const KINDS: u64 = ATIME | RELATIME;
/// Everything about access times.
const TIMES: u64 = KINDS | NODIRATIME;

/// Puts bits into a pair of masks, the later of two contradicting options winning.
fn put(set: &mut u64, clear: &mut u64, bits: u64, on: bool) {
    if on {
        if bits & KINDS != 0 {
            *set &= !KINDS;
        }
        *set |= bits;
        *clear &= !bits;
    } else {
        *set &= !bits;
        *clear |= bits;
    }
}

/// Of one mount the times are set all at once, so that `nodiratime` alone means relatime. Giving up a kind
/// (`atime`, `norelatime` ...) says nothing about what to have instead: a mount keeps what it has, as with
/// mount(8).
fn settle(set: &mut u64, clear: &mut u64) {
    if *set & TIMES != 0 {
        *clear |= TIMES;
    } else {
        *clear &= !TIMES;
    }
    *set &= !RELATIME;
    *clear &= !RELATIME;
}

/// Of a tree a kind that is set or given up takes all kinds away first, which is what mount_setattr(2) asks
/// for; none set is relatime.
fn settle_tree(set: &mut u64, clear: &mut u64) {
    if (*set | *clear) & KINDS != 0 {
        *clear |= ATIME;
    }
    *set &= !RELATIME;
    *clear &= !RELATIME;
}

impl MountOptions {
    /// Reads a mount's options. Empty ones say nothing: some engines write them.
    #[must_use]
    pub fn parse(options: &[String]) -> MountOptions {
        let mut out = MountOptions::default();
        for (index, option) in options.iter().enumerate().filter(|(_, option)| !option.is_empty()) {
            match TABLE.iter().find(|(name, _)| name == option) {
                Some((_, effect)) => out.apply(*effect),
                None => {
                    let (key, value) = match option.split_once('=') {
                        Some((key, value)) => (key, Some(value)),
                        None => (option.as_str(), None),
                    };
                    out.data.push(DataOption { index: Some(index), ..DataOption::implied(key, value) });
                }
            }
        }
        out.changes = out.set | out.clear != 0;
        settle(&mut out.set, &mut out.clear);
        settle_tree(&mut out.set_recursive, &mut out.clear_recursive);
        out
    }

    /// What is to be cleared of the source's rights on a bind, beside what was said. As in runc a bind with any
    /// option about its own mount has these rights and no others; one without keeps its source's.
    /// `locked` says that the source's may be locked: then only what cannot be is cleared.
    #[must_use]
    pub fn implied_clear(&self, locked: bool) -> u64 {
        match (self.changes, locked) {
            (false, _) => 0,
            (true, false) => attr::RIGHTS & !self.set,
            (true, true) => NOSYMFOLLOW & !self.set,
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Set(bits) => put(&mut self.set, &mut self.clear, bits, true),
            Clear(bits) => put(&mut self.set, &mut self.clear, bits, false),
            SetRecursive(bits) => put(&mut self.set_recursive, &mut self.clear_recursive, bits, true),
            ClearRecursive(bits) => put(&mut self.set_recursive, &mut self.clear_recursive, bits, false),
            Superblock(name) => self.superblock.push(name.to_owned()),
            Propagation(flags) => self.propagation = flags,
            Bind(recursive) => self.bind = Some(recursive),
            CopyUp => self.copy_up = true,
            IdMap(recursive) => self.idmap = Some(recursive),
            Remount => self.remount = true,
            Nothing => {}
        }
    }

    /// Whether a value is longer than fsconfig(2) takes: 255 bytes. Overlays with many layers have such.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.data.iter().any(|o| o.value.as_ref().is_some_and(|v| v.len() > 255))
    }

    /// The data as mount(2) takes them: joined by commas.
    #[must_use]
    pub fn joined(&self) -> String {
        let one = |o: &DataOption| match &o.value {
            Some(value) => format!("{}={value}", o.key),
            None => o.key.clone(),
        };
        self.data.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// What mount(2) takes as flags: those of the mount and of the superblock.
    #[must_use]
    pub fn ms_flags(&self) -> u64 {
        let set = self.set | self.set_recursive;
        let of_mount = [
            (RDONLY, libc::MS_RDONLY),
            (NOSUID, libc::MS_NOSUID),
            (NODEV, libc::MS_NODEV),
            (NOEXEC, libc::MS_NOEXEC),
            (NOATIME, libc::MS_NOATIME),
            (STRICTATIME, libc::MS_STRICTATIME),
            (NODIRATIME, libc::MS_NODIRATIME),
            (NOSYMFOLLOW, MS_NOSYMFOLLOW),
        ];
        let of_superblock = [
            ("ro", libc::MS_RDONLY),
            ("sync", libc::MS_SYNCHRONOUS),
            ("dirsync", libc::MS_DIRSYNC),
            ("mand", libc::MS_MANDLOCK),
            ("lazytime", libc::MS_LAZYTIME),
        ];
        let mut flags = of_mount.into_iter().filter(|m| set & m.0 != 0).fold(0, |all, m| all | m.1);
        for word in &self.superblock {
            match of_superblock.iter().find(|(name, _)| name == word) {
                Some((_, bit)) => flags |= bit,
                None => {
                    // The opposite of a flag takes it back.
                    let back = match word.as_str() {
                        "async" => libc::MS_SYNCHRONOUS,
                        "nomand" => libc::MS_MANDLOCK,
                        "nolazytime" => libc::MS_LAZYTIME,
                        _ => 0,
                    };
                    flags &= !back;
                }
            }
        }
        flags
    }

    /// The options in words, decoded.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (bit, name) in [
            (RDONLY, "ro"),
            (NOSUID, "nosuid"),
            (NODEV, "nodev"),
            (NOEXEC, "noexec"),
            (NOATIME, "noatime"),
            (STRICTATIME, "strictatime"),
            (NODIRATIME, "nodiratime"),
            (NOSYMFOLLOW, "nosymfollow"),
        ] {
            if self.set & bit != 0 {
                words.push(name.to_owned());
            }
            if self.set_recursive & bit != 0 {
                words.push(format!("r{name}"));
            }
        }
        words.extend(propagation_word(self.propagation));
        words.extend(self.superblock.iter().cloned());
        if self.copy_up {
            words.push("tmpcopyup".to_owned());
        }
        for option in &self.data {
            words.push(match &option.value {
                Some(value) => format!("{}={value}", option.key),
                None => option.key.clone(),
            });
        }
        words
    }
}

/// Propagation in words.
#[must_use]
pub fn propagation_word(flags: u64) -> Option<String> {
    let kind = [
        (propagation::SHARED, "shared"),
        (propagation::SLAVE, "slave"),
        (propagation::PRIVATE, "private"),
        (propagation::UNBINDABLE, "unbindable"),
    ]
    .into_iter()
    .find(|(bit, _)| flags & bit != 0)?
    .1;
    Some(if flags & propagation::REC != 0 { format!("r{kind}") } else { kind.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> MountOptions {
        MountOptions::parse(&options.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_empty_option_says_nothing() {
        let o = parse(&["", "rw", "rbind", ""]);
        assert!(o.data.is_empty() && o.bind == Some(true));
    }

    #[test]
    fn the_last_of_a_pair_wins() {
        assert_eq!(parse(&["ro", "rw"]).set, 0);
        assert_eq!(parse(&["ro", "rw"]).clear, RDONLY);
        let o = parse(&["rw", "ro"]);
        assert_eq!((o.set, o.clear), (RDONLY, 0));
    }

    #[test]
    fn kinds_of_access_times_exclude_each_other_and_are_set_all_at_once() {
        const ALL: u64 = ATIME | NODIRATIME;
        for (options, set, clear) in [
            (&["noatime", "strictatime"][..], STRICTATIME, ALL),
            (&["relatime"], 0, ALL),
            (&["noatime", "relatime"], 0, ALL),
            (&["noatime", "nodiratime"], NOATIME | NODIRATIME, ALL),
            (&["nodiratime"], NODIRATIME, ALL),
            (&["nodiratime", "norelatime"], NODIRATIME, ALL),
            (&["relatime", "atime"], 0, ALL),
            // What is given up is not replaced.
            (&["atime"], 0, 0),
            (&["diratime"], 0, 0),
            (&["norelatime"], 0, 0),
            (&["nostrictatime"], 0, 0),
            (&["noatime", "atime"], 0, 0),
        ] {
            let o = parse(options);
            assert_eq!((o.set, o.clear), (set, clear), "{options:?}");
            assert!(o.changes, "{options:?}");
        }
    }

    #[test]
    fn kinds_of_access_times_of_a_tree_are_cleared_all_at_once() {
        for (option, set, clear) in [
            ("ratime", 0, ATIME),
            ("rnoatime", NOATIME, ATIME),
            ("rdiratime", 0, NODIRATIME),
            ("rnodiratime", NODIRATIME, 0),
            ("rrelatime", 0, ATIME),
            ("rnorelatime", 0, ATIME),
            ("rstrictatime", STRICTATIME, ATIME),
            ("rnostrictatime", 0, ATIME),
        ] {
            let o = parse(&[option]);
            assert_eq!((o.set_recursive, o.clear_recursive), (set, clear), "{option}");
            assert_eq!((o.set, o.clear, o.changes), (0, 0, false), "{option}");
        }
    }

    #[test]
    fn a_bind_with_options_of_its_own_has_these_rights_only() {
        assert_eq!(parse(&["rbind", "rprivate"]).implied_clear(false), 0);
        assert_eq!(parse(&["bind", "rro"]).implied_clear(false), 0);
        assert_eq!(parse(&["bind", "ro"]).implied_clear(false), attr::RIGHTS & !RDONLY);
        assert_eq!(parse(&["bind", "dev"]).implied_clear(false), attr::RIGHTS);
        assert_eq!(parse(&["bind", "ro"]).implied_clear(true), NOSYMFOLLOW);
        assert_eq!(parse(&["bind", "nosymfollow"]).implied_clear(true), 0);
    }

    #[test]
    fn flags_propagation_and_data_come_in_any_order() {
        let o = parse(&["mode=755", "rprivate", "nosuid", "rbind", "size=64k", "sync"]);
        assert_eq!(o.bind, Some(true));
        assert_eq!(o.propagation, propagation::PRIVATE | propagation::REC);
        assert_eq!(o.set, NOSUID);
        assert_eq!(o.data.len(), 2);
        assert_eq!(o.superblock, ["sync"]);
    }
}
