//! What oxrun does not do yet, by the test that shows it. A test named here is reported as ignored with its
//! reason, never as passed; whoever writes the feature deletes its lines.

/// The test and what is missing.
const NOT_YET: &[(&str, &str)] = &[
    (
        "hooks_run_in_order_at_their_stage",
        "hooks inside the container",
    ),
    (
        "a_failing_start_container_hook_keeps_the_program_from_running",
        "hooks inside the container",
    ),
    (
        "exec_into_an_unknown_container_exits_with_255",
        "the command exec",
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
        "a_private_bind_sees_no_later_mount_of_the_host",
        "the command exec",
    ),
    ("a_shared_bind_is_a_peer_of_the_host", "the command exec"),
    (
        "a_slave_bind_sees_later_mounts_of_the_host",
        "the command exec",
    ),
    (
        "a_start_container_hook_runs_inside_before_the_program",
        "hooks inside the container",
    ),
    (
        "an_unknown_id_is_refused_by_every_command",
        "the command exec",
    ),
    (
        "delete_force_removes_a_paused_container",
        "the commands pause and resume",
    ),
    ("exec_between_create_and_start_works", "the command exec"),
    ("exec_enters_every_namespace", "the command exec"),
    ("exec_gets_a_terminal_of_its_own", "the command exec"),
    (
        "exec_into_a_stopped_container_is_refused",
        "the command exec",
    ),
    (
        "exec_of_a_missing_program_exits_with_255",
        "the command exec",
    ),
    ("exec_runs_in_the_container", "the command exec"),
    ("exec_takes_its_process_from_a_file", "the command exec"),
    ("exec_takes_the_umask_from_a_file", "the command exec"),
    (
        "exec_takes_user_environment_and_directory_from_options",
        "the command exec",
    ),
    (
        "exec_with_a_capability_does_not_make_it_inheritable",
        "the command exec",
    ),
    ("hooks_read_the_state", "hooks inside the container"),
    (
        "hooks_read_the_status_of_their_stage",
        "hooks inside the container",
    ),
    (
        "loopback_is_up_in_a_new_network_namespace",
        "the command exec",
    ),
    (
        "pause_freezes_and_resume_thaws",
        "the commands pause and resume",
    ),
    ("run_runs_every_hook_once", "hooks inside the container"),
    ("stray_descriptors_are_closed_in_exec", "the command exec"),
    ("the_personality_is_as_configured", "linux.personality"),
    ("tmpcopyup_copies_what_the_tmpfs_covers", "tmpcopyup"),
];

/// Why a test cannot pass yet.
pub(super) fn reason(test: &str) -> Option<String> {
    let (_, missing) = NOT_YET.iter().find(|(name, _)| *name == test)?;
    Some(format!("not yet: {missing}"))
}
