//! What a list shows of a state, read without making anything of it.
//!
//! What must hold: what is read here is what [`super::State::parse`] reads of the same bytes. All fields are looked at, in
//! the order in which they are written. Whatever is otherwise is not read here at all: then who asks reads the whole
//! state, or learns what is wrong with it.

use crate::plan::action::Namespace;
use std::str::from_utf8;

/// Part of a state, in the bytes of its file. No text has an escape in it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Brief<'a> {
    pub(crate) id: &'a str,
    pub(crate) pid: u32,
    pub(crate) pidfd_inode: u64,
    pub(crate) start_time: u64,
    pub(crate) created: &'a str,
    pub(crate) bundle: &'a str,
    pub(crate) rootfs: &'a str,
    pub(crate) owner: u32,
    /// An object of texts, as it is written.
    pub(crate) annotations: &'a str,
    pub(crate) cgroups: Cgroups<'a>,
}

/// Those of a container's cgroups that may freeze it: each the mount point of its hierarchy and its path there.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Cgroups<'a> {
    /// The one of the v2 tree.
    pub(crate) v2: Option<(&'a str, &'a str)>,
    /// The one of the v1 hierarchy with the freezer.
    pub(crate) v1: Option<(&'a str, &'a str)>,
}

/// Reads a whole state file. None if it is not one that this version wrote, or a text in it needs more than a look.
pub(crate) fn read(bytes: &[u8]) -> Option<Brief<'_>> {
    let mut scan = Scan { text: from_utf8(bytes).ok()?, at: 0 };
    let s = &mut scan;
    s.word("{\"version\":1,\"id\":")?;
    let id = s.string()?;
    let pid = s.after(",\"pid\":", Scan::small)?;
    let pidfd_inode = s.after(",\"pidfd_inode\":", Scan::number)?;
    let start_time = s.after(",\"start_time\":", Scan::number)?;
    let created = s.after(",\"created\":", Scan::string)?;
    let bundle = s.after(",\"bundle\":", Scan::string)?;
    let rootfs = s.after(",\"rootfs\":", Scan::string)?;
    let owner = s.after(",\"owner\":", Scan::small)?;
    let annotations = s.after(",\"annotations\":", Scan::texts)?;
    let cgroups = s.after(",\"cgroups\":", Scan::cgroups)?;
    s.after(",\"made\":", Scan::strings)?;
    s.after(",\"own_mounts\":", Scan::truth)?;
    s.after(",\"rdt\":", |s| s.unless_null(Scan::groups))?;
    s.after(",\"namespaces\":", |s| s.list(Scan::namespace))?;
    s.after(",\"keyring\":", |s| s.unless_null(Scan::pass_string))?;
    s.after(",\"own_pids\":", Scan::truth)?;
    s.after(",\"hooks\":", |s| s.list(Scan::hook))?;
    s.after(",\"exec_step\":", Scan::small)?;
    s.after(",\"first_start_hook\":", Scan::small)?;
    s.after(",\"program\":", Scan::pass_string)?;
    s.after(",\"denies_execve\":", |s| s.unless_null(|s| s.pair("field", "message")))?;
    s.after(",\"agent\":", |s| s.unless_null(|s| s.pair("path", "metadata")))?;
    s.after(",\"unit\":", |s| s.unless_null(Scan::unit))?;
    // Of one that began at once more has to be known.
    s.word(",\"at_once\":false}")?;
    (s.at == bytes.len()).then_some(Brief {
        id,
        pid,
        pidfd_inode,
        start_time,
        created,
        bundle,
        rootfs,
        owner,
        annotations,
        cgroups,
    })
}

#[cfg(any(test, fuzzing))]
impl Brief<'_> {
    /// Whether it says of a state what that says itself.
    pub(crate) fn is_of(&self, state: &super::State) -> bool {
        let dir = |d: &crate::plan::action::CgroupDir| {
            Some((d.mount.to_str()?.to_owned(), d.path.to_str()?.to_owned()))
        };
        let owned =
            |place: Option<(&str, &str)>| place.map(|(mount, path)| (mount.to_owned(), path.to_owned()));
        let freezes = |controllers: &Vec<String>| controllers.iter().any(|name| name == "freezer");
        let mut all = state.cgroups.iter();
        let v2 = all.clone().find(|d| d.controllers.is_none()).and_then(dir);
        let v1 = all.find(|d| d.controllers.as_ref().is_some_and(freezes)).and_then(dir);
        (self.id, self.pid, self.owner) == (&*state.id, state.pid, state.owner)
            && (self.pidfd_inode, self.start_time) == (state.pidfd_inode, state.start_time)
            && self.created == state.created
            && (Some(self.bundle), Some(self.rootfs)) == (state.bundle.to_str(), state.rootfs.to_str())
            && serde_json::from_str(self.annotations).ok().as_ref() == Some(&state.annotations)
            && (owned(self.cgroups.v2), owned(self.cgroups.v1)) == (v2, v1)
    }
}

