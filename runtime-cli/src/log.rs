//! Log records, in the two forms callers read.
//!
//! Engines decode the log file: every record is one line, written with one `write`, its level in
//! lower case, its time RFC 3339 in UTC. Some read the file as a single record, so at the default
//! level a file gets errors only. An error that goes to a file is told on standard error as well,
//! as the bare message. A failing log never stops the program.

use std::cell::OnceCell;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// How grave a record is, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The command fails.
    Error,
    /// Something was left out.
    Warning,
    /// What happens.
    Info,
    /// What happens inside.
    Debug,
}

impl Level {
    /// The level of this name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Level> {
        match name.to_ascii_lowercase().as_str() {
            "error" => Some(Level::Error),
            "warning" | "warn" => Some(Level::Warning),
            "info" => Some(Level::Info),
            "debug" | "trace" => Some(Level::Debug),
            _ => None,
        }
    }

    /// Its name in a record.
    fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// The form of a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// Further facts of a record: name and value.
pub(crate) type Details<'a> = [(&'a str, &'a str)];

/// Where records go.
#[derive(Debug)]
enum Sink {
    /// Standard error, read by a program.
    Stderr,
    /// Standard error, read by a person.
    Terminal,
    /// A file, which other calls append to as well.
    File(File),
}

/// The log of one call.
#[derive(Debug)]
pub(crate) struct Log {
    /// Found when there is something to say, which is seldom.
    sink: OnceCell<Sink>,
    format: Format,
    least: Level,
}

impl Log {
    /// A log on standard error. Warnings are shown unless `level` says otherwise.
    pub(crate) fn stderr(format: Format, level: Option<Level>) -> Log {
        Log { sink: OnceCell::new(), format, least: level.unwrap_or(Level::Warning) }
    }

    fn sink(&self) -> &Sink {
        self.sink.get_or_init(|| match self.format {
            Format::Text if std::io::stderr().is_terminal() => Sink::Terminal,
            _ => Sink::Stderr,
        })
    }

    /// A log in `file`, or on standard error without one. The fault is a whole sentence.
    pub(crate) fn open(file: Option<&Path>, format: Format, level: Option<Level>) -> Result<Log, String> {
        let Some(path) = file else {
            return Ok(Log::stderr(format, level));
        };
        let file = open_append(path)?;
        Ok(Log { sink: Sink::File(file).into(), format, least: level.unwrap_or(Level::Error) })
    }

    /// Why the command fails. Call it once.
    pub(crate) fn error(&self, message: &str, details: &Details<'_>) {
        self.put(Level::Error, message, details);
    }

    /// Something that was left out.
    pub(crate) fn warning(&self, message: &str) {
        self.put(Level::Warning, message, &[]);
    }

    /// A warning about a field of the config. It stays one line for people, and is a detail for programs.
    pub(crate) fn warning_at(&self, field: &str, message: &str) {
        let message = format!("{field}: {message}");
        match self.sink() {
            Sink::Terminal => self.put(Level::Warning, &message, &[]),
            Sink::Stderr | Sink::File(_) => self.put(Level::Warning, &message, &[("field", field)]),
        }
    }

    /// What happens inside.
    pub(crate) fn debug(&self, message: &str) {
        self.put(Level::Debug, message, &[]);
    }

    /// Whether a record of this level is written; spares the work of making one that is not.
    pub(crate) fn wants(&self, level: Level) -> bool {
        level <= self.least
    }

    fn put(&self, level: Level, message: &str, details: &Details<'_>) {
        let lines = self.lines(level, message, details, SystemTime::now());
        if let (Some(text), Sink::File(file)) = (&lines.file, self.sink()) {
            let mut file = file;
            // A log that cannot be written is no reason to fail; the message is still told below.
            let _ = file.write_all(text.as_bytes());
        }
        if let Some(text) = &lines.stderr {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }

    /// What one record writes, and where.
    fn lines(&self, level: Level, message: &str, details: &Details<'_>, now: SystemTime) -> Lines {
        if !self.wants(level) {
            return Lines::default();
        }
        let record = || match self.format {
            Format::Text => text_record(level, message, details, now),
            Format::Json => json_record(level, message, details, now),
        };
        match self.sink() {
            Sink::Stderr => Lines { file: None, stderr: Some(record()) },
            Sink::Terminal => Lines { file: None, stderr: Some(for_people(level, message, details)) },
            Sink::File(_) => Lines {
                file: Some(record()),
                stderr: (level == Level::Error).then(|| format!("{message}\n")),
            },
        }
    }
}

/// What one record writes, and where.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    file: Option<String>,
    stderr: Option<String>,
}

#[allow(
    clippy::disallowed_methods,
    reason = "the caller names this file with its own rights; no container is involved"
)]
fn open_append(path: &Path) -> Result<File, String> {
    // From asm-generic/fcntl.h, the same on every architecture this program runs on.
    const O_SYNC: i32 = 0o4_010_000;
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o644).custom_flags(O_SYNC);
    options.open(path).map_err(|error| {
        format!("open {}: {}", path.display(), oxrun_core::errno_text(error.raw_os_error().unwrap_or(0)))
    })
}

fn for_people(level: Level, message: &str, details: &Details<'_>) -> String {
    let mut text = format!("{}: {message}\n", level.name());
    for (name, value) in details {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text
}

fn text_record(level: Level, message: &str, details: &Details<'_>, now: SystemTime) -> String {
    let mut line = format!("time={} level={} msg={}", quoted(&rfc3339(now)), level.name(), quoted(message));
    for (name, value) in details {
        line.push_str(&format!(" {name}={}", quoted(value)));
    }
    line.push('\n');
    line
}

fn json_record(level: Level, message: &str, details: &Details<'_>, now: SystemTime) -> String {
    // Written key by key: readers get the order they have always got.
    let mut line = format!(
        "{{\"level\":{},\"msg\":{},\"time\":{}",
        json_string(level.name()),
        json_string(message),
        json_string(&rfc3339(now))
    );
    for (name, value) in details {
        line.push_str(&format!(",{}:{}", json_string(name), json_string(value)));
    }
    line.push_str("}\n");
    line
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text in double quotes, escaped as Go's `%q` does, for readers of its text logs.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            _ if c.is_ascii() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            _ if is_printable(c) => out.push(c),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether a character outside ASCII can be shown as it is.
fn is_printable(c: char) -> bool {
    !c.is_whitespace() && c.escape_debug().eq([c])
}

/// A point in time as `2026-11-22T01:44:39Z`. Times before 1970 are shown as its first second, and
/// years have four digits, because the form allows nothing else.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    const LAST: u64 = 253_402_300_799; // 9999-12-31T23:59:59Z
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is a year's last. 719 468 days lie between
    // 0000-03-01 and 1970-01-01; 400 years have 146 097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on always have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next_year) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era + next_year, month, day)
}

#[cfg(test)]
mod tests;
