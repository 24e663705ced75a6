//! What the program finds: identity, environment, privileges, limits, signals and descriptors.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, conditional, oxrun_only, run, test};
use oxrun_conformance::sys::Inherited;
use oxrun_conformance::{Check, check, check_eq};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn report(config: &Config) -> Check<Value> {
    sandbox()?.report(config)
}

/// The hexadecimal mask of capabilities given by number.
fn mask(numbers: &[u32]) -> String {
    format!("{:016x}", numbers.iter().fold(0u64, |mask, number| mask | 1 << number))
}

fn the_program_gets_its_arguments_unchanged() -> Check {
    let words = ["/bin/probe", "echo", "", "a b", "ä", "-x", "--", "$HOME"];
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&words))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.stdout, " a b ä -x -- $HOME\n");
    Ok(())
}

fn the_program_is_found_in_the_path_of_the_container() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["probe", "exit", "4"]);
    let env = json!(["PATH=/nowhere:/bin"]);
    let bundle = s.bundle(&config.clone().set("/process/env", env))?;
    s.runtime().run(bundle.path(), "c1")?.exits(4)?;
    let bundle = s.bundle(&config.set("/process/env", json!(["PATH=/nowhere"])))?;
    let output = s.runtime().run(bundle.path(), "c2")?;
    output.refused("executable file not found in $PATH")?;
    Ok(())
}

fn user_group_and_additional_groups() -> Check {
    let config = Config::new(REPORT)
        .set("/process/user", json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 77] }));
    let seen = report(&config)?;
    check_eq!(seen["uids"], json!([1000, 1000, 1000]));
    check_eq!(seen["gids"], json!([1001, 1001, 1001]));
    let mut groups: Vec<u64> = serde_json::from_value(seen["groups"].clone())?;
    groups.sort_unstable();
    check_eq!(groups, [5, 77]);
    Ok(())
}

fn the_groups_of_the_caller_are_dropped() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["setpriv", "--groups", "7,8"]);
    check_eq!(s.report(&Config::new(REPORT))?["groups"], json!([]));
    Ok(())
}

fn the_umask_defaults_to_0022() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
    check_eq!(s.report(&Config::new(REPORT))?["umask"], 0o022);
    Ok(())
}

fn the_umask_is_as_configured() -> Check {
    check_eq!(report(&Config::new(REPORT).set("/process/user/umask", 0o137))?["umask"], 0o137);
    Ok(())
}

fn the_working_directory_is_as_configured() -> Check {
    let seen = report(&Config::new(REPORT).set("/process/cwd", "/home/user"))?;
    check_eq!(seen["cwd"], "/home/user");
    Ok(())
}

fn a_working_directory_that_only_the_user_may_enter() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT)
        .set("/process/cwd", "/home/user")
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = s.bundle(&config)?;
    let home = bundle.rootfs().join("home/user");
    std::os::unix::fs::chown(&home, Some(1000), Some(1000))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.json()?["cwd"], "/home/user");
    Ok(())
}

fn a_working_directory_that_only_root_may_enter() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT)
        .set("/process/cwd", "/root")
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = s.bundle(&config)?;
    fs::set_permissions(bundle.rootfs().join("root"), fs::Permissions::from_mode(0o700))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.json()?["cwd"], "/root");
    Ok(())
}

fn a_missing_working_directory_is_made() -> Check {
    let config = Config::new(REPORT).set("/process/cwd", "/a/b").set("/root/readonly", false);
    check_eq!(report(&config)?["cwd"], "/a/b");
    Ok(())
}

fn the_environment_keeps_its_order() -> Check {
    let env = json!(["Z=1", "PATH=/bin", "A=2", "HOME=/h", "EMPTY=", "E=a=b", "NL=a\nb"]);
    check_eq!(report(&Config::new(REPORT).set("/process/env", env.clone()))?["env"], env);
    Ok(())
}

fn nothing_of_the_callers_environment_gets_in() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().env("OXRUN_TEST_SECRET", "x");
    s.runtime_mut().env("LISTEN_PID", "1");
    let seen = s.report(&Config::new(REPORT).set("/process/env", json!(["HOME=/"])))?;
    check_eq!(seen["env"], json!(["HOME=/"]));
    Ok(())
}

