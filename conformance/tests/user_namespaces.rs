//! User namespaces: who the container's root is on the host, what it can and cannot undo, and whose ids a mount
//! shows.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Host, Sandbox, run, test};
use oxrun_conformance::{Check, check, check_eq, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];
const FIRST: u32 = 100_000;

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

fn report(asked: &[&str]) -> Config {
    users(Config::new(&[REPORT, asked].concat()))
}

fn map(outside: u32, size: u32) -> Value {
    json!([{ "containerID": 0, "hostID": outside, "size": size }])
}

fn users(config: Config) -> Config {
    config
        .namespace("user", None)
        .set("/linux/uidMappings", map(FIRST, 65536))
        .set("/linux/gidMappings", map(FIRST, 65536))
}

/// A directory of the host that belongs to a user of the container.
fn owned(s: &Sandbox, name: &str, id: u32) -> Check<std::path::PathBuf> {
    let dir = s.make_dir(name)?;
    chown(&dir, Some(id), Some(id))?;
    Ok(dir)
}

/// A mount in the test's own namespace.
struct HostMount(std::path::PathBuf);

impl HostMount {
    fn tmpfs(target: &Path, flags: libc::c_ulong) -> Check<Self> {
        sys::mount(Path::new("oxrun-test"), target, "tmpfs", flags)?;
        Ok(Self(target.to_owned()))
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = sys::unmount(&self.0);
    }
}

fn root_of_the_container_is_an_ordinary_user_of_the_host() -> Check {
    let s = sandbox()?;
    let dir = owned(&s, "shared", FIRST)?;
    let args = ["/bin/probe", "write", "/mnt/file", "x"];
    let config = users(Config::new(&args)).mount("bind", &dir, "/mnt", &["rbind"]);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
    let meta = fs::metadata(dir.join("file"))?;
    check_eq!((meta.uid(), meta.gid()), (FIRST, FIRST));
    Ok(())
}

fn the_user_of_the_config_is_mapped() -> Check {
    let s = sandbox()?;
    let config = report(&[])
        .set("/process/user/uid", 1000)
        .set("/process/user/gid", 1001)
        .set("/process/user/additionalGids", json!([5, 1002]));
    let pid = s.sleeper("c1", &config)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = |name: &str| -> Vec<String> {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect()
    };
    check_eq!(line("Uid:"), vec![(FIRST + 1000).to_string(); 4]);
    check_eq!(line("Gid:"), vec![(FIRST + 1001).to_string(); 4]);
    let mut groups = line("Groups:");
    groups.sort();
    check_eq!(groups, [(FIRST + 5).to_string(), (FIRST + 1002).to_string()]);
    Ok(())
}

fn the_callers_groups_are_gone() -> Check {
    for hook in ["createContainer", "startContainer"] {
        let mut s = sandbox()?;
        let dir = owned(&s, "out", FIRST)?;
        let probe = if hook == "createContainer" { s.probe().to_owned() } else { "/bin/probe".into() };
        let out = if hook == "createContainer" { dir.join("report") } else { "/mnt/report".into() };
        let args = json!(["probe", "report", "--out", out]);
        let config = users(Config::new(&["/bin/probe", "exit", "0"]))
            .mount("bind", &dir, "/mnt", &["rbind"])
            .set(&format!("/hooks/{hook}"), json!([{ "path": probe, "args": args }]));
        s.runtime_mut().wrap(&["setpriv", "--groups", "7,8"]);
        s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?;
        let report: Value = serde_json::from_slice(&fs::read(dir.join("report"))?)?;
        check_eq!(report["groups"], json!([]), "{hook}");
    }
    Ok(())
}

fn every_capability_is_there_to_be_given() -> Check {
    let s = sandbox()?;
    let seen = s.report(&report(&[]).capabilities(&["CAP_SYS_RESOURCE", "CAP_CHOWN"]))?;
    check_eq!(seen["capabilities"]["bounding"], "0000000001000001");
    Ok(())
}

