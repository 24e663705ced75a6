//! Configs that cannot work, one row each: what is wrong, how to make it, and what a good answer holds.
//!
//! What must hold: a row says the JSON pointer, the cause and, word for word, what callers of runc match.

use super::case::End::{Fails, Runs, Warns};
use super::case::*;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

macro_rules! case {
    ($name:ident, $defect:literal, $end:expr, $pointer:literal, [$($cause:literal),*], [$($runc:literal),*],
     $missing:expr, $make:expr) => {
        Case { name: stringify!($name), defect: $defect, end: $end, pointer: $pointer,
            cause: &[$($cause),*], runc: &[$($runc),*], make: $make, missing: $missing }
    };
}

/// Every case.
pub const CASES: &[Case] = &[
    case!(
        the_program_is_missing,
        "program missing",
        Fails(1),
        "/process/args/0",
        ["no such file or directory"],
        ["exec: \"/bin/nope\": stat /bin/nope: no such file or directory"],
        always,
        |s| with(s, &config().args(&["/bin/nope"]))
    ),
    case!(
        the_program_is_not_in_path,
        "program in no directory of PATH",
        Fails(1),
        "/process/args/0",
        ["PATH"],
        ["exec: \"nope\": executable file not found in $PATH"],
        always,
        |s| with(s, &config().args(&["nope"]))
    ),
    case!(
        the_interpreter_of_a_script_is_missing,
        "script whose interpreter is missing",
        Fails(255),
        "/process/args/0",
        ["/bin/x exists; its interpreter /no/such/interp (line 1) does not"],
        ["exec /bin/x: no such file or directory"],
        always,
        |s| program(s, &config(), b"#!/no/such/interp -x\n", 0o755)
    ),
    case!(
        the_interpreter_of_an_elf_file_is_missing,
        "ELF file whose loader is missing",
        Fails(255),
        "/process/args/0",
        ["/bin/x exists; its interpreter /lib/ld-nope.so (ELF) does not"],
        ["exec /bin/x: no such file or directory"],
        always,
        |s| program(s, &config(), &elf(NATIVE, "/lib/ld-nope.so"), 0o755)
    ),
    case!(
        the_program_is_a_broken_elf_file,
        "corrupt ELF file",
        Fails(255),
        "/process/args/0",
        ["ELF header"],
        ["exec format error"],
        always,
        |s| program(s, &config(), b"\x7fELF\0\0\0\0", 0o755)
    ),
    case!(
        the_program_is_for_another_machine,
        "ELF file for another machine",
        Fails(255),
        "/process/args/0",
        ["x86_64", "aarch64"],
        ["exec format error"],
        always,
        |s| program(s, &config(), &elf(FOREIGN, "/lib/ld.so"), 0o755)
    ),
    case!(
        the_program_is_a_script_without_a_first_line,
        "script without #!",
        Fails(255),
        "/process/args/0",
        ["#!"],
        ["exec format error"],
        always,
        |s| program(s, &config(), b"echo hello\n", 0o755)
    ),
    case!(
        the_program_is_a_directory,
        "program is a directory",
        Fails(1),
        "/process/args/0",
        ["is a directory"],
        ["exec: \"/bin\"", "permission denied"],
        always,
        |s| with(s, &config().args(&["/bin"]))
    ),
    case!(
        the_program_has_no_x_bit,
        "program without x bit",
        Fails(1),
        "/process/args/0",
        ["/bin/x", "0644"],
        ["exec: \"/bin/x\": permission denied"],
        always,
        |s| program(s, &config(), b"#!/bin/probe\n", 0o644)
    ),
    case!(
        the_program_has_no_x_bit_for_that_user,
        "x bit of the program not for that uid",
        Fails(1),
        "/process/args/0",
        ["/bin/x", "0700", "1000"],
        ["exec: \"/bin/x\": permission denied"],
        always,
        |s| program(
            s,
            &config().set("/process/user", json!({ "uid": 1000, "gid": 1000 })),
            b"#!/bin/probe\n",
            0o700
        )
    ),
    case!(
        the_program_cannot_be_reached_by_that_user,
        "directory above the program closed to that uid",
        Fails(1),
        "/process/args/0",
        ["/closed", "0700", "1000"],
        ["exec: \"/closed/x\": permission denied"],
        always,
        |s| {
            let config =
                config().set("/process/user", json!({ "uid": 1000, "gid": 1000 })).args(&["/closed/x"]);
            let bundle = s.bundle(&config)?;
            let closed = bundle.rootfs().join("closed");
            fs::create_dir(&closed)?;
            fs::hard_link(bundle.rootfs().join("bin/probe"), closed.join("x"))?;
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))?;
            Ok(bundle)
        }
    ),
    case!(
        the_program_is_on_a_noexec_mount,
        "program on a mount with noexec",
        Fails(1),
        "/process/args/0",
        ["noexec", "/mounts/7"],
        ["exec: \"/tmp/probe\": permission denied"],
        always,
        |s| {
            let source = s.make_dir("programs")?;
            fs::hard_link(s.probe(), source.join("probe"))?;
            with(
                s,
                &config().mount("bind", &source, "/tmp", &["bind", "noexec"]).args(&["/tmp/probe", "report"]),
            )
        }
    ),
    case!(
        a_bind_source_is_missing,
        "bind source missing",
        Fails(1),
        "/mounts/7/source",
        ["/no/such/source"],
        ["no such file or directory"],
        always,
        |s| with(s, &config().mount("bind", Path::new("/no/such/source"), "/tmp", &["bind"]))
    ),
    case!(
        a_directory_is_bound_onto_a_file,
        "directory bound onto a file",
        Fails(1),
        "/mounts/7/destination",
        ["/etc/passwd is a file, the source is a directory"],
        ["not a directory"],
        always,
        |s| {
            let source = s.make_dir("source")?;
            with(s, &config().mount("bind", &source, "/etc/passwd", &["bind"]))
        }
    ),
    case!(
        a_file_is_bound_onto_a_directory,
        "file bound onto a directory",
        Fails(1),
        "/mounts/7/destination",
        ["/etc is a directory, the source is a file"],
        ["not a directory"],
        always,
        |s| {
            let source = s.make_file("source", "")?;
            with(s, &config().mount("bind", &source, "/etc", &["bind"]))
        }
    ),
    case!(
        a_filesystem_is_unknown,
        "unknown filesystem type",
        Fails(1),
        "/mounts/7/type",
        ["nopefs", "unknown to this kernel"],
        ["no such device"],
        always,
        |s| with(s, &config().mount("nopefs", Path::new("none"), "/tmp", &[]))
    ),
    case!(
        an_option_of_a_tmpfs_is_misspelt,
        "tmpfs option `sizee=`",
        Fails(1),
        "/mounts/7/options/1",
        ["tmpfs: Unknown parameter 'sizee'", "did you mean \"size=1m\"?"],
        ["invalid argument"],
        always,
        |s| with(s, &config().mount("tmpfs", Path::new("tmpfs"), "/tmp", &["nosuid", "sizee=1m"]))
    ),
    case!(
        a_value_of_an_option_is_wrong,
        "tmpfs option `size=lots`",
        Fails(1),
        "/mounts/7/options/0",
        ["tmpfs: Bad value for 'size'"],
        ["invalid argument"],
        always,
        |s| with(s, &config().mount("tmpfs", Path::new("tmpfs"), "/tmp", &["size=lots"]))
    ),
    case!(
        a_mountpoint_is_missing_in_a_readonly_root,
        "mountpoint missing in a read-only root",
        Runs,
        "",
        [],
        [],
        always,
        |s| with(s, &config().mount("tmpfs", Path::new("tmpfs"), "/not/there", &[]))
    ),
    case!(
        a_mount_is_inside_proc,
        "mount inside /proc",
        Fails(1),
        "/mounts/7/destination",
        ["/proc"],
        ["cannot be mounted because it is inside /proc"],
        always,
        |s| with(s, &config().mount("bind", Path::new("/tmp"), "/proc/tty", &["bind"]))
    ),
    case!(
        a_sysctl_does_not_exist,
        "sysctl that does not exist",
        Fails(1),
        "/linux/sysctl/net.ipv4.no_such",
        ["net.ipv4.no_such", "no such sysctl in this kernel or namespace"],
        ["error during container init: open /proc/sys/net/ipv4/no_such: no such file or directory"],
        always,
        |s| with(s, &config().set("/linux/sysctl", json!({ "net.ipv4.no_such": "1" })))
    ),
    case!(
        a_sysctl_is_the_hosts,
        "sysctl of the host",
        Fails(1),
        "/linux/sysctl/vm.swappiness",
        ["vm.swappiness"],
        ["is not in a separate kernel namespace"],
        always,
        |s| with(s, &config().set("/linux/sysctl", json!({ "vm.swappiness": "1" })))
    ),
    case!(
        a_user_namespace_has_no_mappings,
        "user namespace without mappings",
        Fails(1),
        "/linux/uidMappings",
        ["mappings"],
        ["user namespaces enabled, but no uid mappings found"],
        always,
        |s| with(s, &config().namespace("user", None))
    ),
    case!(
        the_path_of_a_namespace_is_missing,
        "namespace path missing",
        Fails(1),
        "/linux/namespaces/4/path",
        ["network", "/no/ns"],
        [
            "failed: unable to create new parent process: namespace path: lstat /no/ns: no such file or directory"
        ],
        always,
        |s| with(s, &config().namespace("network", Some("/no/ns")))
    ),
    case!(
        a_namespace_is_of_another_type,
        "namespace path of another type",
        Fails(1),
        "/linux/namespaces/4/path",
        ["network", "uts"],
        ["invalid argument"],
        always,
        |s| with(s, &config().namespace("network", Some("/proc/self/ns/uts")))
    ),
    case!(
        an_apparmor_profile_cannot_be_applied,
        "AppArmor profile on a host without",
        Fails(1),
        "/process/apparmorProfile",
        ["AppArmor is off"],
        ["apparmor"],
        apparmor_is_on,
        |s| with(s, &config().set("/process/apparmorProfile", "no-such-profile"))
    ),
    case!(
        a_capability_is_unknown,
        "unknown capability",
        Warns,
        "/process/capabilities/bounding/1",
        ["CAP_NOPE"],
        [],
        always,
        |s| with(s, &config().set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_NOPE"])))
    ),
    case!(
        a_key_is_misspelt,
        "key `linux.namespacez`",
        Warns,
        "/linux/namespacez",
        ["unknown field, did you mean `namespaces`?"],
        [],
        always,
        |s| with(s, &config().set("/linux/namespacez", json!([])))
    ),
    case!(
        a_value_has_the_wrong_type,
        "`cwd` is a number",
        Fails(1),
        "/process/cwd",
        ["integer `7`, expected", "string", "line ", "column "],
        [],
        always,
        |s| with(s, &config().set("/process/cwd", 7))
    ),
    case!(
        a_hook_is_missing,
        "hook's program missing",
        Fails(1),
        "/hooks/createRuntime/0/path",
        ["/no/hook"],
        ["error running createRuntime hook #0: fork/exec /no/hook: no such file or directory"],
        always,
        |s| with(s, &hook("createRuntime", Path::new("/no/hook"), &["hook"]))
    ),
    case!(
        a_hook_cannot_be_executed,
        "hook without x bit",
        Fails(1),
        "/hooks/prestart/0/path",
        ["permission denied"],
        ["error running prestart hook #0: fork/exec"],
        always,
        |s| {
            let file = s.make_file("hook", "#!/bin/sh\n")?;
            with(s, &hook("prestart", &file, &["hook"]))
        }
    ),
    case!(
        a_hook_fails,
        "hook exits 3 and says why",
        Fails(1),
        "/hooks/createRuntime/0",
        ["exit status 3", "it hurts"],
        ["error running createRuntime hook #0: exit status 3"],
        always,
        |s| {
            let script = s.make_script("hook", "echo it hurts >&2; exit 3")?;
            with(s, &hook("createRuntime", &script, &["hook"]))
        }
    ),
    case!(
        a_hook_takes_too_long,
        "hook past its timeout",
        Fails(1),
        "/hooks/createRuntime/0",
        ["timeout"],
        ["error running createRuntime hook #0: hook ran past specified timeout of 1.0s"],
        always,
        |s| {
            let script = s.make_script("hook", "exec sleep 60")?;
            with(s, &hook("createRuntime", &script, &["hook"]).set("/hooks/createRuntime/0/timeout", 1))
        }
    ),
    case!(
        the_root_is_missing,
        "root filesystem missing",
        Fails(1),
        "/root/path",
        ["nope", "no such file or directory"],
        ["invalid rootfs", "no such file or directory"],
        always,
        |s| with(s, &config().set("/root/path", "nope"))
    ),
    case!(
        a_device_has_an_unknown_type,
        "device of type `z`",
        Fails(1),
        "/linux/devices/0/type",
        ["z"],
        ["invalid device type \"z\""],
        always,
        |s| with(s, &config().push("/linux/devices", json!({ "type": "z", "path": "/dev/z" })))
    ),
    case!(
        a_namespace_has_an_unknown_type,
        "namespace of type `nope`",
        Fails(1),
        "/linux/namespaces/5/type",
        ["nope"],
        [],
        always,
        |s| with(s, &config().push("/linux/namespaces", json!({ "type": "nope" })))
    ),
    case!(
        a_namespace_is_listed_twice,
        "namespace listed twice",
        Fails(1),
        "/linux/namespaces/5",
        ["duplicate namespace"],
        [],
        always,
        |s| with(s, &config().push("/linux/namespaces", json!({ "type": "pid" })))
    ),
    case!(
        a_filter_denies_the_program,
        "seccomp denies execve",
        Fails(255),
        "/linux/seccomp/syscalls/1",
        ["this rule answers errno 1 to execve"],
        ["operation not permitted"],
        always,
        |s| with(
            s,
            &seccomp(&json!([
                { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" },
                { "names": ["ptrace", "execve"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
            ]))
        )
    ),
    case!(
        a_filter_denies_the_program_by_default,
        "seccomp denies execve by default",
        Fails(255),
        "/linux/seccomp/defaultAction",
        ["errno 1", "execve"],
        ["operation not permitted"],
        always,
        |s| {
            // One above execve, which would else be a call that there is not.
            let rules = json!([{ "names": ["exit", "exit_group", "statx"], "action": "SCMP_ACT_ALLOW" }]);
            with(s, &seccomp(&rules).set("/linux/seccomp/defaultAction", "SCMP_ACT_ERRNO"))
        }
    ),
    case!(
        a_filter_names_an_unknown_call,
        "unknown name in a seccomp profile",
        Runs,
        "/linux/seccomp/syscalls/0/names/1",
        ["nope_call"],
        [],
        always,
        |s| with(s, &seccomp(&json!([{ "names": ["mkdir", "nope_call"], "action": "SCMP_ACT_ERRNO" }])))
    ),
    case!(
        the_working_directory_is_a_file,
        "cwd is a file",
        Fails(1),
        "/process/cwd",
        ["/etc/passwd"],
        ["error during container init: mkdir /etc/passwd: not a directory"],
        always,
        |s| with(s, &config().set("/process/cwd", "/etc/passwd"))
    ),
    case!(
        a_soft_limit_is_above_the_hard_one,
        "soft limit above the hard one",
        Fails(1),
        "/process/rlimits/0",
        ["RLIMIT_NOFILE", "soft"],
        [],
        always,
        |s| with(
            s,
            &config().set("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 8 }]))
        )
    ),
    case!(
        a_variable_has_no_value,
        "environment variable without `=`",
        Fails(1),
        "/process/env/1",
        ["NOVALUE"],
        [],
        always,
        |s| with(s, &config().set("/process/env", json!(["A=b", "NOVALUE"])))
    ),
    case!(
        the_memory_limit_is_too_small,
        "memory limit too small to start",
        Fails(1),
        "/linux/resources/memory/limit",
        ["memory limit of 4096 bytes"],
        ["container init was OOM-killed (memory limit too low?)"],
        no_v1,
        |s| with(s, &config().set("/linux/resources/memory/limit", 4096))
    ),
    case!(
        a_controller_is_not_delegated,
        "memory limit without memory controller",
        Fails(1),
        "/linux/resources/memory/limit",
        ["the memory controller is not delegated"],
        ["no such file or directory"],
        no_unlisted_memory,
        |s| with(s, &config().set("/linux/resources/memory/limit", 1 << 28))
    ),
    case!(
        a_filesystem_has_no_id_mapped_mounts,
        "idmap on a filesystem without support",
        Fails(1),
        "/mounts/7/source",
        ["the filesystem sysfs does not support id-mapped mounts"],
        ["invalid argument"],
        always,
        |s| with(s, &idmapped(Path::new("/sys/kernel")))
    ),
    case!(
        a_filter_kills_the_program,
        "seccomp kills at execve",
        Fails(255),
        "/linux/seccomp/syscalls/0",
        ["this rule answers with a kill to execve"],
        [],
        always,
        |s| with(s, &seccomp(&json!([{ "names": ["execve"], "action": "SCMP_ACT_KILL_PROCESS" }])))
    ),
    case!(
        the_interpreter_has_no_x_bit,
        "script whose interpreter has no x bit",
        Fails(255),
        "/process/args/0",
        ["/etc/passwd has mode 0644"],
        ["exec /bin/x: permission denied"],
        always,
        |s| program(s, &config(), b"#!/etc/passwd\n", 0o755)
    ),
    case!(
        a_script_has_dos_line_ends,
        "script with DOS line ends",
        Fails(255),
        "/process/args/0",
        ["carriage return"],
        ["exec /bin/x: no such file or directory"],
        always,
        |s| program(s, &config(), b"#!/bin/probe\r\n", 0o755)
    ),
];
