//! Compares two outputs that may differ by what a table lists, and by nothing else.

use super::differences::{ADDED, Difference};

/// What stands in a hole: its name, the word, and the word's place if there is a list of them.
#[derive(Debug, Clone, Copy)]
struct Filling<'t> {
    name: &'t str,
    word: &'t [u8],
    place: Option<usize>,
}

impl Filling<'_> {
    /// Whether both may stand in holes of one name.
    fn agrees(&self, other: &Self) -> bool {
        match (self.place, other.place) {
            (Some(place), Some(other)) => place == other,
            _ => self.word == other.word,
        }
    }
}

/// The numbers of the differences that make one text of the other, in the order in which they show; none if
/// the texts differ in anything else.
pub(super) fn alike(table: &[(usize, &Difference)], reference: &str, tested: &str) -> Option<Vec<usize>> {
    let (mut a, mut b) = (reference.as_bytes(), tested.as_bytes());
    let mut shown = Vec::new();
    loop {
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        if same == a.len() && same == b.len() {
            return Some(shown);
        }
        // The texts of a difference may have a beginning in common; both must go beyond what is the same.
        let (number, behind_a, behind_b) = (0..=same).find_map(|from| {
            table.iter().find_map(|(number, difference)| {
                let (x, y) = begins(difference, a.get(from..)?, b.get(from..)?)?;
                (x.max(y) > same - from).then_some((*number, from + x, from + y))
            })
        })?;
        shown.push(number);
        a = a.get(behind_a..)?;
        b = b.get(behind_b..)?;
    }
}

/// The lengths of the two texts of a difference if the outputs begin with them.
fn begins(difference: &Difference, a: &[u8], b: &[u8]) -> Option<(usize, usize)> {
    let mut holes = Vec::new();
    let x = length(difference.reference, a, &mut holes)?;
    let y = length(difference.tested, b, &mut holes)?;
    Some((x, y))
}

/// The length of the beginning of `text` that is `pattern`. The holes are filled as far as they are not yet.
fn length<'t>(pattern: &'t str, text: &'t [u8], holes: &mut Vec<Filling<'t>>) -> Option<usize> {
    let Some((literal, rest)) = pattern.split_once('{') else {
        return text.starts_with(pattern.as_bytes()).then_some(pattern.len());
    };
    let behind = text.strip_prefix(literal.as_bytes())?;
    let (hole, rest) = rest.split_once('}')?;
    let filled = holes.len();
    for filling in candidates(hole, behind) {
        let len = filling.word.len();
        if holes.iter().any(|h| h.name == filling.name && !h.agrees(&filling)) {
            continue;
        }
        holes.push(filling);
        if let Some(more) = length(rest, behind.get(len..)?, holes) {
            return Some(literal.len() + len + more);
        }
        holes.truncate(filled);
    }
    None
}

/// What a hole may stand for at the beginning of `text`.
fn candidates<'t>(hole: &'t str, text: &'t [u8]) -> Vec<Filling<'t>> {
    let word = |len| Some(Filling { name: hole, word: text.get(..len)?, place: None });
    if hole == ADDED {
        return added(text).and_then(word).into_iter().collect();
    }
    if let Some((name, list)) = hole.split_once(':') {
        let one = |(place, one): (usize, &'t str)| {
            text.starts_with(one.as_bytes()).then_some(Filling {
                name,
                word: one.as_bytes(),
                place: Some(place),
            })
        };
        return list.split('|').enumerate().filter_map(one).collect();
    }
    let longest = text.iter().take_while(|c| !c.is_ascii_whitespace()).count();
    (1..=longest).filter_map(word).collect()
}

/// The names that a record of text may have behind its message.
const NAMES: &[&str] = &["step", "field", "syscall", "errno", "kernel", "hint"];

/// The members that a config.json has.
const MEMBERS: &[&str] =
    &["annotations", "domainname", "hooks", "hostname", "linux", "mounts", "ociVersion", "process", "root"];

/// What a warning of an ambient capability begins with: a record, or a line for people.
const WARNINGS: &[&str] = &["time=\"TIME\" level=warning msg=\"", "warning: "];

/// How both go on.
const AMBIENT: &[u8] = b"/process/capabilities/ambient: can't raise ambient capability CAP_";

/// The length of a pointer to a field of config.json in parentheses, of names with quoted values, or of a warning.
fn added(text: &[u8]) -> Option<usize> {
    let begins =
        |head: &&str| text.strip_prefix(head.as_bytes()).is_some_and(|rest| rest.starts_with(AMBIENT));
    if WARNINGS.iter().any(begins) {
        return Some(text.iter().position(|c| *c == b'\n').map_or(text.len(), |end| end + 1));
    }
    if let Some(pointer) = text.strip_prefix(b" (/") {
        let end = pointer.iter().position(|c| *c == b')')?;
        let member = pointer.get(..end)?.split(|c| *c == b'/').next()?;
        return MEMBERS.iter().any(|m| m.as_bytes() == member).then_some(end + 4);
    }
    let mut len = 0;
    loop {
        let here = text.get(len..)?;
        let Some(value) = NAMES.iter().find_map(|n| here.strip_prefix(format!(" {n}=\"").as_bytes())) else {
            return (len > 0).then_some(len);
        };
        len = text.len() - value.len() + quoted(value)?;
    }
}

