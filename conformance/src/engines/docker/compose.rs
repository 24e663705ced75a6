//! Docker Compose on top of the daemon: several containers at once that wait for and join each other.

use super::super::scenario::{Scenario, host, until};

/// Compose with the scenario's file.
macro_rules! compose {
    ($line:literal) => {
        concat!(
            "/usr/bin/docker-compose --ansi never --host unix://{scratch}/engine.sock --project-name {c} --file {data}/compose.yml ",
            $line
        )
    };
}

/// Two services, the second in the first one's network and with its files.
const FILE: &str = "cat >{data}/compose.yml <<'E'
version: '2.4'
services:
  first:
    image: bb
    container_name: {c}
    runtime: {side}
    network_mode: none
    mem_limit: 64m
    environment: { A: b c }
    volumes: [ 'kept:/home' ]
    healthcheck: { test: test -e /home/up, interval: 200ms }
    command: [ sh, -c, 'trap \"echo bye; exit 7\" TERM; echo up; touch /home/up; sleep 1000 & wait' ]
  second:
    image: bb
    container_name: {c}-2
    runtime: {side}
    network_mode: 'service:first'
    user: app
    read_only: true
    volumes: [ 'kept:/data:ro' ]
    depends_on: { first: { condition: service_healthy } }
    command: [ sh, -c, 'ls /data; id; exit 5' ]
volumes: { kept: {} }
E";

/// In the order in which they are played.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::named(
        "compose",
        &[
            host("", FILE),
            host("", compose!("up --detach --no-color >{data}/log 2>&1 || cat {data}/log")),
            until("5", "wait {c}-2"),
            host("uid=1000(app)", compose!("logs --no-color second")),
            host("b c", compose!("exec -T first sh -c 'echo $A'")),
            host("", compose!("exec -T first sh -c 'exit 9'; [ $? = 9 ]")),
            host("", compose!("stop --timeout 60 >{data}/log 2>&1 || cat {data}/log")),
            until("7", "inspect --format {{.State.ExitCode}} {c}"),
            host("up\nbye", "{client} logs {c}"),
            host("", compose!("down --volumes >{data}/log 2>&1 || cat {data}/log")),
        ],
    ),
    Scenario::named(
        "compose-run",
        &[
            host("", FILE),
            host(
                "code 3",
                compose!("run --rm --no-deps -T --name {c} first sh -c 'echo $A; exit 3'; echo code $?"),
            ),
            host(
                "code 1",
                compose!("run --rm --no-deps -T --name {c} first nosuch 2>{data}/log; echo code $?"),
            ),
            host("executable file not found", "grep -o 'exec: .*' {data}/log"),
            host("", compose!("down --volumes >{data}/log 2>&1 || cat {data}/log")),
        ],
    ),
];
