//! Doors for the fuzz targets to what is not public: the readers of the state directory, and planning a further
//! process without a container. Only with `--cfg fuzzing`.

use crate::Bundle;
use crate::error::Result;
use crate::facts::HostFacts;
use crate::filters;
use crate::plan::{self, CreateOptions, Plan};
use crate::state::{State, brief};
use crate::template::{self, Template};

/// Reads a state file. What was understood is written and read again.
pub fn state(bytes: &[u8]) {
    let state = State::parse(bytes);
    if let Some(brief) = brief::read(bytes) {
        let state = state.as_ref().expect("what a brief look reads is a state");
        assert!(brief.is_of(state), "a brief look sees what is there");
    }
    let Ok(state) = state else { return };
    let text = serde_json::to_vec(&state).unwrap_or_default();
    assert_eq!(State::parse(&text).ok(), Some(state), "what was written is what is read");
}

/// Reads an exec template.
pub fn template(bytes: &[u8]) {
    if let Some(Template { config, filter, facts }) = template::decode(bytes) {
        let again = template::file(&template::rest(&config.bytes), filter.as_ref(), &facts);
        let again = template::decode(&again).map(|t| (t.filter, t.facts));
        assert_eq!(again, Some((filter, facts)), "what was written is what is read");
    }
}

/// Plans a further process in a container with this state and config.
///
/// # Errors
/// As [`crate::Runtime::plan_exec`].
pub fn exec(state: &[u8], config: &Bundle, process: &[u8], facts: &HostFacts) -> Result<Plan> {
    let state =
        State::parse(state).map_err(|e| crate::Error::new(crate::ErrorKind::Internal, e.to_string()))?;
    let filter = plan::filter(config.spec())?;
    let template = Template { config: config.clone(), filter, facts: facts.clone() };
    let process = Bundle::process_from_json(process)?;
    plan::exec(&state, &template, &process, facts, &CreateOptions::default())
}

/// Plans a config, of which this is the plan, as if the filter of its profile had been kept: nothing changes by that.
pub fn kept(bytes: &[u8], facts: &HostFacts, options: &CreateOptions, plan: &Plan) {
    let Some(program) = filters::of(plan) else { return };
    let known = Bundle::knowing(bytes, Some(&|_| Some(program.clone()))).expect("it was read before");
    if known.filter.is_some() {
        let again = plan::plan(&plan.id, &known, facts, options).expect("it was planned before");
        assert!(again == *plan, "another plan with the filter\n{plan}\n{again}");
        let read = Bundle::from_json(bytes).expect("it was read before");
        assert!(known.spec() == read.spec(), "another spec with the filter");
    }
}

/// Compiles a profile and compares with its plain reading.
pub fn seccomp(profile: &oci_spec::runtime::LinuxSeccomp, native: crate::seccomp::Arch, seed: u64) {
    crate::seccomp::tests::compare(profile, native, seed);
}

/// Compiles device rules and compares with their plain reading, if they fit into a program.
pub fn devices(rules: &[crate::cgroup::devices::DeviceRule]) {
    if crate::cgroup::device_bpf::compile(rules).is_ok() {
        crate::cgroup::device_bpf::tests::compare(rules);
    }
}
