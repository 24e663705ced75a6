//! Places for mounts and for the working directory: /proc is kept for procfs, and what has to be made
//! is made inside.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn a_bind_inside_proc_is_refused() -> Check {
    for target in ["/proc/sys", "/proc/self/attr", "/proc/sys/kernel", "/proc/x/../sys"] {
        let s = sandbox()?;
        let source = s.make_dir("source")?;
        let config = Config::new(REPORT).mount("bind", &source, target, &["bind"]);
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        s.runtime().create(bundle.path(), "c1")?.refused("cannot be mounted because it is inside /proc")?;
        before.assert_same()?;
    }
    Ok(())
}

fn a_bind_of_an_ordinary_directory_over_proc_is_refused() -> Check {
    for kept in [true, false] {
        let s = sandbox()?;
        let source = s.make_dir("source")?;
        let config = Config::new(REPORT);
        let config = if kept { config } else { config.without_mount("/proc") };
        let config = config.remove("/linux/maskedPaths").remove("/linux/readonlyPaths").mount(
            "bind",
            &source,
            "/proc",
            &["bind"],
        );
        let bundle = s.bundle(&config)?;
        let before = s.leaks()?;
        s.runtime().create(bundle.path(), "c1")?.refused("not of type proc")?;
        before.assert_same()?;
    }
    Ok(())
}

fn a_file_over_one_of_procs_figures_is_taken() -> Check {
    let s = sandbox()?;
    let source = s.make_file("uptime", "1.00 2.00\n")?;
    let config =
        Config::new(&["/bin/probe", "cat", "/proc/uptime"]).mount("bind", &source, "/proc/uptime", &["bind"]);
    let bundle = s.bundle(&config)?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.stdout, "1.00 2.00\n");
    Ok(())
}

fn a_missing_working_directory_is_made_in_a_read_only_root() -> Check {
    let s = sandbox()?;
    let words = ["/bin/probe", "report", "--stat", "/new/below"];
    let config = Config::new(&words).set("/process/cwd", "/new/below").set("/root/readonly", true);
    let seen = s.report(&config)?;
    check_eq!(seen["cwd"], "/new/below");
    check_eq!(seen["stat"]["/new/below"]["readonly"], true);
    Ok(())
}

/// Binds a directory on `destination` of an image in which `link` leads to `target`, and returns
/// where the mount is and what the image then has below `made`.
fn bound_through(link: &str, target: &str, destination: &str, made: &str) -> Check<(String, bool)> {
    let s = sandbox()?;
    let source = s.make_dir("source")?;
    let config =
        Config::new(REPORT).set("/root/readonly", false).mount("bind", &source, destination, &["bind"]);
    let bundle = s.bundle(&config)?;
    symlink(target, bundle.rootfs().join(link))?;
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    let mounts = seen["mounts"].as_array().unwrap();
    let root = source.to_string_lossy().into_owned();
    let mount =
        mounts.iter().find(|mount| mount["root"].as_str().is_some_and(|r| root.ends_with(r) && r.len() > 1));
    check!(mount.is_some(), "nothing is bound: {}", Value::from(mounts.clone()));
    let place = mount.unwrap()["target"].as_str().unwrap().to_owned();
    let inside = bundle.rootfs().join(made);
    Ok((place, fs::symlink_metadata(inside).is_ok_and(|meta| meta.is_dir())))
}

fn a_destination_behind_a_dangling_link_is_made_inside() -> Check {
    for (target, destination, expected) in [
        ("made/here", "/link", "/made/here"),
        ("made/./here", "/link/below", "/made/here/below"),
        ("./made/here/.", "/link/below", "/made/here/below"),
        ("made/y/../z", "/link", "/made/z"),
        ("/made/y/../z", "/link/below", "/made/z/below"),
        ("nope/../../../made", "/link", "/made"),
        ("/nope/../../made/x", "/link/below", "/made/x/below"),
    ] {
        let made = expected.trim_start_matches('/');
        let found = bound_through("link", target, destination, made)?;
        check_eq!(found, (expected.to_owned(), true), "a bind on {destination}, the link leads to {target}");
    }
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        a_bind_inside_proc_is_refused,
        a_bind_of_an_ordinary_directory_over_proc_is_refused,
        a_file_over_one_of_procs_figures_is_taken,
        a_missing_working_directory_is_made_in_a_read_only_root,
        a_destination_behind_a_dangling_link_is_made_inside,
    ])
}
