//! Options of `exec`, in every form that callers send: each has its effect.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Output, Sandbox, oxrun_only, run, test};
use oxrun_conformance::sys::{self, Inherited};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];
const SLEEP: &[&str] = &["/bin/probe", "sleep"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn read(s: &Sandbox, name: &str) -> Check<String> {
    Ok(fs::read_to_string(s.dir().join(name))?)
}

fn exec(s: &Sandbox, options: &[&str], rest: &[&str]) -> Check<Output> {
    s.runtime().call(&[&["exec"], options, &["c1"], rest].concat())
}

/// What a further process sees of itself.
fn seen(s: &Sandbox, options: &[&str]) -> Check<Value> {
    exec(s, options, REPORT)?.success()?.json()
}

fn exec_leaves_everything_behind_the_id_to_the_program() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let echo = ["/bin/probe", "echo", "-d", "--tty", "--env", "A=b", "--", "-x"];
    check_eq!(exec(&s, &[], &echo)?.success()?.stdout, "-d --tty --env A=b -- -x\n", "words");
    // Two dashes right behind the id are for us.
    let echo = ["--", "/bin/probe", "echo", "--", "x"];
    check_eq!(exec(&s, &[], &echo)?.success()?.stdout, "-- x\n", "words");
    Ok(())
}

fn exec_takes_its_options_in_every_form() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    for options in [
        &["--user", "1000:7", "--env", "A=b", "--env", "C=d=e", "--cwd", "/tmp", "--additional-gids", "9"][..],
        &["-u", "1000:7", "-e", "A=b", "-e", "C=d=e", "-cwd", "/tmp", "-g", "9"],
        &["--user=1000:7", "--env=A=b", "--env=C=d=e", "--cwd=/tmp", "--additional-gids=9"],
        &["--user", "3", "--user=1000:7", "-e=A=x", "-e=A=b", "--env=C=d=e", "--cwd=/", "--cwd=/tmp", "-g=9"],
    ] {
        let seen = seen(&s, options)?;
        check_eq!((&seen["uid"], &seen["gid"]), (&json!(1000), &json!(7)), "user with {options:?}");
        check_eq!(seen["groups"], json!([9]), "groups with {options:?}");
        check_eq!(seen["cwd"], "/tmp", "directory with {options:?}");
        let env = seen["env"].as_array().unwrap();
        let set: Vec<&str> =
            env.iter().filter_map(Value::as_str).filter(|e| e.starts_with(['A', 'C'])).collect();
        check_eq!(set, ["A=b", "C=d=e"], "variables with {options:?}");
    }
    let many = seen(&s, &["-g", "9", "-g", "10", "--user", "1000"])?;
    check_eq!((&many["groups"], &many["gid"]), (&json!([9, 10]), &json!(0)), "groups");
    for wrong in ["", "root", "1:", "1:x", "-1", "0x1", "4294967295", "1:2:3"] {
        let refused = exec(&s, &[&format!("--user={wrong}")], REPORT)?;
        // An empty value is none.
        check_eq!(refused.code, if wrong.is_empty() { 0 } else { 255 }, "exit code of {refused}");
    }
    Ok(())
}

fn exec_adds_capabilities_and_takes_privileges() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT).set("/process/noNewPrivileges", false))?;
    let mask = |bits: &[u32]| format!("{:016x}", bits.iter().fold(0u64, |m, bit| m | 1 << bit));
    for options in
        [&["-c", "CAP_NET_RAW", "-c", "CAP_CHOWN"][..], &["--cap=CAP_NET_RAW", "--cap", "CAP_CHOWN"]]
    {
        let caps = &seen(&s, options)?["capabilities"];
        check_eq!(caps["effective"], mask(&[0, 5, 10, 13, 29]), "effective with {options:?}");
        check_eq!(caps["inheritable"], mask(&[]), "inheritable with {options:?}");
    }
    check_eq!(seen(&s, &[])?["no_new_privs"], false, "without --no-new-privs");
    check_eq!(seen(&s, &["--no-new-privs"])?["no_new_privs"], true, "with --no-new-privs");
    check_eq!(seen(&s, &["--no-new-privs=false"])?["no_new_privs"], false, "with --no-new-privs=false");
    Ok(())
}

