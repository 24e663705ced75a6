//! Intel RDT (`/linux/intelRdt`) against a directory tree that stands for a resctrl filesystem: this suite runs where
//! the kernel has none. A plain directory has no `tasks` and `schemata` of its own accord, so what the kernel would
//! make is made here before.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::{WHY, sandbox};
use oxrun_conformance::harness::{Config, Sandbox, conditional, oxrun_only, run};
use oxrun_conformance::{Check, check, check_eq};
use oxrun_core::{Container, CreateOptions, Error, HostFacts, ResctrlFacts, Runtime, Stdio};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

const RDT: &str = "/linux/intelRdt";

/// A class of service with its files.
fn class(s: &Sandbox, name: &str) -> Check {
    s.make_dir(name)?;
    s.make_file(&format!("{name}/tasks"), "")?;
    s.make_file(&format!("{name}/schemata"), "    L3:0=fffff\n    MB:0=100\n").map(drop)
}

/// The library on a host whose resctrl filesystem is the directory of the sandbox.
fn create(s: &Sandbox, rdt: Value) -> Check<Result<Container, Error>> {
    let resctrl = ResctrlFacts { mount: s.dir().to_owned(), cache: true, bandwidth: true };
    let facts = HostFacts { resctrl: Some(resctrl), ..HostFacts::record()? };
    let runtime = Runtime::with_facts(s.runtime().root(), facts);
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]).set(RDT, rdt))?;
    let bundle = oxrun_core::Bundle::open(bundle.path())?;
    let plan = runtime.plan("c1", &bundle, &CreateOptions::default())?;
    check!(plan.to_string().contains("/linux/intelRdt/closID"), "no such step:\n{plan}");
    Ok(runtime.create(&plan, Stdio::null()))
}

fn read(s: &Sandbox, file: &str) -> Check<String> {
    Ok(fs::read_to_string(s.dir().join(file))?)
}

fn the_process_is_in_the_class_that_is_named() -> Check {
    let s = sandbox()?;
    class(&s, "gold")?;
    // The pointer /linux/intelRdt/closID.
    let c = create(&s, json!({ "closID": "gold" }))??;
    check_eq!(read(&s, "gold/tasks")?, c.pid().to_string());
    check_eq!(read(&s, "gold/schemata")?, "    L3:0=fffff\n    MB:0=100\n", "it was not asked for");
    c.delete(true)?;
    check!(s.dir().join("gold/tasks").exists(), "the class is gone with the container");
    Ok(())
}

fn the_schemas_are_written_at_once() -> Check {
    let s = sandbox()?;
    class(&s, "c1")?;
    let rdt =
        json!({ "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=3", "L2:1=3"] });
    let c = create(&s, rdt)??;
    check!(read(&s, "c1/schemata")?.starts_with("L3:0=f\nMB:0=20\nL2:0=3\nL2:1=3\n"), "order");
    c.delete(true)?;
    check!(s.dir().join("c1/tasks").exists(), "a class that create did not make is gone");
    Ok(())
}

fn a_class_with_other_schemas_is_refused() -> Check {
    let s = sandbox()?;
    class(&s, "gold")?;
    let e = create(&s, json!({ "closID": "gold", "l3CacheSchema": "L3:0=f" }))?.err().ok_or("created")?;
    check_eq!(e.field(), Some("/linux/intelRdt/l3CacheSchema"));
    check_eq!(read(&s, "gold/schemata")?, "    L3:0=fffff\n    MB:0=100\n");
    Ok(())
}

fn a_class_without_schemas_must_be_there() -> Check {
    let s = sandbox()?;
    let e = create(&s, json!({ "closID": "gold" }))?.err().ok_or("created")?;
    check!(e.to_string().contains("clos dir not accessible"), "{e}");
    Ok(())
}

fn a_failure_removes_the_class_that_was_made() -> Check {
    let s = sandbox()?;
    // In a plain directory its `schemata` is missing.
    for rdt in [json!({ "closID": "new", "memBwSchema": "MB:0=20" }), json!({ "schemata": ["MB:0=20"] })] {
        let e = create(&s, rdt)?.err().ok_or("created")?;
        check!(e.to_string().contains("intelrdt: unable to write \"MB:0=20\\n\""), "{e}");
        let left = ["new", "c1"].into_iter().find(|name| s.dir().join(name).exists());
        check!(left.is_none(), "{left:?} is left behind");
    }
    Ok(())
}

fn the_monitoring_group_goes_with_the_container() -> Check {
    let s = sandbox()?;
    class(&s, "gold")?;
    for dir in ["gold/mon_groups", "gold/mon_groups/c1"] {
        s.make_dir(dir)?;
    }
    let tasks = s.make_file("gold/mon_groups/c1/tasks", "")?;
    // The pointer /linux/intelRdt/enableMonitoring.
    let c = create(&s, json!({ "closID": "gold", "enableMonitoring": true }))??;
    check_eq!(fs::read_to_string(&tasks)?, c.pid().to_string());
    fs::remove_file(tasks)?;
    c.delete(true)?;
    check!(!s.dir().join("gold/mon_groups/c1").exists(), "the group is left behind");
    check!(s.dir().join("gold/mon_groups").exists(), "more than the group is gone");
    Ok(())
}

fn a_further_process_is_in_the_class_too() -> Check {
    let s = sandbox()?;
    class(&s, "gold")?;
    let c = create(&s, json!({ "closID": "gold" }))??;
    c.start()?;
    let file = s.dir().join("pid");
    let words = ["exec", "--pid-file", &file.to_string_lossy(), "c1", "/bin/probe", "exit", "0"];
    s.runtime().call(&words)?.success()?;
    check_eq!(read(&s, "gold/tasks")?, read(&s, "pid")?);
    c.delete(true).map(drop)?;
    Ok(())
}

fn an_update_changes_the_schemas() -> Check {
    let s = sandbox()?;
    class(&s, "gold")?;
    s.make_dir("info")?;
    s.make_dir("info/L3")?;
    let c = create(&s, json!({ "closID": "gold" }))??;
    let update = |words: &[&str]| s.runtime().call(&[&["update"], words, &["c1"]].concat());
    update(&["--l3-cache-schema", "L3:0=3f"])?.success()?;
    check!(read(&s, "gold/schemata")?.starts_with("L3:0=3f\n"), "not written");
    update(&["--mem-bw-schema", "MB:0=50"])?
        .refused("Intel RDT/MBA: memory bandwidth schema is not enabled")?;
    c.delete(true)?;
    Ok(())
}

fn a_host_without_it_refuses_it() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/probe", "sleep"]).set(RDT, json!({ "closID": "/" })))?;
    let output = s.runtime().run(bundle.path(), "c1")?;
    output.refused("intelRdt is specified in config, but Intel RDT is not enabled")?;
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(oxrun_only(stringify!($name), WHY, $name)),*] };
    }
    let mut tests = tests![
        the_process_is_in_the_class_that_is_named,
        the_schemas_are_written_at_once,
        a_class_with_other_schemas_is_refused,
        a_class_without_schemas_must_be_there,
        a_failure_removes_the_class_that_was_made,
        the_monitoring_group_goes_with_the_container,
        a_further_process_is_in_the_class_too,
        an_update_changes_the_schemas,
    ];
    tests.push(conditional(
        "a_host_without_it_refuses_it",
        || Path::new("/sys/fs/resctrl").exists().then(|| "this host has it".to_owned()),
        a_host_without_it_refuses_it,
    ));
    run(tests)
}
