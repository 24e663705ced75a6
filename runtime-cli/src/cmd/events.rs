//! `events`: figures and OOM kills of a container, one JSON object on each line, as runc prints them.

use super::{Ctx, Failure, print};
use crate::args;
use oxrun_core::{Container, Event, Status};
use std::time::Instant;

/// `events ID`: ends with the container, with `--stats` at once.
#[inline(never)]
pub(crate) fn events(ctx: &Ctx<'_>, a: &args::Events) -> Result<u8, Failure> {
    let container = ctx.runtime()?.open(&a.id)?;
    if container.status()? == Status::Stopped {
        return Err(Failure::plain(format!("container with id {} is not running", a.id)));
    }
    if a.stats {
        return stats(&container);
    }
    let mut watch = container.watch()?;
    if !watch.sees_oom() {
        ctx.log.warning("OOM kills cannot be told: the container's memory is not counted");
    }
    let mut next = Instant::now() + a.interval;
    loop {
        match watch.next(Some(next.saturating_duration_since(Instant::now())))? {
            Event::Oom => print(&format!("{{\"type\":\"oom\",\"id\":{}}}\n", id(&container)))?,
            Event::Ended => return Ok(0),
            _ => {
                // What took longer than the interval is not caught up with.
                next = (next + a.interval).max(Instant::now());
                stats(&container)?
            }
        };
    }
}

fn stats(container: &Container) -> Result<u8, Failure> {
    let figures = serde_json::to_string(&container.stats()?).map_err(|e| Failure::plain(e.to_string()))?;
    print(&format!("{{\"type\":\"stats\",\"id\":{},\"data\":{figures}}}\n", id(container)))
}

fn id(container: &Container) -> serde_json::Value {
    container.id().into()
}
