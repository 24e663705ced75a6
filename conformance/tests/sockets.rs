//! What callers hand to a container beside its streams, and get from it: pidfds, sockets of a service manager, the word
//! that the program is ready.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Bundle, Config, Foreground, Runtime, Sandbox, run, test};
use oxrun_conformance::sys::{self, Inherited};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const REPORT: &[&str] = &["/bin/probe", "report"];
const SLEEP: &[&str] = &["/bin/probe", "sleep"];
const LIMIT: Duration = Duration::from_secs(60);

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn text(bundle: &Bundle) -> String {
    bundle.path().to_string_lossy().into_owned()
}

/// A socket on which a caller receives a pidfd.
struct Pidfds {
    listener: UnixListener,
    path: String,
}

impl Pidfds {
    fn new(s: &Sandbox) -> Check<Self> {
        let path = s.dir().join("pidfd.sock");
        let _ = fs::remove_file(&path);
        Ok(Self { listener: UnixListener::bind(&path)?, path: path.to_string_lossy().into_owned() })
    }

    /// The process that the descriptor stands for which came with one message.
    fn pid(&self) -> Check<i32> {
        check!(sys::readable(self.listener.as_fd(), LIMIT)?, "nobody connects");
        let (stream, _) = self.listener.accept()?;
        let (_, fds) = sys::receive(stream.as_fd())?;
        check_eq!(fds.len(), 1, "descriptors in the message");
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0].as_raw_fd()))?;
        let pid = info.lines().find_map(|line| line.strip_prefix("Pid:\t"));
        Ok(pid.ok_or_else(|| Failed::from(format!("no pidfd: {info}")))?.parse()?)
    }
}

fn create_and_run_send_a_pidfd() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    for (id, words) in [("c1", &["create"][..]), ("c2", &["run", "--detach"])] {
        let pidfds = Pidfds::new(&s)?;
        let bundle = s.bundle(&Config::new(SLEEP))?;
        let rest = ["--pidfd-socket", &pidfds.path, "--bundle", &text(&bundle), id];
        rt.call(&[words, &rest].concat())?.success()?;
        check_eq!(pidfds.pid()?, rt.pid(id)?, "process of the descriptor that {words:?} has sent");
    }
    Ok(())
}

fn a_foreground_run_sends_a_pidfd() -> Check {
    let s = sandbox()?;
    let pidfds = Pidfds::new(&s)?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let running =
        s.runtime().foreground(&["run", "--pidfd-socket", &pidfds.path, "--bundle", &text(&bundle), "c1"])?;
    check_eq!(pidfds.pid()?, s.runtime().pid("c1")?, "process of the descriptor");
    s.runtime().kill("c1", "TERM")?.success()?;
    check_eq!(running.finish()?.0, 0, "exit code");
    Ok(())
}

fn exec_sends_a_pidfd() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let pidfds = Pidfds::new(&s)?;
    let words = ["--pidfd-socket", &pidfds.path, "--pid-file", "pid", "c1", "/bin/probe", "sleep"];
    s.runtime().call(&[&["exec", "--detach"][..], &words].concat())?.success()?;
    let pid: i32 = fs::read_to_string(s.dir().join("pid"))?.parse()?;
    check_eq!(pidfds.pid()?, pid, "process of the descriptor of a detached exec");
    sys::kill(pid, libc::SIGTERM)?;
    s.runtime().wait_for(pid)?;
    let running = s.runtime().foreground(&[&["exec"][..], &words].concat())?;
    let pid = pidfds.pid()?;
    sys::kill(running.pid(), libc::SIGTERM)?;
    check_eq!(running.finish()?.0, 0, "exit code");
    // The program may say that it is there before the file does.
    let written: i32 = fs::read_to_string(s.dir().join("pid"))?.parse()?;
    check_eq!(pid, written, "process of the descriptor of exec");
    Ok(())
}

fn a_pidfd_socket_that_is_missing_is_refused_and_nothing_is_left() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    let before = s.leaks()?;
    for command in ["create", "run"] {
        let words = [command, "--pidfd-socket", "nobody.sock", "--bundle", &text(&bundle), "c1"];
        s.runtime().call(&words)?.refused("connect(nobody.sock): no such file or directory")?;
        before.assert_same()?;
    }
    Ok(())
}