fn home_comes_from_the_containers_passwd() -> Check {
    for (uid, home) in [(0, "HOME=/root"), (1000, "HOME=/home/user"), (4242, "HOME=/")] {
        let user = json!({ "uid": uid, "gid": 0 });
        let config = Config::new(REPORT).set("/process/user", user);
        let seen = report(&config.set("/process/env", json!(["A=b"])))?;
        let env = seen["env"].as_array().unwrap();
        check!(env.contains(&json!(home)), "HOME of user {uid} is wrong: {env:?}");
    }
    Ok(())
}

fn an_empty_home_is_filled_in() -> Check {
    let seen = report(&Config::new(REPORT).set("/process/env", json!(["HOME="])))?;
    check_eq!(seen["env"], json!(["HOME=/root"]));
    Ok(())
}

fn the_last_of_two_equal_names_wins() -> Check {
    let env = json!(["HOME=/", "A=1", "B=2", "A=3"]);
    let seen = report(&Config::new(REPORT).set("/process/env", env))?;
    let env: Vec<&str> = seen["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let of_a: Vec<_> = env.iter().filter(|entry| entry.starts_with("A=")).collect();
    check_eq!(of_a, [&"A=3"], "entries of A in {env:?}");
    Ok(())
}

fn capability_sets_are_exactly_as_configured() -> Check {
    // CHOWN 0, KILL 5, NET_BIND_SERVICE 10, NET_RAW 13, AUDIT_WRITE 29.
    let config = Config::new(REPORT).set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
            "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "effective": ["CAP_KILL", "CAP_NET_BIND_SERVICE"],
            "inheritable": ["CAP_NET_BIND_SERVICE"],
            "ambient": ["CAP_NET_BIND_SERVICE"],
        }),
    );
    let caps = &report(&config.set("/process/user", json!({ "uid": 1000, "gid": 1000 })))?;
    let caps = &caps["capabilities"];
    check_eq!(caps["bounding"], mask(&[0, 5, 10, 13]));
    check_eq!(caps["inheritable"], mask(&[10]));
    check_eq!(caps["ambient"], mask(&[10]));
    // The execve of a user who is not root leaves what is ambient.
    check_eq!(caps["permitted"], mask(&[10]));
    check_eq!(caps["effective"], mask(&[10]));
    Ok(())
}

fn root_gets_the_bounding_set() -> Check {
    let caps = &report(&Config::new(REPORT))?["capabilities"];
    for set in ["bounding", "permitted", "effective"] {
        check_eq!(caps[set], mask(&[5, 10, 29]), "{set}");
    }
    check_eq!(caps["inheritable"], mask(&[]), "inheritable");
    check_eq!(caps["ambient"], mask(&[]), "ambient");
    Ok(())
}

fn capability_sets_left_out_are_empty() -> Check {
    let caps = &report(&Config::new(REPORT).set("/process/capabilities", json!({})))?["capabilities"];
    for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
        check_eq!(caps[set], mask(&[]), "{set}");
    }
    Ok(())
}

fn an_unknown_capability_is_a_warning() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT).push("/process/capabilities/bounding", "CAP_NOPE"))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.json()?["capabilities"]["bounding"], mask(&[5, 10, 29]));
    check!(output.stderr.contains("CAP_NOPE"), "stderr does not name it: {}", output.stderr);
    check_eq!(output.stderr.lines().count(), 1, "lines on stderr");
    Ok(())
}

fn no_new_privileges_is_as_configured() -> Check {
    for wanted in [true, false] {
        let seen = report(&Config::new(REPORT).set("/process/noNewPrivileges", wanted))?;
        check_eq!(seen["no_new_privs"], wanted);
    }
    Ok(())
}

fn the_oom_score_is_as_configured() -> Check {
    check_eq!(report(&Config::new(REPORT).set("/process/oomScoreAdj", 321))?["oom_score_adj"], 321);
    Ok(())
}

fn the_oom_score_of_the_caller_stays_unless_configured() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["choom", "-n", "77", "--"]);
    check_eq!(s.report(&Config::new(REPORT))?["oom_score_adj"], 77);
    Ok(())
}

fn profile(syscall: &str, errno: i32) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            { "names": [syscall], "action": "SCMP_ACT_ERRNO", "errnoRet": errno },
        ],
    })
}

