//! One table of several runtimes from what `--json` wrote for each.

use crate::{Check, Failed, check};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
struct Results {
    runtime: String,
    cases: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    place: String,
    level: String,
    rule: String,
    verdict: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    broken: Option<Broken>,
}

#[derive(Deserialize)]
struct Broken {
    says: String,
    noticed: bool,
}

impl Results {
    fn case(&self, name: &str) -> Option<&Row> {
        self.cases.iter().find(|case| case.name == name)
    }

    fn count(&self, words: &[&str]) -> usize {
        self.cases.iter().filter(|case| words.contains(&case.verdict.as_str())).count()
    }
}

impl Row {
    fn failed(&self) -> bool {
        ["failed", "deviates"].contains(&self.verdict.as_str())
    }
}

/// Prints the table in Markdown. The first runtime says which cases there are.
pub(super) fn print(files: &[String]) -> Check {
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| Failed::from(format!("{file}: {e}")))?;
        add(&mut all, serde_json::from_str(&text)?);
    }
    check!(!all.is_empty(), "no results");
    head(&all);
    kinds(&all[0]);
    deviations(&all);
    cases(&all);
    Ok(())
}

/// Several runs of one runtime are one, a later result over an earlier one.
fn add(all: &mut Vec<Results>, more: Results) {
    match all.iter_mut().find(|one| one.runtime == more.runtime) {
        Some(one) => {
            one.cases.retain(|case| more.case(&case.name).is_none());
            one.cases.extend(more.cases);
        }
        None => all.push(more),
    }
}

fn head(all: &[Results]) {
    println!("# Results of the specification suite\n");
    println!(
        "Made by `oxrun-conformance spec --results` from what `spec --json` wrote for each runtime. Do not edit.\n"
    );
    println!(
        "| runtime | passed | failed | deviates as listed | skipped |\n| --- | ---: | ---: | ---: | ---: |"
    );
    for one in all {
        println!(
            "| {} | {} | {} | {} | {} |",
            one.runtime,
            one.count(&["passed"]),
            one.count(&["failed", "unlisted"]),
            one.count(&["deviates"]),
            one.count(&["skipped"])
        );
    }
}

/// How many cases have been seen to fail.
fn kinds(first: &Results) {
    let noticed = |row: &&Row| row.broken.as_ref().is_some_and(|broken| broken.noticed);
    println!(
        "\n{} cases. Of those that this host can show, {} have noticed a runtime that breaks their rule on purpose.",
        first.cases.len(),
        first.cases.iter().filter(noticed).count()
    );
}

fn deviations(all: &[Results]) {
    for one in all {
        let reasons: BTreeSet<&str> =
            one.cases.iter().filter(|c| c.verdict == "deviates").map(|c| c.message.as_str()).collect();
        if reasons.is_empty() {
            continue;
        }
        println!("\n## {}: listed deviations\n", one.runtime);
        for reason in reasons {
            let names = one.cases.iter().filter(|c| c.verdict == "deviates" && c.message == reason);
            let names: Vec<String> = names.map(|c| format!("`{}`", c.name)).collect();
            println!("- {}: {reason}", names.join(", "));
        }
    }
}

fn cases(all: &[Results]) {
    println!("\n## Cases\n");
    println!(
        "`+` passed, `F` failed, `D` deviates as listed, `s` skipped: this host cannot show it. A case also fails if"
    );
    println!(
        "a mount, a cgroup, a process or a state directory is left behind, above all by a container that was refused."
    );
    let names: Vec<&str> = all.iter().map(|one| one.runtime.split(' ').next().unwrap_or("")).collect();
    let versions: Vec<String> = all
        .iter()
        .zip(&names)
        .map(|(one, name)| {
            let version = one.runtime.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
            format!("{name} {}", version.unwrap_or_default())
        })
        .collect();
    let mut places: Vec<&str> = Vec::new();
    for row in &all[0].cases {
        if !places.contains(&row.place.as_str()) {
            places.push(&row.place);
        }
    }
    for place in places {
        println!("\n### {place}\n\n| case | | rule | {} | seen failing |", versions.join(" | "));
        println!("| --- | --- | --- |{} --- |", " --- |".repeat(all.len()));
        for row in all[0].cases.iter().filter(|row| row.place == place) {
            let marks: Vec<&str> = all.iter().map(|one| mark(one.case(&row.name))).collect();
            println!(
                "| {} | {} | {} | {} | {} |",
                row.name,
                row.level,
                row.rule.replace('|', "\\|"),
                marks.join(" | "),
                seen(all, &versions, row)
            );
        }
    }
}

fn mark(row: Option<&Row>) -> &'static str {
    match row.map(|row| row.verdict.as_str()) {
        Some("passed" | "unlisted") => "+",
        Some("failed") => "F",
        Some("deviates") => "D",
        Some("skipped") => "s",
        _ => "",
    }
}

/// Which runtimes the case has failed.
fn seen(all: &[Results], versions: &[String], row: &Row) -> String {
    let mut by: Vec<String> = all
        .iter()
        .zip(versions)
        .filter(|(one, _)| one.case(&row.name).is_some_and(Row::failed))
        .map(|(_, version)| version.clone())
        .collect();
    let broken = all.iter().filter_map(|one| one.case(&row.name)?.broken.as_ref()).find(|b| b.noticed);
    by.extend(
        broken.map(|broken| format!("one that {}", broken.says.replace('|', "\\|").replace('\n', " "))),
    );
    match by.is_empty() {
        true => "never seen failing".to_owned(),
        false => by.join("; "),
    }
}