/// The length of a quoted text with its closing quote, which is the first that is not escaped.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter()
        .position(|c| {
            let end = *c == b'"' && !escaped;
            escaped = *c == b'\\' && !escaped;
            end
        })
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::super::differences::DIFFERENCES;
    use super::super::engine::Engine;
    use super::*;

    fn difference(reference: &'static str, tested: &'static str) -> Difference {
        Difference { title: "t", engines: &[Engine::Docker], reference, tested, reason: "r", v1: false }
    }

    fn with(list: &[Difference], a: &str, b: &str) -> Option<Vec<usize>> {
        let table: Vec<(usize, &Difference)> = list.iter().enumerate().collect();
        alike(&table, a, b)
    }

    #[test]
    fn texts_of_the_table_are_alike_and_nothing_else_is() {
        let list = [difference("x {n} 0 ", "x {n},more 0 "), difference("lost", "")];
        assert_eq!(with(&list, "same", "same"), Some(vec![]));
        assert_eq!(with(&list, "a x b 0 c", "a x b,more 0 c"), Some(vec![0]));
        assert_eq!(with(&list, "a x b 0 clost", "a x b,more 0 c"), Some(vec![0, 1]));
        assert_eq!(with(&list, "a x b 0 c", "a x d,more 0 c"), None, "the word is another");
        assert_eq!(with(&list, "a x b 0 c", "a x b,more 0 d"), None, "something else differs");
        assert_eq!(with(&list, "a x b,more 0 c", "a x b 0 c"), None, "the other way round");
        assert_eq!(with(&list, "", "lost"), None);
    }

    #[test]
    fn a_difference_that_shows_on_one_side_alone_does_not_count() {
        let list = [difference("old", "new")];
        assert_eq!(with(&list, "old old", "new new"), Some(vec![0, 0]));
        assert_eq!(with(&list, "old", ""), None);
        assert_eq!(with(&list, "", "new"), None);
        assert_eq!(with(&list, "new", "new"), Some(vec![]));
    }

    #[test]
    fn alternatives_go_together_by_their_place() {
        let list = [difference("{m:/a|/b} {o:one|two}", "{m} {o:uno|due}")];
        assert_eq!(with(&list, "/a one\n/b two\n", "/a uno\n/b due\n"), Some(vec![0, 0]));
        assert_eq!(with(&list, "/a one", "/a due"), None);
        assert_eq!(with(&list, "/a one", "/b uno"), None);
        assert_eq!(with(&list, "/c one", "/c uno"), None);
    }

    #[test]
    fn lines_may_change_their_order_only_as_the_table_says() {
        let list = [difference("p\ns\nin\n", "s\nin\np\n")];
        assert_eq!(with(&list, "c\np\ns\nin\nx\n", "c\ns\nin\np\nx\n"), Some(vec![0]));
        assert_eq!(with(&list, "c\np\ns\nin\nx\n", "c\ns\np\nin\nx\n"), None);
    }

    #[test]
    fn fields_and_details_are_added_and_the_message_and_the_engines_words_stay() {
        let only = DIFFERENCES.get(..1).unwrap_or_default();
        let record = r#"x: level=error msg="exec: \"a\" failed""#;
        let details = r#" step="1 of 2" syscall="statx(\"/a\\\", 0x0)" errno="2""#;
        let (a, b) = (format!("{record}: not found\n"), format!("{record}{details}: not found\n"));
        assert_eq!(with(only, &a, &b), Some(vec![0]));
        assert_eq!(with(only, "no file: unknown", "no file (/mounts/7/source): unknown"), Some(vec![0]));
        let warning =
            |what: &str| format!("time=\"TIME\" level=warning msg=\"/process/capabilities/{what}\"\n");
        let ambient = warning("ambient: can't raise ambient capability CAP_KILL: it must be permitted");
        assert_eq!(with(only, "time\n", &format!("{ambient}{ambient}time\n")), Some(vec![0, 0]));
        let other = warning("bounding: unknown");
        for (a, b) in [
            ("x\n", format!("{other}x\n").as_str()),
            ("no file: unknown", "no file (/etc/passwd): unknown"),
            ("no file: unknown", "no file (why): unknown"),
            ("x\n", "x why=\"no\"\n"),
            ("x (/root/path)\n", "x\n"),
        ] {
            assert_eq!(with(only, a, b), None, "{b}");
        }
    }
}
