//! `state` and `list`: byte for byte as runc prints them.

use super::{Ctx, Failure, print};
use crate::args::{self, ListFormat};
use oxrun_core::{Listed, Status, errno_text};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

/// `state ID`: indented, without a newline at the end.
#[inline(never)]
pub(crate) fn state(ctx: &Ctx<'_>, id: &str) -> Result<u8, Failure> {
    let c = ctx.runtime()?.open(id)?;
    let status = c.status()?;
    let mut out = String::with_capacity(1024);
    let shown = Shown {
        id: c.id(),
        pid: if status == Status::Stopped { 0 } else { c.pid() },
        status,
        bundle: c.bundle().to_string_lossy(),
        rootfs: c.rootfs().to_string_lossy(),
        created: c.created_at(),
        annotations: c.annotations(),
        owner: "",
    };
    document(&mut out, &shown, true);
    print(&out)
}

/// What is told of a container.
struct Shown<'a> {
    id: &'a str,
    pid: u32,
    status: Status,
    bundle: Cow<'a, str>,
    rootfs: Cow<'a, str>,
    created: &'a str,
    annotations: &'a BTreeMap<String, String>,
    owner: &'a str,
}

/// Appends one container as JSON, keys in runc's order.
fn document(out: &mut String, c: &Shown<'_>, indent: bool) {
    let (first, next, colon, last) = match indent {
        true => ("{\n  \"", ",\n  \"", "\": ", "\n}"),
        false => ("{\"", ",\"", "\":", "}"),
    };
    let key = |out: &mut String, name: &str| {
        out.push_str(if name == "ociVersion" { first } else { next });
        out.push_str(name);
        out.push_str(colon);
    };
    let text = |out: &mut String, name: &str, value: &str| {
        key(out, name);
        quote(out, value);
    };
    text(out, "ociVersion", "1.3.0");
    text(out, "id", c.id);
    key(out, "pid");
    // Nothing can go wrong when a text grows.
    let _ = write!(out, "{}", c.pid);
    text(out, "status", c.status.name());
    text(out, "bundle", &c.bundle);
    text(out, "rootfs", &c.rootfs);
    text(out, "created", c.created);
    if !c.annotations.is_empty() {
        key(out, "annotations");
        for (number, (name, value)) in c.annotations.iter().enumerate() {
            out.push_str(match (number, indent) {
                (0, true) => "{\n    ",
                (_, true) => ",\n    ",
                (0, false) => "{",
                (_, false) => ",",
            });
            quote(out, name);
            out.push_str(if indent { ": " } else { ":" });
            quote(out, value);
        }
        out.push_str(if indent { "\n  }" } else { "}" });
    }
    text(out, "owner", c.owner);
    out.push_str(last);
}

/// Appends a text as JSON.
fn quote(out: &mut String, text: &str) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        return out.push_str(&serde_json::Value::from(text).to_string());
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// `list`.
#[inline(never)]
pub(crate) fn list(ctx: &Ctx<'_>, a: &args::List) -> Result<u8, Failure> {
    let root = ctx.state_root()?;
    if root.given
        && let Err(e) = std::fs::metadata(&root.path)
    {
        return Err(Failure::plain(format!(
            "open {}: {}",
            root.path.display(),
            errno_text(e.raw_os_error().unwrap_or(0))
        )));
    }
    let mut owners: BTreeMap<u32, String> = BTreeMap::new();
    let (mut out, mut table) = (String::new(), Table::new());
    ctx.runtime()?.each(|id, container| {
        let c = match container {
            Ok(c) => c,
            Err(e) => {
                ctx.log.warning(&format!("load container {id}: {e}"));
                return Ok(());
            }
        };
        if a.quiet {
            out.push_str(id);
            out.push('\n');
            return Ok(());
        }
        let owner = owners.entry(c.owner()).or_insert_with_key(|uid| owner(*uid));
        match a.format {
            ListFormat::Table => table.add(&c, owner),
            ListFormat::Json => {
                out.push(if out.is_empty() { '[' } else { ',' });
                in_list(&mut out, &c, owner)
            }
        }
    })?;
    match a.format {
        _ if a.quiet => print(&out),
        ListFormat::Json if out.is_empty() => print("null\n"),
        ListFormat::Json => print(&(out + "]\n")),
        ListFormat::Table => table.print(),
    }
}

/// The pid that is shown, and the status.
fn told(c: &Listed<'_>) -> Result<(u32, Status), Failure> {
    let status = c.status()?;
    Ok((if status == Status::Stopped { 0 } else { c.started_pid() }, status))
}

/// Appends one of many containers as JSON.
fn in_list(out: &mut String, c: &Listed<'_>, owner: &str) -> Result<(), Failure> {
    let (pid, status) = told(c)?;
    let shown = Shown {
        id: c.id(),
        pid,
        status,
        bundle: c.bundle().to_string_lossy(),
        rootfs: c.rootfs().to_string_lossy(),
        created: c.created_at(),
        annotations: &c.annotations(),
        owner,
    };
    document(out, &shown, false);
    Ok(())
}

const COLUMNS: usize = 6;

/// A table: the cells of all rows in one text, where each of them ends, and how wide the columns are.
struct Table {
    text: String,
    ends: Vec<usize>,
    widths: [usize; COLUMNS],
}

impl Table {
    fn new() -> Table {
        let mut table = Table { text: String::new(), ends: Vec::new(), widths: [12; COLUMNS] };
        table.row(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
        table
    }

    /// At least 12 wide, three blanks between columns.
    fn row(&mut self, cells: [&str; COLUMNS]) {
        for (cell, width) in cells.iter().zip(&mut self.widths) {
            *width = (*width).max(cell.len() + 3);
            self.text.push_str(cell);
            self.ends.push(self.text.len());
        }
    }

    /// One container as a row.
    fn add(&mut self, c: &Listed<'_>, owner: &str) -> Result<(), Failure> {
        let (pid, status) = told(c)?;
        let (pid, bundle) = (pid.to_string(), c.bundle().to_string_lossy());
        self.row([c.id(), &pid, status.name(), &bundle, c.created_at(), owner]);
        Ok(())
    }

    /// The last column is as it is.
    fn print(&self) -> Result<u8, Failure> {
        const BLANKS: &str = "                                                                ";
        let rows = self.ends.len() / COLUMNS;
        let mut out = String::with_capacity(rows * (self.widths.iter().sum::<usize>() + 1));
        let mut begin = 0;
        for row in self.ends.chunks(COLUMNS) {
            for (column, (end, width)) in row.iter().zip(&self.widths).enumerate() {
                let cell = self.text.get(begin..*end).unwrap_or_default();
                begin = *end;
                out.push_str(cell);
                let used = if cell.is_ascii() { cell.len() } else { cell.chars().count() };
                let mut left = if column + 1 == COLUMNS { 0 } else { width.saturating_sub(used) };
                while left > 0 {
                    let blanks = BLANKS.get(..left).unwrap_or(BLANKS);
                    out.push_str(blanks);
                    left -= blanks.len();
                }
            }
            out.push('\n');
        }
        print(&out)
    }
}

/// The name of a uid, or `#uid`.
fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let id = uid.to_string();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
