//! Which filters are kept and found, and that nothing else changes by them.
#![allow(clippy::disallowed_methods)] // what is made lies in a directory of the test's own

use super::*;
use crate::bundle::Bundle;
use crate::facts::HostFacts;
use crate::plan::{self, CreateOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A profile as engines write them, with something of its own.
fn profile(errno: u32) -> String {
    let calls = crate::seccomp::Arch::native().calls().map(|(name, _)| name).filter(|name| *name != "clone");
    let names: Vec<String> = calls.map(|name| format!("\"{name}\"")).collect();
    format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": {errno}, "syscalls": [
            {{"names": [{}, "a_call_of_nobody"], "action": "SCMP_ACT_ALLOW"}},
            {{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}}]}}]}}"#,
        names.join(", "),
    )
}

fn config(profile: &str) -> Vec<u8> {
    format!(
        r#"{{"ociVersion": "1.2.0", "root": {{"path": "/srv"}}, "colour": 1,
            "process": {{"args": ["sh"], "cwd": "/", "user": {{"uid": 0, "gid": 0}}}},
            "linux": {{"namespaces": [{{"type": "mount"}}], "seccomp": {profile}, "maskedPaths": ["/proc/kcore"]}}}}"#
    )
    .into_bytes()
}

struct Root(PathBuf);

