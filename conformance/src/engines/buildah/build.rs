//! Buildah scenarios of images that are built: each RUN is a container.

use super::super::lines::context;
use super::super::scenario::{Scenario, cli, host};

/// A build of the directory that `context` has written.
macro_rules! build {
    ($options:literal) => {
        concat!("build {new} --layers=false --pull-never --tag {c} ", $options, " {data}/ctx")
    };
}

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "build",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nARG WHO=nobody\\nENV A=b\\nWORKDIR /there/dir\\nCOPY in .\\nRUN cat in && echo by $WHO $A >out && pwd\\nUSER app\\nRUN id && env | grep -v HOSTNAME | sort\\nCMD [\"cat\", \"out\"]\\n"
                ),
            ),
            cli(0, "given", build!("--build-arg WHO=me")),
            host(
                "by me b",
                "{client} from --pull-never --name {c} {c} && {client} run {run} --network none {c} -- cat out",
            ),
        ],
    ),
    Scenario::named(
        "build-fails",
        &[host("", context!("FROM bb\\nRUN echo begun; exit 7\\n")), cli(7, "exit status 7", build!(""))],
    ),
    Scenario::named(
        "build-missing",
        &[
            host("", context!("FROM bb\\nRUN [\"nosuch\"]\\n")),
            cli(1, "executable file not found", build!("")),
            host("", "printf 'FROM bb\\nRUN [\"/bin/notexec\"]\\n' >{data}/ctx/Dockerfile"),
            cli(1, "permission denied", build!("")),
        ],
    ),
    Scenario::named(
        "build-shell",
        &[
            host("", context!("FROM bb\\nSHELL [\"/bin/sh\", \"-ec\"]\\nRUN false; echo never\\n")),
            cli(1, "exit status 1", build!("--format docker")),
        ],
    ),
    Scenario::named(
        "build-mounts",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nRUN --mount=type=tmpfs,target=/t --mount=type=bind,source=in,target=/b/in grep \" /t \" /proc/mounts && cat /b/in && touch /t/x\\nRUN ls /t /b 2>&1 | wc -l\\n"
                ),
            ),
            cli(0, "given", build!("")),
        ],
    ),
    Scenario::named(
        "build-secret",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nRUN --mount=type=secret,id=s cat /run/secrets/s; stat -c %%a:%%u /run/secrets/s\\nRUN ls /run/secrets 2>&1; true\\n"
                ),
            ),
            cli(0, "given", build!("--secret id=s,src={data}/in")),
        ],
    ),
    Scenario::named(
        "build-stages",
        &[
            host(
                "",
                context!(
                    "FROM bb AS first\\nRUN echo made >/x\\nFROM bb\\nCOPY --from=first /x /y\\nRUN cat /y; test ! -e /x\\n"
                ),
            ),
            cli(0, "made", build!("")),
        ],
    ),
    Scenario::named(
        "build-limits",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nRUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; grep open /proc/self/limits; grep CapEff /proc/self/status\\n"
                ),
            ),
            cli(
                0,
                "67108864",
                build!("--memory 64m --ulimit nofile=300:300 --cap-drop ALL --volume {data}:/data:ro"),
            ),
        ],
    ),
];
