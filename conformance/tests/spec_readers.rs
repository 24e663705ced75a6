//! What comes after planning never reads the specification's model: it is searched for in the
//! library's source text. Needs no root.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, check, check_eq};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The lines of a source text that use the specification's model, comments aside.
fn uses(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if ["oci_spec", "crate::Spec", ".spec()", ".raw()"].iter().any(|word| code.contains(word)) {
            found.push((number + 1, line.trim().to_owned()));
        }
    }
    found
}

/// Who may use the model, and why. A name that ends with a slash is a directory.
const READERS: [(&str, &str); 17] = [
    ("bundle.rs", "reads config.json"),
    ("bundle/", "the same"),
    ("plan/", "makes the plan"),
    ("seccomp/", "compiles a profile for the plan"),
    ("cgroup/v1.rs", "turns limits into writes for the plan"),
    ("cgroup/v2.rs", "the same"),
    ("cgroup/both.rs", "the same"),
    ("cgroup/systemd/properties.rs", "the same as properties"),
    ("cgroup/tests.rs", "tests these"),
    ("cgroup/systemd/tests/", "the same"),
    ("cgroup/document.rs", "reads the limits of an update"),
    ("cgroup/update.rs", "carries them out, without a plan"),
    ("filters/tests.rs", "compares what planning gets with and without a kept filter"),
    ("fuzzing.rs", "hands made up documents to planning and to the compiler"),
    ("rdt.rs", "turns a class of service into writes for the plan"),
    ("runtime.rs", "hands documents to planning"),
    ("template.rs", "prepares one for the planning of further processes"),
];

/// Parts of the planning directory that come after planning.
const BEHIND: [&str; 5] =
    ["plan/action.rs", "plan/caps.rs", "plan/display.rs", "plan/options.rs", "plan/script.rs"];

fn may_use(file: &Path) -> bool {
    let name = file.to_string_lossy();
    let reads =
        |(reader, _): &(&str, &str)| *reader == name || (reader.ends_with('/') && name.starts_with(reader));
    READERS.iter().any(reads) && !BEHIND.contains(&name.as_ref())
}

fn sources(directory: &Path, out: &mut Vec<PathBuf>) -> Check {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => sources(&path, out)?,
            false if path.extension().is_some_and(|e| e == "rs") => out.push(path),
            false => {}
        }
    }
    Ok(())
}

fn nothing_behind_planning_knows_the_specification() -> Check {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-core/src");
    let mut files = Vec::new();
    sources(&root, &mut files)?;
    check!(files.len() > 20, "only {} source files in {}", files.len(), root.display());
    let (mut wrong, mut right) = (Vec::new(), 0);
    for file in files {
        let name = file.strip_prefix(&root)?.to_owned();
        for (line, text) in uses(&fs::read_to_string(&file)?) {
            // For callers, not for use here.
            let exported = name == Path::new("lib.rs") && text.starts_with("pub use oci_spec::runtime::");
            match may_use(&name) || exported {
                true => right += 1,
                false => wrong.push(format!("{}:{line}: {text}", name.display())),
            }
        }
    }
    check!(right > 5, "the search finds nothing at all");
    check!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn a_use_of_the_specification_is_found() -> Check {
    let text = "// oci_spec\nuse oci_spec::runtime::Spec;\nlet x = 1;\nbundle.spec().root()\n";
    let lines: Vec<usize> = uses(text).into_iter().map(|(line, _)| line).collect();
    check_eq!(lines, [2, 4]);
    check!(!may_use(Path::new("launch/mod.rs")), "launch may use it");
    check!(!may_use(Path::new("plan/script.rs")), "the script may use it");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(Trial::test(stringify!($name), $name)),*] };
    }
    run(tests![nothing_behind_planning_knows_the_specification, a_use_of_the_specification_is_found,])
}