impl Root {
    fn new(name: &str) -> Root {
        let path = std::env::temp_dir().join(format!("oxrun-filters-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a directory");
        Root(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("the root");
        entries.map(|e| e.expect("an entry").path()).collect()
    }

    fn bundle(&self, config: &[u8]) -> Bundle {
        Bundle::knowing(config, Some(&|text| find(&self.0, text))).expect("a bundle")
    }

    fn keep(&self, config: &[u8]) {
        if let Some(entry) = planned(&self.bundle(config)).template.filter {
            keep(&self.0, &entry);
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn planned(bundle: &Bundle) -> Plan {
    let facts = HostFacts::record().expect("this host");
    plan::plan("c", bundle, &facts, &CreateOptions::default()).expect("a plan")
}

#[test]
fn a_kept_filter_makes_the_same_plan_and_leaves_the_spec_whole() {
    let root = Root::new("same");
    let config = config(&profile(38));
    assert!(root.bundle(&config).filter.is_none());
    root.keep(&config);
    let (known, read) = (root.bundle(&config), Bundle::from_json(&config).expect("a bundle"));
    assert!(known.filter.is_some());
    assert_eq!(planned(&known), planned(&read));
    let skipped =
        |plan: &Plan| plan.skipped_calls().map(|(at, name)| format!("{at} {name}")).collect::<Vec<_>>();
    assert_eq!(skipped(&planned(&known)), skipped(&planned(&read)));
    assert_eq!(skipped(&planned(&known)).len(), 1);
    assert_eq!(known.warnings(), read.warnings());
    assert_eq!(known.spec(), read.spec());
    assert!(known.spec().linux().as_ref().is_some_and(|l| l.seccomp().is_some()));
    assert_eq!(known.raw(), read.raw());
    // Further processes get it as well.
    let template =
        |bundle: &Bundle| crate::template::decode(&planned(bundle).template.file).expect("a template");
    let (with, without) = (template(&known), template(&read));
    assert_eq!(with.filter, without.filter);
    assert!(with.filter.is_some());
    assert_eq!(with.config.spec().process(), without.config.spec().process());
    // It is there, and not written again.
    assert!(planned(&known).template.filter.is_none());
}

#[test]
fn a_filter_is_of_the_very_same_bytes() {
    let root = Root::new("bytes");
    let text = profile(38);
    root.keep(&config(&text));
    let kept = root.files().pop().expect("a file");
    assert!(find(&root.0, text.as_bytes()).is_some());
    for (from, to) in [("defaultErrnoRet\": 38", "defaultErrnoRet\": 39"), ("\"syscalls\"", " \"syscalls\"")]
    {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        // Even where both have the same place.
        std::fs::copy(&kept, root.0.join(name(other.as_bytes()))).expect("a copy");
        assert!(find(&root.0, other.as_bytes()).is_none());
    }
}

#[test]
fn what_is_kept_is_the_compilers_whatever_becomes_of_the_plan() {
    let root = Root::new("changed");
    let text = profile(38);
    let mut plan = planned(&root.bundle(&config(&text)));
    for step in &mut plan.steps {
        if let Action::Seccomp(program) = &mut step.action {
            program.insns.truncate(1);
        }
    }
    keep(&root.0, plan.template.filter.as_ref().expect("a filter to keep"));
    let kept = find(&root.0, text.as_bytes()).expect("a filter");
    assert!(kept.insns.len() > 1, "{}", kept.insns.len());
    // Who opened it otherwise neither looks for one nor keeps one.
    let read = Bundle::from_json(&config(&text)).expect("a bundle");
    assert!(planned(&read).template.filter.is_none());
}

#[test]
fn what_is_wrong_elsewhere_is_said_as_without_it() {
    let root = Root::new("wrong");
    let good = config(&profile(1));
    root.keep(&good);
    let text = String::from_utf8(good).expect("text");
    for (from, to) in [("\"cwd\": \"/\"", "\"cwd\": 7"), ("\"colour\": 1", "\"colour\" 1"), ("1.2.0", "3")] {
        let wrong = text.replacen(from, to, 1);
        let known = Bundle::knowing(wrong.as_bytes(), Some(&|text| find(&root.0, text))).expect_err("wrong");
        let read = Bundle::from_json(wrong.as_bytes()).expect_err("wrong");
        assert_eq!(known.to_string(), read.to_string());
    }
}

#[test]
fn a_profile_of_which_something_is_to_be_said_or_that_asks_an_agent_is_not_kept() {
    let root = Root::new("not");
    let good = profile(1);
    for wrong in [
        good.replacen("\"syscalls\"", "\"colour\": 1, \"syscalls\"", 1),
        good.replacen("[\"clone\"], \"action\": \"SCMP_ACT_ALLOW\"", "[\"clone\"], \"action\": \"SCMP_ACT_NOTIFY\"", 1)
            .replacen("{", "{\"listenerPath\": \"/a\", ", 1),
        good.replacen("\"execve\", ", "", 1),
        "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{\"names\": [\"execve\"], \"action\": \"SCMP_ACT_ALLOW\"}]}".to_owned(),
    ] {
        assert_ne!(wrong, good);
        root.keep(&config(&wrong));
        assert_eq!(root.files(), Vec::<PathBuf>::new(), "{wrong}");
    }
    root.keep(&config(&good));
    assert_eq!(root.files().len(), 1);
}

#[test]
fn a_file_that_is_damaged_or_not_only_this_users_is_not_used() {
    let root = Root::new("foreign");
    let text = profile(38);
    root.keep(&config(&text));
    let kept = root.files().pop().expect("a file");
    let bytes = std::fs::read(&kept).expect("the file");
    let found = || find(&root.0, text.as_bytes()).is_some();
    assert!(found());
    for mode in [0o640, 0o602, 0o604] {
        std::fs::set_permissions(&kept, PermissionsExt::from_mode(mode)).expect("a mode");
        assert!(!found(), "{mode:o}");
    }
    std::fs::set_permissions(&kept, PermissionsExt::from_mode(0o600)).expect("a mode");
    let link = root.0.join("link");
    std::fs::hard_link(&kept, &link).expect("a link");
    assert!(!found());
    std::fs::remove_file(&kept).expect("gone");
    std::os::unix::fs::symlink(&link, &kept).expect("a link");
    assert!(!found());
    std::fs::rename(&link, &kept).expect("as it was");
    assert!(found());
    for cut in [0, 1, MAGIC.len(), MAGIC.len() + 12, bytes.len() / 2, bytes.len() - 8, bytes.len() - 1] {
        assert!(decode(&bytes[..cut], text.as_bytes()).is_none(), "{cut}");
    }
    let longer = [&bytes[..], &[0; 8]].concat();
    assert!(decode(&longer, text.as_bytes()).is_none());
    let other = [&b"oxrun filter 9"[..], &bytes[14..]].concat();
    assert!(decode(&other, text.as_bytes()).is_none());
    std::fs::remove_file(&kept).expect("gone");
    std::fs::create_dir(&kept).expect("a directory");
    assert!(!found());
}

#[test]
fn there_are_never_more_files_than_places() {
    let root = Root::new("many");
    let program = crate::seccomp::Program {
        insns: vec![],
        flags: 0,
        notify: false,
        archs: vec![],
        default_action: String::new(),
        skipped: vec![],
    };
    for n in 0..200 {
        let text = format!("{n:0>SMALLEST$}").into_bytes();
        write(&root.0.join(name(&text)), &encode(&text, &program).expect("encoded"));
    }
    let count = root.files().len();
    assert!(count as u64 <= SLOTS && count > 10, "{count}");
}
