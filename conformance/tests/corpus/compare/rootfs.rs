//! What lies in `/dev`, and who may use it.

use super::super::standin::text;
use super::{Judge, set};
use serde_json::{Value, json};

/// Devices of every container (runtime-spec, config-linux.md, default devices).
const DEVICES: [(&str, &str); 6] = [
    ("/dev/null", "1:3"),
    ("/dev/zero", "1:5"),
    ("/dev/full", "1:7"),
    ("/dev/random", "1:8"),
    ("/dev/urandom", "1:9"),
    ("/dev/tty", "5:0"),
];

const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

impl Judge<'_> {
    pub(super) fn rootfs(&mut self) {
        let listed: Vec<String> = self.list("/linux/devices").iter().map(|d| text(&d["path"])).collect();
        for (path, number) in DEVICES.into_iter().filter(|(path, _)| !listed.iter().any(|l| l == path)) {
            self.node(format!("(default device) {path}"), path, json!(["char", number, "0666", 0, 0]));
        }
        for (index, device) in self.list("/linux/devices").iter().enumerate() {
            self.listed(index, device);
        }
        for (path, target) in LINKS {
            let found = self.stat(path)["link"].clone();
            self.equal(format!("(default link) {path}"), target, found);
        }
        let console = self.field("/process/terminal") == true;
        let found = self.stat("/dev/console")["type"] == "char";
        self.equal("/process/terminal (/dev/console)", console, found);
        self.listing();
        self.access();
    }

    /// The places of all device nodes.
    pub(super) fn device_paths(&self) -> Vec<String> {
        let listed = self.list("/linux/devices").iter().map(|d| text(&d["path"]));
        let default = DEVICES.iter().map(|(path, _)| (*path).to_owned());
        let mut all: Vec<String> = default.chain(listed.filter(|path| path != "/dev/ptmx")).collect();
        all.sort();
        all.dedup();
        all
    }

    fn node(&mut self, field: String, path: &str, expected: Value) {
        let stat = self.stat(path);
        // A bound node keeps the mode and the owner that it has on the host.
        let found = match self.has_user_namespace() {
            true => json!([stat["type"], stat["rdev"], expected[2], expected[3], expected[4]]),
            false => json!([stat["type"], stat["rdev"], stat["mode"], stat["uid"], stat["gid"]]),
        };
        self.equal(field, expected, found);
    }

    fn listed(&mut self, index: usize, device: &Value) {
        let path = text(&device["path"]);
        // The link to the container's own devpts stands there instead.
        if path == "/dev/ptmx" {
            return;
        }
        let kind = match device["type"].as_str() {
            Some("b") => "block",
            Some("p") => "fifo",
            _ => "char",
        };
        let number = |key: &str| device[key].as_i64().unwrap_or(0);
        // Some engines write the type into the mode as well.
        let mode = format!("{:04o}", device["fileMode"].as_u64().unwrap_or(0o666) & 0o7777);
        let numbers = format!("{}:{}", number("major"), number("minor"));
        let expected = json!([kind, numbers, mode, number("uid"), number("gid")]);
        self.node(format!("/linux/devices/{index}"), &path, expected);
    }

    /// Nothing else lies in a new `/dev`.
    fn listing(&mut self) {
        let inside = |path: &str| {
            let name = path.strip_prefix("/dev/")?.split('/').next()?;
            Some(name.to_owned())
        };
        let mut names: Vec<String> = self.device_paths().iter().filter_map(|path| inside(path)).collect();
        names.extend(LINKS.iter().filter_map(|(path, _)| inside(path)));
        names.extend(self.list("/mounts").iter().filter_map(|m| inside(&text(&m["destination"]))));
        if self.field("/process/terminal") == true {
            names.push("console".to_owned());
        }
        if self.stat("/dev/core")["link"] == "/proc/kcore" {
            names.push("core".to_owned());
        }
        let found = self.seen["report"]["list"]["/dev"].as_array().into_iter().flatten().map(text);
        self.equal("(what lies in /dev)", set(names), set(found));
    }

    /// Opening a device is refused with EPERM where the rules say so. Only root gets past the node's mode.
    fn access(&mut self) {
        let opened = self.saw("/report/open").as_object().cloned().unwrap_or_default();
        for (word, found) in opened {
            let path = word.strip_suffix(":r").unwrap_or(&word);
            let listed = self.list("/linux/devices").iter().find(|d| d["path"] == path);
            let is_root = self.field("/process/user/uid").as_u64().unwrap_or(0) == 0;
            let allowed = match listed {
                Some(device) if is_root => self.may_read(device),
                Some(_) => continue,
                None => true,
            };
            let refused = found == libc::EPERM || (listed.is_none() && found != "ok");
            self.equal(format!("/linux/resources/devices ({path})"), allowed, !refused);
        }
    }

    /// The last rule for the device counts.
    fn may_read(&self, device: &Value) -> bool {
        let mut rules = self.list("/linux/resources/devices").iter();
        let covers = |rule: &&Value| {
            let any = |key: &str| rule[key].is_null() || rule[key] == -1 || rule[key] == device[key];
            let kind = rule["type"].is_null() || rule["type"] == "a" || rule["type"] == device["type"];
            let access = rule["access"].as_str().is_none_or(|access| access.contains('r'));
            kind && any("major") && any("minor") && access
        };
        rules.rfind(covers).is_some_and(|rule| rule["allow"] == true)
    }
}
