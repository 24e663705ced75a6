//! Input that cannot work: one clear line, exit code 1, and nothing left.
#![allow(clippy::unwrap_used, missing_docs)]

use oxrun_conformance::harness::{Config, Output, Sandbox, oxrun_only, run, test};
use oxrun_conformance::{Check, check, check_eq};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

const REPORT: &[&str] = &["/bin/probe", "report"];

fn sandbox() -> Check<Sandbox> {
    Sandbox::new(env!("CARGO_BIN_EXE_oxrun-probe"))
}

/// Runs `create` and `run` on a bundle whose config.json is `text`. Both must fail with exit code
/// 1 and one line that contains `message`, and leave nothing. A runtime other than oxrun may use
/// other words.
fn refuses_text(text: impl AsRef<[u8]>, messages: &[&str]) -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    bundle.write(text)?;
    let before = s.leaks()?;
    for command in ["create", "run"] {
        let path = bundle.path().to_string_lossy();
        let output = s.runtime().call(&[command, "--bundle", &path, "c1"])?;
        one_line(&s, output, messages)?;
        before.assert_same()?;
    }
    Ok(())
}

fn one_line(s: &Sandbox, output: Output, messages: &[&str]) -> Check {
    let output = output.exits(1)?;
    check_eq!(output.stdout, "", "stdout of {}", output.call);
    check!(!output.stderr.trim().is_empty(), "{output}\n  no error message");
    if !s.runtime().is_oxrun() {
        return Ok(());
    }
    check_eq!(output.stderr.lines().count(), 1, "lines on stderr\n{output}");
    for message in messages {
        check!(output.says(message), "{output}\n  expected on stderr: {message:?}");
    }
    Ok(())
}

fn refuses(config: &Config, messages: &[&str]) -> Check {
    refuses_text(config.text(), messages)
}

fn text_that_is_no_json() -> Check {
    refuses_text("this is no JSON", &["config.json", "line 1"])
}

fn an_empty_file() -> Check {
    refuses_text("", &["config.json"])
}

fn bytes_that_are_no_text() -> Check {
    refuses_text([0xff, 0xfe, 0x00, 0x80], &["config.json"])
}

fn a_truncated_file() -> Check {
    let text = Config::new(REPORT).text();
    refuses_text(&text[..text.len() / 2], &["config.json", "line"])
}

fn json_that_is_no_object() -> Check {
    refuses_text("[1, 2]", &["config.json"])
}

fn a_file_of_17_megabytes() -> Check {
    let padding = " ".repeat(17 << 20);
    refuses_text(format!("{}{padding}", Config::new(REPORT).text()), &["16 MiB"])
}

fn nesting_1000_deep() -> Check {
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let text = format!("{{\"x\": {deep}, {}", &Config::new(REPORT).text()[1..]);
    refuses_text(text, &["64"])
}

fn a_missing_config_file() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT))?;
    fs::remove_file(bundle.path().join("config.json"))?;
    let before = s.leaks()?;
    let output = s.runtime().create(bundle.path(), "c1")?;
    one_line(&s, output, &["config.json", "no such file or directory"])?;
    before.assert_same()
}

fn a_missing_bundle() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let output = s.runtime().create(Path::new("/no/such/bundle"), "c1")?;
    one_line(&s, output, &["/no/such/bundle", "no such file or directory"])?;
    before.assert_same()
}

fn a_missing_rootfs() -> Check {
    refuses(
        &Config::new(REPORT).set("/root/path", "nope"),
        &["/root/path", "nope", "no such file or directory"],
    )
}

fn a_rootfs_that_is_a_file() -> Check {
    refuses(&Config::new(REPORT).set("/root/path", "config.json"), &["/root/path", "not a directory"])
}

fn no_root() -> Check {
    refuses(&Config::new(REPORT).remove("/root"), &["root must be specified"])?;
    // Not the bundle itself.
    refuses(&Config::new(REPORT).remove("/root/path"), &["root.path must be specified"])?;
    refuses(&Config::new(REPORT).set("/root/path", ""), &["root.path must be specified"])
}

fn no_process() -> Check {
    refuses(&Config::new(REPORT).remove("/process"), &["process property must not be empty"])
}

fn no_arguments() -> Check {
    refuses(&Config::new(REPORT).set("/process/args", json!([])), &["args must not be empty"])
}