fn limits_are_set() -> Check {
    let s = sandbox()?;
    let rlimits = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 }]);
    let seen = s.report(&report(&[]).set("/process/rlimits", rlimits))?;
    check_eq!(seen["rlimits"]["RLIMIT_NOFILE"], json!([100, 200]));
    Ok(())
}

fn locked_flags_of_a_mount_stay() -> Check {
    let s = sandbox()?;
    let dir = s.make_dir("locked")?;
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    let _mount = HostMount::tmpfs(&dir, flags)?;
    let config = report(&["--change", "/mnt:rw", "--open", "/mnt/x:c"])
        .mount("bind", &dir, "/mnt", &["rbind"])
        .capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let seen = s.report(&config)?;
    check_eq!(seen["change"]["/mnt:rw"], libc::EPERM);
    check_eq!(seen["open"]["/mnt/x:c"], libc::EROFS);
    Ok(())
}

fn locked_flags_of_the_root_stay() -> Check {
    let s = sandbox()?;
    let config = report(&["--change", "/:rw"]).capabilities(&["CAP_SYS_ADMIN"]);
    let bundle = s.bundle(&config)?;
    let rootfs = bundle.rootfs();
    sys::mount(&rootfs, &rootfs, "", libc::MS_BIND)?;
    let mount = HostMount(rootfs.clone());
    sys::mount(&rootfs, &rootfs, "", libc::MS_BIND | libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV)?;
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    drop(mount);
    check_eq!(seen["change"]["/:rw"], libc::EPERM);
    Ok(())
}

fn what_a_mount_covers_stays_covered() -> Check {
    let s = sandbox()?;
    let dir = s.make_dir("outer")?;
    fs::create_dir(dir.join("inner"))?;
    fs::write(dir.join("inner/secret"), "x")?;
    let _mount = HostMount::tmpfs(&dir.join("inner"), 0)?;
    let config = report(&["--change", "/mnt/inner:umount", "--stat", "/mnt/inner/secret"])
        .mount("bind", &dir, "/mnt", &["rbind"])
        .capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let seen = s.report(&config)?;
    check_eq!(seen["change"]["/mnt/inner:umount"], libc::EINVAL);
    check_eq!(seen["stat"]["/mnt/inner/secret"]["errno"], libc::ENOENT);
    Ok(())
}

fn without_a_user_namespace_the_same_changes_are_possible() -> Check {
    // The control of the tests above: the changes themselves are ones that the kernel would make.
    let s = sandbox()?;
    let dir = s.make_dir("outer")?;
    fs::create_dir(dir.join("inner"))?;
    let _mount = HostMount::tmpfs(&dir.join("inner"), libc::MS_RDONLY)?;
    let asked = ["--change", "/mnt/inner:rw", "--change", "/mnt/inner:umount"];
    let config = Config::new(&[REPORT, &asked].concat())
        .mount("bind", &dir, "/mnt", &["rbind"])
        .capabilities(&["CAP_SYS_ADMIN"]);
    let seen = s.report(&config)?;
    check_eq!(seen["change"]["/mnt/inner:rw"], "ok");
    check_eq!(seen["change"]["/mnt/inner:umount"], "ok");
    Ok(())
}

fn a_source_that_only_the_hosts_root_reaches_is_mounted() -> Check {
    let s = sandbox()?;
    let secret = s.make_dir("private")?;
    fs::create_dir(secret.join("inner"))?;
    fs::write(secret.join("inner/file"), "x")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o700))?;
    let config =
        report(&["--stat", "/mnt/file"]).mount("bind", &secret.join("inner"), "/mnt", &["rbind", "ro"]);
    let seen = s.report(&config)?;
    check_eq!(seen["stat"]["/mnt/file"]["type"], "file");
    Ok(())
}

fn a_root_that_only_the_hosts_root_reaches_is_used() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&report(&[]))?;
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o700))?;
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    check_eq!(seen["uid"], 0);
    Ok(())
}

