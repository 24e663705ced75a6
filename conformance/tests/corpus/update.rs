//! Recorded changes of limits, each made to a running container of the same engine and read back.

use super::compare::{Difference, limit_differences};
use super::run;
use super::stage::{ID, Stage};
use super::{documents, is_rootless};
use oxrun_conformance::Check;
use serde_json::{Value, json};
use std::fs::File;

/// The config of the container that is changed.
const CONTAINERS: [(&str, &str); 4] = [
    ("cri16-limits", "cri16-container"),
    ("docker20-limits", "docker20-limits"),
    ("docker28-shares", "docker28-run-fg"),
    ("podman43-limits", "podman43-limits"),
];

/// The config for an update.
pub(crate) fn container(name: &str) -> String {
    let found = CONTAINERS.iter().find(|(update, _)| name.starts_with(update));
    format!("{}.config.json", found.map_or("", |(_, config)| config))
}

/// What differs after the update from the limits of the config with those of the update over them.
pub(crate) fn differences(name: &str, change: impl FnOnce(&mut Value)) -> Check<Vec<Difference>> {
    let config = container(name);
    let mut stage = Stage::new(&documents::read(&config)?, is_rootless(&config))?;
    stage.program(&["/bin/probe", "sleep"].map(str::to_owned))?;
    let rt = stage.sandbox.runtime();
    rt.start_ready(stage.bundle.path(), ID)?;
    let update = documents::read(name)?;
    let mut command = rt.command();
    command.args(["update", "--resources", "-", ID]);
    command.stdin(File::open(stage.sandbox.make_file("resources.json", &update.to_string())?)?);
    let output = rt.finish(command)?.success()?;
    let mut document = stage.document.clone();
    put_over(&mut document["linux"]["resources"], &update);
    change(&mut document);
    let seen = json!({ "limits": run::limits(&stage)?, "update said": output.stderr });
    Ok(limit_differences(&document, &seen))
}

/// A number that is not zero, a text that is not empty and a list replace what is there.
fn put_over(limits: &mut Value, update: &Value) {
    match update {
        Value::Object(map) => {
            for (key, value) in map {
                put_over(&mut limits[key], value);
            }
        }
        Value::Number(number) if number.as_i64() == Some(0) => {}
        Value::String(text) if text.is_empty() => {}
        value => *limits = value.clone(),
    }
}
