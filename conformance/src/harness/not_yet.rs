//! What oxrun does not do yet, by the test that shows it. A test named here is reported as ignored with its
//! reason, never as passed; whoever writes the feature deletes its lines.

/// The test and what is missing.
const NOT_YET: &[(&str, &str)] = &[
    (
        "an_unknown_id_is_refused_by_every_command",
        "the commands pause and resume",
    ),
    (
        "hooks_run_in_order_at_their_stage",
        "hooks inside the container",
    ),
    (
        "a_failing_start_container_hook_keeps_the_program_from_running",
        "hooks inside the container",
    ),
    (
        "a_create_container_hook_runs_in_the_containers_mount_namespace",
        "hooks inside the container",
    ),
    (
        "a_failing_create_container_hook_fails_create",
        "hooks inside the container",
    ),
    ("a_mount_namespace_is_joined", "joined mount namespaces"),
    ("a_new_time_namespace_has_its_offsets", "time namespaces"),
    (
        "a_new_user_namespace_has_its_mappings",
        "user namespaces made by root",
    ),
    (
        "a_start_container_hook_runs_inside_before_the_program",
        "hooks inside the container",
    ),
    (
        "delete_force_removes_a_paused_container",
        "the commands pause and resume",
    ),
    ("hooks_read_the_state", "hooks inside the container"),
    (
        "hooks_read_the_status_of_their_stage",
        "hooks inside the container",
    ),
    (
        "pause_freezes_and_resume_thaws",
        "the commands pause and resume",
    ),
    ("run_runs_every_hook_once", "hooks inside the container"),
    ("the_personality_is_as_configured", "linux.personality"),
    ("tmpcopyup_copies_what_the_tmpfs_covers", "tmpcopyup"),
];

/// Why a test cannot pass yet.
pub(super) fn reason(test: &str) -> Option<String> {
    let (_, missing) = NOT_YET.iter().find(|(name, _)| *name == test)?;
    Some(format!("not yet: {missing}"))
}
