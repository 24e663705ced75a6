//! What exec needs of a container's config and host, prepared once and kept in the state directory.
//!
//! What must hold: it is a cache, never the only place of anything. Without it, with one of another version, or
//! with a file that is not this user's own and nobody else's, everything is made again from the private copy of
//! the config. What it leaves out of the config a further process never looks at.
//!
//! Create writes it: it has read the config and compiled the filter anyway. Where it could not, the first exec
//! does.
//!
//! Format of `exec`: a line of JSON ([`Header`]), the config without what is left out, the filter's instructions
//! as the kernel takes them.

use crate::bundle::{self, Bundle};
use crate::error::Result;
use crate::facts::HostFacts;
use crate::filters;
use crate::plan;
use crate::seccomp::{Insn, Program};
use crate::state::StateDir;
use crate::sys;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

/// Changes with whatever reads or writes the file.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");

/// Nothing that a further process is made from.
const LEFT_OUT: [(&str, &str); 8] = [
    ("", "mounts"),
    ("", "hooks"),
    ("/linux/seccomp", "syscalls"),
    ("/linux", "resources"),
    ("/linux", "devices"),
    ("/linux", "maskedPaths"),
    ("/linux", "readonlyPaths"),
    ("/linux", "sysctl"),
];

/// The prepared parts.
#[derive(Debug)]
pub(crate) struct Template {
    /// The config without what a further process does not need, the filter among it.
    pub(crate) config: Bundle,
    /// The compiled filter.
    pub(crate) filter: Option<Program>,
    /// What the host was for the process that prepared it.
    pub(crate) facts: HostFacts,
}

/// What create keeps. It follows from the config, the facts and the filter: plans that are the same in these are
/// the same, and one that was stored without it makes the same container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// What the file holds; nothing if there is to be none.
    pub(crate) file: Vec<u8>,
    /// The filter, if it is to be kept for other containers.
    pub(crate) filter: Option<filters::Entry>,
}

impl PartialEq for Kept {
    fn eq(&self, _: &Kept) -> bool {
        true
    }
}

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    version: Cow<'a, str>,
    /// Length of the config in bytes.
    config: usize,
    facts: Cow<'a, HostFacts>,
    /// The filter without its instructions, and how many those are.
    filter: Option<(Program, usize)>,
}

impl Template {
    /// The template of a container: from its file, else made, and kept for the next time.
    pub(crate) fn of(dir: &StateDir) -> Result<Template> {
        if let Some(template) = read(dir) {
            return Ok(template);
        }
        let (template, file) = make(&dir.config()?, HostFacts::record()?)?;
        keep(dir, &file);
        Ok(template)
    }
}

/// Prepares, and says what the file has to hold.
fn make(config: &[u8], facts: HostFacts) -> Result<(Template, Vec<u8>)> {
    let whole = Bundle::from_json(config)?;
    let filter = plan::filter(whole.spec())?;
    let rest = rest(config);
    let file = file(&rest, filter.as_ref(), &facts);
    Ok((Template { config: Bundle::from_json(&rest)?, filter, facts }, file))
}

/// The text of a config, which is valid JSON, without what is left out. A key that is written with escapes stays.
pub(crate) fn rest(config: &[u8]) -> Vec<u8> {
    let mut cut = Cut { rest: config, kept: Vec::with_capacity(config.len()) };
    match cut.value("") {
        Some(()) => cut.kept,
        None => config.to_vec(),
    }
}

/// A walk over a JSON text that copies what is kept.
struct Cut<'a> {
    rest: &'a [u8],
    kept: Vec<u8>,
}

