//! `/process`, and what of `/linux` a process carries with it.

use super::super::run::CALLS;
use super::super::standin::text;
use super::{Judge, set};
use serde_json::{Value, json};

/// Limits that version 2 of cgroups has nothing for.
const ONLY_V1: [&str; 3] = [
    "/linux/resources/memory/swappiness",
    "/linux/resources/cpu/realtimeRuntime",
    "/linux/resources/cpu/realtimePeriod",
];

/// The bit of a capability, by its name (capabilities(7)); 0 if there is none.
fn capability(name: &str) -> u64 {
    const NAMES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP \
        LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE \
        SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME \
        SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG \
        WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";
    let number = NAMES.split_whitespace().position(|known| name.strip_prefix("CAP_") == Some(known));
    number.map_or(0, |number| 1 << number)
}

fn mask(value: &Value) -> u64 {
    value.as_str().and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// What a filter makes of a call: an errno, or nothing if it lets it pass. Of several rules the first that
/// matches counts.
fn verdict(filter: &Value, name: &str, args: [u64; 3]) -> Option<u64> {
    let holds = |arg: &Value| {
        let value = arg["index"].as_u64().and_then(|i| args.get(usize::try_from(i).ok()?));
        let number = |key: &str| arg[key].as_u64().unwrap_or(0);
        value.is_some_and(|value| match arg["op"].as_str() {
            Some("SCMP_CMP_EQ") => *value == number("value"),
            Some("SCMP_CMP_NE") => *value != number("value"),
            Some("SCMP_CMP_MASKED_EQ") => value & number("value") == number("valueTwo"),
            _ => false,
        })
    };
    let matches = |rule: &&Value| {
        let named = rule["names"].as_array().into_iter().flatten().any(|n| n == name);
        named && rule["args"].as_array().into_iter().flatten().all(holds)
    };
    let rule = filter["syscalls"].as_array().into_iter().flatten().find(matches);
    let (action, errno) = match rule {
        Some(rule) => (&rule["action"], &rule["errnoRet"]),
        None => (&filter["defaultAction"], &filter["defaultErrnoRet"]),
    };
    let eperm = u64::from(libc::EPERM.unsigned_abs());
    (action == "SCMP_ACT_ERRNO").then(|| errno.as_u64().unwrap_or(eperm))
}

impl Judge<'_> {
    pub(super) fn process(&mut self) {
        self.identity();
        self.capabilities();
        self.surroundings();
        self.rlimits();
        self.terminal();
        self.filter();
    }

    fn identity(&mut self) {
        let id = |value: &Value| value.as_u64().unwrap_or(0);
        let uid = id(self.field("/process/user/uid"));
        self.equal("/process/user/uid", json!([uid, uid, uid]), self.saw("/report/uids").clone());
        let gid = id(self.field("/process/user/gid"));
        self.equal("/process/user/gid", json!([gid, gid, gid]), self.saw("/report/gids").clone());
        let sorted = |list: &Value| {
            let mut ids: Vec<u64> = list.as_array().into_iter().flatten().map(id).collect();
            ids.sort_unstable();
            json!(ids)
        };
        let field = "/process/user/additionalGids";
        self.equal(field, sorted(self.field(field)), sorted(self.saw("/report/groups")));
        let mask = self.field("/process/user/umask").as_u64().unwrap_or(0o22);
        self.equal("/process/user/umask", mask, self.saw("/report/umask").clone());
    }

    /// capabilities(7): what an execve leaves of the sets that are asked for and that this host has.
    fn capabilities(&mut self) {
        let available = match self.has_user_namespace() {
            true => u64::MAX,
            false => mask(self.saw("/host/capabilities/bounding")),
        };
        let asked = |set: &str| -> u64 {
            let list = self.list(&format!("/process/capabilities/{set}")).iter();
            list.fold(0, |mask, name| mask | capability(&text(name)))
        };
        let given = |set: &str| asked(set) & available;
        let (bounding, inheritable) = (given("bounding"), given("inheritable"));
        let ambient = given("ambient") & given("permitted") & inheritable;
        let root = self.field("/process/user/uid").as_u64().unwrap_or(0) == 0;
        let permitted = if root { bounding | inheritable } else { ambient };
        let all = ["bounding", "effective", "permitted", "inheritable", "ambient"];
        let missing = all.iter().fold(0, |missing, set| missing | asked(set)) & !available;
        let unraised = given("ambient") & !ambient;
        let sets = [bounding, permitted, permitted, inheritable, ambient];
        for (set, expected) in all.into_iter().zip(sets) {
            let found = self.saw(&format!("/report/capabilities/{set}"));
            let field = format!("/process/capabilities/{set}");
            self.equal(field, format!("{expected:016x}"), found.clone());
        }
        self.warnings(missing, unraised);
    }

    /// One line for each capability and each limit that cannot be had, and nothing else.
    fn warnings(&mut self, missing: u64, unraised: u64) {
        if self.seen["warnings"].is_null() {
            return;
        }
        let lines = self.list_seen("/warnings");
        let names = |mask: u64| {
            let all = ["bounding", "effective", "permitted", "inheritable", "ambient"];
            let all = all.map(|set| self.list(&format!("/process/capabilities/{set}")));
            set(all.concat().iter().map(text).filter(|name| capability(name) & mask != 0))
        };
        let (missing, unraised) = (names(missing), names(unraised));
        let told = |words: &str| {
            let lines = lines.iter().filter(|line| line.contains(words));
            set(lines
                .filter_map(|l| l.split([' ', ':', '"']).find(|w| w.starts_with("CAP_")))
                .map(String::from))
        };
        let asked = |field: &&&str| self.is_v2() && !self.field(field).is_null();
        let left_out = set(ONLY_V1.iter().filter(asked).map(|field| (*field).to_owned()));
        let ignored = lines.iter().filter(|line| line.contains(": ignored: "));
        let ignored = ignored.filter_map(|line| ONLY_V1.iter().find(|field| line.contains(**field)));
        let ignored = set(ignored.map(|field| (*field).to_owned()));
        let count = |value: &Value| value.as_array().map_or(0, Vec::len);
        let expected = count(&missing) + count(&unraised) + count(&left_out);
        let (gone, low) = (told("cannot be given on this host"), told("can't raise ambient capability"));
        self.equal("(warnings) missing capabilities", missing, gone);
        self.equal("(warnings) ambient capabilities", unraised, low);
        self.equal("(warnings) limits left out", left_out, ignored);
        let other = if lines.len() == expected { json!([]) } else { json!(lines) };
        self.equal("(warnings)", json!([]), other);
    }

    fn list_seen(&self, pointer: &str) -> Vec<String> {
        self.saw(pointer).as_array().into_iter().flatten().map(text).collect()
    }

    fn surroundings(&mut self) {
        for (field, key) in [("/process/cwd", "cwd"), ("/process/args", "argv")] {
            self.equal(field, self.field(field).clone(), self.saw(&format!("/report/{key}")).clone());
        }
        let mut env: Vec<String> = self.list("/process/env").iter().map(text).collect();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            // From the stand-in's /etc/passwd.
            let home = match self.field("/process/user/uid").as_u64() {
                Some(0) => "/root",
                Some(1000) => "/home/user",
                _ => "/",
            };
            env.push(format!("HOME={home}"));
        }
        self.equal("/process/env", json!(env), self.saw("/report/env").clone());
        let forbidden = self.field("/process/noNewPrivileges") == true;
        self.equal("/process/noNewPrivileges", forbidden, self.saw("/report/no_new_privs").clone());
        let inherited = self.saw("/host/oom_score_adj").clone();
        let score = self.field("/process/oomScoreAdj").as_i64().map_or(inherited, Value::from);
        self.equal("/process/oomScoreAdj", score, self.saw("/report/oom_score_adj").clone());
        let domain = match self.field("/linux/personality/domain").as_str() {
            Some("LINUX32") => json!(8),
            Some(_) => json!(0),
            None => self.saw("/host/personality").clone(),
        };
        self.equal("/linux/personality/domain", domain, self.saw("/report/personality").clone());
    }

    /// The limits named, and the caller's for all others.
    fn rlimits(&mut self) {
        let named = self.list("/process/rlimits");
        for (index, limit) in named.iter().enumerate() {
            let found = &self.seen["report"]["rlimits"][text(&limit["type"])];
            let expected = json!([limit["soft"], limit["hard"]]);
            self.equal(format!("/process/rlimits/{index}"), expected, found.clone());
        }
        for (name, value) in self.saw("/host/rlimits").as_object().into_iter().flatten() {
            if !named.iter().any(|limit| limit["type"] == name.as_str()) {
                let found = &self.seen["report"]["rlimits"][name];
                self.equal(format!("(inherited) {name}"), value.clone(), found.clone());
            }
        }
    }

    fn terminal(&mut self) {
        let asked = self.field("/process/terminal") == true;
        for fd in 0..3 {
            let found = self.saw(&format!("/report/tty/{fd}/isatty"));
            self.equal("/process/terminal", asked, found.clone());
        }
        let size = |key: &str| self.field(&format!("/process/consoleSize/{key}")).as_u64().unwrap_or(0);
        let window = if asked { json!([size("height"), size("width")]) } else { Value::Null };
        self.equal("/process/consoleSize", window, self.saw("/report/tty/0/window").clone());
    }

    fn filter(&mut self) {
        let filter = self.field("/linux/seccomp");
        let mode = if filter.is_null() { self.saw("/host/seccomp").clone() } else { json!(2) };
        self.equal("/linux/seccomp", mode, self.saw("/report/seccomp").clone());
        for (name, call, args) in CALLS {
            let unfiltered = &self.seen["host"]["call"][name];
            let expected = verdict(filter, call, args).map_or(unfiltered.clone(), Value::from);
            let found = &self.seen["report"]["call"][name];
            self.equal(format!("/linux/seccomp ({name})"), expected, found.clone());
        }
    }
}
