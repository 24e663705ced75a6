//! Two runs of one scenario differ in ids, times and paths. Everything that is replaced here is
//! replaced in both outputs alike, and nothing else is.

use std::path::Path;

use super::Job;
use super::calls::Side;

/// Splits a scenario's line into arguments at spaces; single quotes keep spaces together.
pub(super) fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// What the clients say, or do not, depending on who is faster.
const RACES: &[&str] = &[
    "resize pty",
    "error waiting for container: context canceled",
    "failed to resize tty, using default size",
];

/// What one side's output has in place of its own names.
pub(super) struct Names {
    pairs: Vec<(String, &'static str)>,
}

impl Names {
    /// The names that belong to `side`.
    pub(super) fn new(job: &Job, side: Side) -> Self {
        let path = match side {
            Side::Reference => &job.reference,
            Side::Tested => &job.runtime,
        };
        let mut pairs = vec![
            (side.wrapper(&job.scratch).to_string_lossy().into_owned(), "RUNTIME"),
            (Side::link(&job.scratch).to_string_lossy().into_owned(), "RUNTIME"),
            (side.data(&job.scratch).to_string_lossy().into_owned(), "DATA"),
            (side.copied(&job.scratch, path).to_string_lossy().into_owned(), "RUNTIME"),
            (path.to_string_lossy().into_owned(), "RUNTIME"),
            (job.scratch.to_string_lossy().into_owned(), "SCRATCH"),
        ];
        // Messages begin with the program's name: "runc create failed: ...".
        for name in [Some("runc"), path.file_name().and_then(|n| n.to_str())] {
            for (verb, with) in [("create", "RUNTIME create failed"), ("run", "RUNTIME run failed")] {
                pairs.push((format!("{} {verb} failed", name.unwrap_or("runc")), with));
            }
        }
        // Podman says which runtime an error is of.
        for what in ["RUNTIME create failed", "exec failed"] {
            pairs.push((format!("{}: {what}", side.name()), what));
        }
        Self { pairs }
    }

    /// Replaces names, ids, times and process ids; with `digits` every number.
    pub(super) fn normalise(&self, text: &str, digits: bool) -> String {
        let steady = |l: &&str| !RACES.iter().any(|race| l.contains(race));
        let mut text: String = text.split_inclusive('\n').filter(steady).collect();
        // How many there are depends on when the client made the terminal raw.
        text.retain(|c| c != '\r');
        for (name, with) in &self.pairs {
            text = text.replace(name, with);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(c) = rest.chars().next() {
            if !c.is_ascii_alphanumeric() {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            if let Some(len) = time(rest) {
                out.push_str("TIME");
                rest = &rest[len..];
                continue;
            }
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            let word = &rest[..len];
            let number = word.bytes().all(|b| b.is_ascii_digit());
            let hex = word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let layer = len == 26 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            let pid = number && (out.ends_with("pid ") || out.ends_with("/proc/"));
            // Buildah shows eleven digits of an image behind an arrow.
            let short = len == 11 && out.ends_with("--> ");
            if (hex && (short || matches!(len, 12 | 64))) || layer {
                out.push_str("ID");
            } else if pid || (number && digits) {
                out.push('N');
            } else {
                out.push_str(word);
            }
            rest = &rest[len..];
        }
        if digits {
            // The width of a column follows the width of the numbers in it.
            out = out.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect();
        }
        out
    }
}

/// The length of an RFC 3339 time at the start of `text`.
fn time(text: &str) -> Option<usize> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    if bytes.len() < shape.len() {
        return None;
    }
    let same = shape.iter().zip(bytes).all(|(s, b)| match s {
        b'd' => b.is_ascii_digit(),
        s => s == b,
    });
    let more = |c: &u8| c.is_ascii_digit() || matches!(c, b'.' | b'Z' | b'+' | b':');
    same.then(|| shape.len() + bytes[shape.len()..].iter().take_while(|b| more(b)).count())
}

/// The last lines of a daemon's log, for a report.
pub(super) fn tail(file: &Path) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_spaces_and_make_empty_words() {
        assert_eq!(split("run  -v a:b sh -c 'echo  x' ''").len(), 7);
        assert_eq!(split("a 'b c'd"), ["a", "b cd"]);
    }

    #[test]
    fn ids_times_and_names_are_replaced_and_the_rest_stays() {
        let names = Names { pairs: vec![("/w/tested".into(), "RUNTIME")] };
        let id = "0123456789ab".repeat(5) + "cdef";
        assert_eq!(
            names.normalise(
                &format!("{id} 0123456789ab 2026-01-02T03:04:05.678Z /w/tested 137 pid 99"),
                false
            ),
            "ID ID TIME RUNTIME 137 pid N"
        );
        assert_eq!(names.normalise("0123456789abc", false), "0123456789abc");
    }

    #[test]
    fn lines_that_depend_on_the_clients_speed_are_left_out() {
        let names = Names { pairs: vec![] };
        let text = "a\r\nERRO error waiting for container: context canceled \r\nb";
        assert_eq!(names.normalise(text, false), "a\nb");
    }

    #[test]
    fn digits_are_masked_only_on_request() {
        let names = Names { pairs: vec![] };
        assert_eq!(names.normalise("root   12  sh", true), "root N sh\n");
        assert_eq!(names.normalise("limit 67108864", false), "limit 67108864");
    }
}
