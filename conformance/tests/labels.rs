//! AppArmor profiles, SELinux labels, and the groups of the caller that an annotation keeps.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Profile, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];
const CURRENT: &[&str] = &["/bin/probe", "cat", "/proc/self/attr/current"];
const DENIED: &[&str] = &["/bin/probe", "write", "/tmp/denied", "x"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

fn a_program_is_confined_by_its_profile() -> Check {
    let s = sandbox()?;
    let profile = Profile::load(&s)?;
    for no_new_privileges in [true, false] {
        let config = Config::new(CURRENT)
            .set("/process/apparmorProfile", profile.name())
            .set("/process/noNewPrivileges", no_new_privileges)
            .set("/root/readonly", false);
        let bundle = s.bundle(&config)?;
        let output = s.runtime().run(bundle.path(), "c1")?.success()?;
        check_eq!(output.stdout.trim_end(), profile.label());
        let bundle = s.bundle(&config.clone().args(DENIED))?;
        let output = s.runtime().run(bundle.path(), "c2")?.exits(125)?;
        check!(output.stderr.contains("denied"), "{output}");
        let bundle = s.bundle(&config.args(DENIED).remove("/process/apparmorProfile"))?;
        s.runtime().run(bundle.path(), "c3")?.success()?;
    }
    Ok(())
}

fn a_further_process_is_confined_by_the_containers_profile_or_its_own() -> Check {
    let s = sandbox()?;
    let profile = Profile::load(&s)?;
    let rt = s.runtime();
    s.sleeper("with", &Config::new(REPORT).set("/process/apparmorProfile", profile.name()))?;
    s.sleeper("without", &Config::new(REPORT))?;
    let confined = profile.label();
    check_eq!(rt.exec("with", CURRENT)?.success()?.stdout.trim_end(), confined);
    check_eq!(rt.exec("without", CURRENT)?.success()?.stdout.trim_end(), "unconfined");
    let words = [&["exec", "--apparmor", profile.name(), "without"], CURRENT].concat();
    check_eq!(rt.call(&words)?.success()?.stdout.trim_end(), confined);
    let process = json!({ "args": CURRENT, "cwd": "/", "apparmorProfile": profile.name() });
    let file = s.make_file("process.json", &process.to_string())?;
    let words = ["exec", "--process", &file.to_string_lossy(), "without"];
    check_eq!(rt.call(&words)?.success()?.stdout.trim_end(), confined);
    Ok(())
}

fn a_profile_that_is_not_loaded_is_an_error() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT).set("/process/apparmorProfile", "oxrun-nope"))?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?.refused("apparmor failed to apply profile")?;
    check!(output.stderr.contains("no such file or directory"), "{output}");
    if s.runtime().is_oxrun() {
        check!(output.stderr.contains("`/proc/self/attr/apparmor/exec`"), "no path in backquotes: {output}");
    }
    before.assert_same()
}

fn a_profile_without_apparmor_is_refused() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT).set("/process/apparmorProfile", "p"))?;
    let before = s.leaks()?;
    let text = "apparmor: config provided but apparmor not supported";
    s.runtime().create(bundle.path(), "c1")?.refused(text)?;
    before.assert_same()
}

fn a_label_without_selinux_is_refused() -> Check {
    let s = sandbox()?;
    let label = "system_u:system_r:container_t:s0:c1,c2";
    let bundle = s.bundle(&Config::new(REPORT).set("/process/selinuxLabel", label))?;
    let before = s.leaks()?;
    let text = "selinux label is specified in config, but selinux is disabled or not supported";
    s.runtime().create(bundle.path(), "c1")?.refused(text)?;
    before.assert_same()
}

fn a_label_for_mounts_is_left_out_without_selinux() -> Check {
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let seen = sandbox()?.report(&Config::new(REPORT).set("/linux/mountLabel", label))?;
    check!(!seen["mounts"].to_string().contains("context"), "{}", seen["mounts"]);
    Ok(())
}

/// The groups of a program whose caller has two of its own.
fn groups(config: &Config) -> Check<Vec<u64>> {
    let mut s = sandbox()?;
    s.runtime_mut().wrap(&["setpriv", "--groups", "7,8"]);
    let mut groups: Vec<u64> = serde_json::from_value(s.report(config)?["groups"].clone())?;
    groups.sort_unstable();
    Ok(groups)
}

fn an_annotation_keeps_the_groups_of_the_caller() -> Check {
    let config = Config::new(REPORT).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    check_eq!(groups(&config)?, Vec::<u64>::new());
    let keep = json!({ "run.oci.keep_original_groups": "1" });
    check_eq!(groups(&config.set("/annotations", keep))?, [7, 8]);
    Ok(())
}

/// Whether a program of the host is there.
fn has(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join(program).exists())
}

fn main() -> ExitCode {
    let unless = |is: bool, reason: &'static str| move || (!is).then(|| reason.to_owned());
    macro_rules! with {
        ($condition:expr, $name:ident) => {
            conditional(stringify!($name), $condition, $name)
        };
    }
    run(vec![
        with!(Profile::missing, a_program_is_confined_by_its_profile),
        with!(Profile::missing, a_further_process_is_confined_by_the_containers_profile_or_its_own),
        with!(unless(Profile::apparmor(), "AppArmor is not on"), a_profile_that_is_not_loaded_is_an_error),
        with!(unless(!Profile::apparmor(), "AppArmor is on"), a_profile_without_apparmor_is_refused),
        with!(unless(!selinux(), "SELinux is on"), a_label_without_selinux_is_refused),
        with!(unless(!selinux(), "SELinux is on"), a_label_for_mounts_is_left_out_without_selinux),
        match has("setpriv") {
            true => oxrun_only(
                "an_annotation_keeps_the_groups_of_the_caller",
                "the annotation is crun's",
                an_annotation_keeps_the_groups_of_the_caller,
            ),
            false => with!(
                || Some("setpriv is not installed".to_owned()),
                an_annotation_keeps_the_groups_of_the_caller
            ),
        },
    ])
}
