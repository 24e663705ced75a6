//! `spec`, `explain` and `check`.

use super::{Ctx, Failure, print};
use crate::args;
use crate::spec_template;
use oxrun_core::{Bundle, Error};
use std::path::Path;

/// `spec`: writes a config.json to start from.
#[inline(never)]
pub(crate) fn spec(ctx: &Ctx<'_>, a: &args::Spec) -> Result<u8, Failure> {
    let dir = a.bundle.as_deref().unwrap_or(Path::new("."));
    let (euid, egid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let v2 = ctx.runtime()?.facts()?.cgroup.v1.is_empty();
    let hostname = if ctx.program == "runc" { "runc" } else { "oxrun" };
    let text = spec_template::text(hostname, a.rootless.then_some((euid, egid)), v2);
    let path = dir.join("config.json");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).open(&path);
    let written = file.and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()));
    match written {
        Ok(()) => Ok(0),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::plain("File config.json exists. Remove it first"))
        }
        Err(e) => Err(Failure::plain(format!(
            "open {}: {}",
            path.display(),
            oxrun_core::errno_text(e.raw_os_error().unwrap_or(0)),
        ))),
    }
}

/// `explain`: prints the plan of a bundle and runs nothing.
#[inline(never)]
pub(crate) fn explain(ctx: &Ctx<'_>, a: &args::Explain) -> Result<u8, Failure> {
    let bundle = Bundle::open(a.bundle.as_deref().unwrap_or(Path::new(".")))?;
    let name = bundle.dir().file_name().map(|n| n.to_string_lossy().into_owned());
    let id = a.id.clone().or(name).unwrap_or_else(|| "container".to_owned());
    let plan = ctx.runtime()?.plan(&id, &bundle, &ctx.options()?)?;
    if a.json {
        let json = serde_json::to_string_pretty(&plan).map_err(|e| Failure::plain(e.to_string()))?;
        return print(&format!("{json}\n"));
    }
    print(&format!("{plan}\n"))
}

/// `check`: looks for what would make the container of a bundle fail. 0: nothing; 1: something; 255: it cannot be looked at.
#[inline(never)]
pub(crate) fn check(ctx: &Ctx<'_>, a: &args::Check) -> Result<u8, Failure> {
    let failed =
        |e: &Error| Failure { code: 255, ..Failure::of(&format!("{} check failed: ", ctx.program), e) };
    let dir = a.bundle.as_deref().unwrap_or(Path::new("."));
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().map_or("container".into(), |n| n.to_string_lossy());
    // Whatever the directory is called, it has to be an id.
    let fine = |c: char| c.is_ascii_alphanumeric() || "_+.-".contains(c);
    let id: String = name.chars().map(|c| if fine(c) { c } else { '_' }).take(255).collect();
    let report = ctx.runtime()?.check(&id, dir, &ctx.options()?).map_err(|e| failed(&e))?;
    if a.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| Failure::plain(e.to_string()))?;
        print(&format!("{json}\n"))?;
    } else {
        print(&format!("{report}\n"))?;
    }
    Ok(u8::from(!report.is_fine()))
}