fn a_relative_working_directory() -> Check {
    refuses(
        &Config::new(REPORT).set("/process/cwd", "tmp"),
        &["/process/cwd", "Cwd must be an absolute path"],
    )
}

fn a_working_directory_that_is_a_file() -> Check {
    refuses(&Config::new(REPORT).set("/process/cwd", "/etc/passwd"), &["/process/cwd", "not a directory"])
}

fn a_missing_program() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let bundle = s.bundle(&Config::new(&["/bin/nope"]))?;
    let output = s.runtime().create(bundle.path(), "c1")?;
    output.refused("exec: \"/bin/nope\": stat /bin/nope: no such file or directory")?;
    let bundle = s.bundle(&Config::new(&["nope"]))?;
    let output = s.runtime().create(bundle.path(), "c1")?;
    output.refused("exec: \"nope\": executable file not found in $PATH")?;
    before.assert_same()
}

fn a_program_without_the_execute_bit() -> Check {
    let s = sandbox()?;
    let before = s.leaks()?;
    let bundle = s.bundle(&Config::new(&["/etc/passwd"]))?;
    let output = s.runtime().create(bundle.path(), "c1")?;
    output.refused("exec: \"/etc/passwd\": permission denied")?;
    before.assert_same()
}

fn a_script_whose_interpreter_is_missing() -> Check {
    use std::os::unix::fs::PermissionsExt as _;
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/script"]))?;
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/no/such/interpreter\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let before = s.leaks()?;
    let output = s.runtime().run(bundle.path(), "c1")?.exits(255)?;
    check!(
        output.stderr.contains("exec /bin/script: no such file or directory"),
        "{output}\n  does not say what is missing"
    );
    before.assert_same()
}

fn the_missing_interpreter_is_named() -> Check {
    use std::os::unix::fs::PermissionsExt as _;
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/script"]))?;
    let script = bundle.rootfs().join("bin/script");
    fs::write(&script, "#!/no/such/interpreter\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let output = s.runtime().run(bundle.path(), "c1")?.exits(255)?;
    check!(output.stderr.contains("/no/such/interpreter"), "{output}");
    Ok(())
}

fn a_program_that_is_no_executable_format() -> Check {
    use std::os::unix::fs::PermissionsExt as _;
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(&["/bin/junk"]))?;
    let junk = bundle.rootfs().join("bin/junk");
    fs::write(&junk, [0x7f, b'E', b'L', b'F', 0, 0, 0, 0])?;
    fs::set_permissions(&junk, fs::Permissions::from_mode(0o755))?;
    let before = s.leaks()?;
    let output = s.runtime().run(bundle.path(), "c1")?.exits(255)?;
    check!(output.stderr.contains("exec format error"), "{output}");
    before.assert_same()
}

fn an_unknown_filesystem_type() -> Check {
    let config = Config::new(REPORT).mount("nopefs", Path::new("none"), "/tmp", &[]);
    refuses(&config, &["/mounts/7", "nopefs", "no such device"])
}

fn an_unknown_option_of_a_tmpfs() -> Check {
    let config = Config::new(REPORT).mount("tmpfs", Path::new("tmpfs"), "/tmp", &["nosuid", "sizee=1m"]);
    refuses(&config, &["/mounts/7/options/1", "sizee", "invalid argument"])
}

fn a_missing_bind_source() -> Check {
    let config = Config::new(REPORT).mount("bind", Path::new("/no/such/source"), "/tmp", &["bind"]);
    refuses(&config, &["/mounts/7", "/no/such/source", "no such file or directory"])
}

fn an_unknown_sysctl() -> Check {
    let config = Config::new(REPORT).set("/linux/sysctl", json!({ "net.ipv4.no_such": "1" }));
    refuses(&config, &["/linux/sysctl/net.ipv4.no_such"])
}

fn an_unknown_namespace() -> Check {
    let config = Config::new(REPORT).push("/linux/namespaces", json!({ "type": "nope" }));
    refuses(&config, &["/linux/namespaces/5", "nope"])
}

fn an_unknown_device_type() -> Check {
    let config = Config::new(REPORT).push("/linux/devices", json!({ "type": "z", "path": "/dev/z" }));
    refuses(&config, &["/linux/devices/0", "z"])
}