fn a_seccomp_profile_answers_with_its_errno() -> Check {
    for no_new_privileges in [true, false] {
        let config = Config::new(&["/bin/probe", "report", "--call", "sync", "--call", "getpid"])
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/linux/seccomp", profile("sync", libc::ENOTTY));
        let seen = report(&config)?;
        check_eq!(seen["seccomp"], 2, "mode with noNewPrivileges {no_new_privileges}");
        check_eq!(seen["call"]["sync"], libc::ENOTTY, "the call that the profile denies");
        check_eq!(seen["call"]["getpid"], "ok", "a call that it allows");
    }
    Ok(())
}

fn a_seccomp_profile_may_deny_getcwd() -> Check {
    let config = Config::new(&["/bin/probe", "report", "--call", "getcwd"])
        .set("/linux/seccomp", profile("getcwd", libc::ENOTTY));
    check_eq!(report(&config)?["call"]["getcwd"], libc::ENOTTY);
    Ok(())
}

fn without_a_seccomp_profile_there_is_no_filter() -> Check {
    check_eq!(report(&Config::new(REPORT))?["seccomp"], 0);
    Ok(())
}

/// Ignored, blocked and caught signals of a program whose caller ignores some.
fn signals_of_a_program() -> Check<[u64; 3]> {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["sh", "-c", "trap '' PIPE HUP USR1; exec \"$@\"", "sh"]);
    let seen = s.report(&Config::new(REPORT))?;
    let mut sets = [0; 3];
    for (set, name) in sets.iter_mut().zip(["ignored", "blocked", "caught"]) {
        *set = u64::from_str_radix(seen["signals"][name].as_str().unwrap_or("none"), 16)?;
    }
    Ok(sets)
}

fn signals_ignored_by_the_caller_are_reset() -> Check {
    check_eq!(signals_of_a_program()?.map(|set| set & 0x7fff_ffff), [0, 0, 0]);
    Ok(())
}

/// The C library of the caller leaves signal 32 ignored in what it spawns.
fn real_time_signals_are_reset_as_well() -> Check {
    check_eq!(signals_of_a_program()?, [0, 0, 0]);
    Ok(())
}

fn stray_descriptors_are_closed() -> Check {
    let s = sandbox()?;
    let _leaked = [3, 4, 17, 100].map(|number| Inherited::open(Path::new("/dev/zero"), number).unwrap());
    let seen = s.report(&Config::new(REPORT))?;
    let open: Vec<&String> = seen["fds"].as_object().unwrap().keys().collect();
    check_eq!(open, ["0", "1", "2"]);
    Ok(())
}

fn preserved_descriptors_reach_the_program() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    let _kept = [3, 4].map(|number| Inherited::open(Path::new("/dev/zero"), number).unwrap());
    let _leaked = Inherited::open(Path::new("/dev/null"), 5)?;
    let path: &OsStr = bundle.path().as_ref();
    let words = ["run".as_ref(), "--preserve-fds".as_ref(), "2".as_ref(), "--bundle".as_ref(), path];
    let output = s.runtime().call(&[&words[..], &["c1".as_ref()]].concat())?.success()?;
    let seen = output.json()?;
    let open: Vec<&String> = seen["fds"].as_object().unwrap().keys().collect();
    check_eq!(open, ["0", "1", "2", "3", "4"]);
    check_eq!(seen["fds"]["3"], "/dev/zero");
    check_eq!(seen["fds"]["4"], "/dev/zero");
    Ok(())
}

fn a_preserved_descriptor_that_is_not_open_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    let before = s.leaks()?;
    let path = bundle.path().to_string_lossy();
    // A high count: nobody has them all.
    let words = ["run", "--preserve-fds", "500", "--bundle", path.as_ref(), "c1"];
    s.runtime().call(&words)?.refused("unable to stat preserved-fd")?;
    before.assert_same()
}

fn the_program_leads_a_session_of_its_own() -> Check {
    let seen = report(&Config::new(REPORT))?;
    check_eq!((&seen["pid"], &seen["sid"], &seen["ppid"]), (&json!(1), &json!(1), &json!(0)));
    Ok(())
}

fn the_session_keyring_is_new() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT);
    let first = s.report(&config)?["keyring"].clone();
    check!(first.is_i64(), "there is no keyring: {first}");
    check!(s.report(&config)?["keyring"] != first, "two containers share keyring {first}");
    Ok(())
}

