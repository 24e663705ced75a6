//! What oxrun does not do yet, by the test that shows it. A test named here is reported as ignored with its
//! reason, never as passed; whoever writes the feature deletes its lines.

/// The test and what is missing.
const NOT_YET: &[(&str, &str)] = &[];

/// Why a test cannot pass yet.
pub(super) fn reason(test: &str) -> Option<String> {
    let (_, missing) = NOT_YET.iter().find(|(name, _)| *name == test)?;
    Some(format!("not yet: {missing}"))
}