/// What the program sees that is called with sockets in descriptors 3 and 4, which are said to be for `pid`.
fn activated(command: &[&str], pid: &str, options: &[&str]) -> Check<Value> {
    let mut s = sandbox()?;
    let _sockets = [3, 4, 5].map(|number| Inherited::open(Path::new("/dev/zero"), number).unwrap());
    let script = format!("LISTEN_PID={pid} LISTEN_FDS=2 LISTEN_FDNAMES=web:admin exec \"$@\"");
    s.runtime_mut().wrap(&["sh", "-c", &script, "sh"]);
    let bundle = s.bundle(&Config::new(REPORT))?;
    let (words, rest) = ([command, options].concat(), ["--bundle", &text(&bundle), "c1"]);
    let output = s.runtime().call(&[&words[..], &rest].concat())?.success()?;
    s.runtime_mut().wrap(&[]);
    if command != ["create"] {
        return output.json();
    }
    let pid = s.runtime().pid("c1")?;
    s.runtime().start("c1")?.success()?;
    s.runtime().wait_for(pid)?;
    Ok(serde_json::from_str(&fs::read_to_string(&output.stdout_file)?)?)
}

fn open(seen: &Value) -> Vec<&str> {
    seen["fds"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn variables<'a>(seen: &'a Value, start: &str) -> Vec<&'a str> {
    let all = seen["env"].as_array().unwrap().iter().filter_map(Value::as_str);
    all.filter(|entry| entry.starts_with(start)).collect()
}

fn sockets_of_a_service_manager_reach_the_program() -> Check {
    for command in ["run", "create"] {
        let seen = activated(&[command], "$$", &[])?;
        check_eq!(open(&seen), ["0", "1", "2", "3", "4"], "descriptors with {command}");
        check_eq!(
            variables(&seen, "LISTEN_"),
            ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=web:admin"],
            "variables with {command}"
        );
    }
    // Preserved ones come after them.
    let seen = activated(&["run"], "$$", &["--preserve-fds", "1"])?;
    check_eq!(open(&seen), ["0", "1", "2", "3", "4", "5"], "descriptors");
    Ok(())
}

fn sockets_for_another_process_stay_where_they_are() -> Check {
    let seen = activated(&["run"], "1", &[])?;
    check_eq!(open(&seen), ["0", "1", "2"], "descriptors");
    check_eq!(variables(&seen, "LISTEN_"), Vec::<&str>::new(), "variables");
    Ok(())
}

/// A service manager: what it was sent, message by message. It lets go of a barrier as soon as it has read it.
struct Manager {
    path: PathBuf,
    messages: mpsc::Receiver<String>,
}

