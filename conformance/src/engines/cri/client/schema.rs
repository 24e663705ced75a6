//! The messages of the CRI, version 1, as far as the scenarios ask and look.

use super::message::Kind::{Many, Named, Number, Numbers, One, Text, Texts};
use super::message::Message;

const METADATA: Message =
    &[("name", 1, Text), ("uid", 2, Text), ("namespace", 3, Text), ("attempt", 4, Number)];
const CONTAINER_METADATA: Message = &[("name", 1, Text), ("attempt", 2, Number)];
const VALUE: Message = &[("value", 1, Number)];
const NAMESPACES: Message =
    &[("network", 1, Number), ("pid", 2, Number), ("ipc", 3, Number), ("target_id", 4, Text)];
const PROFILE: Message = &[("profile_type", 1, Number), ("localhost_ref", 2, Text)];

/// `LinuxContainerResources`.
pub(super) const RESOURCES: Message = &[
    ("cpu_period", 1, Number),
    ("cpu_quota", 2, Number),
    ("cpu_shares", 3, Number),
    ("memory_limit_in_bytes", 4, Number),
    ("oom_score_adj", 5, Number),
    ("cpuset_cpus", 6, Text),
    ("cpuset_mems", 7, Text),
    ("unified", 9, Named),
    ("memory_swap_limit_in_bytes", 10, Number),
];

const POD_SECURITY: Message = &[
    ("namespace_options", 1, One(NAMESPACES)),
    ("run_as_user", 3, One(VALUE)),
    ("readonly_rootfs", 4, Number),
    ("supplemental_groups", 5, Numbers),
    ("privileged", 6, Number),
    ("run_as_group", 8, One(VALUE)),
    ("seccomp", 9, One(PROFILE)),
];

const POD_LINUX: Message =
    &[("cgroup_parent", 1, Text), ("security_context", 2, One(POD_SECURITY)), ("sysctls", 3, Named)];

const DNS: Message = &[("servers", 1, Texts), ("searches", 2, Texts), ("options", 3, Texts)];

const POD_CONFIG: Message = &[
    ("metadata", 1, One(METADATA)),
    ("hostname", 2, Text),
    ("log_directory", 3, Text),
    ("dns_config", 4, One(DNS)),
    ("labels", 6, Named),
    ("annotations", 7, Named),
    ("linux", 8, One(POD_LINUX)),
];

const CAPABILITIES: Message = &[
    ("add_capabilities", 1, Texts),
    ("drop_capabilities", 2, Texts),
    ("add_ambient_capabilities", 3, Texts),
];

const SECURITY: Message = &[
    ("capabilities", 1, One(CAPABILITIES)),
    ("privileged", 2, Number),
    ("namespace_options", 3, One(NAMESPACES)),
    ("run_as_user", 5, One(VALUE)),
    ("run_as_username", 6, Text),
    ("readonly_rootfs", 7, Number),
    ("supplemental_groups", 8, Numbers),
    ("no_new_privs", 11, Number),
    ("run_as_group", 12, One(VALUE)),
    ("masked_paths", 13, Texts),
    ("readonly_paths", 14, Texts),
    ("seccomp", 15, One(PROFILE)),
];

const LINUX: Message = &[("resources", 1, One(RESOURCES)), ("security_context", 2, One(SECURITY))];
const IMAGE: Message = &[("image", 1, Text)];
const ENV: Message = &[("key", 1, Text), ("value", 2, Text)];
const DEVICE: Message = &[("container_path", 1, Text), ("host_path", 2, Text), ("permissions", 3, Text)];

const MOUNT: Message = &[
    ("container_path", 1, Text),
    ("host_path", 2, Text),
    ("readonly", 3, Number),
    ("propagation", 5, Number),
];

const CONTAINER_CONFIG: Message = &[
    ("metadata", 1, One(CONTAINER_METADATA)),
    ("image", 2, One(IMAGE)),
    ("command", 3, Texts),
    ("args", 4, Texts),
    ("working_dir", 5, Text),
    ("envs", 6, Many(ENV)),
    ("mounts", 7, Many(MOUNT)),
    ("devices", 8, Many(DEVICE)),
    ("labels", 9, Named),
    ("annotations", 10, Named),
    ("log_path", 11, Text),
    ("stdin", 12, Number),
    ("stdin_once", 13, Number),
    ("tty", 14, Number),
    ("linux", 15, One(LINUX)),
];

const POD: Message = &[("pod_sandbox_id", 1, Text)];
const CONTAINER: Message = &[("container_id", 1, Text)];
const NONE: Message = &[];

