//! T10: a further process is who it was asked to be, and gets no capability in a set that was not asked for
//! (CVE-2022-29162, CVE-2026-30892). T11: it stays in the container's cgroup.

use super::canary::Canary;
use super::hierarchy::own;
use super::{Attack, Control, Outcome, attack};
use crate::Check;
use crate::harness::{Config, Sandbox};
use serde_json::{Value, json};

const REPORT: &[&str] = &["/bin/probe", "report"];
const ADDED: [&str; 3] = ["CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_CHOWN"];
/// Users: as asked for, and the uid and gid that they are.
const USERS: [(&str, u64, u64); 5] = [
    ("1", 1, 0),
    ("1:1", 1, 1),
    ("65534:65534", 65534, 65534),
    ("4294967294:4294967294", 4_294_967_294, 4_294_967_294),
    ("010:1", 10, 1),
];

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        attack("T10", "exec --cap in all combinations", capabilities, empty, Control::Bad("inherit")),
        attack("T10", "exec --cap beside inheritable ones", inherited, one, Control::Bad("inherit")),
        attack("T10", "exec --user", users, exact, Control::Bad("user")),
        attack("T11", "exec --cgroup leads above the container's", above, own, Control::Bad("enter")),
    ]
}

/// Tries each call in one container; the outcome is that of the last, or of the first that ended badly.
fn each(
    sandbox: &Sandbox,
    config: &Config,
    calls: &[Vec<String>],
    judge: fn(&Outcome) -> Result<(), String>,
) -> Check<Outcome> {
    sandbox.sleeper("victim", config)?;
    let mut last = Outcome::default();
    for call in calls {
        let mut words: Vec<&str> = vec!["exec"];
        words.extend(call.iter().map(String::as_str));
        words.push("victim");
        words.extend(REPORT);
        last = Outcome::of(sandbox.runtime().call(&words)?)?;
        if let Some(Value::Object(report)) = &mut last.report {
            report.insert("asked".to_owned(), json!(call));
        }
        if judge(&last).is_err() {
            break;
        }
    }
    Ok(last)
}

/// Every subset of the capabilities, as root and as a user, with and without no_new_privs.
fn combinations() -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for set in 0..1 << ADDED.len() {
        for user in [None, Some("1000:1000")] {
            let chosen = ADDED.iter().enumerate().filter(|(index, _)| set & (1 << index) != 0);
            let mut words: Vec<String> =
                chosen.flat_map(|(_, name)| ["--cap".to_owned(), (*name).to_owned()]).collect();
            words.extend(user.iter().flat_map(|user| ["--user".to_owned(), (*user).to_owned()]));
            calls.push(words);
        }
    }
    calls
}

fn capabilities(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    each(sandbox, &Config::new(REPORT), &combinations(), empty)
}

fn inherited(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let config = Config::new(REPORT)
        .set("/process/capabilities/inheritable", json!(["CAP_KILL"]))
        .set("/process/capabilities/ambient", json!(["CAP_KILL"]));
    each(sandbox, &config, &combinations(), one)
}

/// The inheritable and the ambient set are exactly these.
fn sets(outcome: &Outcome, expected: u64) -> Result<(), String> {
    if let Some(refusal) = &outcome.refusal {
        return Err(format!("refused: {}", refusal.stderr.trim_end()));
    }
    let report = outcome.seen()?;
    let asked: Vec<&str> =
        report["asked"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let set = |name: &str| {
        let text = report["capabilities"][name].as_str().unwrap_or_default();
        u64::from_str_radix(text, 16).map_err(|_| format!("no {name} set in the report"))
    };
    for name in ["inheritable", "ambient"] {
        let found = set(name)?;
        if found != expected {
            return Err(format!("exec {}: the {name} set is {found:#x}", asked.join(" ")));
        }
    }
    let by_user = asked.contains(&"--user");
    let numbers = [("CAP_NET_RAW", 13), ("CAP_SYS_ADMIN", 21), ("CAP_CHOWN", 0)];
    let missing = numbers.iter().filter(|(name, _)| asked.contains(name));
    let effective = set("effective")?;
    match missing.into_iter().find(|(_, number)| !by_user && effective & (1 << number) == 0) {
        Some((name, _)) => Err(format!("exec {}: {name} was not given", asked.join(" "))),
        None => Ok(()),
    }
}

fn empty(outcome: &Outcome) -> Result<(), String> {
    sets(outcome, 0)
}

/// CAP_KILL and nothing else.
fn one(outcome: &Outcome) -> Result<(), String> {
    sets(outcome, 1 << 5)
}

fn users(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let calls: Vec<_> =
        USERS.iter().map(|(user, ..)| vec!["--user".to_owned(), (*user).to_owned()]).collect();
    each(sandbox, &Config::new(REPORT), &calls, exact)
}

fn exact(outcome: &Outcome) -> Result<(), String> {
    if outcome.refused_cleanly()? {
        return Ok(());
    }
    let report = outcome.seen()?;
    let asked = &report["asked"][1];
    let Some((_, uid, gid)) = USERS.iter().find(|(user, ..)| asked == user) else {
        return Err(format!("unknown user {asked}"));
    };
    let is = |key: &str, id: u64| report[key].as_array().is_some_and(|ids| ids.iter().all(|i| *i == id));
    if !is("uids", *uid) || !is("gids", *gid) {
        return Err(format!("exec --user {asked} is {} and {}", report["uids"], report["gids"]));
    }
    Ok(())
}

fn above(sandbox: &Sandbox, _: &Canary) -> Check<Outcome> {
    let calls: Vec<_> = ["..", "../..", "x/../..", "../x", "/..", "a/../../../.."]
        .iter()
        .map(|path| vec!["--cgroup".to_owned(), (*path).to_owned()])
        .collect();
    each(sandbox, &Config::new(REPORT), &calls, own)
}
