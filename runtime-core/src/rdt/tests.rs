//! The planner, and the live part against a model: a resctrl filesystem makes `tasks` and `schemata` with each
//! directory, which no other filesystem does.

use super::*;
use serde_json::{Value, json};

#[derive(Default)]
struct Model {
    files: BTreeMap<PathBuf, String>,
    log: Vec<String>,
    status: &'static str,
}

impl Model {
    fn with(dirs: &[&str]) -> Model {
        let mut model = Model::default();
        for dir in dirs {
            model.add(Path::new(dir));
        }
        model
    }

    fn add(&mut self, dir: &Path) {
        self.files.insert(dir.join("tasks"), String::new());
        self.files.insert(dir.join("schemata"), "    L3:0=fffff;1=fffff\n    MB:0=100;1=100\n".to_owned());
    }
}

impl Files for Model {
    fn make(&mut self, dir: &Path) -> io::Result<bool> {
        if self.has(dir).is_ok() {
            return Ok(false);
        }
        self.log.push(format!("mkdir {}", dir.display()));
        self.add(dir);
        Ok(true)
    }
    fn has(&self, dir: &Path) -> io::Result<()> {
        let there = self.files.keys().any(|file| file.starts_with(dir));
        if there { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOENT)) }
    }
    fn read(&self, file: &Path) -> io::Result<String> {
        if file.ends_with("info/last_cmd_status") {
            return Ok(self.status.to_owned());
        }
        self.files.get(file).cloned().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }
    fn write(&mut self, file: &Path, text: &str) -> io::Result<()> {
        if text.contains("bad") {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let there = self.files.get_mut(file).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        there.push_str(text);
        self.log.push(format!("{} < {text:?}", file.display()));
        Ok(())
    }
}

fn facts() -> ResctrlFacts {
    ResctrlFacts { mount: "/r".into(), cache: true, bandwidth: true }
}

fn plan(value: Value) -> Result<Wanted> {
    wanted(&serde_json::from_value(value).expect("a document"), "c1", Some(&facts()))
}

/// Carries out a plan for pid 7: what was done, and what was made.
fn done(model: &mut Model, wanted: &Wanted) -> Result<bool> {
    let made = enter_class(model, &wanted.class)?;
    if !wanted.schemata.is_empty() {
        set_schemata(model, &facts().mount, &wanted.groups.class.join("schemata"), &wanted.schemata)?;
    }
    if let Some(dir) = &wanted.groups.monitor {
        make_monitor(model, &facts().mount, dir)?;
    }
    add(model, &wanted.groups, 7, false)?;
    Ok(made)
}

fn refusal(value: Value) -> (String, String) {
    let e = plan(value).expect_err("refused");
    (e.field().unwrap_or_default().to_owned(), e.to_string())
}