/// The highest bit of each byte that ends what is only itself in a text: a quote, a backslash, or one below a blank. Those
/// above the lowest such bit may be set for others, too: a borrow from below.
fn ends(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(limit * ONES) & !bytes;
    let is = |byte: u8| below(eight ^ (u64::from(byte) * ONES), 1);
    (below(eight, 0x20) | is(b'"') | is(b'\\')) & HIGH
}

struct Scan<'a> {
    text: &'a str,
    /// Up to where it was read; never within a character.
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes over the next byte, if it is this one.
    fn takes(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += word.len();
        rest.starts_with(word.as_bytes()).then_some(())
    }

    fn after<T>(&mut self, name: &str, what: impl FnOnce(&mut Scan<'a>) -> Option<T>) -> Option<T> {
        self.word(name)?;
        what(self)
    }

    /// A number without sign and fraction.
    fn number(&mut self) -> Option<u64> {
        let start = self.at;
        let mut number = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        let zero = self.text.as_bytes().get(start) == Some(&b'0');
        (self.at - start == 1 || (self.at > start && !zero)).then_some(number)
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn truth(&mut self) -> Option<()> {
        self.word(if self.peek() == Some(b't') { "true" } else { "false" })
    }

    /// A text without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.takes(b'"').then_some(())?;
        let start = self.at;
        self.plain()?;
        let end = self.at;
        self.takes(b'"').then_some(())?;
        self.text.get(start..end)
    }

    /// Goes to the end of what is only itself in a text.
    fn plain(&mut self) -> Option<()> {
        let mut rest = self.text.as_bytes().get(self.at..)?;
        while let Some((eight, more)) = rest.split_first_chunk() {
            let ends = ends(u64::from_le_bytes(*eight));
            if ends != 0 {
                // The lowest mark is never wrong, and stands for the first byte.
                self.at += (ends.trailing_zeros() / 8) as usize;
                return Some(());
            }
            (self.at, rest) = (self.at + 8, more);
        }
        self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        Some(())
    }

    /// Any text. Escapes of other characters than those below a blank are never written.
    fn pass_string(&mut self) -> Option<()> {
        self.takes(b'"').then_some(())?;
        loop {
            self.plain()?;
            if self.takes(b'"') {
                return Some(());
            }
            self.word("\\")?;
            match self.peek()? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
                _ => {
                    self.word("u00")?;
                    let code = self.text.as_bytes().get(self.at..self.at + 2)?;
                    self.at += code.iter().all(u8::is_ascii_hexdigit).then_some(2)?;
                }
            }
        }
    }

    /// What stands between two brackets, separated by commas.
    fn between(
        &mut self,
        (open, close): (u8, u8),
        mut each: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if !self.takes(open) {
            return None;
        }
        if self.takes(close) {
            return Some(());
        }
        loop {
            each(self)?;
            if self.takes(close) {
                return Some(());
            }
            self.word(",")?;
        }
    }

    fn list(&mut self, each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.between((b'[', b']'), each)
    }

    fn strings(&mut self) -> Option<()> {
        self.list(Scan::pass_string)
    }

    fn unless_null(&mut self, what: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        if self.peek() == Some(b'n') { self.word("null") } else { what(self) }
    }

    /// An object of texts.
    fn texts(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.between((b'{', b'}'), |s| {
            s.pass_string()?;
            s.after(":", Scan::pass_string)
        })?;
        self.text.get(start..self.at)
    }

    fn cgroups(&mut self) -> Option<Cgroups<'a>> {
        let mut cgroups = Cgroups::default();
        self.list(|s| {
            let mount = s.after("{\"mount\":", Scan::string)?;
            let place = (mount, s.after(",\"path\":", Scan::string)?);
            s.word(",\"controllers\":")?;
            if s.peek() == Some(b'n') {
                s.word("null")?;
                cgroups.v2.get_or_insert(place);
            } else {
                let mut freezes = false;
                s.list(|s| {
                    freezes |= s.string()? == "freezer";
                    Some(())
                })?;
                if freezes {
                    cgroups.v1.get_or_insert(place);
                }
            }
            s.word("}")
        })?;
        Some(cgroups)
    }

    fn namespace(&mut self) -> Option<()> {
        let name = self.string()?;
        Namespace::ALL.iter().any(|kind| kind.name() == name).then_some(())
    }

    fn groups(&mut self) -> Option<()> {
        self.after("{\"mount\":", Scan::pass_string)?;
        self.after(",\"class\":", Scan::pass_string)?;
        self.after(",\"monitor\":", |s| s.unless_null(Scan::pass_string))?;
        self.word("}")
    }

    fn hook(&mut self) -> Option<()> {
        self.after("{\"name\":", Scan::pass_string)?;
        self.after(",\"index\":", Scan::number)?;
        self.after(",\"path\":", Scan::pass_string)?;
        self.after(",\"args\":", Scan::strings)?;
        self.after(",\"env\":", |s| s.unless_null(Scan::strings))?;
        self.after(",\"timeout\":", |s| s.unless_null(|s| s.number().map(drop)))?;
        self.word("}")
    }

    /// An object of two texts.
    fn pair(&mut self, first: &str, second: &str) -> Option<()> {
        for (before, name) in [("{\"", first), (",\"", second)] {
            self.word(before)?;
            self.word(name)?;
            self.after("\":", Scan::pass_string)?;
        }
        self.word("}")
    }

    fn unit(&mut self) -> Option<()> {
        self.after("{\"name\":", Scan::pass_string)?;
        self.after(",\"slice\":", Scan::pass_string)?;
        self.after(",\"user\":", Scan::truth)?;
        self.word("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    /// One with a value in every field.
    const FULL: &str = include_str!("full.json");

    fn full() -> String {
        FULL.trim_end().to_owned()
    }

    #[test]
    fn a_brief_look_sees_what_the_whole_state_says() {
        let (text, state) = (full(), State::parse(FULL.as_bytes()).unwrap());
        assert_eq!(text, serde_json::to_string(&state).unwrap(), "the state is as it is written");
        let brief = read(text.as_bytes()).expect("what this version writes");
        assert!(brief.is_of(&state), "{brief:?} of {state:?}");
        assert_eq!(brief.cgroups.v2, Some(("/sys/fs/cgroup/unified", "a/b")));
        assert_eq!(brief.cgroups.v1, Some(("/sys/fs/cgroup/freezer", "a/c")));
        let other = State { owner: state.owner + 1, ..state };
        assert!(!brief.is_of(&other));
    }

    #[test]
    fn the_first_of_several_cgroups_counts() {
        let dir = |path: &str, controllers: &str| {
            format!("{{\"mount\":\"/m\",\"path\":\"{path}\",\"controllers\":{controllers}}}")
        };
        let all = [
            dir("a", "[\"cpu\",\"freezer\"]"),
            dir("b", "null"),
            dir("c", "[\"freezer\"]"),
            dir("d", "null"),
            dir("e", "[]"),
        ];
        let list = format!("[{}]", all.join(","));
        let cgroups = Scan { text: &list, at: 0 }.cgroups().unwrap();
        assert_eq!(cgroups, Cgroups { v2: Some(("/m", "b")), v1: Some(("/m", "a")) });
        assert_eq!(Scan { text: "[]", at: 0 }.cgroups(), Some(Cgroups::default()));
    }

    #[test]
    fn a_state_that_is_cut_off_or_goes_on_is_not_read() {
        let text = full();
        for end in 0..text.len() {
            assert_eq!(read(text.get(..end).unwrap_or_default().as_bytes()), None, "{end} bytes of it");
        }
        for more in [" ", "\n", "}", "\0", "{}"] {
            assert_eq!(read(format!("{text}{more}").as_bytes()), None, "{more:?} behind it");
        }
    }

    /// Whoever changes one byte gets what the whole state says, or nothing.
    #[test]
    fn a_damaged_state_is_read_as_the_whole_state_is_or_not_at_all() {
        let text = full().into_bytes();
        let mut read_anyway = 0;
        for at in 0..text.len() {
            for byte in [0, b'"', b'\\', b'}', b'9', 0xff] {
                let mut bytes = text.clone();
                bytes[at] = byte;
                let Some(brief) = read(&bytes) else { continue };
                let state = State::parse(&bytes).expect("what a brief look reads is a state");
                assert!(brief.is_of(&state), "byte {at} as {byte}: {brief:?} of {state:?}");
                read_anyway += 1;
            }
        }
        assert!(read_anyway > 0, "some of it is text, in which any letter is as good");
    }

    #[test]
    fn texts_with_escapes_are_passed_over_and_not_shown() {
        let escaped = full().replace("\"web\"", "\"w\\\"b\"");
        assert!(State::parse(escaped.as_bytes()).is_ok());
        assert_eq!(read(escaped.as_bytes()), None);
        let passed = full().replace("\"/bin/program\"", "\"/bin/\\u001f\\n\\\\ \\\"x\\\"\"");
        assert!(State::parse(passed.as_bytes()).is_ok());
        assert!(read(passed.as_bytes()).is_some());
        for wrong in ["\\x", "\\u12", "\\ud800", "\n"] {
            let text = full().replace("\"/bin/program\"", &format!("\"{wrong}\""));
            assert_eq!(read(text.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_text_ends_at_the_first_byte_that_is_not_only_itself() {
        for at in 0..20 {
            for (byte, ends) in (0..=255u8).map(|byte| (byte, byte < 0x20 || byte == b'"' || byte == b'\\')) {
                for around in ['!', '#', '[', ']', ' ', '\u{7f}'] {
                    let mut text = String::from(around).repeat(20);
                    let char = char::from(byte);
                    text.replace_range(at..at + 1, char.encode_utf8(&mut [0; 2]));
                    let mut scan = Scan { text: &text, at: 0 };
                    let found = scan.plain().map(|()| scan.at);
                    assert_eq!(found, ends.then_some(at), "{char:?} at {at} among {around:?}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_those_that_are_written() {
        let number = |text: &str| {
            let mut scan = Scan { text, at: 0 };
            scan.number().map(|number| (number, scan.at))
        };
        assert_eq!(number("0,"), Some((0, 1)));
        assert_eq!(number("18446744073709551615"), Some((u64::MAX, 20)));
        for wrong in ["", "x", "-1", "01", "00", "18446744073709551616"] {
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
    }
}
