//! `/mounts`, `/root`, and nothing mounted beyond what the document says.

use super::super::standin::{NESTED, has_option, is_bind, text};
use super::{Judge, set};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Options that set a flag of a mount, and those that it replaces.
const FLAGS: [(&str, &str, &[&str]); 14] = [
    ("ro", "ro", &["rw"]),
    ("rw", "rw", &["ro"]),
    ("nosuid", "nosuid", &[]),
    ("suid", "", &["nosuid"]),
    ("nodev", "nodev", &[]),
    ("dev", "", &["nodev"]),
    ("noexec", "noexec", &[]),
    ("exec", "", &["noexec"]),
    ("relatime", "relatime", &["noatime"]),
    ("noatime", "noatime", &["relatime"]),
    ("strictatime", "", &["relatime", "noatime"]),
    ("nodiratime", "nodiratime", &[]),
    ("diratime", "", &["nodiratime"]),
    ("idmap", "idmapped", &[]),
];

fn words(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// The flags that a mount has with these options. `recursive` takes those that begin with an `r` for all below.
fn flags(start: BTreeSet<String>, options: &Value, recursive: bool) -> BTreeSet<String> {
    let mut flags = start;
    for option in options.as_array().into_iter().flatten().map(text) {
        let known = |name: &str| FLAGS.iter().find(|(known, ..)| *known == name);
        let below = option.strip_prefix('r').and_then(known);
        let Some((_, sets, clears)) = (if recursive { below } else { known(&option).or(below) }) else {
            continue;
        };
        for name in *clears {
            flags.remove(*name);
        }
        if !sets.is_empty() {
            flags.insert((*sets).to_owned());
        }
    }
    flags
}

/// The propagation that the options ask for: the last word counts.
fn propagation(options: &Value) -> Option<String> {
    let all = options.as_array().into_iter().flatten().map(text);
    let kinds = ["private", "slave", "shared", "unbindable"];
    let mut words =
        all.filter_map(|o| kinds.iter().find(|k| o.strip_prefix('r').unwrap_or(&o) == **k).copied());
    words.next_back().map(str::to_owned)
}

/// The words of the optional fields without their numbers.
fn tags(mount: &Value) -> Value {
    let tags = mount["tags"].as_array().into_iter().flatten().map(text);
    set(tags.filter_map(|tag| tag.split(':').next().map(str::to_owned)))
}

/// A value of a filesystem's option in a form that does not depend on how it is written.
fn plain(key: &str, value: &str) -> String {
    match key {
        "size" => {
            let (digits, unit) = match value.strip_suffix(['k', 'm', 'g', 'K', 'M', 'G']) {
                Some(digits) => (digits, value.chars().next_back().map(|c| c.to_ascii_lowercase())),
                None => (value, None),
            };
            let shift = match unit {
                Some('k') => 10,
                Some('m') => 20,
                Some('g') => 30,
                _ => 0,
            };
            digits.parse::<u64>().map_or_else(|_| value.to_owned(), |n| (n << shift).to_string())
        }
        "mode" | "ptmxmode" => value.trim_start_matches('0').to_owned(),
        _ => value.to_owned(),
    }
}

/// The filesystem's option, as the kernel shows it; it does not show what is the default.
fn shown(mount: &Value, key: &str) -> Option<String> {
    let entries = mount["super"].as_array().into_iter().flatten().map(text);
    let mut values = entries.filter_map(|e| e.strip_prefix(&format!("{key}=")).map(str::to_owned));
    let default = (key == "mode" && mount["type"] == "tmpfs").then(|| "1777".to_owned());
    values.next_back().or(default)
}

impl Judge<'_> {
    pub(super) fn mounts(&mut self) {
        let mut left: Vec<Value> = self.saw("/report/mounts").as_array().cloned().unwrap_or_default();
        self.root(&mut left);
        for (index, mount) in self.list("/mounts").iter().enumerate() {
            self.mount(index, mount, &mut left);
        }
        self.covered("maskedPaths", &mut left);
        self.covered("readonlyPaths", &mut left);
        if self.field("/process/terminal") == true {
            let found = take(&mut left, "/dev/console").map(|mount| mount["type"].clone());
            self.equal("/process/terminal (/dev/console)", "devpts", found);
        }
        self.bound_devices(&mut left);
        for mount in left {
            self.equal(
                format!("(a mount that nothing asks for) {}", text(&mount["target"])),
                Value::Null,
                mount,
            );
        }
    }

    fn root(&mut self, left: &mut Vec<Value>) {
        let mount = take(left, "/").unwrap_or_default();
        let word = if self.field("/root/readonly") == true { "ro" } else { "rw" };
        let found = words(&mount["options"]);
        self.equal("/root/readonly", word, if found.contains("ro") { "ro" } else { "rw" });
        let found = json!({ "dev": self.stat("/")["dev"], "inode": self.stat("/")["inode"] });
        self.equal("/root/path", self.saw("/root").clone(), found);
        let expected = match self.field("/linux/rootfsPropagation").as_str() {
            Some(word) => {
                set([word.trim_start_matches('r').to_owned()].into_iter().filter(|w| w == "shared"))
            }
            None => json!([]),
        };
        let found = tags(&mount);
        let shared = json!(found.as_array().into_iter().flatten().any(|tag| tag == "shared"));
        self.equal("/linux/rootfsPropagation", expected != json!([]), shared);
    }

    fn mount(&mut self, index: usize, mount: &Value, left: &mut Vec<Value>) {
        let target = text(&mount["destination"]);
        let field = |name: &str| format!("/mounts/{index}/{name}");
        let Some(found) = take(left, &target) else {
            self.equal(field("destination"), target.clone(), Value::Null);
            return;
        };
        let kind = text(&mount["type"]);
        let options = &mount["options"];
        let plain_start: BTreeSet<String> = ["rw", "relatime"].map(String::from).into();
        if is_bind(mount) {
            self.bind(index, mount, &found, left);
            return;
        }
        let expected = flags(plain_start, options, false);
        self.equal(field("options"), json!(expected), json!(words(&found["options"])));
        if kind == "cgroup" {
            self.hierarchies(index, mount, &found, left);
            return;
        }
        self.equal(field("type"), kind, found["type"].clone());
        if let Some(source) = mount["source"].as_str() {
            self.equal(field("source"), source, found["source"].clone());
        }
        self.data(index, mount, &found);
        if has_option(mount, "tmpcopyup") {
            let found = self.stat(&format!("{target}/kept"))["type"].clone();
            self.equal(field("options (tmpcopyup)"), "file", found);
        }
        if propagation(options).is_some_and(|kind| kind == "private") {
            self.equal(field("options (propagation)"), json!([]), tags(&found));
        }
    }

    /// What is left of the options is the filesystem's.
    fn data(&mut self, index: usize, mount: &Value, found: &Value) {
        for option in mount["options"].as_array().into_iter().flatten().map(text) {
            let Some((key, value)) = option.split_once('=') else { continue };
            let shown = shown(found, key).map(|value| plain(key, &value));
            let expected = if key == "gid" { self.outside_gid(value) } else { plain(key, value) };
            self.equal(format!("/mounts/{index}/options ({key})"), expected, json!(shown));
            if key == "mode" && mount["type"] == "tmpfs" {
                let target = text(&mount["destination"]);
                let mode = self.stat(&target)["mode"].as_str().unwrap_or_default().to_owned();
                self.equal(format!("/mounts/{index}/options (mode)"), plain(key, value), plain(key, &mode));
            }
        }
    }

    /// The kernel shows a group by its number outside all user namespaces.
    fn outside_gid(&self, value: &str) -> String {
        let Ok(inside) = value.parse::<u64>() else { return value.to_owned() };
        let mapped = self.list("/linux/gidMappings").iter().find_map(|entry| {
            let number = |key: &str| entry[key].as_u64().unwrap_or(0);
            let within = inside.checked_sub(number("containerID")).filter(|n| *n < number("size"))?;
            Some(number("hostID") + within)
        });
        let first = self.saw("/first id").as_u64().unwrap_or(0);
        (mapped.unwrap_or(inside) + first).to_string()
    }

    fn bind(&mut self, index: usize, mount: &Value, found: &Value, left: &mut Vec<Value>) {
        let target = text(&mount["destination"]);
        let field = |name: &str| format!("/mounts/{index}/{name}");
        let source = &self.seen["sources"][text(&mount["source"])];
        let seen = self.stat(&target);
        let expected = json!([source["dev"], source["inode"]]);
        self.equal(field("source"), expected, json!([seen["dev"], seen["inode"]]));
        let options = &mount["options"];
        let expected = flags(words(&source["options"]), options, false);
        self.equal(field("options"), json!(expected), json!(words(&found["options"])));
        self.equal(field("options (propagation)"), self.bound_tags(mount, source), tags(found));
        if has_option(mount, "idmap") {
            // What is root's outside is root's inside.
            self.equal(field("options (idmap)"), json!([0, 0]), json!([seen["uid"], seen["gid"]]));
        }
        // What is mounted below the source.
        let nested = take(left, &format!("{target}/{NESTED}"));
        let expected = has_option(mount, "rbind") && source["directory"] == true;
        self.equal(field("options (rbind)"), expected, nested.is_some());
        if let Some(nested) = nested {
            let start = ["rw", "relatime"].map(String::from).into();
            let expected = flags(start, options, true);
            self.equal(field("options (below)"), json!(expected), json!(words(&nested["options"])));
        }
    }

    /// A mount is a slave of the one that it was bound from, unless it says otherwise.
    fn bound_tags(&self, mount: &Value, source: &Value) -> Value {
        let from_shared = source["shared"] == true;
        let outer = self.field("/linux/rootfsPropagation").as_str().unwrap_or("slave");
        let asked = propagation(&mount["options"]);
        match asked.as_deref().unwrap_or(outer.strip_prefix('r').unwrap_or(outer)) {
            "shared" if from_shared => json!(["shared"]),
            "slave" if from_shared => json!(["master"]),
            _ => json!([]),
        }
    }

    /// One directory for each hierarchy, which is the container's own.
    fn hierarchies(&mut self, index: usize, mount: &Value, found: &Value, left: &mut Vec<Value>) {
        let target = text(&mount["destination"]);
        let base: BTreeSet<String> = ["rw", "relatime"].map(String::from).into();
        let expected = flags(base, &mount["options"], false);
        let host = self.saw("/host/mounts").as_array().cloned().unwrap_or_default();
        if !host.iter().any(|m| m["type"] == "cgroup") {
            let path = self.hierarchy_path("");
            self.equal(
                format!("/mounts/{index} (the only hierarchy)"),
                json!(["cgroup2", path]),
                json!([found["type"], found["root"]]),
            );
            return;
        }
        for hierarchy in host.iter().filter(|m| m["type"] == "cgroup") {
            let name = text(&hierarchy["target"]).rsplit('/').next().unwrap_or_default().to_owned();
            let field = format!("/mounts/{index} ({name})");
            let Some(found) = take(left, &format!("{target}/{name}")) else {
                self.equal(field, "cgroup", Value::Null);
                continue;
            };
            self.equal(field.clone(), json!(expected), json!(words(&found["options"])));
            let path = self.hierarchy_path(&name);
            self.equal(field, json!(["cgroup", path]), json!([found["type"], found["root"]]));
        }
    }

    /// The container's directory in a hierarchy: its own, or the caller's where nobody may make one.
    fn hierarchy_path(&self, name: &str) -> Value {
        if self.namespace("cgroup").is_some() {
            return json!("/");
        }
        let callers = || {
            let lines = self.saw("/host/cgroup").as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut paths = lines.filter_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                let has = |word: &str| word == name || word.strip_prefix("name=") == Some(name);
                controllers.split(',').any(has).then_some(path)
            });
            json!(paths.next())
        };
        self.field("/linux/cgroupsPath").as_str().map_or_else(callers, |path| json!(path))
    }

    /// A path of one of the two lists is covered where it exists, and a difference otherwise.
    fn covered(&mut self, list: &str, left: &mut Vec<Value>) {
        for (index, path) in self.list(&format!("/linux/{list}")).iter().map(text).enumerate() {
            let field = format!("/linux/{list}/{index}");
            let exists = self.seen["host"]["stat"][&path]["type"].clone();
            let found = take(left, &path);
            self.equal(field.clone(), exists.is_string(), found.is_some());
            let Some(found) = found else { continue };
            let stat = self.stat(&path).clone();
            match (list, exists.as_str()) {
                ("readonlyPaths", _) => {
                    self.equal(field.clone(), true, stat["readonly"].clone());
                    self.equal(field, true, words(&found["options"]).contains("ro"));
                }
                (_, Some("dir")) => {
                    self.equal(
                        field,
                        json!(["dir", 0, true]),
                        json!([stat["type"], stat["entries"], stat["readonly"]]),
                    );
                }
                _ => self.equal(field, json!(["char", "1:3"]), json!([stat["type"], stat["rdev"]])),
            }
        }
    }

    /// Where nodes cannot be made they are the host's, bound one by one.
    fn bound_devices(&mut self, left: &mut Vec<Value>) {
        if !self.has_user_namespace() {
            return;
        }
        for path in self.device_paths() {
            let found = take(left, &path).map(|mount| mount["type"].clone());
            self.equal(format!("(default device) {path}"), "devtmpfs", found);
        }
    }
}

/// Takes the first mount at a place.
fn take(left: &mut Vec<Value>, target: &str) -> Option<Value> {
    let at = left.iter().position(|mount| mount["target"] == target)?;
    Some(left.remove(at))
}
