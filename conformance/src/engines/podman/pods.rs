//! Podman scenarios of pods: containers that share the namespaces of an infra container.

use super::super::scenario::{Scenario, cli, until};

/// Makes the scenario's pod; its infra container sleeps and comes from the suite's image.
macro_rules! pod {
    ($($option:literal)?) => {
        cli(
            0,
            "",
            concat!(
                "pod create --name {c}-pod --network none --infra-image bb --infra-command '/bin/sleep 1000' ",
                $($option)?
            ),
        )
    };
}

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "pod",
        &[
            pod!(),
            cli(0, "", "run --detach --pod {c}-pod --name {c} bb sleep 1000"),
            cli(0, "shared", "run --rm --pod {c}-pod --name {c}-2 bb sh -c 'hostname; echo shared'"),
            cli(0, "", "pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'"),
            cli(0, "", "pod rm --force --time 0 {c}-pod"),
        ],
    ),
    Scenario::named(
        "pod-share-pid",
        &[
            pod!("--share pid,ipc,net,uts --hostname podhost"),
            cli(0, "", "run --detach --pod {c}-pod --name {c} bb sh -c 'echo x >/dev/shm/x; sleep 2000'"),
            until("\nsleep 2000\n", "run --rm --pod {c}-pod --name {c}-2 bb sh -c 'hostname; ps -o args | grep sleep; cat /dev/shm/x'")
                .any_text(),
            cli(0, "", "rm --force --time 0 {c}"),
            cli(0, "podhost", "run --rm --pod {c}-pod --name {c}-2 bb hostname"),
        ],
    ),
    Scenario::named(
        "pod-pause",
        &[
            pod!(),
            cli(0, "", "run --detach --pod {c}-pod --name {c} bb sleep 1000"),
            cli(0, "", "pod pause {c}-pod"),
            cli(0, "paused", "inspect --format {{.State.Status}} {c}"),
            cli(0, "", "pod unpause {c}-pod"),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
        ],
    ),
    Scenario::named(
        "pod-stop-start",
        &[
            pod!(),
            cli(0, "", "run --detach --pod {c}-pod --name {c} bb sleep 1000"),
            cli(0, "", "pod stop --time 0 {c}-pod").any_text(),
            until("exited", "inspect --format {{.State.Status}} {c}"),
            cli(0, "", "pod start {c}-pod"),
            cli(0, "running", "inspect --format {{.State.Status}} {c}"),
            cli(0, "", "pod kill {c}-pod"),
            until("exited", "inspect --format {{.State.Status}} {c}"),
        ],
    ),
    Scenario::named(
        "pod-limits",
        &[
            pod!("--cpus 0.5"),
            cli(
                0,
                "libpod",
                "run --rm --pod {c}-pod --name {c} --cgroupns host bb sh -c 'sed s,^[0-9]*:,, /proc/self/cgroup | sort | sed s,/[^/]*/[0-9a-f]*/,/POD/,'",
            ),
        ],
    ),
];
