//! `check`: it finds what would make a container fail, says it with the field, and changes nothing.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::diagnosis::{CASES, Case, End};
use oxrun_conformance::harness::{Bundle, Config, Sandbox, not_oxrun, oxrun_only, row, run};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn report(s: &Sandbox, bundle: &Path) -> Check<(i32, Value)> {
    let path = bundle.to_string_lossy();
    let output = s.runtime().call(&["check", "--format", "json", &path])?;
    check_eq!(output.stderr, "", "stderr of {}", output.call);
    Ok((output.code, output.json()?))
}

/// The findings with this field, as severity and text.
fn findings(report: &Value, field: &str) -> Vec<(String, String)> {
    let text = |f: &Value, key: &str| f[key].as_str().unwrap_or_default().to_owned();
    let all = report["findings"].as_array().into_iter().flatten();
    all.filter(|f| f["field"] == field)
        .map(|f| (text(f, "severity"), format!("{} {}", text(f, "message"), text(f, "hint"))))
        .collect()
}

/// Everything below a directory that could have changed: times of access do by looking.
fn tree(dir: &Path) -> Check<BTreeMap<PathBuf, String>> {
    let mut out = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                todo.push(entry?.path());
            }
        }
        let facts = [
            meta.ino(),
            u64::from(meta.mode()),
            meta.nlink(),
            u64::from(meta.uid()),
            meta.size(),
            meta.mtime().unsigned_abs(),
            meta.mtime_nsec().unsigned_abs(),
            meta.ctime().unsigned_abs(),
            meta.ctime_nsec().unsigned_abs(),
        ];
        out.insert(path, format!("{facts:?}"));
    }
    Ok(out)
}

/// Checks a bundle and fails if anything of it, of the mounts, cgroups or processes is not as before.
fn looked_at(s: &Sandbox, bundle: &Bundle) -> Check<(i32, Value)> {
    let (before, files, root) = (s.leaks()?, tree(bundle.path())?, s.runtime().root().exists());
    let told = report(s, bundle.path())?;
    before.assert_same()?;
    check_eq!(s.runtime().root().exists(), root, "the state root is there");
    check_eq!(tree(bundle.path())?, files, "the bundle changed");
    Ok(told)
}

/// Cases that only trying can show, and why.
const UNSEEN: [(&str, &str); 6] = [
    ("a_filesystem_has_no_id_mapped_mounts", "the kernel tells only who tries"),
    ("an_option_of_a_tmpfs_is_misspelt", "only the filesystem knows its options"),
    ("a_value_of_an_option_is_wrong", "only the filesystem knows its options"),
    ("a_hook_fails", "only running it shows that"),
    ("a_hook_takes_too_long", "only running it shows that"),
    ("the_memory_limit_is_too_small", "only running it shows that"),
];

fn found(case: &Case) -> Check {
    let s = sandbox()?;
    let (code, report) = looked_at(&s, &(case.make)(&s)?)?;
    if UNSEEN.iter().any(|(name, _)| *name == case.name) {
        check_eq!(code, 0, "{report:#}");
        return Ok(());
    }
    let expected = match case.end {
        End::Fails(_) => "error",
        End::Warns => "warning",
        End::Runs => "note",
    };
    check_eq!(code, i32::from(expected != "note"), "exit code of {report:#}");
    if case.pointer.is_empty() {
        check_eq!(report["findings"], json!([]), "{report:#}");
        return Ok(());
    }
    let found = findings(&report, case.pointer);
    let Some((severity, text)) = found.first() else {
        return Err(Failed::from(format!("nothing on {} in {report:#}", case.pointer)));
    };
    check_eq!(severity, expected, "{text}");
    for cause in case.cause.iter().filter(|cause| !case.runc.contains(cause)) {
        check!(text.contains(cause), "{text:?}\n  expected: {cause:?}");
    }
    Ok(())
}

fn a_bundle_without_fault_is_fine() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "report"]))?;
    let (code, report) = looked_at(&s, &bundle)?;
    check_eq!((code, &report["findings"]), (0, &json!([])), "{report:#}");
    let output = s.runtime().call(&["check", &bundle.path().to_string_lossy()])?.success()?;
    check!(output.stdout.ends_with("\n0 errors, 0 warnings, 0 notes\n"), "{output}");
    // What it found fine runs.
    s.runtime().run(bundle.path(), "c1")?.success()?;
    Ok(())
}

fn findings_are_shown_as_text_with_their_hints() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe"])
        .set("/linux/namespacez", json!([]))
        .mount("nopefs", Path::new("none"), "/tmp", &[])
        .mount("bind", Path::new("/no/such"), "/tmp", &["bind"]);
    let output =
        s.runtime().call(&["check", "-b", &s.bundle(&config)?.path().to_string_lossy()])?.exits(1)?;
    let lines: Vec<&str> = output.stdout.lines().skip(1).collect();
    check_eq!(
        lines,
        [
            "error: /mounts/7/type: filesystem \"nopefs\" is unknown to this kernel",
            "  hint: neither /proc/filesystems nor the modules of this kernel have it",
            "error: /mounts/8/source: stat /no/such: no such file or directory",
            "warning: /linux/namespacez: unknown field, did you mean `namespaces`?",
            "2 errors, 1 warning, 0 notes",
        ]
    );
    Ok(())
}

