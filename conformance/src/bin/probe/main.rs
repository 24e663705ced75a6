//! `oxrun-probe` is the program inside the container. It must change nothing, need nothing but
//! itself (no libc of the image, no `/proc`), and say what it sees without interpreting it.
#![no_main]

mod attack;
mod report;
mod sys;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const USAGE: &str = "usage: oxrun-probe report [--sysctl NAME] [--stat PATH] [--open PATH:MODE] [--call NAME]
                   [--change PATH:umount|rw|ro|mkdir] [--list DIR] [--out FILE] | hook FILE | exit N | sleep
                   | spawn N [WORDS...] | hold NAMESPACE,... | signal-self N | chmod FILE MODE
                   | write FILE TEXT | append FILE LINE | write-fd N TEXT | alloc MIB | open-always PATH
                   | open-until PATH allowed|denied | ls DIR | cat FILE | echo ARGS...
                   | under-filter FILTER CALLS | hold-exe OUT | peek PATH OUT | fork-bomb
                   | nest PIDS | fresh-procfs DIR OUT | catch FILE | signals | notify LINES...
                   | stop-others";

/// What a subcommand ends with: an exit code, or a line for stderr.
pub(crate) type Ending = Result<i32, String>;

/// Runs the subcommand named by the first argument and returns the exit code.
pub(crate) fn run() -> i32 {
    let args: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let (name, rest) = match args.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("", [].as_slice()),
    };
    let ending = dispatch(name, rest);
    let _ = std::io::stdout().flush();
    ending.unwrap_or_else(|message| {
        let _ = writeln!(std::io::stderr(), "probe {name}: {message}");
        125
    })
}

fn dispatch(name: &str, rest: &[String]) -> Ending {
    match (name, rest) {
        ("report", rest) => report::print(rest).map(|()| 0),
        ("hook", [file]) => report::hook(file).map(|()| 0),
        ("exit", [code]) => number(code),
        ("sleep", []) => sleep("ready"),
        ("spawn", [count]) => spawn(number(count)?, &["sleep".to_owned()]),
        ("spawn", [count, words @ ..]) => spawn(number(count)?, words),
        ("hold", [names]) => hold(names),
        ("fork-bomb", []) => {
            say("ready")?;
            sys::fork_for_ever()
        }
        ("nest", [limit]) => nest(limit),
        ("signals", []) => signals(),
        ("notify", lines) => notify(lines),
        ("signal-self", [signal]) => {
            sys::signal_self(number(signal)?).map_err(text)?;
            Ok(0)
        }
        ("chmod", [file, mode]) => chmod(file, mode),
        ("write", [file, value]) => std::fs::write(file, value).map(|()| 0).map_err(text),
        ("write-fd", [fd, value]) => sys::write_fd(number(fd)?, value.as_bytes()).map(|()| 0).map_err(text),
        ("catch", [file]) => catch(file),
        ("hold-exe", [out]) => attack::hold_exe(out),
        ("fresh-procfs", [place, out]) => attack::fresh_procfs(place, out),
        ("peek", [path, out]) => attack::peek(path, out),
        ("stop-others", []) => attack::stop_others(),
        ("alloc", [mib]) => alloc(number(mib)?),
        ("open-always", [path]) => open_always(path),
        ("open-until", [path, what]) => open_until(path, what == "allowed"),
        ("ls", [directory]) => list(directory),
        ("cat", [file]) => {
            let bytes = std::fs::read(file).map_err(text)?;
            std::io::stdout().write_all(&bytes).map(|()| 0).map_err(text)
        }
        ("under-filter", [filter, calls]) => under_filter(filter, calls),
        ("append", [file, line]) => append(file, line),
        ("echo", words) => say(&words.join(" ")).map(|()| 0),
        _ => Err(format!("unknown subcommand or wrong arguments\n{USAGE}")),
    }
}

pub(crate) fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn number(word: &str) -> Result<i32, String> {
    word.parse().map_err(|_| format!("{word:?} is not a number"))
}

pub(crate) fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(text)
}

/// The mode is octal.
fn chmod(file: &str, mode: &str) -> Ending {
    let mode = u32::from_str_radix(mode, 8).map_err(|_| format!("{mode:?} is not an octal number"))?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).map(|()| 0).map_err(text)
}

/// Says that it is ready, then lives until SIGTERM. A closed stdout does not matter.
fn sleep(line: &str) -> Ending {
    sys::block_term();
    let _ = say(line);
    sys::wait_for_term();
    Ok(0)
}

/// Says that it is ready, waits for a signal that a program can have, and writes its number into a file.
fn catch(file: &str) -> Ending {
    sys::block_signals();
    say("ready")?;
    std::fs::write(file, sys::next_signal().to_string()).map(|()| 0).map_err(text)
}

/// Says what signals come, and how large the terminal is then, until SIGTERM.
fn signals() -> Ending {
    sys::block_signals();
    say("ready")?;
    loop {
        let signal = sys::next_signal();
        match sys::window(0) {
            Ok([rows, columns]) => say(&format!("{signal} {rows}x{columns}"))?,
            Err(_) => say(&signal.to_string())?,
        }
        if signal == libc::SIGTERM {
            return Ok(0);
        }
    }
}

/// Sends the lines as one message to the socket that the environment names, and sleeps.
fn notify(lines: &[String]) -> Ending {
    let name = std::env::var_os("NOTIFY_SOCKET").ok_or("no NOTIFY_SOCKET")?;
    let socket = std::os::unix::net::UnixDatagram::unbound().map_err(text)?;
    socket.send_to(lines.join("\n").as_bytes(), name).map_err(text)?;
    sleep("ready")
}

