//! `state` and `list`: byte for byte as runc prints them.

use super::{Ctx, Failure, print};
use crate::args::{self, ListFormat};
use oxrun_core::{Container, Status, errno_text};
use serde_json::Value;
use std::collections::BTreeMap;

/// `state ID`: indented, without a newline at the end.
#[inline(never)]
pub(crate) fn state(ctx: &Ctx<'_>, id: &str) -> Result<u8, Failure> {
    let container = ctx.runtime()?.open(id)?;
    print(&document(&container, "", true)?)
}

/// One container as JSON, keys in runc's order.
fn document(c: &Container, owner: &str, indent: bool) -> Result<String, Failure> {
    let text = |s: &str| Value::from(s).to_string();
    let status = c.status()?;
    let pid = if status == Status::Stopped { 0 } else { c.pid() };
    let mut fields = vec![
        ("ociVersion", text("1.3.0")),
        ("id", text(c.id())),
        ("pid", pid.to_string()),
        ("status", text(&status.to_string())),
        ("bundle", text(&c.bundle().to_string_lossy())),
        ("rootfs", text(&c.rootfs().to_string_lossy())),
        ("created", text(c.created_at())),
    ];
    if !c.annotations().is_empty() {
        let entry = |(k, v): (&String, &String)| match indent {
            true => format!("    {}: {}", text(k), text(v)),
            false => format!("{}:{}", text(k), text(v)),
        };
        let entries: Vec<String> = c.annotations().iter().map(entry).collect();
        fields.push((
            "annotations",
            match indent {
                true => format!("{{\n{}\n  }}", entries.join(",\n")),
                false => format!("{{{}}}", entries.join(",")),
            },
        ));
    }
    fields.push(("owner", text(owner)));
    Ok(if indent {
        let lines: Vec<String> = fields.iter().map(|(k, v)| format!("  \"{k}\": {v}")).collect();
        format!("{{\n{}\n}}", lines.join(",\n"))
    } else {
        let parts: Vec<String> = fields.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
        format!("{{{}}}", parts.join(","))
    })
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
    let runtime = ctx.runtime()?;
    let mut owners: BTreeMap<u32, String> = BTreeMap::new();
    let mut rows = Vec::new();
    // One at a time: a handle has descriptors, and there may be more containers than those that are allowed.
    for id in runtime.ids()? {
        match runtime.open(&id) {
            Ok(_) if a.quiet => rows.push(vec![id]),
            Ok(c) => {
                let owner = owners.entry(c.owner()).or_insert_with_key(|uid| owner(*uid));
                rows.push(match a.format {
                    ListFormat::Json => vec![document(&c, owner, false)?],
                    ListFormat::Table => cells(&c, owner)?,
                });
            }
            Err(e) => ctx.log.warning(&format!("load container {id}: {e}")),
        }
    }
    if a.quiet {
        return print(&rows.concat().iter().fold(String::new(), |t, id| t + id + "\n"));
    }
    match a.format {
        ListFormat::Json if rows.is_empty() => print("null\n"),
        ListFormat::Json => print(&format!("[{}]\n", rows.concat().join(","))),
        ListFormat::Table => table(rows),
    }
}

/// One container as a row of the table.
fn cells(c: &Container, owner: &str) -> Result<Vec<String>, Failure> {
    let status = c.status()?;
    let pid = if status == Status::Stopped { 0 } else { c.pid() };
    Ok(vec![
        c.id().to_owned(),
        pid.to_string(),
        status.to_string(),
        c.bundle().display().to_string(),
        c.created_at().to_owned(),
        owner.to_owned(),
    ])
}

fn table(containers: Vec<Vec<String>>) -> Result<u8, Failure> {
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    rows.extend(containers);
    // At least 12 wide, three blanks between columns, the last one as it is.
    let width = |column: usize| rows.iter().map(|r| r[column].len() + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(&format!("{cell:<width$}"));
        }
        out.push_str(&row[5]);
        out.push('\n');
    }
    print(&out)
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
