//! `start`, `pause`, `resume`, `kill`, `delete`.

use super::{Ctx, Failure};
use crate::args;
use crate::notify::Proxy;
use oxrun_core::ErrorKind;

/// `start ID`. Where a service manager listens, it ends when the program says that it is ready.
#[inline(never)]
pub(crate) fn start(ctx: &Ctx<'_>, id: &str) -> Result<u8, Failure> {
    let container = ctx.runtime()?.open(id)?;
    let proxy = Proxy::open(ctx, id)?;
    container.start()?;
    if let Some(proxy) = proxy {
        proxy.wait(container.pidfd(), container.started_pid());
    }
    Ok(0)
}

/// `pause ID`.
#[inline(never)]
pub(crate) fn pause(ctx: &Ctx<'_>, id: &str) -> Result<u8, Failure> {
    ctx.runtime()?.open(id)?.pause()?;
    Ok(0)
}

/// `resume ID`.
#[inline(never)]
pub(crate) fn resume(ctx: &Ctx<'_>, id: &str) -> Result<u8, Failure> {
    ctx.runtime()?.open(id)?.resume()?;
    Ok(0)
}

/// `kill ID SIGNAL`.
#[inline(never)]
pub(crate) fn kill(ctx: &Ctx<'_>, a: &args::Kill) -> Result<u8, Failure> {
    ctx.runtime()?.open(&a.id)?.kill(a.signal, a.all)?;
    Ok(0)
}

/// `delete ID`. With `--force` an unknown container is gone already, and a half-made one is cleaned up.
#[inline(never)]
pub(crate) fn delete(ctx: &Ctx<'_>, a: &args::Delete) -> Result<u8, Failure> {
    let runtime = ctx.runtime()?;
    let warnings = match runtime.open(&a.id) {
        Ok(container) => match container.delete(a.force) {
            // Somebody else was faster.
            Err(e) if a.force && e.kind() == ErrorKind::NotFound => return Ok(0),
            deleted => deleted?,
        },
        Err(e) if a.force && e.kind() == ErrorKind::NotFound => match runtime.remove_remains(&a.id) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
            _ => return Ok(0),
        },
        Err(e) => return Err(e.into()),
    };
    for warning in warnings {
        ctx.log.warning(&warning);
    }
    Ok(0)
}
