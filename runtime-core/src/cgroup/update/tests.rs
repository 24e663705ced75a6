use super::*;
use std::collections::BTreeMap;

/// Whether a file refuses a value, given what all hold.
type Refuses = fn(&BTreeMap<String, String>, &str, &str) -> bool;

/// A model of the kernel's files: what they hold, and when it refuses a value.
#[derive(Default)]
struct Model {
    values: BTreeMap<String, String>,
    log: Vec<String>,
    refuses: Option<Refuses>,
}

impl Model {
    fn of(values: &[(&str, &str)]) -> Model {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Model { values: values.iter().map(own).collect(), ..Model::default() }
    }

    fn value(&self, file: &str) -> &str {
        self.values.get(file).map_or("", String::as_str)
    }
}

fn name(file: &Path) -> String {
    file.display().to_string()
}

impl Files for Model {
    fn read(&self, file: &Path) -> Option<String> {
        self.values.get(&name(file)).map(|v| format!("{v}\n"))
    }
    fn write(&mut self, file: &Path, value: &str) -> Result<()> {
        let file = name(file);
        if self.refuses.is_some_and(|f| f(&self.values, &file, value)) {
            return Err(Error::syscall(format!("write({file})"), libc::EINVAL));
        }
        self.log.push(format!("{file} {value}"));
        self.values.insert(file, value.to_owned());
        Ok(())
    }
}

fn resources(json: &str) -> LinuxResources {
    super::super::resources_from_json(json.as_bytes()).expect("resources").0
}

/// Carries out an update in the model, as if all files were in one directory.
fn run(model: &mut Model, json: &str, pure_v2: bool) -> Result<Undo> {
    let values = model.values.clone();
    let present = move |_: &str, file: &str| values.get(file).cloned();
    let resources = completed(&resources(json), pure_v2, &present);
    refuse_what_is_in_use(&resources, pure_v2, &present)?;
    let steps: Vec<_> = writes(&resources, pure_v2, &[], &present)?
        .into_iter()
        .map(|w| (PathBuf::from(&w.file), w))
        .collect();
    carry_out(&steps, model)
}

const MIB: i64 = 1 << 20;

fn memory_v1(limit: i64, swap: i64) -> Model {
    let mut model = Model::of(&[
        ("memory.limit_in_bytes", &limit.to_string()),
        ("memory.memsw.limit_in_bytes", &swap.to_string()),
    ]);
    // Memory+swap is never below memory; -1 is no limit.
    model.refuses = Some(|values, file, value| {
        let number = |text: &str| match text.parse::<i64>() {
            Ok(-1) | Err(_) => i64::MAX,
            Ok(n) => n,
        };
        let held = |file: &str| number(values.get(file).map_or("-1", String::as_str));
        match file {
            "memory.limit_in_bytes" => number(value) > held("memory.memsw.limit_in_bytes"),
            "memory.memsw.limit_in_bytes" => number(value) < held("memory.limit_in_bytes"),
            _ => false,
        }
    });
    model
}

