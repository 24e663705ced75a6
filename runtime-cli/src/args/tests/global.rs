//! Options before the command, and the state root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::super::root::{RootFacts, StateRoot, default_root};
use super::*;
use crate::log::{Format, Level};

fn global(line: &str) -> Global {
    let invocation = parse_line(&format!("{line} state c")).unwrap();
    assert_eq!(invocation.command, Command::State(Id { id: "c".to_owned() }), "{line}");
    invocation.global
}

#[test]
fn the_mixtures_of_root_and_log_options_that_engines_send_are_understood() {
    let logged = Global { log: Some("F".into()), log_format: Format::Json, ..Global::default() };
    let rooted = Global { root: Some("D".into()), ..logged.clone() };
    assert_eq!(global(""), Global::default());
    assert_eq!(global("--root D --log F --log-format json"), rooted);
    assert_eq!(global("-root D -log=F -log-format json"), rooted);
    assert_eq!(global("--log-format=json --log F"), logged);
    assert_eq!(global("--log F --log-format json"), logged);
    assert_eq!(global("--root=X --root=D").root, Some(PathBuf::from("D")));
    assert_eq!(global("--log-format text --"), Global::default());
}

#[test]
fn the_driver_of_cgroups_is_what_was_said_last() {
    let manager = |line| global(line).cgroup_manager;
    assert_eq!(manager(""), CgroupManager::Cgroupfs);
    assert_eq!(manager("--systemd-cgroup --systemd-cgroup"), CgroupManager::Systemd);
    assert_eq!(manager("--systemd-cgroup=false"), CgroupManager::Cgroupfs);
    assert_eq!(manager("--cgroup-manager disabled"), CgroupManager::Disabled);
    assert_eq!(manager("--cgroup-manager=systemd"), CgroupManager::Systemd);
    assert_eq!(manager("--systemd-cgroup --cgroup-manager cgroupfs"), CgroupManager::Cgroupfs);
}

#[test]
fn rootless_takes_auto_and_all_booleans_of_go() {
    assert_eq!(global("").rootless, None);
    assert_eq!(global("--rootless=true --rootless auto").rootless, None);
    for word in ["1", "t", "T", "true", "TRUE", "True"] {
        assert_eq!(global(&format!("--rootless={word}")).rootless, Some(true), "{word}");
    }
    for word in ["0", "f", "F", "false", "FALSE", "False"] {
        assert_eq!(global(&format!("--rootless {word}")).rootless, Some(false), "{word}");
    }
}

#[test]
fn the_log_level_is_debug_or_what_is_named() {
    assert_eq!(global("").log_level, None);
    assert_eq!(global("--debug").log_level, Some(Level::Debug));
    assert_eq!(global("--debug=false").log_level, None);
    assert_eq!(global("--log-level warning").log_level, Some(Level::Warning));
    assert_eq!(global("--log-level=error --debug").log_level, Some(Level::Error));
}

#[test]
fn a_log_target_that_is_no_file_is_standard_error() {
    assert_eq!(global("--log /dev/stderr").log, None);
    assert_eq!(global("--log=journald:0123 --log-level=warning").log, None);
    assert_eq!(global("--log=syslog:x").log, None);
    assert_eq!(global("--log file:/l").log, Some(PathBuf::from("/l")));
}

#[test]
fn criu_is_accepted_with_a_warning() {
    let invocation = parse_line("--criu /usr/sbin/criu state c").unwrap();
    assert_eq!(invocation.warnings.len(), 1);
    assert!(invocation.warnings[0].contains("--criu"));
    assert_eq!(parse_line("state c").unwrap().warnings, Vec::<String>::new());
}

fn facts<'a>(euid: u32, userns: bool, xdg: Option<&'a str>, user: Option<&'a str>) -> RootFacts<'a> {
    RootFacts {
        euid,
        in_user_namespace: userns,
        xdg_runtime_dir: xdg.map(OsStr::new),
        user: user.map(OsStr::new),
    }
}

#[test]
fn the_default_state_root_depends_on_who_really_calls() {
    let run = StateRoot { path: "/run/oxrun".into(), sticky: false, given: false };
    let own = StateRoot { path: "/x/oxrun".into(), sticky: true, given: false };
    let cases = [
        (facts(0, false, None, None), &run),
        (facts(0, false, Some("/x"), None), &run),
        (facts(0, false, Some("/x"), Some("joe")), &run),
        (facts(0, true, Some("/x"), Some("joe")), &own),
        (facts(0, true, Some("/x"), None), &own),
        (facts(0, true, Some("/x"), Some("root")), &run),
        (facts(0, true, None, Some("joe")), &run),
        (facts(0, true, Some(""), Some("joe")), &run),
        (facts(1000, false, Some("/x"), None), &own),
        (facts(1000, false, Some("/x"), Some("root")), &own),
        (facts(1000, true, Some("/x"), Some("root")), &own),
        (facts(1000, false, None, Some("joe")), &run),
        (facts(1000, false, Some(""), None), &run),
    ];
    for (facts, expected) in cases {
        assert_eq!(&default_root(&facts), expected, "{facts:?}");
    }
}

#[test]
fn a_given_state_root_is_absolute_and_never_the_slash() {
    let facts = facts(1000, false, Some("/x"), None);
    let choose = |root: &str| {
        let global = Global { root: Some(root.into()), ..Global::default() };
        global.state_root(&facts, Path::new("/w"))
    };
    let given = |path: &str| Ok(StateRoot { path: path.into(), sticky: false, given: true });
    assert_eq!(choose("/r"), given("/r"));
    assert_eq!(choose("r/s"), given("/w/r/s"));
    let refused = Err("Option --root argument should not be set to /".to_owned());
    for slash in ["/", "//", "/.", "/../", "..", "/a/.."] {
        assert_eq!(choose(slash), refused, "{slash}");
    }
}