const STATUS: Message = &[
    ("id", 1, Text),
    ("metadata", 2, One(CONTAINER_METADATA)),
    ("state", 3, Number),
    ("started_at", 5, Number),
    ("finished_at", 6, Number),
    ("exit_code", 7, Number),
    ("reason", 10, Text),
    ("message", 11, Text),
    ("mounts", 14, Many(MOUNT)),
    ("log_path", 15, Text),
];

const FILTER: Message = &[("label_selector", 4, Named)];
const POD_FILTER: Message = &[("label_selector", 3, Named)];
const LISTED: Message = &[
    ("id", 1, Text),
    ("pod_sandbox_id", 2, Text),
    ("metadata", 3, One(CONTAINER_METADATA)),
    ("state", 6, Number),
    ("labels", 8, Named),
];
const LISTED_POD: Message =
    &[("id", 1, Text), ("metadata", 2, One(METADATA)), ("state", 3, Number), ("runtime_handler", 7, Text)];
const CPU: Message = &[("timestamp", 1, Number), ("usage_core_nano_seconds", 2, One(VALUE))];
const MEMORY: Message = &[("timestamp", 1, Number), ("working_set_bytes", 2, One(VALUE))];
const STATS: Message = &[
    ("attributes", 1, One(&[("id", 1, Text), ("metadata", 2, One(CONTAINER_METADATA))])),
    ("cpu", 2, One(CPU)),
    ("memory", 3, One(MEMORY)),
];

/// A method of `RuntimeService` with what it takes and gives.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) takes: Message,
    pub(super) gives: Message,
}

const fn method(name: &'static str, takes: Message, gives: Message) -> Method {
    Method { name, takes, gives }
}

/// Those that are called.
pub(super) const METHODS: &[Method] = &[
    method(
        "Version",
        &[("version", 1, Text)],
        &[("runtime_name", 2, Text), ("runtime_version", 3, Text), ("runtime_api_version", 4, Text)],
    ),
    method("RunPodSandbox", &[("config", 1, One(POD_CONFIG)), ("runtime_handler", 2, Text)], POD),
    method("StopPodSandbox", POD, NONE),
    method("RemovePodSandbox", POD, NONE),
    method(
        "PodSandboxStatus",
        &[("pod_sandbox_id", 1, Text), ("verbose", 2, Number)],
        &[("status", 1, One(LISTED_POD)), ("info", 2, Named)],
    ),
    method("ListPodSandbox", &[("filter", 1, One(POD_FILTER))], &[("items", 1, Many(LISTED_POD))]),
    method(
        "CreateContainer",
        &[
            ("pod_sandbox_id", 1, Text),
            ("config", 2, One(CONTAINER_CONFIG)),
            ("sandbox_config", 3, One(POD_CONFIG)),
        ],
        CONTAINER,
    ),
    method("StartContainer", CONTAINER, NONE),
    method("StopContainer", &[("container_id", 1, Text), ("timeout", 2, Number)], NONE),
    method("RemoveContainer", CONTAINER, NONE),
    method("ListContainers", &[("filter", 1, One(FILTER))], &[("containers", 1, Many(LISTED))]),
    method(
        "ContainerStatus",
        &[("container_id", 1, Text), ("verbose", 2, Number)],
        &[("status", 1, One(STATUS)), ("info", 2, Named)],
    ),
    method("UpdateContainerResources", &[("container_id", 1, Text), ("linux", 2, One(RESOURCES))], NONE),
    method("ReopenContainerLog", CONTAINER, NONE),
    method(
        "ExecSync",
        &[("container_id", 1, Text), ("cmd", 2, Texts), ("timeout", 3, Number)],
        &[("stdout", 1, Text), ("stderr", 2, Text), ("exit_code", 3, Number)],
    ),
    method(
        "Exec",
        &[
            ("container_id", 1, Text),
            ("cmd", 2, Texts),
            ("tty", 3, Number),
            ("stdin", 4, Number),
            ("stdout", 5, Number),
            ("stderr", 6, Number),
        ],
        &[("url", 1, Text)],
    ),
    method(
        "Attach",
        &[
            ("container_id", 1, Text),
            ("stdin", 2, Number),
            ("tty", 3, Number),
            ("stdout", 4, Number),
            ("stderr", 5, Number),
        ],
        &[("url", 1, Text)],
    ),
    method("ContainerStats", CONTAINER, &[("stats", 1, One(STATS))]),
];
