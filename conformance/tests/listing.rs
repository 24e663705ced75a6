//! Lists of many containers: what one says of each is what `state` says of it, in each status, whoever brought it there,
//! and whatever its state file looks like.
#![allow(clippy::unwrap_used, missing_docs)]

mod library;

use library::sandbox;
use oxrun_conformance::harness::{Config, Host, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, Failed, check, check_eq};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

const SLEEP: &[&str] = &["/bin/probe", "sleep"];
const FILE: &str = "the state file is oxrun's own";

fn listed(s: &Sandbox) -> Check<Vec<Value>> {
    let output = s.runtime().call(&["list", "--format", "json"])?.success()?;
    check_eq!(output.stderr, "", "stderr of {output}");
    Ok(output.json()?.as_array().cloned().unwrap_or_default())
}

/// The row of a container, which must say what `state` says, in both formats.
fn row(s: &Sandbox, id: &str) -> Check<Value> {
    let rows = listed(s)?;
    let row = rows.iter().find(|row| row["id"] == id);
    let mut row = row.cloned().ok_or_else(|| Failed::from(format!("no {id} in {rows:?}")))?;
    let state = s.runtime().state(id)?;
    let table = s.runtime().call(&["list"])?.success()?.stdout;
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(id)).unwrap_or_default();
    let cells: Vec<&str> = line.split_whitespace().collect();
    let text = |name: &str| state[name].as_str().unwrap_or_default().to_owned();
    let wanted = [id.to_owned(), state["pid"].to_string(), text("status"), text("bundle"), text("created")];
    check_eq!(cells.get(..5), Some(&wanted.each_ref().map(String::as_str)[..]), "{table}");
    check_eq!(row["owner"], "root", "owner of {id}");
    row["owner"] = state["owner"].clone();
    check_eq!(row, state, "{id} in the list, and its state");
    Ok(row)
}

fn create(s: &Sandbox, id: &str, config: &Config) -> Check {
    s.runtime().create(s.bundle(config)?.path(), id)?.success().map(drop)
}

fn end(s: &Sandbox, id: &str) -> Check {
    let pid = s.runtime().pid(id)?;
    s.runtime().kill(id, "KILL")?.success()?;
    s.runtime().wait_for(pid).map(drop)
}

fn a_list_says_of_each_container_what_its_state_says() -> Check {
    let s = sandbox()?;
    let noted = Config::new(SLEEP)
        .set("/annotations/plain", "a: {b}, \u{e9}")
        .set("/annotations/with \"quotes\"", "a\\b\nc\td\u{1f}");
    create(&s, "created", &noted)?;
    create(&s, "created-paused", &Config::new(SLEEP))?;
    s.runtime().call(&["pause", "created-paused"])?.success()?;
    create(&s, "created-stopped", &Config::new(SLEEP))?;
    end(&s, "created-stopped")?;
    s.sleeper("running", &Config::new(SLEEP))?;
    s.sleeper("running-paused", &Config::new(SLEEP))?;
    s.runtime().call(&["pause", "running-paused"])?.success()?;
    s.sleeper("running-stopped", &noted)?;
    end(&s, "running-stopped")?;
    for (id, status) in [
        ("created", "created"),
        ("created-paused", "paused"),
        ("created-stopped", "stopped"),
        ("running", "running"),
        ("running-paused", "paused"),
        ("running-stopped", "stopped"),
    ] {
        let row = row(&s, id)?;
        check_eq!(row["status"], status, "{row}");
        check_eq!(row["pid"] == 0, status == "stopped", "pid of {row}");
    }
    check_eq!(listed(&s)?.len(), 6, "containers");
    Ok(())
}

/// Where the container can be frozen, and the words for it.
fn freezer(s: &Sandbox) -> Check<(PathBuf, &'static str, &'static str)> {
    let all = Host::cgroups(s.cgroup_prefix())?;
    let files = [("cgroup.freeze", "1", "0"), ("freezer.state", "FROZEN", "THAWED")];
    let found = files.into_iter().find_map(|(name, freeze, thaw)| {
        let dir = all.iter().find(|dir| dir.join(name).exists())?;
        Some((dir.join(name), freeze, thaw))
    });
    found.ok_or_else(|| Failed::from("the container has no cgroup that can freeze"))
}

fn whoever_froze_a_container_it_is_paused_in_the_list() -> Check {
    for started in [false, true] {
        let s = sandbox()?;
        create(&s, "c1", &Config::new(SLEEP))?;
        if started {
            s.runtime().start("c1")?.success()?;
        }
        let (file, freeze, thaw) = freezer(&s)?;
        fs::write(&file, freeze)?;
        check_eq!(row(&s, "c1")?["status"], "paused", "after {freeze} to {}", file.display());
        fs::write(&file, thaw)?;
        check_eq!(row(&s, "c1")?["status"], if started { "running" } else { "created" }, "after {thaw}");
    }
    Ok(())
}

/// Changes a state file, and puts it back: without it nobody can clean up.
struct Changed {
    file: PathBuf,
    before: Vec<u8>,
}

impl Changed {
    fn of(s: &Sandbox, id: &str) -> Check<Changed> {
        let file = s.runtime().root().join(id).join("state.json");
        Ok(Changed { before: fs::read(&file)?, file })
    }

    fn state(&self) -> Check<Value> {
        Ok(serde_json::from_slice(&self.before)?)
    }

    fn write(&self, bytes: impl AsRef<[u8]>) -> Check {
        Ok(fs::write(&self.file, bytes)?)
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        let _ = fs::write(&self.file, &self.before);
    }
}