/// Starts `count` children that ignore nothing and sleep, or do what `words` say, then sleeps as well.
fn spawn(count: i32, words: &[String]) -> Ending {
    let mut children = Vec::new();
    for _ in 0..count {
        let program = std::env::args_os().next().ok_or("no argv[0]")?;
        let child =
            Command::new(program).args(words).stdout(std::process::Stdio::null()).spawn().map_err(text)?;
        children.push(child);
    }
    let code = sleep("ready")?;
    for child in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    Ok(code)
}

/// Makes a cgroup in the one that is seen at `/sys/fs/cgroup`, moves there, and limits it by a controller that it
/// enables. Then it sleeps.
fn nest(limit: &str) -> Ending {
    let own = std::path::Path::new("/sys/fs/cgroup");
    let below = own.join("below");
    let say = |file: &std::path::Path, e: std::io::Error| format!("{}: {e}", file.display());
    std::fs::create_dir(&below).map_err(|e| say(&below, e))?;
    for (file, value) in [
        (below.join("cgroup.procs"), "0"),
        (own.join("cgroup.subtree_control"), "+pids"),
        (below.join("pids.max"), limit),
    ] {
        std::fs::write(&file, value).map_err(|e| say(&file, e))?;
    }
    sleep("ready")
}

/// Enters new namespaces, prints the pid whose `/proc/PID/ns` shows them, and sleeps.
fn hold(names: &str) -> Ending {
    let mut flags = 0;
    for name in names.split(',') {
        flags |= match name {
            "cgroup" => libc::CLONE_NEWCGROUP,
            "ipc" => libc::CLONE_NEWIPC,
            "mount" => libc::CLONE_NEWNS,
            "network" => libc::CLONE_NEWNET,
            "pid" => libc::CLONE_NEWPID,
            "time" => libc::CLONE_NEWTIME,
            "user" => libc::CLONE_NEWUSER,
            "uts" => libc::CLONE_NEWUTS,
            _ => return Err(format!("unknown namespace {name:?}")),
        };
    }
    sys::unshare(flags).map_err(text)?;
    if flags & (libc::CLONE_NEWPID | libc::CLONE_NEWTIME) == 0 {
        return sleep(&std::process::id().to_string());
    }
    // New pid and time namespaces are those of the first child.
    let program = std::env::args_os().next().ok_or("no argv[0]")?;
    let mut command = Command::new(program);
    sys::start_by_fork(&mut command);
    let mut child = command.arg("sleep").stdout(std::process::Stdio::null()).spawn().map_err(text)?;
    let code = sleep(&child.id().to_string());
    let _ = child.kill();
    let _ = child.wait();
    code
}

/// Touches `mib` MiB of memory.
fn alloc(mib: i32) -> Ending {
    let size = usize::try_from(mib).map_err(|_| "negative size")? << 20;
    let mut memory = vec![0u8; size];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(&memory);
    say("ready").map(|()| 0)
}

/// Whether a device cgroup lets a node be opened; that nothing is behind the node is no refusal.
fn is_allowed(path: &str) -> bool {
    let opened = sys::try_open(path.as_ref(), libc::O_RDONLY | libc::O_NONBLOCK);
    opened.map_or_else(|e| e.raw_os_error() != Some(libc::EPERM), |()| true)
}

/// Opens a device again and again until SIGTERM. Exits with 1 if it was refused once.
fn open_always(path: &str) -> Ending {
    sys::block_term();
    say("ready")?;
    let mut refused = 0;
    while !sys::term_is_pending() {
        refused |= i32::from(!is_allowed(path));
    }
    Ok(refused)
}

/// Opens a device again and again until it is allowed, or denied.
fn open_until(path: &str, allowed: bool) -> Ending {
    let at_once = is_allowed(path) == allowed;
    say("ready")?;
    while is_allowed(path) != allowed {}
    Ok(i32::from(at_once))
}

/// Makes calls under a filter and writes their results to stdout, eight bytes each. The filter is a file
/// of instructions, the calls a file of lines: `native` or `compat`, number and arguments in hexadecimal.
fn under_filter(filter: &str, calls: &str) -> Ending {
    let filter = std::fs::read(filter).map_err(text)?;
    let mut list = Vec::new();
    for line in std::fs::read_to_string(calls).map_err(text)?.lines() {
        let (kind, numbers) = line.split_once(' ').ok_or("a call without a number")?;
        let numbers = numbers.split(' ').map(|word| u64::from_str_radix(word, 16).map_err(|e| e.to_string()));
        let numbers = numbers.collect::<Result<Vec<u64>, String>>()?;
        let (number, args) = numbers.split_first().ok_or("a call without a number")?;
        let args = <[u64; 6]>::try_from(args).map_err(|_| "a call has six arguments")?;
        let number = u32::try_from(*number).map_err(|e| e.to_string())?;
        list.push(sys::Call { compat: kind == "compat", number, args });
    }
    Err(text(sys::under_filter(&filter, &list, 1)))
}

/// Adds a line to a file.
fn append(file: &str, line: &str) -> Ending {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).map_err(text)?;
    writeln!(file, "{line}").map(|()| 0).map_err(text)
}

fn list(directory: &str) -> Ending {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(text)? {
        names.push(entry.map_err(text)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        say(&name)?;
    }
    Ok(0)
}