fn a_source_in_the_containers_own_tree_is_found() -> Check {
    let s = sandbox()?;
    let first = s.make_dir("first")?;
    fs::write(first.join("file"), "x")?;
    let config = report(&["--stat", "/b/file"]).mount("bind", &first, "/a", &["rbind"]);
    let bundle = s.bundle(&config)?;
    let config = config.mount("bind", &bundle.rootfs().join("a"), "/b", &["rbind"]);
    bundle.write(config.text())?;
    for dir in ["a", "b"] {
        fs::create_dir_all(bundle.rootfs().join(dir))?;
    }
    let seen = s.runtime().run(bundle.path(), "c1")?.success()?.json()?;
    check_eq!(seen["stat"]["/b/file"]["type"], "file");
    Ok(())
}

fn exec_becomes_root_of_the_containers_user_namespace() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &report(&[]))?;
    let seen = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    check_eq!(seen["uid"], 0);
    check_eq!(seen["groups"], json!([]));
    for file in ["user", "mnt", "pid", "net", "ipc", "uts"] {
        let expected = fs::read_link(format!("/proc/{pid}/ns/{file}"))?;
        check_eq!(seen["namespaces"][file], json!(expected.to_string_lossy()), "{file}");
    }
    Ok(())
}

fn exec_stays_in_the_containers_cgroups() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("c1", &report(&[]))?;
    let seen = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    let expected: Vec<String> =
        fs::read_to_string(format!("/proc/{pid}/cgroup"))?.lines().map(str::to_owned).collect();
    check_eq!(seen["cgroup"], json!(expected));
    Ok(())
}

fn a_created_container_can_be_joined() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&report(&[]).namespace("cgroup", None))?;
    s.runtime().create(bundle.path(), "c1")?.success()?;
    let seen = s.runtime().exec("c1", REPORT)?.success()?.json()?;
    check_eq!(seen["uid"], 0);
    s.runtime().call(&["delete", "--force", "c1"])?.success()?;
    Ok(())
}

fn a_user_namespace_of_another_container_is_joined() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("pod", &report(&[]))?;
    let path = |file: &str| format!("/proc/{pid}/ns/{file}");
    let config = Config::new(REPORT)
        .namespace("user", Some(&path("user")))
        .namespace("network", Some(&path("net")))
        .namespace("ipc", Some(&path("ipc")));
    let seen = s.report(&config)?;
    check_eq!(seen["uid"], 0);
    for file in ["user", "net", "ipc"] {
        let expected = fs::read_link(path(file))?;
        check_eq!(seen["namespaces"][file], json!(expected.to_string_lossy()), "{file}");
    }
    Ok(())
}

fn mappings_of_a_joined_user_namespace_may_be_repeated() -> Check {
    let s = sandbox()?;
    let pid = s.sleeper("pod", &report(&[]))?;
    let joined = |outside: u32| {
        Config::new(REPORT)
            .namespace("user", Some(&format!("/proc/{pid}/ns/user")))
            .set("/linux/uidMappings", map(outside, 65536))
            .set("/linux/gidMappings", map(outside, 65536))
    };
    let bundle = s.bundle(&joined(FIRST))?;
    let output = s.runtime().run(bundle.path(), "c1")?.exits(0)?;
    check!(output.stdout.contains("\"uid\":0"), "{output}");
    let before = s.leaks()?;
    let bundle = s.bundle(&joined(FIRST + 1))?;
    s.runtime().run(bundle.path(), "c2")?.refused(
        "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only \
         provide one",
    )?;
    before.assert_same()
}

fn mappings_without_a_user_namespace_are_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).set("/linux/uidMappings", map(FIRST, 1));
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .refused("user namespace mappings specified, but user namespace isn't enabled in the config")
        .map(drop)
}

