//! Every field of config.json is carried out by a step and shown by a test: the table in `docs/fields.md` is the
//! one that is derived from the code, and nothing gets into it that is not so.
#![allow(clippy::unwrap_used, missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_oxrun-conformance");

fn fields(args: &[&str]) -> Check<Output> {
    Ok(Command::new(PROGRAM).arg("fields").args(args).output()?)
}

fn the_table_is_that_of_the_code() -> Check {
    let output = fields(&[])?;
    check!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let now = String::from_utf8_lossy(&output.stdout).into_owned();
    let kept = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fields.md"))?;
    for (now, kept) in now.lines().zip(kept.lines()) {
        check_eq!(now, kept, "a line of docs/fields.md; `oxrun-conformance fields` prints it anew");
    }
    check_eq!(now.len(), kept.len(), "bytes of docs/fields.md");
    Ok(())
}

/// A file with one row, which goes with this value.
struct Rows(PathBuf);

impl Rows {
    fn new(row: &Value) -> Check<Self> {
        let name = format!("oxrun-{}-rows.json", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        fs::write(&file.0, json!([{ "title": "One", "rows": [row] }]).to_string())?;
        Ok(file)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What the command says of a table with this row alone.
fn refused(row: &Value) -> Check<String> {
    let rows = Rows::new(row)?;
    let output = fields(&["--rows", rows.path()])?;
    check!(!output.status.success(), "taken: {row}");
    check!(output.stdout.is_empty(), "a table is printed nevertheless");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

const NAME: &str = "namespaces the_host_name_is_set";

fn a_row_that_is_not_so_is_refused() -> Check {
    let good = json!({ "field": "/hostname", "tests": [NAME] });
    let output = fields(&["--rows", Rows::new(&good)?.path()])?;
    check!(output.status.success(), "the control: {}", String::from_utf8_lossy(&output.stderr));
    for (row, why) in [
        (json!({ "field": "/hostname" }), "no test shows it"),
        (json!({ "field": "/hostname", "tests": ["namespaces no_such_test"] }), "there is no test"),
        (json!({ "field": "/hostname", "tests": ["namespaces sandbox"] }), "does not speak of hostname"),
        (json!({ "field": "/hostname", "tests": ["plan/mod.rs clean"] }), "is no test, or is left out"),
        (json!({ "field": "/hostname", "tests": ["kill sandbox"] }), "does not speak of hostname"),
        (json!({ "field": "/domainname", "tests": [NAME] }), "does not speak of domainname"),
        (json!({ "field": "/hostname", "tests": [NAME], "nothing": "x" }), "planning makes something of it"),
        (
            json!({ "field": "/ociVersion", "instead": "1.0.0", "tests": [NAME] }),
            "planning makes nothing of it",
        ),
        (json!({ "field": "/nope", "tests": [NAME] }), "the example has no such field"),
        (json!({ "field": "/hostname", "with": { "/root": 1 }, "tests": [NAME] }), "refused on v1"),
        (json!({ "field": "/hostname", "tests": [NAME], "steps": ["x"] }), "unknown field"),
    ] {
        let said = refused(&row)?;
        check!(said.contains(why), "{row}: {said}");
    }
    Ok(())
}

fn what_is_refused_is_so_until_it_is_planned() -> Check {
    let refusal = json!({ "says": "unknown propagation", "tests": [NAME] });
    let wrong = json!({ "/linux/rootfsPropagation": "sideways" });
    let row = |with: &Value, tests: Value| json!({ "field": "/linux/rootfsPropagation", "key": "hostname", "with": with, "refused": refusal, "tests": tests });
    let output = fields(&["--rows", Rows::new(&row(&wrong, json!([])))?.path()])?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    check!(table.contains("refused: unknown propagation"), "{table}");
    // Once it is planned its own tests count, and there have to be some.
    let said = refused(&row(&json!({}), json!([])))?;
    check!(said.contains("no test shows it"), "{said}");
    let output = fields(&["--rows", Rows::new(&row(&json!({}), json!([NAME])))?.path()])?;
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    check!(output.status.success() && !table.contains("refused"), "{table}");
    Ok(())
}

/// The keys that the reader of config.json suggests when one is misspelt are those of the table.
fn the_keys_of_the_table_are_the_known_ones() -> Check {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("../runtime-core/src/bundle/keys.rs"))?;
    let list = source.split_once("const KEYS").and_then(|(_, rest)| rest.split_once("];"));
    let (list, _) = list.ok_or_else(|| Failed::from("there is no list of keys"))?;
    let known: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    let rows: Value = serde_json::from_str(&fs::read_to_string(root.join("data/fields/rows.json"))?)?;
    let sections = rows.as_array().unwrap().iter().flat_map(|section| section["rows"].as_array().unwrap());
    let mut keys = BTreeSet::new();
    for field in sections.filter_map(|row| row["field"].as_str()) {
        // What stands behind these is a value.
        let words = ["/mounts/*/options/", "/linux/rootfsPropagation/"];
        let field = match words.iter().find(|start| field.starts_with(*start)) {
            Some(start) => start,
            None => field,
        };
        let is_key = |name: &&str| name.starts_with(|c: char| c.is_ascii_lowercase());
        keys.extend(field.split('/').map(|name| name.split('=').next().unwrap_or(name)).filter(is_key));
    }
    check!(keys.len() > 100, "only {} keys", keys.len());
    let more: Vec<_> = known.symmetric_difference(&keys).collect();
    check!(more.is_empty(), "in one of them alone: {more:?}");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(Trial::test(stringify!($name), $name)),*] };
    }
    run(tests![
        the_table_is_that_of_the_code,
        a_row_that_is_not_so_is_refused,
        what_is_refused_is_so_until_it_is_planned,
        the_keys_of_the_table_are_the_known_ones,
    ])
}