fn the_personality_is_as_configured() -> Check {
    const PER_LINUX32: i32 = 8;
    let config = Config::new(REPORT).set("/linux/personality", json!({ "domain": "LINUX32" }));
    check_eq!(report(&config)?["personality"], PER_LINUX32);
    check_eq!(report(&Config::new(REPORT))?["personality"], 0);
    Ok(())
}

fn the_personality_of_the_caller_is_replaced_if_asked_for() -> Check {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["setarch", "linux32"]);
    let config = Config::new(REPORT).set("/linux/personality", json!({ "domain": "LINUX" }));
    check_eq!(s.report(&config)?["personality"], 0);
    Ok(())
}

fn flags_of_a_personality_are_a_warning() -> Check {
    let s = sandbox()?;
    let personality = json!({ "domain": "LINUX32", "flags": ["ADDR_NO_RANDOMIZE"] });
    let bundle = s.bundle(&Config::new(REPORT).set("/linux/personality", personality))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    for word in ["/linux/personality/flags", "ADDR_NO_RANDOMIZE"] {
        check!(output.says(word), "{output}\n  expected on stderr: {word:?}");
    }
    check_eq!(output.json()?["personality"], 8);
    Ok(())
}

fn the_affinity_of_the_caller_is_reset() -> Check {
    let mut s = sandbox()?;
    let all = s.report(&Config::new(REPORT))?["cpus"].clone();
    s.runtime_mut().wrap(&["taskset", "-c", "0"]);
    check_eq!(s.report(&Config::new(REPORT))?["cpus"], all);
    Ok(())
}

/// A program of the host that a test calls the runtime through.
fn needs(program: &'static str) -> impl FnOnce() -> Option<String> + Send {
    move || {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|directory| directory.join(program).exists());
        (!found).then(|| format!("{program} is not installed"))
    }
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        the_program_gets_its_arguments_unchanged,
        the_program_is_found_in_the_path_of_the_container,
        user_group_and_additional_groups,
        the_umask_defaults_to_0022,
        the_umask_is_as_configured,
        the_working_directory_is_as_configured,
        a_working_directory_that_only_the_user_may_enter,
        a_working_directory_that_only_root_may_enter,
        a_missing_working_directory_is_made,
        the_environment_keeps_its_order,
        nothing_of_the_callers_environment_gets_in,
        home_comes_from_the_containers_passwd,
        an_empty_home_is_filled_in,
        the_last_of_two_equal_names_wins,
        capability_sets_are_exactly_as_configured,
        root_gets_the_bounding_set,
        capability_sets_left_out_are_empty,
        an_unknown_capability_is_a_warning,
        no_new_privileges_is_as_configured,
        the_oom_score_is_as_configured,
        a_seccomp_profile_answers_with_its_errno,
        without_a_seccomp_profile_there_is_no_filter,
        signals_ignored_by_the_caller_are_reset,
        stray_descriptors_are_closed,
        preserved_descriptors_reach_the_program,
        a_preserved_descriptor_that_is_not_open_is_refused,
        the_program_leads_a_session_of_its_own,
        the_session_keyring_is_new,
    ];
    tests.extend([
        conditional(
            "the_groups_of_the_caller_are_dropped",
            needs("setpriv"),
            the_groups_of_the_caller_are_dropped,
        ),
        conditional(
            "the_oom_score_of_the_caller_stays_unless_configured",
            needs("choom"),
            the_oom_score_of_the_caller_stays_unless_configured,
        ),
        conditional(
            "the_affinity_of_the_caller_is_reset",
            needs("taskset"),
            the_affinity_of_the_caller_is_reset,
        ),
        oxrun_only(
            "a_seccomp_profile_may_deny_getcwd",
            "runc calls getcwd after it has loaded the filter",
            a_seccomp_profile_may_deny_getcwd,
        ),
        oxrun_only(
            "real_time_signals_are_reset_as_well",
            "runc cannot reset the signals that the C library keeps for itself",
            real_time_signals_are_reset_as_well,
        ),
        test("the_personality_is_as_configured", the_personality_is_as_configured),
        conditional(
            "the_personality_of_the_caller_is_replaced_if_asked_for",
            needs("setarch"),
            the_personality_of_the_caller_is_replaced_if_asked_for,
        ),
        oxrun_only(
            "flags_of_a_personality_are_a_warning",
            "others do not look at them",
            flags_of_a_personality_are_a_warning,
        ),
    ]);
    run(tests)
}
