//! What oxrun does not do yet, by the test that shows it. A test named here is reported as ignored with its
//! reason, never as passed; whoever writes the feature deletes its lines.

/// The test and what is missing.
const NOT_YET: &[(&str, &str)] = &[
    ("a_mount_namespace_is_joined", "joined mount namespaces"),
    ("a_new_time_namespace_has_its_offsets", "time namespaces"),
    ("a_new_user_namespace_has_its_mappings", "user namespaces made by root"),
];

/// Why a test cannot pass yet.
pub(super) fn reason(test: &str) -> Option<String> {
    let (_, missing) = NOT_YET.iter().find(|(name, _)| *name == test)?;
    Some(format!("not yet: {missing}"))
}