fn mappings_without_root_are_refused() -> Check {
    let s = sandbox()?;
    let list = json!([{ "containerID": 1, "hostID": FIRST, "size": 10 }]);
    let config = report(&[]).set("/linux/gidMappings", list);
    s.runtime().run(s.bundle(&config)?.path(), "c1")?.refused("the mappings lack gid 0").map(drop)
}

/// Who owns a file of the host in a container that binds it with `options` and mappings of its own.
fn owner_in(s: &Sandbox, config: Config, options: &[&str], maps: Option<(u32, u32)>) -> Check<Value> {
    let dir = s.make_dir("data")?;
    let file = dir.join("file");
    fs::write(&file, "x")?;
    chown(&file, Some(1000), Some(1000))?;
    let mut config = config.mount("bind", &dir, "/mnt", options);
    if let Some((inside, outside)) = maps {
        let index = config.mount_index("/mnt").unwrap();
        let list = json!([{ "containerID": inside, "hostID": outside, "size": 1 }]);
        for kind in ["uid", "gid"] {
            config = config.set(&format!("/mounts/{index}/{kind}Mappings"), list.clone());
        }
    }
    let seen = s.runtime().run(s.bundle(&config)?.path(), "c1")?.success()?.json()?;
    Ok(json!([seen["stat"]["/mnt/file"]["uid"], seen["stat"]["/mnt/file"]["gid"]]))
}

const STAT: &[&str] = &["--stat", "/mnt/file"];

fn a_mount_shows_ids_by_its_own_maps() -> Check {
    let config = Config::new(&[REPORT, STAT].concat());
    let seen = owner_in(&sandbox()?, config, &["bind", "idmap"], Some((1000, 4242)))?;
    check_eq!(seen, json!([4242, 4242]));
    Ok(())
}

fn an_id_beyond_the_maps_of_a_mount_is_nobodys() -> Check {
    let s = sandbox()?;
    let dir = s.make_dir("data")?;
    for (name, id) in [("last", 1002), ("beyond", 1003)] {
        fs::write(dir.join(name), "x")?;
        chown(dir.join(name), Some(id), Some(id))?;
    }
    let asked = ["--stat", "/mnt/last", "--stat", "/mnt/beyond"];
    let config = Config::new(&[REPORT, &asked].concat()).mount("bind", &dir, "/mnt", &["bind", "idmap"]);
    let index = config.mount_index("/mnt").unwrap();
    let list = json!([{ "containerID": 1000, "hostID": 4242, "size": 3 }]);
    let config = ["uid", "gid"]
        .into_iter()
        .fold(config, |config, kind| config.set(&format!("/mounts/{index}/{kind}Mappings"), list.clone()));
    let seen = s.report(&config)?;
    for (name, id) in [("last", 4244), ("beyond", 65534)] {
        let owner = &seen["stat"][format!("/mnt/{name}")];
        check_eq!((&owner["uid"], &owner["gid"]), (&json!(id), &json!(id)), "{name}");
    }
    Ok(())
}

fn a_mount_shows_ids_by_the_containers_maps() -> Check {
    for options in [["bind", "idmap"], ["rbind", "ridmap"]] {
        let seen = owner_in(&sandbox()?, report(STAT), &options, None)?;
        check_eq!(seen, json!([1000, 1000]), "{options:?}");
    }
    // The control: without the map the file is nobody's in the container.
    let seen = owner_in(&sandbox()?, report(STAT), &["rbind"], None)?;
    check_eq!(seen, json!([65534, 65534]));
    Ok(())
}

fn several_mounts_of_one_source_have_their_own_maps() -> Check {
    let s = sandbox()?;
    let dir = s.make_dir("data")?;
    fs::write(dir.join("file"), "x")?;
    let asked = ["--stat", "/m0/file", "--stat", "/m1/file", "--stat", "/m2/file"];
    let mut config = Config::new(&[REPORT, &asked].concat());
    for i in 0..3 {
        let target = format!("/m{i}");
        config = config.mount("bind", &dir, &target, &["bind", "idmap"]);
        let index = config.mount_index(&target).unwrap();
        let list = json!([{ "containerID": 0, "hostID": 2000 + i, "size": 10 }]);
        for kind in ["uid", "gid"] {
            config = config.set(&format!("/mounts/{index}/{kind}Mappings"), list.clone());
        }
    }
    let seen = s.report(&config)?;
    for i in 0..3 {
        check_eq!(seen["stat"][format!("/m{i}/file")]["uid"], 2000 + i);
    }
    Ok(())
}