fn exec_takes_its_process_from_a_descriptor_and_ignores_the_rest() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let process = Config::new(REPORT).set("/process/env", json!(["ONLY=this"]));
    let file = s.make_file("process.json", &process.get("/process").to_string())?;
    let _open = Inherited::open(&file, 9)?;
    for name in ["/dev/fd/9", "process.json"] {
        let words = ["exec", "-p", name, "--env", "A=b", "--user", "1000", "c1", "/bin/probe", "exit", "3"];
        let seen = s.runtime().call(&words)?.success()?.json()?;
        check_eq!(seen["env"], json!(["ONLY=this", "HOME=/root"]), "environment with {name}");
        check_eq!(seen["uid"], 0, "user with {name}");
    }
    s.runtime().call(&["exec", "-p", "nowhere.json", "c1"])?.exits(255)?;
    Ok(())
}

fn exec_preserves_descriptors_and_writes_a_pid_file() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let _open = [3, 4].map(|number| Inherited::open(Path::new("/dev/zero"), number).unwrap());
    let seen = seen(&s, &["--preserve-fds", "1", "--pid-file", "pid"])?;
    check_eq!(
        seen["fds"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["0", "1", "2", "3"],
        "descriptors"
    );
    check!(read(&s, "pid")?.parse::<u32>().is_ok(), "the pid file of a foreground exec");
    for flag in ["-d", "--detach"] {
        exec(&s, &[flag, "--pid-file=pid"], SLEEP)?.success()?;
        let pid: i32 = read(&s, "pid")?.parse()?;
        check!(Host::children()?.contains(&pid), "{pid} is no child of ours");
        sys::kill(pid, libc::SIGTERM)?;
        s.runtime().wait_for(pid)?;
    }
    let output = exec(&s, &["--detach", "--pid-file", "no/dir/pid"], SLEEP)?.exits(255)?;
    check!(output.says("no such file or directory"), "{output}");
    Ok(())
}

fn exec_without_a_program_or_with_a_console_nobody_gets_is_refused() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let says = |options: &[&str], rest: &[&str], text: &str| -> Check {
        let output = exec(&s, options, rest)?.exits(255)?;
        check!(output.says(text), "{output}\n  does not say {text:?}");
        check_eq!(output.stderr.lines().count(), 1, "lines of {output}");
        Ok(())
    };
    let unknown = s.runtime().call(&["exec", "nope", "/bin/probe"])?.exits(255)?;
    check!(unknown.says("exec failed: container does not exist"), "{unknown}");
    says(&[], &[], "exec args cannot be empty")?;
    says(&["-d", "-t"], REPORT, "cannot allocate tty if oxrun will detach without setting console socket")?;
    let text = "cannot use console socket if oxrun will not detach or allocate tty";
    says(&["--console-socket", "s"], REPORT, text)?;
    says(&["--console-socket", "s", "-d"], REPORT, text)?;
    says(
        &["--cwd", "/nope"],
        REPORT,
        "chdir to cwd (\"/nope\") set in config.json failed: no such file or directory",
    )?;
    says(&[], &["nope"], "exec: \"nope\": executable file not found in $PATH")?;
    says(&[], &["/nope"], "exec: \"/nope\": stat /nope: no such file or directory")?;
    says(&[], &["/etc"], "exec: \"/etc\": ")?;
    says(&["--apparmor", "nope"], REPORT, "apparmor")?;
    says(&["--process-label", "a:b:c:d"], REPORT, "selinux")
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($make:expr, $($name:ident),* $(,)?) => { vec![$($make(stringify!($name), $name)),*] };
    }
    let own =
        |name: &str, body: fn() -> Check| oxrun_only(name, "older versions of runc lack some of it", body);
    let mut tests = tests![
        test,
        exec_leaves_everything_behind_the_id_to_the_program,
        exec_preserves_descriptors_and_writes_a_pid_file,
    ];
    tests.extend(tests![
        own,
        exec_takes_its_options_in_every_form,
        exec_adds_capabilities_and_takes_privileges,
        exec_takes_its_process_from_a_descriptor_and_ignores_the_rest,
        exec_without_a_program_or_with_a_console_nobody_gets_is_refused,
    ]);
    run(tests)
}
