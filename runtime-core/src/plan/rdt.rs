//! The class of service of Intel RDT that a container runs in: made before its process, which then is put into it.

use super::Builder;
use super::action::Action;
use crate::error::Result;
use crate::rdt::{FIELD, Groups, wanted};

/// Up to the process: where it is to go.
pub(super) fn class(b: &mut Builder<'_>) -> Result<Option<Groups>> {
    let Some(rdt) = b.linux().and_then(|l| l.intel_rdt().as_ref()) else {
        return Ok(None);
    };
    let wanted = wanted(rdt, b.id, b.facts.resctrl.as_ref())?;
    let mount = wanted.class.mount.clone();
    b.host(format!("{FIELD}/closID"), Action::RdtClass(wanted.class));
    if !wanted.schemata.is_empty() {
        let file = wanted.groups.class.join("schemata");
        let schemata = Action::RdtSchemata { mount: mount.clone(), file, lines: wanted.schemata };
        b.host(FIELD, schemata);
    }
    if let Some(dir) = wanted.groups.monitor.clone() {
        b.host(format!("{FIELD}/enableMonitoring"), Action::RdtMonitor { mount, dir });
    }
    Ok(Some(wanted.groups))
}
