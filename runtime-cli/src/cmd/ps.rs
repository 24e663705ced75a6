//! `ps`: the processes of a container, as numbers or through the host's `ps`.

use super::{Ctx, Failure, print};
use crate::args::{self, ListFormat};
use std::process::{Command, Stdio};

/// `ps ID`.
#[inline(never)]
pub(crate) fn ps(ctx: &Ctx<'_>, a: &args::Ps) -> Result<u8, Failure> {
    let pids = ctx.runtime()?.open(&a.id)?.processes()?;
    match a.format {
        // As runc prints a list that has nothing in it.
        ListFormat::Json if pids.is_empty() => print("null\n"),
        ListFormat::Json => {
            let all: Vec<String> = pids.iter().map(u32::to_string).collect();
            print(&format!("[{}]\n", all.join(",")))
        }
        ListFormat::Table => print(&select(&table(&a.ps_args)?, &pids)?),
    }
}

/// What the `ps` in PATH prints.
fn table(args: &[String]) -> Result<String, Failure> {
    let mut command = Command::new("ps");
    match args {
        [] => command.arg("-ef"),
        _ => command.args(args),
    };
    let output = command.stdin(Stdio::null()).output().map_err(|e| {
        let errno = e.raw_os_error().unwrap_or(0);
        Failure::plain(match errno {
            nix::libc::ENOENT => "exec: \"ps\": executable file not found in $PATH".to_owned(),
            _ => format!("exec: \"ps\": {}", oxrun_core::errno_text(errno)),
        })
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::plain(format!("ps: {}: {text}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The header and the lines of these processes.
fn select(table: &str, pids: &[u32]) -> Result<String, Failure> {
    let header = table.lines().next().unwrap_or("");
    let Some(column) = header.split_whitespace().position(|name| name == "PID") else {
        return Err(Failure::plain("couldn't find PID field in ps output"));
    };
    let mut out = format!("{header}\n");
    for line in table.lines().skip(1).filter(|l| !l.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or("");
        let pid: u32 =
            field.parse().map_err(|_| Failure::plain(format!("unexpected pid {field:?} in ps output")))?;
        if pids.contains(&pid) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::select;

    const TABLE: &str = "UID        PID  PPID CMD\nroot         1     0 init\nroot        12     1 sleep 1\n";

    #[test]
    fn the_header_and_the_containers_lines_are_kept() {
        let kept = select(TABLE, &[12, 99]).ok();
        assert_eq!(kept.as_deref(), Some("UID        PID  PPID CMD\nroot        12     1 sleep 1\n"));
    }

    #[test]
    fn a_table_without_pids_is_refused() {
        let text = |t| select(t, &[1]).err().map(|f| f.message);
        let missing = "couldn't find PID field in ps output";
        assert_eq!(text("COMMAND\nsleep\n").as_deref(), Some(missing));
        assert_eq!(text("").as_deref(), Some(missing));
        assert!(text("CMD PID\nsh -c 1\n").is_some_and(|t| t.contains("unexpected pid \"-c\"")));
    }
}