#[test]
fn memory_and_swap_are_raised_and_lowered_in_the_order_that_the_kernel_takes() {
    let cases = [(64, 64), (64, 128), (128, 128), (128, 256), (32, 512)];
    for (memory, swap) in cases {
        for (new_memory, new_swap) in cases {
            let mut model = memory_v1(memory * MIB, swap * MIB);
            let json = format!(r#"{{"memory":{{"limit":{},"swap":{}}}}}"#, new_memory * MIB, new_swap * MIB);
            let done = run(&mut model, &json, false);
            assert!(done.is_ok(), "{memory}/{swap} to {new_memory}/{new_swap}: {done:?}");
            let held = |file| model.value(file).parse::<i64>().map(|n| n / MIB);
            assert_eq!(held("memory.limit_in_bytes"), Ok(new_memory));
            assert_eq!(held("memory.memsw.limit_in_bytes"), Ok(new_swap));
        }
    }
}

#[test]
fn lifting_memory_lifts_memory_and_swap_first() {
    let mut model = memory_v1(64 * MIB, 64 * MIB);
    run(&mut model, r#"{"memory":{"limit":-1}}"#, false).expect("lifted");
    assert_eq!(model.log, ["memory.memsw.limit_in_bytes -1", "memory.limit_in_bytes -1"]);
}

#[test]
fn memory_above_memory_and_swap_is_refused_with_what_to_do() {
    let mut model = memory_v1(32 * MIB, 64 * MIB);
    let json = format!(r#"{{"memory":{{"limit":{}}},"pids":{{"limit":5}}}}"#, 96 * MIB);
    let e = run(&mut model, &json, false).expect_err("refused");
    assert_eq!(e.errno(), Some(libc::EINVAL));
    assert_eq!(e.field(), Some("/linux/resources/memory/limit"));
    assert!(e.hint_text().is_some_and(|h| h.contains("67108864")));
}

#[test]
fn memory_and_swap_below_memory_is_refused_with_what_to_do() {
    let mut model = memory_v1(100, 200);
    let e = run(&mut model, r#"{"memory":{"swap":50}}"#, false).expect_err("too low");
    assert_eq!(e.hint_text(), Some("memory alone is limited to 100: lower that limit too"));
}

/// The parent gives half a processor.
fn half_a_processor(values: &BTreeMap<String, String>, file: &str, value: &str) -> bool {
    let held = |name: &str| {
        let text = if file == name { value } else { values.get(name).map_or("", String::as_str) };
        text.parse::<f64>().unwrap_or(0.0)
    };
    file.starts_with("cpu.cfs") && held("cpu.cfs_quota_us") / held("cpu.cfs_period_us") > 0.5
}

#[test]
fn quota_and_period_are_tried_in_the_other_order_too() {
    for (quota, period) in [("50000", "100000"), ("5000", "10000"), ("400000", "900000")] {
        let mut model = Model::of(&[("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "40000")]);
        model.refuses = Some(half_a_processor);
        let json = format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#);
        let done = run(&mut model, &json, false);
        assert!(done.is_ok(), "{quota}/{period}: {done:?}");
        assert_eq!(model.value("cpu.cfs_quota_us"), quota);
        assert_eq!(model.value("cpu.cfs_period_us"), period);
    }
}

#[test]
fn what_no_order_makes_possible_is_refused_and_taken_back() {
    let mut model =
        Model::of(&[("cpu.cfs_quota_us", "20000"), ("cpu.cfs_period_us", "40000"), ("cpu.shares", "1024")]);
    model.refuses = Some(half_a_processor);
    let before = model.values.clone();
    let json = r#"{"cpu":{"shares":7,"quota":90000,"period":100000}}"#;
    let e = run(&mut model, json, false).expect_err("refused");
    assert_eq!(e.field(), Some("/linux/resources/cpu/quota"));
    assert_eq!(model.values, before);
}

#[test]
fn a_failure_takes_back_what_was_written_the_last_first() {
    let mut model = Model::of(&[("memory.limit_in_bytes", "1"), ("cpu.shares", "1024"), ("pids.max", "max")]);
    model.refuses = Some(|_, file, _| file == "pids.max");
    let json = r#"{"memory":{"limit":2},"cpu":{"shares":7},"pids":{"limit":5}}"#;
    run(&mut model, json, false).expect_err("refused");
    assert_eq!(
        model.log,
        ["memory.limit_in_bytes 2", "cpu.shares 7", "cpu.shares 1024", "memory.limit_in_bytes 1",]
    );
}

#[test]
fn zeros_and_what_is_not_named_stay() {
    let mut model = memory_v1(MIB, MIB);
    let json = r#"{"memory":{"limit":0,"swap":0,"reservation":0},"cpu":{"shares":0,"quota":0,"period":0},
        "blockIO":{"weight":0}}"#;
    run(&mut model, json, false).expect("nothing");
    run(&mut model, json, true).expect("nothing");
    assert!(model.log.is_empty(), "{:?}", model.log);
}

#[test]
fn half_of_cpu_max_leaves_the_other_half() {
    let cases = [
        ("50000 200000", r#"{"cpu":{"quota":70000}}"#, "70000 200000"),
        ("50000 200000", r#"{"cpu":{"period":100000}}"#, "50000 100000"),
        ("max 200000", r#"{"cpu":{"period":100000}}"#, "max 100000"),
        ("50000 200000", r#"{"cpu":{"quota":-1}}"#, "max 200000"),
    ];
    for (old, json, new) in cases {
        let mut model = Model::of(&[("cpu.max", old)]);
        run(&mut model, json, true).expect(json);
        assert_eq!(model.value("cpu.max"), new, "{json}");
    }
}

#[test]
fn on_v2_memory_and_swap_together_stay_when_one_of_them_changes() {
    let cases = [
        // memory.max, memory.swap.max, document, what they are then
        ("100", "200", r#"{"memory":{"limit":150}}"#, "150", "150"),
        ("100", "max", r#"{"memory":{"limit":150}}"#, "150", "max"),
        ("max", "200", r#"{"memory":{"limit":150}}"#, "150", "50"),
        ("100", "200", r#"{"memory":{"swap":400}}"#, "100", "300"),
        ("max", "max", r#"{"memory":{"swap":400}}"#, "max", "400"),
        ("100", "200", r#"{"memory":{"swap":-1}}"#, "100", "max"),
        ("100", "200", r#"{"memory":{"limit":-1}}"#, "max", "max"),
    ];
    for (memory, swap, json, new_memory, new_swap) in cases {
        let mut model = Model::of(&[("memory.max", memory), ("memory.swap.max", swap)]);
        run(&mut model, json, true).expect(json);
        assert_eq!(model.value("memory.max"), new_memory, "{json}");
        assert_eq!(model.value("memory.swap.max"), new_swap, "{json}");
    }
    let mut model = Model::of(&[("memory.max", "100"), ("memory.swap.max", "0")]);
    let e = run(&mut model, r#"{"memory":{"limit":150}}"#, true).expect_err("refused");
    assert!(e.to_string().contains("memory+swap limit should be >= memory limit"));
}

#[test]
fn what_is_in_use_is_checked_before_the_update_if_asked() {
    let v1 = [("memory.usage_in_bytes", "500"), ("memory.memsw.usage_in_bytes", "700")];
    let v2 = [("memory.current", "500"), ("memory.swap.current", "200")];
    for (files, pure_v2) in [(v1, false), (v2, true)] {
        let refusal = |limits: &str| {
            let json = format!(r#"{{"memory":{{"checkBeforeUpdate":true,{limits}}}}}"#);
            run(&mut Model::of(&files), &json, pure_v2).err().map(|e| e.to_string())
        };
        let memory = refusal(r#""limit":400,"swap":900"#);
        assert!(memory.is_some_and(|t| t.starts_with("rejecting memory limit 400")));
        let swap = refusal(r#""limit":500,"swap":600"#);
        assert!(swap.is_some_and(|t| t.starts_with("rejecting memory+swap limit 600")));
        assert_eq!(refusal(r#""limit":500,"swap":700"#), None);
        assert_eq!(refusal(r#""limit":-1"#), None);
    }
}

#[test]
fn every_kind_of_file_can_be_put_back() {
    let cases = [
        ("pids.max", "5", "max\n", "max"),
        ("cpuset.cpus", "0", "\n", "\n"),
        ("cpu.max", "5 9", "max 100000\n", "max 100000"),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\n", "0"),
        ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
        ("blkio.throttle.read_bps_device", "8:0 5", "8:16 1\n8:0 9\n", "8:0 9"),
        ("blkio.weight_device", "8:0 5", "", "8:0 default"),
        ("io.weight", "default 5", "default 100\n", "default 100"),
        ("io.max", "8:0 rbps=5", "", "8:0 rbps=max"),
        ("io.max", "8:0 rbps=5", "8:0 rbps=7 wbps=max\n", "8:0 rbps=7 wbps=max"),
        ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 3\n", "lo 0"),
    ];
    for (file, value, old, back) in cases {
        assert_eq!(opposite(file, value, old).as_deref(), Some(back), "{file}");
    }
    assert_eq!(opposite("cpu.weight", "5", "0\n"), None);
}