impl Manager {
    fn new(s: &mut Sandbox) -> Check<Self> {
        let path = s.dir().join("manager.sock");
        let socket = UnixDatagram::bind(&path)?;
        let (sender, messages) = mpsc::channel();
        // Ends with the process, or when nobody listens to it any more.
        thread::spawn(move || {
            while let Ok((message, fds)) = sys::receive(socket.as_fd()) {
                let text = format!("{}+{}", String::from_utf8_lossy(&message), fds.len());
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        s.runtime_mut().env("NOTIFY_SOCKET", &path);
        Ok(Self { path, messages })
    }

    /// The next messages, each with the number of its descriptors.
    fn got(&self, expected: &[String]) -> Check {
        for expected in expected {
            let message = self.messages.recv_timeout(LIMIT)?;
            check_eq!(message.as_str(), expected, "message to the manager");
        }
        Ok(())
    }

    fn got_nothing(&self) -> Check {
        check_eq!(self.messages.try_recv().ok(), None, "message to the manager");
        Ok(())
    }
}

fn readiness(pid: i32) -> [String; 3] {
    ["READY=1\n+0".to_owned(), format!("MAINPID={pid}\n+0"), "BARRIER=1+1".to_owned()]
}

const READY: &[&str] = &["/bin/probe", "notify", "STATUS=up", "MAINPID=1", "READY=1"];

fn create(rt: &Runtime, bundle: &Bundle) -> Check {
    rt.create(bundle.path(), "c1")?.success().map(drop)
}

fn start_ends_when_the_program_says_that_it_is_ready() -> Check {
    let mut s = sandbox()?;
    let manager = Manager::new(&mut s)?;
    let bundle = s.bundle(&Config::new(READY))?;
    let rt = s.runtime();
    create(rt, &bundle)?;
    manager.got_nothing()?;
    let pid = rt.pid("c1")?;
    rt.start("c1")?.success()?;
    // Nothing else of what it said, and the pid that the runtime knows.
    manager.got(&readiness(pid))?;
    manager.got_nothing()?;
    rt.has_status("c1", "running")?;
    rt.call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn a_detached_run_ends_when_the_program_is_ready() -> Check {
    let mut s = sandbox()?;
    let manager = Manager::new(&mut s)?;
    let bundle = s.bundle(&Config::new(READY))?;
    s.runtime().call(&["run", "--detach", "--bundle", &text(&bundle), "c1"])?.success()?;
    manager.got(&readiness(s.runtime().pid("c1")?))
}

fn a_foreground_run_is_what_the_manager_watches() -> Check {
    let mut s = sandbox()?;
    let manager = Manager::new(&mut s)?;
    let bundle = s.bundle(&Config::new(READY))?;
    let running: Foreground = s.runtime().foreground(&["run", "--bundle", &text(&bundle), "c1"])?;
    manager.got(&readiness(running.pid()))?;
    sys::kill(running.pid(), libc::SIGTERM)?;
    check_eq!(running.finish()?.0, 0, "exit code");
    Ok(())
}

fn a_program_that_ends_unready_holds_start_up_no_longer() -> Check {
    let mut s = sandbox()?;
    let manager = Manager::new(&mut s)?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "echo", "READY=1"]))?;
    create(s.runtime(), &bundle)?;
    s.runtime().start("c1")?.success()?;
    manager.got_nothing()
}

fn the_program_finds_its_socket_read_only_and_further_processes_none() -> Check {
    let mut s = sandbox()?;
    let manager = Manager::new(&mut s)?;
    // For a user, too.
    let config = Config::new(READY).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = s.bundle(&config)?;
    create(s.runtime(), &bundle)?;
    s.runtime().start("c1")?.success()?;
    manager.got(&readiness(s.runtime().pid("c1")?))?;
    let words = ["/bin/probe", "report", "--stat", "/run/notify/notify.sock"];
    let seen = s.runtime().exec("c1", &words)?.success()?.json()?;
    check_eq!(variables(&seen, "NOTIFY_SOCKET"), Vec::<&str>::new(), "variables of a further process");
    let mounts = seen["mounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| mount["target"] == "/run/notify").unwrap();
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        check!(mount["options"].as_array().unwrap().contains(&json!(word)), "no {word}: {mount}");
    }
    check_eq!(seen["stat"]["/run/notify/notify.sock"]["uid"], 0, "owner of the socket");
    Ok(())
}

fn without_a_manager_there_is_no_socket() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().env("NOTIFY_SOCKET", "");
    let seen = s.report(&Config::new(REPORT))?;
    check_eq!(variables(&seen, "NOTIFY_SOCKET"), Vec::<&str>::new(), "variables");
    let mounts = seen["mounts"].as_array().unwrap();
    check!(!mounts.iter().any(|mount| mount["target"] == "/run/notify"), "it is mounted: {mounts:?}");
    Ok(())
}

fn a_manager_that_is_gone_leaves_the_container_created() -> Check {
    let mut s = sandbox()?;
    let manager = Manager::new(&mut s)?;
    let bundle = s.bundle(&Config::new(READY))?;
    create(s.runtime(), &bundle)?;
    fs::remove_file(&manager.path)?;
    s.runtime().start("c1")?.refused("NOTIFY_SOCKET: no such file or directory")?;
    s.runtime().has_status("c1", "created")
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        create_and_run_send_a_pidfd,
        a_foreground_run_sends_a_pidfd,
        exec_sends_a_pidfd,
        a_pidfd_socket_that_is_missing_is_refused_and_nothing_is_left,
        sockets_of_a_service_manager_reach_the_program,
        sockets_for_another_process_stay_where_they_are,
        start_ends_when_the_program_says_that_it_is_ready,
        a_detached_run_ends_when_the_program_is_ready,
        a_foreground_run_is_what_the_manager_watches,
        a_program_that_ends_unready_holds_start_up_no_longer,
        the_program_finds_its_socket_read_only_and_further_processes_none,
        without_a_manager_there_is_no_socket,
        a_manager_that_is_gone_leaves_the_container_created,
    ])
}
