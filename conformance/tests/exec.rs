//! A further process in a container: which states allow it, and what it gets from whom.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, run, test};
use oxrun_conformance::sys::Inherited;
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// The hexadecimal mask of capabilities given by number.
fn mask(numbers: &[u32]) -> String {
    format!("{:016x}", numbers.iter().fold(0u64, |mask, number| mask | 1 << number))
}

fn exec_into_an_unknown_container_exits_with_255() -> Check {
    let s = sandbox()?;
    let output = s.runtime().exec("nope", &["/bin/probe"])?.exits(255)?;
    check!(output.stderr.contains("container does not exist"), "{output}");
    Ok(())
}

fn exec_runs_in_the_container() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    s.sleeper("c1", &Config::new(SLEEP))?;
    let report = rt.exec("c1", &["/bin/probe", "report"])?.success()?.json()?;
    check_eq!(report["hostname"], "oxrun-test");
    check!(report["pid"].as_u64() != Some(1), "exec's process is pid 1");
    rt.exec("c1", &["/bin/probe", "exit", "9"])?.exits(9)?;
    rt.exec("c1", &["probe", "exit", "4"])?.exits(4)?;
    Ok(())
}

fn exec_of_a_missing_program_exits_with_255() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let output = s.runtime().exec("c1", &["/bin/nope"])?.exits(255)?;
    check!(output.stderr.contains("no such file or directory"), "{output}");
    let output = s.runtime().exec("c1", &["nope"])?.exits(255)?;
    check!(output.stderr.contains("executable file not found in $PATH"), "{output}");
    Ok(())
}

fn exec_into_a_stopped_container_is_refused() -> Check {
    let s = sandbox()?;
    let rt = s.runtime();
    let pid = s.sleeper("c1", &Config::new(SLEEP))?;
    rt.kill("c1", "KILL")?.success()?;
    rt.wait_for(pid)?;
    let output = rt.exec("c1", &["/bin/probe"])?.exits(255)?;
    check!(output.stderr.contains("cannot exec in a stopped container"), "{output}");
    Ok(())
}

fn exec_between_create_and_start_works() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(SLEEP))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    s.runtime().exec("c1", &["/bin/probe", "exit", "7"])?.exits(7)?;
    s.runtime().has_status("c1", "created")
}

fn stray_descriptors_are_closed_in_exec() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let _leaked = [3, 17].map(|number| Inherited::open(Path::new("/dev/zero"), number).unwrap());
    let seen = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    let open: Vec<&String> = seen["fds"].as_object().unwrap().keys().collect();
    check_eq!(open, ["0", "1", "2"]);
    Ok(())
}

fn exec_takes_user_environment_and_directory_from_options() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let words = [
        "exec",
        "--user",
        "1000:7",
        "--additional-gids",
        "9",
        "--env",
        "A=b",
        "--cwd",
        "/home/user",
        "c1",
        "/bin/probe",
        "report",
    ];
    let seen = s.runtime().call(&words)?.success()?.json()?;
    check_eq!(seen["uid"], 1000);
    check_eq!(seen["gid"], 7);
    let mut groups = seen["groups"].as_array().unwrap().clone();
    groups.dedup();
    check_eq!(groups, [json!(9)]);
    check_eq!(seen["cwd"], "/home/user");
    check!(seen["env"].as_array().unwrap().contains(&json!("A=b")), "env is {}", seen["env"]);
    Ok(())
}

fn exec_takes_its_process_from_a_file() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let process = Config::new(REPORT)
        .set("/process/env", json!(["ONLY=this", "HOME=/h"]))
        .set("/process/user", json!({ "uid": 3, "gid": 4 }))
        .set("/process/oomScoreAdj", 55);
    let file = s.make_file("process.json", &process.get("/process").to_string())?;
    let file = file.to_string_lossy();
    let seen = s.runtime().call(&["exec", "--process", &file, "c1"])?.success()?.json()?;
    check_eq!(seen["env"], json!(["ONLY=this", "HOME=/h"]));
    check_eq!((&seen["uid"], &seen["gid"]), (&json!(3), &json!(4)));
    check_eq!(seen["oom_score_adj"], 55);
    Ok(())
}

fn exec_takes_the_umask_from_a_file() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let process = Config::new(REPORT).set("/process/user/umask", 0o27);
    let file = s.make_file("process.json", &process.get("/process").to_string())?;
    let words = ["exec", "--process", &file.to_string_lossy(), "c1"];
    check_eq!(s.runtime().call(&words)?.success()?.json()?["umask"], 0o27);
    Ok(())
}

fn exec_with_a_capability_does_not_make_it_inheritable() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(REPORT))?;
    let words = ["exec", "--cap", "CAP_NET_RAW", "c1", "/bin/probe", "report"];
    let caps = &s.runtime().call(&words)?.success()?.json()?["capabilities"];
    for set in ["bounding", "effective", "permitted"] {
        check_eq!(caps[set], mask(&[5, 10, 13, 29]), "{set}");
    }
    check_eq!(caps["inheritable"], mask(&[]), "inheritable");
    check_eq!(caps["ambient"], mask(&[]), "ambient");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        exec_into_an_unknown_container_exits_with_255,
        exec_runs_in_the_container,
        exec_of_a_missing_program_exits_with_255,
        exec_into_a_stopped_container_is_refused,
        exec_between_create_and_start_works,
        stray_descriptors_are_closed_in_exec,
        exec_takes_user_environment_and_directory_from_options,
        exec_takes_its_process_from_a_file,
        exec_takes_the_umask_from_a_file,
        exec_with_a_capability_does_not_make_it_inheritable,
    ])
}
