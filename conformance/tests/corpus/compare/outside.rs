//! What belongs to the container as a whole: namespaces, names, sysctls, hooks and its state.

use super::super::standin::{namespace_file, text};
use super::Judge;
use serde_json::{Value, json};

/// The status that a hook reads, by its kind (runtime-spec, runtime.md, lifecycle).
const STATUS: [(&str, &str); 6] = [
    ("prestart", "creating"),
    ("createRuntime", "creating"),
    ("createContainer", "creating"),
    ("startContainer", "created"),
    ("poststart", "running"),
    ("poststop", "stopped"),
];

impl Judge<'_> {
    pub(super) fn outside(&mut self) {
        self.namespaces();
        self.names();
        self.sysctls();
        self.hooks();
        let found = self.saw("/state/annotations").as_object().filter(|map| !map.is_empty());
        let expected = self.field("/annotations").as_object().filter(|map| !map.is_empty());
        self.equal("/annotations", json!(expected), json!(found));
        self.equal("(state) status", "created", self.saw("/state/status").clone());
        self.equal("(state) bundle", self.saw("/bundle").clone(), self.saw("/state/bundle").clone());
        self.equal("(warnings) of start and delete", "", self.saw("/later warnings").clone());
    }

    /// A namespace is new, the host's, or the one at the path.
    fn namespaces(&mut self) {
        for kind in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
            let field = format!("/linux/namespaces ({kind})");
            let name = namespace_file(kind);
            let host = self.saw(&format!("/host/namespaces/{name}")).clone();
            let found = self.saw(&format!("/report/namespaces/{name}")).clone();
            match self.namespace(kind) {
                None => self.equal(field, host, found),
                Some(Some(path)) => {
                    let number = |link: &Value| text(link).split('[').nth(1).map(str::to_owned);
                    self.equal(field, number(&self.seen["namespaces"][path]), json!(number(&found)));
                }
                Some(None) => {
                    let new = found.is_string() && found != host;
                    self.equal(field, "a new one", if new { json!("a new one") } else { found });
                }
            }
        }
        if self.namespace("pid") == Some(None) {
            self.equal("/linux/namespaces (first pid)", 1, self.saw("/report/pid").clone());
        }
    }

    /// A name that is not set is the one of the namespace, which begins as a copy of the host's.
    fn names(&mut self) {
        for (field, key) in [("/hostname", "hostname"), ("/domainname", "domainname")] {
            let set = self.field(field).as_str().filter(|name| !name.is_empty());
            let expected = set.map_or_else(|| self.saw(&format!("/host/{key}")).clone(), Value::from);
            self.equal(field, expected, self.saw(&format!("/report/{key}")).clone());
        }
    }

    fn sysctls(&mut self) {
        let words =
            |value: &Value| value.as_str().map(|v| v.split_whitespace().collect::<Vec<_>>().join(" "));
        for (key, value) in self.field("/linux/sysctl").as_object().into_iter().flatten() {
            let found = &self.seen["report"]["sysctl"][key];
            self.equal(format!("/linux/sysctl/{key}"), json!(words(value)), json!(words(found)));
        }
    }

    fn hooks(&mut self) {
        for (kind, list) in self.field("/hooks").as_object().into_iter().flatten() {
            for (index, hook) in list.as_array().into_iter().flatten().enumerate() {
                let field = format!("/hooks/{kind}/{index}");
                let found = &self.seen["hooks"][format!("{kind}/{index}")];
                self.equal(format!("{field}/args"), hook["args"].clone(), found["argv"].clone());
                let env = if hook["env"].is_null() { json!([]) } else { hook["env"].clone() };
                self.equal(format!("{field}/env"), env, found["env"].clone());
                let state = &found["state"];
                let status = STATUS.iter().find(|(known, _)| known == kind).map(|(_, status)| *status);
                self.equal(format!("{field} (status)"), status, state["status"].clone());
                let annotations = self.field("/annotations").clone();
                self.equal(format!("{field} (annotations)"), annotations, state["annotations"].clone());
                // A hook inside reads the pid inside.
                let inside = ["createContainer", "startContainer"].contains(&kind.as_str());
                let pid = self.saw(if inside { "/report/pid" } else { "/state/pid" });
                self.equal(format!("{field} (pid)"), pid.clone(), state["pid"].clone());
            }
        }
    }
}