fn an_id_mapped_mount_needs_both_maps() -> Check {
    let s = sandbox()?;
    let dir = s.make_dir("data")?;
    let config = Config::new(REPORT).mount("bind", &dir, "/mnt", &["bind", "idmap"]);
    let index = config.mount_index("/mnt").unwrap();
    let config = config.set(&format!("/mounts/{index}/uidMappings"), map(5, 1));
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .refused("id-mapped mounts must have both uid and gid mappings specified")
        .map(drop)
}

fn an_id_mapped_filesystem_is_refused() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).mount("tmpfs", Path::new("tmpfs"), "/mnt", &["idmap"]);
    s.runtime()
        .run(s.bundle(&config)?.path(), "c1")?
        .refused("id-mapped mounts are only supported for bind-mounts")
        .map(drop)
}

fn a_filesystem_without_id_maps_is_named() -> Check {
    let s = sandbox()?;
    let config = Config::new(REPORT).mount("bind", Path::new("/proc/sys"), "/mnt", &["bind", "idmap"]);
    let index = config.mount_index("/mnt").unwrap();
    let config = config
        .set(&format!("/mounts/{index}/uidMappings"), map(5, 1))
        .set(&format!("/mounts/{index}/gidMappings"), map(5, 1));
    let before = s.leaks()?;
    let output = s.runtime().run(s.bundle(&config)?.path(), "c1")?.exits(1)?;
    check!(output.stderr.contains("MOUNT_ATTR_IDMAP"), "{output}");
    before.assert_same()
}

fn the_hosts_mount_namespace_is_never_joined() -> Check {
    let s = sandbox()?;
    let own = fs::read_link("/proc/self/ns/mnt")?;
    let config = Config::new(REPORT).namespace("mount", Some("/proc/self/ns/mnt"));
    let bundle = s.bundle(&config)?;
    let before = Host::mounts()?;
    s.runtime().run(bundle.path(), "c1")?.refused("is the mount namespace of the host")?;
    check_eq!(Host::mounts()?, before);
    check_eq!(fs::read_link("/proc/self/ns/mnt")?, own);
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    run(tests![
        root_of_the_container_is_an_ordinary_user_of_the_host,
        the_user_of_the_config_is_mapped,
        the_callers_groups_are_gone,
        every_capability_is_there_to_be_given,
        limits_are_set,
        locked_flags_of_a_mount_stay,
        locked_flags_of_the_root_stay,
        what_a_mount_covers_stays_covered,
        without_a_user_namespace_the_same_changes_are_possible,
        a_source_that_only_the_hosts_root_reaches_is_mounted,
        a_root_that_only_the_hosts_root_reaches_is_used,
        a_source_in_the_containers_own_tree_is_found,
        exec_becomes_root_of_the_containers_user_namespace,
        exec_stays_in_the_containers_cgroups,
        a_created_container_can_be_joined,
        a_user_namespace_of_another_container_is_joined,
        mappings_of_a_joined_user_namespace_may_be_repeated,
        mappings_without_a_user_namespace_are_refused,
        mappings_without_root_are_refused,
        a_mount_shows_ids_by_its_own_maps,
        an_id_beyond_the_maps_of_a_mount_is_nobodys,
        a_mount_shows_ids_by_the_containers_maps,
        several_mounts_of_one_source_have_their_own_maps,
        an_id_mapped_mount_needs_both_maps,
        an_id_mapped_filesystem_is_refused,
        a_filesystem_without_id_maps_is_named,
        the_hosts_mount_namespace_is_never_joined,
    ])
}
