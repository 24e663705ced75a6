//! The manual page, in the macros of man(7).

use super::{NOTE, commands, flags};
use crate::args::root;
use crate::args::table::{CommandDef, Flag};
use std::fmt::Write as _;

const DESCRIPTION: &str = "
oxrun makes containers of bundles, which are directories with a config.json and a root filesystem as the runtime
specification of the Open Container Initiative describes them. Engines such as containerd, Docker, Podman, CRI-O and
BuildKit call it as they call runc: commands, flags, output, exit codes and messages are the same.
.PP
Long options take their value as the next word or behind an equals sign, and one dash instead of two. Options of a command
may stand before or behind the container's id, except for
.B exec
and
.BR ps ,
where everything behind the id belongs to the other program. An option that is given twice counts once, with its last
value, unless it says that it may be repeated.
.PP
Called by another name, such as runc, the program speaks of itself by that name.
";

const REST: &str = r#".SH EXIT STATUS
.TP
.B 0
Success.
.TP
.B 1
The command failed, or the command line is wrong. The reason is one line on standard error, and the last record of the
log.
.TP
.B 3
There is no such command.
.TP
.B 255
.B exec
failed before the program ran, or the kernel could not execute the program of
.BR run .
.PP
In the foreground
.B run
and
.B exec
exit with the code of the program, or with 128 and the number of the signal that ended it.
.SH ENVIRONMENT
.TP
.B XDG_RUNTIME_DIR
Holds the state of the containers of a user without root, and of root in a user namespace unless
.B USER
is root. Empty counts as unset.
.TP
.B DBUS_SYSTEM_BUS_ADDRESS, DBUS_SESSION_BUS_ADDRESS
Where systemd is reached with
.BR \-\-systemd\-cgroup .
.TP
.B LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES
Sockets that a service manager has opened for the program (sd_listen_fds(3)):
.B create
and
.B run
pass them on, before the descriptors of
.BR \-\-preserve\-fds .
.TP
.B NOTIFY_SOCKET
Where a service manager waits to hear that the program is ready (sd_notify(3)). With it in the environment of
.B create
and
.B start
or of
.BR run ,
the program finds a socket of its own at
.IR /run/notify/notify.sock .
When it says that it is ready the manager hears so, and which process to watch;
.B start
and
.B run \-\-detach
wait for that.
.TP
.B PATH
Where
.B newuidmap
and
.B newgidmap
are looked for, and
.B ps
by the command of that name.
.PP
Nothing else of the environment has an effect, and nothing else of it gets into a container.
.SH FILES
.TP
.I /run/oxrun
One directory for each container, by its id. What is in it is private.
.TP
.I config.json
The configuration of a container, in its bundle. It is read once, by
.B create
or
.BR run .
.SH SEE ALSO
.BR runc (8),
.BR containerd (8),
.BR podman (1),
.BR cgroups (7),
.BR namespaces (7)
"#;

/// The page.
pub(super) fn page() -> String {
    let mut text = format!(
        ".\\\" {NOTE}\n.TH OXRUN 8 \"\" \"oxrun {}\" \"System Manager's Manual\"\n\
         .SH NAME\noxrun \\- Open Container Initiative runtime\n\
         .SH SYNOPSIS\n.B oxrun\n[\\fIglobal options\\fR] \\fIcommand\\fR [\\fIcommand options\\fR] [\\fIarguments\\fR...]\n\
         .SH DESCRIPTION{DESCRIPTION}.SH GLOBAL OPTIONS\n",
        env!("CARGO_PKG_VERSION")
    );
    flags(None).for_each(|flag| option(&mut text, flag));
    text.push_str(".SH COMMANDS\n");
    commands().for_each(|def| command(&mut text, def));
    text.push_str(
        ".SS oxrun help \\fR[\\fIcommand\\fR]\nshow the help of the program, or that of one command\n",
    );
    text.push_str(&REST.replace("/run/oxrun", &escaped(root::DEFAULT)));
    text
}

fn command(text: &mut String, def: &'static CommandDef) {
    let usage = if def.usage.is_empty() { String::new() } else { format!(" {}", escaped(def.usage)) };
    let options = if def.flags.is_empty() { "" } else { " [options]" };
    let _ = writeln!(text, ".SS oxrun {}\\fR{options}{usage}", escaped(def.name));
    let _ = writeln!(text, "{}{}.", def.about[..1].to_uppercase(), escaped(&def.about[1..]));
    if !def.details.is_empty() {
        let _ = writeln!(text, ".PP\n{}", escaped(def.details));
    }
    flags(Some(def)).for_each(|flag| option(text, flag));
}

fn option(text: &mut String, flag: &Flag) {
    let value = flag.value.map(|value| format!(" \\fI{}\\fR", escaped(value))).unwrap_or_default();
    let letter = flag.short.map(|c| format!(", \\fB\\-{c}\\fR{value}")).unwrap_or_default();
    let _ =
        writeln!(text, ".TP\n\\fB\\-\\-{}\\fR{value}{letter}\n{}", escaped(flag.long), escaped(flag.help));
}

/// A text without a meaning to the formatter, lines that begin like a request included.
fn escaped(text: &str) -> String {
    let plain = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = plain.lines().map(|line| match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