impl<'a> Cut<'a> {
    /// Goes over blanks: the next character.
    fn next(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    /// Goes over one character.
    fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    /// Goes over one value, and gives its text.
    fn over(&mut self) -> Option<&'a [u8]> {
        self.next()?;
        let mut left = self.rest.iter();
        match left.next()? {
            b'"' => bundle::end_string(&mut left),
            b'{' | b'[' => {
                let mut depth = 1usize;
                while depth > 0 {
                    match left.next()? {
                        b'"' => bundle::end_string(&mut left),
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                }
            }
            _ => {
                let ends = |b: &u8| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace();
                while left.as_slice().first().is_some_and(|b| !ends(b)) {
                    left.next();
                }
            }
        }
        let (value, rest) = self.rest.split_at_checked(self.rest.len() - left.len())?;
        self.rest = rest;
        Some(value)
    }

    /// Copies the value at `pointer`.
    fn value(&mut self, pointer: &str) -> Option<()> {
        if self.next()? != b'{' || LEFT_OUT.iter().all(|(parent, _)| *parent != pointer) {
            let whole = self.over()?;
            self.kept.extend_from_slice(whole);
            return Some(());
        }
        self.step();
        self.kept.push(b'{');
        let mut first = true;
        while self.next()? != b'}' {
            let key = self.over()?;
            if self.next()? != b':' {
                return None;
            }
            self.step();
            let name = std::str::from_utf8(key.get(1..key.len().checked_sub(1)?)?).ok()?;
            if LEFT_OUT.contains(&(pointer, name)) {
                self.over()?;
            } else {
                if !std::mem::replace(&mut first, false) {
                    self.kept.push(b',');
                }
                self.kept.extend_from_slice(key);
                self.kept.push(b':');
                self.value(&format!("{pointer}/{name}"))?;
            }
            if self.next()? == b',' {
                self.step();
            }
        }
        self.step();
        self.kept.push(b'}');
        Some(())
    }
}

/// What the file holds. Nothing, which is no template, if the facts cannot be written as JSON.
pub(crate) fn file(rest: &[u8], filter: Option<&Program>, facts: &HostFacts) -> Vec<u8> {
    let header = Header {
        version: VERSION.into(),
        config: rest.len(),
        facts: Cow::Borrowed(facts),
        filter: filter.map(|p| (Program { insns: Vec::new(), ..p.clone() }, p.insns.len())),
    };
    let insns = filter.map_or(&[][..], |p| &p.insns);
    let mut file = Vec::with_capacity((4 << 10) + rest.len() + insns.len() * Insn::SIZE);
    if serde_json::to_writer(&mut file, &header).is_err() {
        return Vec::new();
    }
    file.push(b'\n');
    file.extend_from_slice(rest);
    for insn in insns {
        file.extend_from_slice(&insn.bytes());
    }
    file
}

/// The file, if it is one that this user wrote with this version.
fn read(dir: &StateDir) -> Option<Template> {
    let file = sys::open_at(&dir.dir, c"exec", libc::O_RDONLY, 0).ok()?;
    let mut file = std::fs::File::from(file);
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.uid() != sys::effective_user() || meta.mode() & 0o077 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.size()).ok()? + 1);
    file.read_to_end(&mut bytes).ok()?;
    decode(&bytes)
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Template> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let header: Header<'_> = serde_json::from_slice(bytes.get(..end)?).ok()?;
    if header.version != VERSION {
        return None;
    }
    let (config, insns) = bytes.get(end + 1..)?.split_at_checked(header.config)?;
    let filter = match header.filter {
        Some((program, count)) => {
            let insns: Vec<Insn> = insns.chunks(Insn::SIZE).map_while(Insn::from_bytes).collect();
            // One that was cut short would let more pass.
            Some(Some(Program { insns, ..program }).filter(|p| p.insns.len() == count)?)
        }
        None => None,
    };
    Some(Template { config: Bundle::from_json(config).ok()?, filter, facts: header.facts.into_owned() })
}

