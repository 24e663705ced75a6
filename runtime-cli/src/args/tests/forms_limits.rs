//! Forms of the commands about limits, figures and images, and what they mean.

use std::path::PathBuf;
use std::time::Duration;

use super::forms::{check, path, text};
use super::*;

fn update_c() -> Update {
    Update { id: "c".to_owned(), ..Update::default() }
}

#[test]
fn update_reads_resources_from_a_file_or_standard_input() {
    let update = |from| Command::Update(Box::new(Update { resources: Some(from), ..update_c() }));
    check([
        ("update --resources - c", update(Resources::Stdin)),
        ("update --resources=- c", update(Resources::Stdin)),
        ("update -r - c", update(Resources::Stdin)),
        ("update c --resources -", update(Resources::Stdin)),
        ("update --resources=/f c", update(Resources::File("/f".into()))),
        ("update -r /f c", update(Resources::File("/f".into()))),
    ]);
}

#[test]
fn update_reads_every_limit_and_values_may_begin_with_a_dash() {
    let update = |update| Command::Update(Box::new(update));
    check([
        ("update c --memory 1", update(Update { memory: Some(1), ..update_c() })),
        (
            "update --memory 32M --memory-reservation 1G --memory-swap -1 c",
            update(Update {
                memory: Some(32 << 20),
                memory_reservation: Some(1 << 30),
                memory_swap: Some(-1),
                ..update_c()
            }),
        ),
        (
            "update c --memory=-1 --pids-limit -1 --cpu-quota -1 --cpu-idle -1",
            update(Update {
                memory: Some(-1),
                pids_limit: Some(-1),
                cpu_quota: Some(-1),
                cpu_idle: Some(-1),
                ..update_c()
            }),
        ),
        (
            "update --blkio-weight 500 --cpu-period 100000 --cpu-burst 7 --cpu-share 100 \
             --cpu-rt-period 9 --cpu-rt-runtime 8 --cpuset-cpus 0-1 --cpuset-mems 0 \
             --l3-cache-schema L3:0=f --mem-bw-schema MB:0=50 c",
            update(Update {
                blkio_weight: Some(500),
                cpu_period: Some(100_000),
                cpu_burst: Some(7),
                cpu_share: Some(100),
                cpu_rt_period: Some(9),
                cpu_rt_runtime: Some(8),
                cpuset_cpus: text("0-1"),
                cpuset_mems: text("0"),
                l3_cache_schema: text("L3:0=f"),
                mem_bw_schema: text("MB:0=50"),
                ..update_c()
            }),
        ),
    ]);
}

#[test]
fn update_accepts_kernel_memory_and_says_that_it_does_nothing() {
    let line = "update --kernel-memory 1M --kernel-memory-tcp 1M --kernel-memory 2M c";
    let invocation = parse_line(line).unwrap();
    assert_eq!(invocation.command, Command::Update(Box::new(update_c())));
    assert_eq!(invocation.warnings.len(), 2, "{:?}", invocation.warnings);
    assert!(invocation.warnings[0].starts_with("--kernel-memory is ignored"));
}

#[test]
fn events_takes_durations_as_go_writes_them() {
    let events = |milliseconds, stats| {
        let interval = Duration::from_millis(milliseconds);
        Command::Events(Events { id: "c".to_owned(), interval, stats })
    };
    check([
        ("events c", events(5_000, false)),
        ("events --stats c", events(5_000, true)),
        ("events c --interval 100ms", events(100, false)),
        ("events --interval=1s c", events(1_000, false)),
    ]);
}

#[test]
fn checkpoint_and_restore_are_understood_as_the_engines_send_them() {
    let line = "checkpoint --leave-running --image-path I --work-path W --leave-running c";
    let Command::Checkpoint(checkpoint) = command(line) else { panic!("{line}") };
    assert!(checkpoint.leave_running);
    assert_eq!(checkpoint.criu.image_path, PathBuf::from("I"));
    assert_eq!(checkpoint.criu.work_path, path("W"));

    let line = "checkpoint --file-locks --empty-ns network --parent-path ../p --status-fd -1 c";
    let Command::Checkpoint(checkpoint) = command(line) else { panic!("{line}") };
    assert!(checkpoint.criu.file_locks);
    assert_eq!(checkpoint.criu.empty_ns, ["network"]);
    assert_eq!(checkpoint.parent_path, path("../p"));
    assert_eq!(checkpoint.status_fd, None);

    let line = "restore --bundle B --pid-file P --detach --image-path I --work-path B \
                --tcp-established -no-subreaper --manage-cgroups-mode ignore c";
    let Command::Restore(restore) = command(line) else { panic!("{line}") };
    assert_eq!(restore.criu.id, "c");
    assert!(restore.criu.tcp_established);
    assert_eq!(restore.criu.manage_cgroups_mode, CgroupsMode::Ignore);
    assert!(restore.run.detach && restore.run.no_subreaper);
    assert_eq!(restore.run.create.bundle, path("B"));
    assert_eq!(restore.run.create.pid_file, path("P"));
}
