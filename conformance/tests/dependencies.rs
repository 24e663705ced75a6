//! What is built from others: only what deny.toml allows, each crate that is shipped with its reason in ARCHITECTURE.md.
//! `cargo deny` says the same of the same file, where it is installed. Needs no root.
#![allow(missing_docs)]

use libtest_mimic::Trial;
use oxrun_conformance::harness::run;
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The packages that users get, and that others may depend on.
const SHIPPED: [&str; 3] = ["oxrun-core", "oxrun-init", "oxrun"];

fn file(name: &str) -> Check<String> {
    Ok(fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name))?)
}

/// What cargo says of this workspace on this machine.
fn metadata() -> Check<Value> {
    let cargo = Path::new(env!("CARGO"));
    let output = Command::new(cargo)
        .env("RUSTC", cargo.with_file_name("rustc"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    check!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Every package that is built for this machine, ours among them.
fn packages() -> Check<Vec<Value>> {
    let metadata = metadata()?;
    let list = metadata["packages"].as_array().filter(|list| list.len() > 20);
    list.cloned().ok_or_else(|| Failed::from("cargo metadata has no packages"))
}

/// Who is built with whom, as ids of both packages: of optional dependencies those that are switched on.
fn edges() -> Check<BTreeSet<(String, String)>> {
    let metadata = metadata()?;
    let nodes = metadata["resolve"]["nodes"].as_array().filter(|list| list.len() > 20);
    let nodes = nodes.ok_or_else(|| Failed::from("cargo metadata resolves nothing"))?;
    let of = |node: &Value| {
        let ids: Vec<Value> = node["dependencies"].as_array().cloned().unwrap_or_default();
        ids.iter()
            .map(|id| (text(node, "id").to_owned(), id.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    Ok(nodes.iter().flat_map(|node| -> Vec<(String, String)> { of(node) }).collect())
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// The quoted words of a list in deny.toml, or those behind `key = ` in it.
fn words(policy: &str, list: &str, key: Option<&str>) -> Check<BTreeSet<String>> {
    let start = format!("\n{list} = [");
    let rest = policy.split_once(&start).map(|(_, rest)| rest).ok_or_else(|| Failed::from("no such list"))?;
    let end = if key.is_some() { "\n]" } else { "]" };
    let body = rest.split(end).next().unwrap_or_default();
    let words: BTreeSet<String> = match key {
        None => body.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
        Some(key) => body
            .split(&format!("{key} = \""))
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect(),
    };
    check!(!words.is_empty(), "{list} in deny.toml is empty");
    Ok(words)
}

/// Whether one of the alternatives of a licence expression is allowed. An `AND` needs all of its parts.
fn allows(allowed: &BTreeSet<String>, licence: &str) -> bool {
    let plain = licence.replace(['(', ')'], "").replace('/', " OR ");
    let all = |part: &str| part.split(" AND ").all(|one| allowed.contains(one.trim()));
    // `(MIT OR Apache-2.0) AND Unicode-3.0`: each side of the AND has its alternatives.
    plain.split(" OR ").any(all)
        || licence
            .split(" AND ")
            .all(|side| side.trim_matches(['(', ')']).split(" OR ").any(|one| allowed.contains(one.trim())))
}

fn every_licence_is_one_that_the_policy_allows() -> Check {
    let allowed = words(&file("deny.toml")?, "allow", None)?;
    check!(!allows(&allowed, "GPL-3.0-only") && !allows(&allowed, "MIT AND GPL-3.0-only"), "all is allowed");
    for package in packages()? {
        let licence = text(&package, "license");
        check!(allows(&allowed, licence), "{}: {licence:?}", text(&package, "name"));
    }
    Ok(())
}

fn no_crate_that_the_policy_bans_is_built() -> Check {
    let policy = file("deny.toml")?;
    let banned = words(&policy, "deny", Some("crate"))?;
    check!(banned.contains("libcontainer"), "{banned:?}");
    // A line with `wrappers` allows the crate to these packages.
    let only_for = |name: &str| {
        let line = policy.lines().find(|line| line.contains(&format!("crate = \"{name}\"")))?;
        Some(line.split_once("wrappers = [")?.1.split(']').next()?.to_owned())
    };
    let (packages_built, edges) = (packages()?, edges()?);
    let built = |user: &Value, name: &str| {
        let of = |other: &&Value| text(other, "name") == name;
        packages_built
            .iter()
            .filter(of)
            .any(|other| edges.contains(&(text(user, "id").to_owned(), text(other, "id").to_owned())))
    };
    let cli = packages_built.iter().find(|package| text(package, "name") == "oxrun");
    check!(
        cli.is_some_and(|cli| built(cli, "oxrun-core") && !built(cli, "seccompiler")),
        "nothing is told apart"
    );
    for package in &packages_built {
        let user = text(package, "name");
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = text(dependency, "name");
            // What others test with is not built, and what they could be built with is neither.
            let others = !package["source"].is_null();
            if others && (dependency["kind"] == "dev" || !built(package, name)) {
                continue;
            }
            let allowed = only_for(name).is_some_and(|users| users.contains(&format!("\"{user}\"")));
            check!(!banned.contains(name) || allowed, "{user} uses {name}, which is banned");
        }
    }
    let shipped = packages()?.into_iter().filter(|p| SHIPPED.contains(&text(p, "name")));
    let needs = |p: &Value| p["dependencies"].as_array().cloned().unwrap_or_default();
    for dependency in shipped.flat_map(|p| needs(&p)).filter(|d| banned.contains(text(d, "name"))) {
        check!(dependency["kind"] == "dev" || dependency["optional"] == true, "{dependency}");
    }
    Ok(())
}

fn everything_comes_from_the_registry_or_is_ours() -> Check {
    for package in packages()? {
        let (name, source) = (text(&package, "name"), text(&package, "source"));
        let ours = package["source"].is_null() && name.starts_with("oxrun");
        check!(ours || source.starts_with("registry+"), "{name} comes from {source:?}");
    }
    Ok(())
}

fn each_crate_that_is_shipped_has_its_reason() -> Check {
    let document = file("ARCHITECTURE.md")?;
    let section = document.split_once("\n## Dependencies\n").map(|(_, rest)| rest).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let told: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split(", "))
        .collect();
    let mut direct = BTreeSet::new();
    for package in packages()?.iter().filter(|p| SHIPPED.contains(&text(p, "name"))) {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let name = text(dependency, "name").to_owned();
            if dependency["kind"] != "dev" && !name.starts_with("oxrun") {
                check!(told.contains(name.as_str()), "ARCHITECTURE.md says no reason for {name}");
                direct.insert(name);
            }
        }
    }
    check!(direct.contains("libc") && !direct.contains("seccompiler"), "{direct:?}");
    check_eq!(packages()?.iter().filter(|p| SHIPPED.contains(&text(p, "name"))).count(), SHIPPED.len());
    Ok(())
}

/// The ids of all packages that are built for the program, with those that build and derive.
fn built_for_the_program() -> Check<BTreeSet<String>> {
    let metadata = metadata()?;
    let nodes = metadata["resolve"]["nodes"].as_array().cloned().unwrap_or_default();
    let program = packages()?.into_iter().find(|package| text(package, "name") == "oxrun");
    let mut found = BTreeSet::new();
    let mut next: Vec<String> = program.iter().map(|package| text(package, "id").to_owned()).collect();
    while let Some(id) = next.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|node| text(node, "id") == id);
        for dependency in node.and_then(|node| node["deps"].as_array()).into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array();
            if kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev")) {
                next.push(text(dependency, "pkg").to_owned());
            }
        }
    }
    Ok(found)
}

fn the_number_of_crates_is_the_one_that_is_told() -> Check {
    let ids = built_for_the_program()?;
    let of_others =
        packages()?.iter().filter(|p| ids.contains(text(p, "id")) && !p["source"].is_null()).count();
    let row = format!("\n| crates of others, for building included | {of_others} |");
    check!(file("ARCHITECTURE.md")?.contains(&row), "ARCHITECTURE.md does not say that they are {of_others}");
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(Trial::test(stringify!($name), $name)),*] };
    }
    run(tests![
        every_licence_is_one_that_the_policy_allows,
        no_crate_that_the_policy_bans_is_built,
        everything_comes_from_the_registry_or_is_ours,
        each_crate_that_is_shipped_has_its_reason,
        the_number_of_crates_is_the_one_that_is_told,
    ])
}
