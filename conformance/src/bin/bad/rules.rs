//! Breaking one rule of the specification each: what the real runtime is told, or what it says, is changed.

use super::{ask, change};
use oxrun_conformance::Check;
use oxrun_conformance::harness::Config;
use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

const KINDS: [&str; 5] = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];

/// The names of what this file does wrong.
pub(crate) const NAMES: [&str; 9] =
    ["patch", "reverse", "agree", "skip", "decline", "answer", "tell", "eager", "reread"];

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// A list of `[pointer, value]`, or `[pointer]` for no value, applied to a document.
fn patched(document: Config, patch: &str) -> Check<Config> {
    let list: Vec<Vec<Value>> = serde_json::from_str(patch)?;
    Ok(list.into_iter().fold(document, |document, entry| match entry.as_slice() {
        [pointer, value] => document.set(pointer.as_str().unwrap_or_default(), value.clone()),
        [pointer] => document.remove(pointer.as_str().unwrap_or_default()),
        _ => document,
    }))
}

fn run(runtime: &OsString, words: &[OsString]) -> Check<i32> {
    Ok(Command::new(runtime).args(words).status()?.code().unwrap_or(1))
}

/// Does what `how` says with a call; the exit code, or none if the call is to be passed on as it is now.
pub(crate) fn bend(how: &str, runtime: &OsString, words: &[OsString]) -> Check<Option<i32>> {
    let is = |names: &[&str]| words.iter().any(|word| names.iter().any(|name| word == name));
    let creates = is(&["create", "run"]);
    let word = variable("OXRUN_BAD_WORD");
    match how {
        "patch" if creates => {
            let patch = variable("OXRUN_BAD_PATCH");
            // What is no config is passed on as it is.
            let _ = change(words, |config| patched(config.clone(), &patch).unwrap_or(config));
        }
        "reverse" if creates => change(words, |config| {
            let mut list = config.get(&word).as_array().cloned().unwrap_or_default();
            list.reverse();
            config.set(&word, list)
        })?,
        "tell" if creates => tell(words)?,
        "agree" if is(&[&word]) => {
            run(runtime, words)?;
            return Ok(Some(0));
        }
        "skip" if is(&[&word]) => return Ok(Some(0)),
        "decline" if is(&[&word]) => return Err("no".into()),
        "answer" if is(&[&word]) => {
            let output = Command::new(runtime).args(words).stderr(Stdio::inherit()).output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            match Config::parse(&text) {
                Ok(document) => {
                    let document = patched(document, &variable("OXRUN_BAD_PATCH"))?;
                    println!("{}", document.text());
                }
                Err(_) => print!("{text}"),
            }
            return Ok(Some(output.status.code().unwrap_or(1)));
        }
        "eager" if is(&["create"]) => {
            let code = run(runtime, words)?;
            if code == 0 {
                return again(runtime, words, "start").map(Some);
            }
            return Ok(Some(code));
        }
        "reread" if is(&["start"]) => {
            let id = words.last().ok_or("no id")?;
            let state = ask(runtime, words, id)?;
            let root: Vec<&OsString> = words.iter().take_while(|word| *word != "start").collect();
            Command::new(runtime).args(&root).args(["delete", "--force"]).arg(id).status()?;
            let bundle = state["bundle"].as_str().unwrap_or_default();
            Command::new(runtime).args(&root).args(["create", "--bundle", bundle]).arg(id).status()?;
        }
        _ => {}
    }
    Ok(None)
}

/// The same call for another command.
fn again(runtime: &OsString, words: &[OsString], command: &str) -> Check<i32> {
    let root: Vec<&OsString> = words.iter().take_while(|word| *word != "create").collect();
    let id = words.last().ok_or("no id")?;
    let done = Command::new(runtime).args(root).arg(command).arg(id).status()?;
    Ok(done.code().unwrap_or(1))
}

/// Puts this file between the runtime and each of its hooks on the host.
fn tell(words: &[OsString]) -> Check {
    let own = std::env::current_exe()?.to_string_lossy().into_owned();
    let patch = variable("OXRUN_BAD_PATCH");
    change(words, |mut config| {
        for kind in KINDS {
            let count = config.get(&format!("/hooks/{kind}")).as_array().map_or(0, Vec::len);
            for at in (0..count).map(|index| format!("/hooks/{kind}/{index}")) {
                let path = config.get(&format!("{at}/path")).clone();
                let own_args = config.get(&format!("{at}/args")).as_array().cloned().unwrap_or_default();
                let mut args = vec!["oxrun-bad".into(), "relay".into(), patch.clone().into(), path];
                args.extend(own_args.into_iter().skip(1));
                config = config.set(&format!("{at}/path"), own.clone()).set(&format!("{at}/args"), args);
            }
        }
        config
    })
}

/// Hands a state, changed, to the hook that stands after the change.
pub(crate) fn relay(words: &[OsString]) -> Check<i32> {
    let [patch, path, rest @ ..] = words else {
        return Err("no hook".into());
    };
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let document = patched(Config::parse(&text)?, &patch.to_string_lossy())?;
    let mut child = Command::new(path).args(rest).stdin(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(document.text().as_bytes())?;
    }
    Ok(child.wait()?.code().unwrap_or(1))
}
