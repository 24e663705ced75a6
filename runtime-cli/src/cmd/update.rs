//! `update`: limits from options or from a document.

use super::{Ctx, Failure};
use crate::args::{self, Resources};
use serde_json::{Map, Value, json};
use std::io::Read;

/// Largest document, in bytes.
const MAX: u64 = 4 << 20;

/// `update ID`.
#[inline(never)]
pub(crate) fn update(ctx: &Ctx<'_>, a: &args::Update) -> Result<u8, Failure> {
    let container = ctx.runtime()?.open(&a.id)?;
    let bytes = match &a.resources {
        Some(source) => read(source)?,
        None => from_options(a).to_string().into_bytes(),
    };
    let (resources, warnings) = oxrun_core::resources_from_json(&bytes)?;
    for w in warnings {
        ctx.log.warning_at(&w.field, &w.message);
    }
    container.update_with_rdt(&resources, a.l3_cache_schema.as_deref(), a.mem_bw_schema.as_deref())?;
    Ok(0)
}

fn read(source: &Resources) -> Result<Vec<u8>, Failure> {
    let (name, file): (String, std::io::Result<Box<dyn Read>>) = match source {
        Resources::Stdin => ("standard input".to_owned(), Ok(Box::new(std::io::stdin()))),
        Resources::File(path) => {
            (path.display().to_string(), std::fs::File::open(path).map(|f| Box::new(f) as Box<dyn Read>))
        }
    };
    let mut bytes = Vec::new();
    file.and_then(|f| f.take(MAX + 1).read_to_end(&mut bytes)).map_err(|e| {
        let text = oxrun_core::errno_text(e.raw_os_error().unwrap_or(0));
        Failure::plain(format!("open {name}: {text}"))
    })?;
    if bytes.len() as u64 > MAX {
        return Err(Failure::plain(format!("{name} is larger than 4 MiB")));
    }
    Ok(bytes)
}

/// The options as the document that says the same.
fn from_options(a: &args::Update) -> Value {
    let mut groups = Map::new();
    let mut put = |group: &str, key: &str, value: Option<Value>| {
        if let Some(value) = value {
            let group = groups.entry(group).or_insert_with(|| json!({}));
            group[key] = value;
        }
    };
    put("blockIO", "weight", a.blkio_weight.map(Value::from));
    put("cpu", "period", a.cpu_period.map(Value::from));
    put("cpu", "quota", a.cpu_quota.map(Value::from));
    put("cpu", "burst", a.cpu_burst.map(Value::from));
    put("cpu", "idle", a.cpu_idle.map(Value::from));
    put("cpu", "shares", a.cpu_share.map(Value::from));
    put("cpu", "realtimePeriod", a.cpu_rt_period.map(Value::from));
    put("cpu", "realtimeRuntime", a.cpu_rt_runtime.map(Value::from));
    put("cpu", "cpus", a.cpuset_cpus.clone().map(Value::from));
    put("cpu", "mems", a.cpuset_mems.clone().map(Value::from));
    put("memory", "limit", a.memory.map(Value::from));
    put("memory", "reservation", a.memory_reservation.map(Value::from));
    put("memory", "swap", a.memory_swap.map(Value::from));
    put("pids", "limit", a.pids_limit.map(Value::from));
    Value::Object(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_were_not_given_are_not_in_the_document() {
        assert_eq!(from_options(&args::Update::default()), json!({}));
        let a = args::Update {
            memory_swap: Some(-1),
            cpuset_cpus: Some("0".to_owned()),
            ..args::Update::default()
        };
        assert_eq!(from_options(&a), json!({"memory": {"swap": -1}, "cpu": {"cpus": "0"}}));
    }
}