fn an_unknown_seccomp_action() -> Check {
    let config = Config::new(REPORT).set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_NOPE" }));
    refuses(&config, &["/linux/seccomp/defaultAction", "SCMP_ACT_NOPE"])
}

fn a_value_of_the_wrong_type() -> Check {
    refuses(&Config::new(REPORT).set("/process/cwd", 7), &["/process/cwd", "string"])
}

fn a_variable_without_a_value() -> Check {
    refuses(
        &Config::new(REPORT).set("/process/env", json!(["A=b", "NOVALUE"])),
        &["/process/env/1", "NOVALUE"],
    )
}

fn a_nul_byte_in_an_argument() -> Check {
    refuses(&Config::new(REPORT).set("/process/args", json!(["/bin/probe", "a\u{0}b"])), &["/process/args/1"])
}

fn a_version_that_is_none() -> Check {
    refuses(&Config::new(REPORT).set("/ociVersion", "invalid"), &["ociVersion", "invalid"])
}

fn a_major_version_of_the_future() -> Check {
    refuses(&Config::new(REPORT).set("/ociVersion", "2.0.0"), &["ociVersion", "2.0.0"])
}

fn an_unknown_key_is_a_warning_with_a_suggestion() -> Check {
    let s = sandbox()?;
    let bundle = s.bundle(&Config::new(REPORT).set("/linux/namespacez", json!([])))?;
    let output = s.runtime().run(bundle.path(), "c1")?.success()?;
    check_eq!(output.stderr.lines().count(), 1, "lines on stderr\n{output}");
    for word in ["/linux/namespacez", "namespaces"] {
        check!(output.stderr.contains(word), "{output}\n  expected on stderr: {word:?}");
    }
    Ok(())
}

fn an_id_is_free_again_after_a_failure() -> Check {
    let s = sandbox()?;
    let bad = s.bundle(&Config::new(&["/bin/nope"]))?;
    s.runtime().create(bad.path(), "c1")?.exits(1)?;
    s.runtime().call(&["state", "c1"])?.refused("container does not exist")?;
    let good = s.bundle(&Config::new(&["/bin/probe", "exit", "3"]))?;
    s.runtime().run(good.path(), "c1")?.exits(3)?;
    Ok(())
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { vec![$(test(stringify!($name), $name)),*] };
    }
    let mut tests = tests![
        text_that_is_no_json,
        an_empty_file,
        bytes_that_are_no_text,
        a_truncated_file,
        json_that_is_no_object,
        a_missing_config_file,
        a_missing_bundle,
        a_missing_rootfs,
        a_rootfs_that_is_a_file,
        no_root,
        no_process,
        no_arguments,
        a_relative_working_directory,
        a_working_directory_that_is_a_file,
        a_missing_program,
        a_program_without_the_execute_bit,
        a_script_whose_interpreter_is_missing,
        a_program_that_is_no_executable_format,
        an_unknown_filesystem_type,
        an_unknown_option_of_a_tmpfs,
        a_missing_bind_source,
        an_unknown_sysctl,
        an_unknown_namespace,
        an_unknown_device_type,
        an_unknown_seccomp_action,
        a_value_of_the_wrong_type,
        an_id_is_free_again_after_a_failure,
    ];
    tests.extend([
        oxrun_only("a_file_of_17_megabytes", "others have no limit", a_file_of_17_megabytes),
        oxrun_only("nesting_1000_deep", "others skip unknown keys however deep", nesting_1000_deep),
        oxrun_only(
            "the_missing_interpreter_is_named",
            "others name the script only",
            the_missing_interpreter_is_named,
        ),
        oxrun_only("a_variable_without_a_value", "others pass it on as it is", a_variable_without_a_value),
        oxrun_only("a_nul_byte_in_an_argument", "others find it at execve", a_nul_byte_in_an_argument),
        oxrun_only("a_version_that_is_none", "runc does not look at it", a_version_that_is_none),
        oxrun_only(
            "a_major_version_of_the_future",
            "runc does not look at it",
            a_major_version_of_the_future,
        ),
        oxrun_only(
            "an_unknown_key_is_a_warning_with_a_suggestion",
            "others say nothing",
            an_unknown_key_is_a_warning_with_a_suggestion,
        ),
    ]);
    run(tests)
}
