//! Looking at what a plan will meet: the host, the root filesystem, the program.
//!
//! What must hold: nothing is made, changed, mounted or executed, here or by what is called; paths below the
//! root filesystem are walked by descriptors that only stand for a place. What is reported was seen: a check
//! that finds nothing is no promise, the world may change until the container is created.

pub(crate) mod cgroup;
pub(crate) mod host;
pub(crate) mod program;
pub(crate) mod tree;
pub(crate) mod view;

use crate::bundle::Bundle;
use crate::error::{Error, ErrorKind, Result};
use crate::facts::HostFacts;
use crate::plan::{self, CreateOptions, Plan};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a finding means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The container will not be created, or not start.
    Error,
    /// It will, but not as it is written, or only if something changes until then.
    Warning,
    /// Worth knowing, and often meant.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// One thing that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// The JSON pointer of the field, or words in parentheses where no field asks for it.
    pub field: String,
    /// The number of the plan's step, from 1, if there is a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// One sentence.
    pub message: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a check found, the gravest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The container's id.
    pub id: String,
    /// The facts it was checked on, in a line.
    pub host: String,
    /// How many steps the plan has; 0 if none can be made.
    pub steps: u32,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    /// Whether nothing stands against the container: notes do not.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.findings.iter().all(|f| f.severity == Severity::Note)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.id)?;
        if self.steps > 0 {
            write!(f, "{} steps on ", self.steps)?;
        }
        write!(f, "{}", self.host)?;
        for finding in &self.findings {
            write!(f, "\n{}: {}: {}", finding.severity, finding.field, finding.message)?;
            if let Some(hint) = &finding.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        let number = |severity, one: &str| match self.count(severity) {
            1 => format!("1 {one}"),
            n => format!("{n} {one}s"),
        };
        let (errors, warnings) = (number(Severity::Error, "error"), number(Severity::Warning, "warning"));
        write!(f, "\n{errors}, {warnings}, {}", number(Severity::Note, "note"))
    }
}

/// What the parts of a check share.
pub(crate) struct Check<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) facts: &'a HostFacts,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn put(&mut self, severity: Severity, step: u32, field: String, message: String, hint: Option<String>) {
        self.findings.push(Finding { severity, field, step: Some(step), message, hint });
    }

    /// Something that stands against the container.
    pub(crate) fn error(&mut self, step: u32, field: impl Into<String>, message: impl Into<String>) {
        self.put(Severity::Error, step, field.into(), message.into(), None);
    }

    /// The same with what can be done about it.
    pub(crate) fn error_with(
        &mut self,
        step: u32,
        field: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.put(Severity::Error, step, field.into(), message.into(), Some(hint.into()));
    }

    /// Something that will be otherwise than it is written.
    pub(crate) fn warning(&mut self, step: u32, field: impl Into<String>, message: impl Into<String>) {
        self.put(Severity::Warning, step, field.into(), message.into(), None);
    }
}

/// Checks a bundle on a host of these facts.
///
/// # Errors
/// If checking itself fails. A config that cannot be carried out is a finding.
pub(crate) fn check(id: &str, bundle: &Bundle, facts: &HostFacts, options: &CreateOptions) -> Result<Report> {
    let plan = match plan::plan(id, bundle, facts, options) {
        Ok(plan) => plan,
        Err(e) if e.field().is_some() => {
            let mut findings = vec![of_error(&e)];
            findings.extend(warnings(&bundle.warnings));
            let host = format!("linux {}, cgroup {}", facts.kernel, facts.cgroup.layout());
            return Ok(Report { id: id.to_owned(), host, steps: 0, findings });
        }
        Err(e) => return Err(e),
    };
    let mut check = Check { plan: &plan, facts, findings: Vec::new() };
    tree::look(&mut check);
    host::look(&mut check);
    cgroup::look(&mut check);
    if let Some(denied) = &plan.denies_execve {
        check.error(plan.steps.len() as u32, denied.field.clone(), denied.message.clone());
    }
    let mut findings = check.findings;
    findings.extend(warnings(&plan.warnings));
    findings.extend(plan.skipped_calls().map(|(field, name)| Finding {
        severity: Severity::Note,
        field,
        step: None,
        message: format!("no architecture of the filter has a system call {name:?}, skipped"),
        hint: None,
    }));
    // Stable: findings of one kind stay in the order of the plan.
    findings.sort_by_key(|f| f.severity);
    Ok(Report { id: plan.id.clone(), host: plan.host.clone(), steps: plan.steps.len() as u32, findings })
}

/// A config that cannot be read or planned, as a finding.
pub(crate) fn of_error(e: &Error) -> Finding {
    Finding {
        severity: Severity::Error,
        field: e.field().unwrap_or("/").to_owned(),
        step: None,
        message: e.to_string(),
        hint: e.hint_text().map(str::to_owned),
    }
}

/// Reads the bundle in `dir` and checks it; a config.json that is wrong is a finding.
pub(crate) fn check_dir(
    id: &str,
    dir: &std::path::Path,
    facts: &HostFacts,
    options: &CreateOptions,
) -> Result<Report> {
    match Bundle::open(dir) {
        Ok(bundle) => check(id, &bundle, facts, options),
        Err(e) if e.kind() == ErrorKind::InvalidConfig => Ok(Report {
            id: id.to_owned(),
            host: format!("linux {}, cgroup {}", facts.kernel, facts.cgroup.layout()),
            steps: 0,
            findings: vec![of_error(&e)],
        }),
        Err(e) => Err(e),
    }
}

fn warnings(list: &[crate::bundle::Warning]) -> impl Iterator<Item = Finding> {
    list.iter().map(|w| Finding {
        severity: Severity::Warning,
        field: w.field.clone(),
        step: None,
        message: w.message.clone(),
        hint: None,
    })
}