#[test]
fn schemas_are_written_in_the_order_of_the_specification() {
    let wanted = plan(
        json!({"schemata": ["L2:0=f", "", "MB:1=70"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=ff"}),
    );
    let wanted = wanted.expect("planned");
    assert_eq!(wanted.schemata, ["L3:0=ff", "MB:0=20", "L2:0=f", "MB:1=70"]);
    let mut model = Model::default();
    assert!(done(&mut model, &wanted).expect("done"));
    assert_eq!(
        model.log,
        [
            "mkdir /r/c1",
            "/r/c1/schemata < \"L3:0=ff\\nMB:0=20\\nL2:0=f\\nMB:1=70\\n\"",
            "/r/c1/tasks < \"7\""
        ]
    );
}

#[test]
fn a_class_of_its_own_is_made_and_removed() {
    let wanted = plan(json!({})).expect("planned");
    assert_eq!((wanted.class.missing, wanted.class.dir.as_path()), (Missing::MakeOwn, Path::new("/r/c1")));
    // One that was there is used as it is.
    let mut model = Model::with(&["/r/c1"]);
    assert!(!done(&mut model, &wanted).expect("done"));
    assert_eq!(model.log, ["/r/c1/tasks < \"7\""]);
}

#[test]
fn a_class_without_schemas_must_be_there() {
    let wanted = plan(json!({"closID": "gold"})).expect("planned");
    let e = done(&mut Model::default(), &wanted).expect_err("missing");
    assert!(e.to_string().contains("clos dir not accessible (must be pre-created when"), "{e}");
    assert_eq!(e.field(), Some("/linux/intelRdt/closID"));
    let mut model = Model::with(&["/r/gold"]);
    assert!(!done(&mut model, &wanted).expect("done"));
    assert_eq!(model.log, ["/r/gold/tasks < \"7\""]);
}

#[test]
fn a_class_that_is_missing_is_made_for_its_schemas() {
    let wanted = plan(json!({"closID": "gold", "memBwSchema": "MB:0=50"})).expect("planned");
    let mut model = Model::default();
    assert!(done(&mut model, &wanted).expect("done"));
    assert_eq!(wanted.class.missing, Missing::Make, "it stays when the container goes");
    assert_eq!(model.log[0], "mkdir /r/gold");
}

#[test]
fn a_class_that_is_there_must_have_the_same_schemas() {
    for fine in [
        json!({"closID": "gold", "l3CacheSchema": "L3:0=fffff;1=fffff"}),
        json!({"closID": "gold", "l3CacheSchema": "L3:00=0fffff"}),
        json!({"closID": "gold", "memBwSchema": "MB:1=100"}),
    ] {
        let wanted = plan(fine.clone()).expect("planned");
        assert!(done(&mut Model::with(&["/r/gold"]), &wanted).is_ok(), "{fine}");
    }
    for (other, field) in [
        (json!({"closID": "gold", "l3CacheSchema": "L3:0=ff"}), "/linux/intelRdt/l3CacheSchema"),
        (json!({"closID": "gold", "memBwSchema": "MB:0=100;2=10"}), "/linux/intelRdt/memBwSchema"),
        (json!({"closID": "/", "memBwSchema": "MB:0=10"}), "/linux/intelRdt/memBwSchema"),
    ] {
        let mut model = Model::with(&["/r/gold", "/r"]);
        let e = done(&mut model, &plan(other).expect("planned")).expect_err("another");
        assert_eq!((e.field(), model.log.len()), (Some(field), 0), "{e}");
    }
}

#[test]
fn the_root_is_the_class_without_a_name() {
    let wanted = plan(json!({"closID": "/", "enableMonitoring": true})).expect("planned");
    let mut model = Model::with(&["/r"]);
    assert!(!done(&mut model, &wanted).expect("done"));
    let log = ["mkdir /r/mon_groups/c1", "/r/tasks < \"7\"", "/r/mon_groups/c1/tasks < \"7\""];
    assert_eq!(model.log, log);
}

#[test]
fn a_further_process_goes_where_there_still_is_a_class() {
    let groups = plan(json!({"closID": "gold", "enableMonitoring": true})).expect("planned").groups;
    let mut model = Model::with(&["/r/gold"]);
    assert!(add(&mut model, &groups, 9, false).is_err(), "the first one must be monitored");
    model.log.clear();
    add(&mut model, &groups, 9, true).expect("added");
    assert_eq!(model.log, ["/r/gold/tasks < \"9\""]);
}

#[test]
fn what_the_filesystem_says_is_in_the_error() {
    let mut model = Model { status: "Cache domain 9 does not exist", ..Model::default() };
    let wanted = plan(json!({"schemata": ["bad"]})).expect("planned");
    let e = done(&mut model, &wanted).expect_err("refused");
    let text = "intelrdt: unable to write \"bad\\n\": write(/r/c1/schemata): invalid argument, last_cmd_status: Cache";
    assert!(e.to_string().starts_with(text), "{e}");
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for name in [".", "..", "a/b", "/a"] {
        let expected = format!("invalid intelRdt.ClosID {name:?}");
        assert_eq!(refusal(json!({"closID": name})), ("/linux/intelRdt/closID".to_owned(), expected));
    }
    let of = |value: Value| refusal(value).0;
    assert_eq!(of(json!({"l3CacheSchema": "L3:0=f\nL3:1=f"})), "/linux/intelRdt/l3CacheSchema");
    assert_eq!(of(json!({"memBwSchema": "L3:0=f"})), "/linux/intelRdt/memBwSchema");
    assert_eq!(of(json!({"schemata": ["L2:0=f", "x\ny"]})), "/linux/intelRdt/schemata/1");
}

#[test]
fn what_the_host_lacks_is_said_in_the_words_of_runc() {
    let rdt = |value: Value| serde_json::from_value::<LinuxIntelRdt>(value).expect("a document");
    let e = wanted(&rdt(json!({})), "c1", None).expect_err("no filesystem");
    assert_eq!(e.to_string(), "intelRdt is specified in config, but Intel RDT is not enabled");
    let bare = ResctrlFacts { cache: false, bandwidth: false, ..facts() };
    let e = wanted(&rdt(json!({"l3CacheSchema": "L3:0=f"})), "c1", Some(&bare)).expect_err("no CAT");
    assert!(e.to_string().ends_with("but Intel RDT/CAT is not enabled"), "{e}");
    let e = wanted(&rdt(json!({"memBwSchema": "MB:0=10"})), "c1", Some(&bare)).expect_err("no MBA");
    assert!(e.to_string().ends_with("but Intel RDT/MBA is not enabled"), "{e}");
}

#[test]
fn an_update_changes_the_lines_that_it_names_and_knows_what_they_were() {
    let groups = plan(json!({})).expect("planned").groups;
    let mut model = Model::with(&["/r/c1", "/r/info/L3"]);
    let before = change(&mut model, &groups, Some("L3:0=f"), None).expect("changed");
    assert_eq!(before, ["L3:0=fffff;1=fffff"]);
    assert_eq!(model.log, ["/r/c1/schemata < \"L3:0=f\\n\""]);
    let e = change(&mut model, &groups, None, Some("MB:0=10")).expect_err("no MBA");
    assert_eq!(e.to_string(), "Intel RDT/MBA: memory bandwidth schema is not enabled");
}