fn a_damaged_state_is_told_as_state_tells_it_and_the_others_are_shown() -> Check {
    let s = sandbox()?;
    for id in ["a", "b", "c"] {
        create(&s, id, &Config::new(SLEEP))?;
    }
    let file = Changed::of(&s, "b")?;
    let text = String::from_utf8(file.before.clone())?;
    for damaged in [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text[..text.len() - 1].to_owned(),
        format!("{text}}}"),
        "\0".repeat(text.len()),
        text.replacen("\"version\":1", "\"version\":2", 1),
        text.replacen("\"hooks\":[", "\"hooks\":{", 1),
        text.replacen("\"own_pids\":true", "\"own_pids\":1", 1),
    ] {
        check!(damaged != text, "nothing is damaged");
        file.write(&damaged)?;
        let why = s.runtime().call(&["state", "b"])?;
        check!(why.code == 1, "{why}");
        let why = why.stderr.rsplit_once(": ").map_or("", |(_, why)| why).trim_end().trim_end_matches('"');
        for words in [&["list"][..], &["list", "--quiet"], &["list", "--format", "json"]] {
            let output = s.runtime().call(words)?;
            check!(output.code == 0 && output.stderr.lines().count() == 1, "{damaged:?}: {output}");
            check!(output.stderr.contains("load container b: ") && output.stderr.contains(why), "{output}");
        }
        let shown = s.runtime().call(&["list", "--quiet"])?.stdout;
        check_eq!(shown, "a\nc\n", "with {damaged:?}");
    }
    fs::remove_file(&file.file)?;
    std::os::unix::fs::symlink(s.runtime().root().join("a/state.json"), &file.file)?;
    let output = s.runtime().call(&["list", "--quiet"])?.success()?;
    check_eq!(output.stdout, "a\nc\n", "with a link in its place");
    Ok(())
}

fn a_state_that_is_written_in_another_way_or_is_long_says_the_same() -> Check {
    let s = sandbox()?;
    create(&s, "a", &Config::new(SLEEP))?;
    s.sleeper("b", &Config::new(SLEEP))?;
    create(&s, "c", &Config::new(SLEEP).set("/annotations/long", "x".repeat(100_000)))?;
    let wanted = listed(&s)?;
    check_eq!(wanted.len(), 3);
    row(&s, "c")?;
    for id in ["a", "b"] {
        let file = Changed::of(&s, id)?;
        file.write(serde_json::to_vec_pretty(&file.state()?)?)?;
        check_eq!(listed(&s)?, wanted, "with another form of {id}");
        row(&s, id)?;
    }
    Ok(())
}

fn a_process_that_came_later_with_its_pid_is_not_the_containers() -> Check {
    let s = sandbox()?;
    s.sleeper("c1", &Config::new(SLEEP))?;
    let file = Changed::of(&s, "c1")?;
    let text = String::from_utf8(file.before.clone())?;
    let old = format!("\"pid\":{},", file.state()?["pid"]);
    check!(text.contains(&old), "no {old} in {text}");
    file.write(text.replacen(&old, &format!("\"pid\":{},", std::process::id()), 1))?;
    let row = row(&s, "c1")?;
    check_eq!((row["status"].as_str(), row["pid"].as_i64()), (Some("stopped"), Some(0)), "{row}");
    Ok(())
}

/// In the middle of a list somebody else deletes one container, and makes another in place of one that was just read.
fn a_container_that_comes_meanwhile_is_not_taken_for_the_one_that_went() -> Check {
    let s = sandbox()?;
    for id in ["a", "b", "c"] {
        create(&s, id, &Config::new(SLEEP))?;
    }
    let delete = |id: &str| s.runtime().call(&["delete", "--force", id])?.success().map(drop);
    let mut seen = Vec::new();
    library::runtime(&s).each(|id, container| -> Check {
        seen.push(match container {
            Ok(c) if id == "a" => {
                delete("a")?;
                create(&s, "a", &Config::new(SLEEP))?;
                delete("b")?;
                format!("a {}", c.status()?)
            }
            Ok(c) => format!("{id} {}", c.status()?),
            Err(e) => format!("{id} {:?}", e.kind()),
        });
        Ok(())
    })?;
    check_eq!(seen, ["a stopped", "b NotFound", "c created"]);
    check_eq!(row(&s, "a")?["status"], "created", "the one that came");
    Ok(())
}

fn main() -> ExitCode {
    run(vec![
        test(
            "a_list_says_of_each_container_what_its_state_says",
            a_list_says_of_each_container_what_its_state_says,
        ),
        test(
            "whoever_froze_a_container_it_is_paused_in_the_list",
            whoever_froze_a_container_it_is_paused_in_the_list,
        ),
        oxrun_only(
            "a_damaged_state_is_told_as_state_tells_it_and_the_others_are_shown",
            FILE,
            a_damaged_state_is_told_as_state_tells_it_and_the_others_are_shown,
        ),
        oxrun_only(
            "a_state_that_is_written_in_another_way_or_is_long_says_the_same",
            FILE,
            a_state_that_is_written_in_another_way_or_is_long_says_the_same,
        ),
        oxrun_only(
            "a_process_that_came_later_with_its_pid_is_not_the_containers",
            FILE,
            a_process_that_came_later_with_its_pid_is_not_the_containers,
        ),
        oxrun_only(
            "a_container_that_comes_meanwhile_is_not_taken_for_the_one_that_went",
            library::WHY,
            a_container_that_comes_meanwhile_is_not_taken_for_the_one_that_went,
        ),
    ])
}
