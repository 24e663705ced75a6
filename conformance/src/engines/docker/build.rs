//! Docker scenarios of images that are built: each step of the classic builder is a container, each
//! of BuildKit's is run by itself without containerd.

use super::super::lines::context;
use super::super::scenario::{Scenario, cli, host};

/// The classic builder.
macro_rules! classic {
    ($options:literal) => {
        concat!("build --no-cache --network none --tag {c} ", $options, " {data}/ctx")
    };
}

/// BuildKit, in a shell because it is chosen by a variable.
macro_rules! buildkit {
    ($options:literal) => {
        concat!(
            "DOCKER_BUILDKIT=1 {client} build --no-cache --progress plain --network none --tag {c} ",
            $options,
            " {data}/ctx >{data}/log 2>&1; echo code $?; sed -n 's/^#[0-9]* [0-9.]* //p' {data}/log"
        )
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
                    "FROM bb\\nARG WHO=nobody\\nENV A=b\\nWORKDIR /there/dir\\nCOPY in .\\nRUN cat in && echo by $WHO $A >out && pwd\\nUSER app\\nRUN id && env | sort\\nCMD [\"cat\", \"out\"]\\n"
                ),
            ),
            cli(0, "given", classic!("--build-arg WHO=me")),
            cli(0, "by me b", "run --rm {new} {c}"),
        ],
    ),
    Scenario::named(
        "build-fails",
        &[
            host("", context!("FROM bb\\nRUN echo begun; exit 7\\n")),
            cli(7, "returned a non-zero code: 7", classic!("")),
        ],
    ),
    Scenario::named(
        "build-missing",
        &[
            host("", context!("FROM bb\\nRUN [\"nosuch\"]\\n")),
            cli(1, "executable file not found", classic!("")),
        ],
    ),
    Scenario::named(
        "build-limits",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nRUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; grep open /proc/self/limits\\n"
                ),
            ),
            cli(0, "67108864", classic!("--memory 64m --ulimit nofile=300:300")),
        ],
    ),
    Scenario::named(
        "buildkit",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nARG WHO=nobody\\nENV A=b\\nWORKDIR /there/dir\\nCOPY in .\\nRUN cat in && echo by $WHO $A >out && pwd\\nUSER app\\nRUN id && env | sort\\nCMD [\"cat\", \"out\"]\\n"
                ),
            ),
            host("code 0", buildkit!("--build-arg WHO=me")),
            host("given", "grep -o given {data}/log"),
            cli(0, "by me b", "run --rm {new} {c}"),
        ],
    ),
    Scenario::named(
        "buildkit-fails",
        &[
            host("", context!("FROM bb\\nRUN echo begun; exit 7\\n")),
            host("code 1", buildkit!("")),
            host("exit code: 7", "grep -o 'exit code: 7' {data}/log"),
        ],
    ),
    Scenario::named(
        "buildkit-missing",
        &[
            host("", context!("FROM bb\\nRUN [\"nosuch\"]\\n")),
            host("executable file not found", buildkit!("")),
        ],
    ),
    Scenario::named(
        "buildkit-view",
        &[
            host(
                "",
                context!(
                    "FROM bb\\nRUN grep -E \"Cap|Seccomp:|NoNewPrivs|Sig[BI]\" /proc/self/status; ls /proc/self/fd | wc -l; awk \"{ print \\$5, \\$6, \\$7 ~ /master/ }\" /proc/self/mountinfo; ls /dev\\n"
                ),
            ),
            host("Seccomp:\t2", buildkit!("")),
        ],
    ),
    Scenario::named(
        "buildkit-killed",
        &[
            host("", context!("FROM bb\\nRUN sh -c \"kill -KILL \\$\\$\"; exit $?\\n")),
            host("code 1", buildkit!("")),
            host("exit code: 137", "grep -o -m 1 'exit code: 137' {data}/log"),
        ],
    ),
];

/// The same with user namespaces.
pub(super) const USERNS: &[Scenario] = &[
    Scenario::named(
        "userns-build",
        &[
            host(
                "",
                context!("FROM bb\\nRUN cat /proc/self/uid_map; touch made\\nUSER app\\nRUN id >/tmp/id\\n"),
            ),
            cli(0, "200000", classic!("")),
            cli(0, "0:0\nuid=1000(app)", "run --rm {new} {c} sh -c 'stat -c %u:%g made; cat /tmp/id'"),
        ],
    ),
    Scenario::named(
        "userns-buildkit",
        &[
            host(
                "",
                context!("FROM bb\\nRUN cat /proc/self/uid_map; touch made\\nUSER app\\nRUN id >/tmp/id\\n"),
            ),
            host("200000", buildkit!("")),
            cli(0, "0:0\nuid=1000(app)", "run --rm {new} {c} sh -c 'stat -c %u:%g made; cat /tmp/id'"),
        ],
    ),
];