fn a_bundle_that_cannot_be_looked_at_is_no_finding() -> Check {
    let s = sandbox()?;
    let output = s.runtime().call(&["check", "/no/such/bundle"])?.exits(255)?;
    check!(output.says("bundle /no/such/bundle: no such file or directory"), "{output}");
    check_eq!(output.stdout, "", "{}", output.call);
    let bundle = s.bundle(&Config::new(&["/bin/probe"]))?;
    bundle.write("{")?;
    let (code, report) = report(&s, bundle.path())?;
    check_eq!(code, 1, "{report:#}");
    Ok(())
}

/// A bundle whose program is found through links and mounts, all of which point into the container.
fn links_are_followed_in_the_container_and_not_on_the_host() -> Check {
    let s = sandbox()?;
    let volume = s.make_dir("volume")?;
    fs::hard_link(s.probe(), volume.join("real"))?;
    std::os::unix::fs::symlink("/bin/inside", volume.join("absolute"))?;
    let config = Config::new(&["/up/link", "report"]).mount("bind", &volume, "/opt", &["rbind"]);
    let bundle = s.bundle(&config)?;
    let root = bundle.rootfs();
    for dir in ["opt", "up"] {
        fs::create_dir(root.join(dir))?;
    }
    // /up/link -> ../../../opt/absolute -> /bin/inside -> /opt/real: over the mount and back.
    std::os::unix::fs::symlink("../../../opt/absolute", root.join("up/link"))?;
    std::os::unix::fs::symlink("/opt/real", root.join("bin/inside"))?;
    let (code, told) = looked_at(&s, &bundle)?;
    check_eq!(code, 0, "{told:#}");
    s.runtime().run(bundle.path(), "c1")?.success()?;
    // The same without the mount: /opt/real is nowhere in the image, whatever the host has.
    let config = Config::new(&["/bin/inside"]);
    let bundle = s.bundle(&config)?;
    std::os::unix::fs::symlink(s.probe(), bundle.rootfs().join("bin/inside"))?;
    let (code, told) = looked_at(&s, &bundle)?;
    check_eq!(code, 1, "{told:#}");
    check_eq!(findings(&told, "/process/args/0").len(), 1, "{told:#}");
    Ok(())
}

fn a_program_below_a_new_filesystem_is_missing() -> Check {
    let s = sandbox()?;
    let config = Config::new(&["/bin/probe"]).mount("tmpfs", Path::new("tmpfs"), "/bin", &[]);
    let (code, told) = looked_at(&s, &s.bundle(&config)?)?;
    check_eq!(code, 1, "{told:#}");
    check!(findings(&told, "/process/args/0")[0].1.contains("no such file or directory"), "{told:#}");
    Ok(())
}

fn a_loop_of_links_ends() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/a"]))?;
    std::os::unix::fs::symlink("b", bundle.rootfs().join("bin/a"))?;
    std::os::unix::fs::symlink("/bin/a", bundle.rootfs().join("bin/b"))?;
    let (code, told) = looked_at(&s, &bundle)?;
    check_eq!(code, 1, "{told:#}");
    Ok(())
}

/// A FIFO or a device in the image is not opened: that could block, or do something.
fn a_fifo_as_program_does_not_block() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/fifo"]))?;
    let path = bundle.rootfs().join("bin/fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status()?;
    check!(made.success(), "mkfifo: {made}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let (code, told) = looked_at(&s, &bundle)?;
    check_eq!(code, 1, "{told:#}");
    check!(findings(&told, "/process/args/0")[0].1.contains("not a regular file"), "{told:#}");
    Ok(())
}

fn hooks_are_looked_for_where_they_run() -> Check {
    let s = sandbox()?;
    let host = s.make_script("hook", "true")?;
    let hook = |path: &Path| json!([{ "path": path }]);
    let config = Config::new(&["/bin/probe"])
        .set("/hooks/poststop", hook(&host))
        .set("/hooks/poststart", hook(Path::new("/bin/probe")))
        .set("/hooks/startContainer", hook(Path::new("/bin/probe")))
        .set("/hooks/createContainer", hook(&host));
    let (code, told) = looked_at(&s, &s.bundle(&config)?)?;
    check_eq!(code, 1, "{told:#}");
    let fields: Vec<&Value> =
        told["findings"].as_array().into_iter().flatten().map(|f| &f["field"]).collect();
    check_eq!(fields, ["/hooks/poststart/0/path"], "{told:#}");
    Ok(())
}

fn a_cgroup_that_is_in_use_is_found() -> Check {
    let s = sandbox()?;
    let config =
        Config::new(&["/bin/probe"]).set("/linux/cgroupsPath", format!("/{}used", s.cgroup_prefix()));
    s.sleeper("c1", &config)?;
    let (code, told) = report(&s, s.bundle(&config)?.path())?;
    check_eq!(code, 1, "{told:#}");
    let found = findings(&told, "/linux/cgroupsPath");
    check!(found.iter().any(|(_, text)| text.contains("cgroup is not empty")), "{told:#}");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), "others have no such command", $name)),*] };
    }
    let mut tests: Vec<Trial> = tests![
        a_bundle_without_fault_is_fine,
        findings_are_shown_as_text_with_their_hints,
        a_bundle_that_cannot_be_looked_at_is_no_finding,
        links_are_followed_in_the_container_and_not_on_the_host,
        a_program_below_a_new_filesystem_is_missing,
        a_loop_of_links_ends,
        a_fifo_as_program_does_not_block,
        hooks_are_looked_for_where_they_run,
        a_cgroup_that_is_in_use_is_found,
    ];
    for case in CASES {
        let reason =
            || not_oxrun("others have no such command").or_else(|| (case.missing)().map(str::to_owned));
        tests.push(row(&format!("finds: {}", case.name), reason, || found(case)));
    }
    run(tests)
}