/// Writes the file at once or not at all. That it cannot be written only means that it is made again.
fn keep(dir: &StateDir, bytes: &[u8]) {
    // Not while somebody removes the directory.
    if dir.lock().is_err() {
        return;
    }
    let written = dir.new_file(c".exec").is_ok_and(|mut file| file.write_all(bytes).is_ok());
    if written {
        let _ = std::fs::rename(dir.path.join(".exec"), dir.path.join("exec"));
    }
    dir.unlock();
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "ociVersion": "1.0.2",
        "process": {"args": ["x"], "cwd": "/", "env": ["A=1"], "user": {"uid": 1, "gid": 2}},
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "personality": {"domain": "LINUX32"},
            "maskedPaths": ["/proc/kcore"],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}
        }
    }"#;

    fn facts() -> HostFacts {
        HostFacts::record().expect("this host")
    }

    #[test]
    fn what_is_kept_is_what_was_made() {
        let (made, file) = make(CONFIG.as_bytes(), facts()).expect("a template");
        let read = decode(&file).expect("the same");
        assert_eq!(read.filter, made.filter);
        assert!(read.filter.is_some_and(|f| f.insns.len() > 5));
        assert_eq!(read.facts, made.facts);
        assert_eq!(read.config.spec(), made.config.spec());
        let (rest, whole) = (read.config.spec(), Bundle::from_json(CONFIG.as_bytes()).expect("the config"));
        assert_eq!(rest.process(), whole.spec().process());
        assert!(rest.linux().as_ref().is_some_and(|l| l.personality().is_some()));
        assert!(rest.mounts().as_ref().is_none_or(Vec::is_empty));
    }

    /// What is to be left out, taken from the document.
    fn without(text: &str) -> serde_json::Value {
        let mut document: serde_json::Value = serde_json::from_str(text).expect("JSON");
        for (parent, key) in LEFT_OUT {
            if let Some(object) = document.pointer_mut(parent).and_then(serde_json::Value::as_object_mut) {
                object.remove(key);
            }
        }
        document
    }

    #[test]
    fn the_rest_of_a_config_is_all_but_what_is_left_out() {
        for text in [
            CONFIG,
            "{}",
            " { \"mounts\" : [ ] } ",
            r#"{"mounts":[{"a":"}]\"{"}],"hooks":{},"a":1}"#,
            r#"{"a":-1.5e3 , "linux":{"sysctl":{"a":"b"},"devices":[],"x":{"devices":[1,{}]}},"hooks":null,"b":true}"#,
            r#"{"linux":{"seccomp":{"syscalls":[[{"}":"\\"}]],"defaultAction":"x"}},"linux.resources":{"resources":1}}"#,
            r#"{"linux":7,"process":{"mounts":[1]},"hooks":"mounts"}"#,
            r#"{"linux":{"resources":1,"resources":2,"seccomp":null},"linux":{"seccomp":{"a":{"syscalls":1}}}}"#,
            "[{\"mounts\":1}]",
            "\"mounts\"",
        ] {
            let rest: serde_json::Value = serde_json::from_slice(&rest(text.as_bytes())).expect("still JSON");
            assert_eq!(rest, without(text), "{text}");
        }
        // Longer, but the same config.
        let escaped = r#"{"\u006dounts":[],"hooks":{}}"#;
        assert_eq!(rest(escaped.as_bytes()), br#"{"\u006dounts":[]}"#);
    }

    #[test]
    fn what_is_cut_short_or_of_another_version_is_not_used() {
        let (_, file) = make(CONFIG.as_bytes(), facts()).expect("a template");
        for cut in [0, 1, 10, file.len() / 2, file.len() - 1] {
            assert!(decode(&file[..cut]).is_none(), "{cut} of {}", file.len());
        }
        let other = String::from_utf8_lossy(&file).replacen(VERSION, "0.0.0-0", 1);
        assert!(decode(other.as_bytes()).is_none());
    }

    #[test]
    fn a_filter_without_instructions_is_not_taken_for_none() {
        let (made, file) = make(CONFIG.as_bytes(), facts()).expect("a template");
        let insns = made.filter.expect("a filter").insns.len() * Insn::SIZE;
        assert!(decode(&file[..file.len() - insns]).is_none());
    }
}
