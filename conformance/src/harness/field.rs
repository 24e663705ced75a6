//! A field wherever it stands in a config: a pointer in which `*` is every element and every value, `KEY=VALUE`
//! the elements whose `KEY` is that text, and a last name behind a text or a list of texts the text itself, with
//! what follows `=` left open if it ends with that.

use super::Config;
use serde_json::Value;

impl Config {
    /// Takes a field away, or puts `instead` there.
    #[must_use]
    pub fn without_field(mut self, field: &str, instead: Option<&Value>) -> Self {
        forget(self.value_mut(), &names(field), instead);
        self
    }

    /// The pointers of a field. That of a text is the one of what holds it.
    #[must_use]
    pub fn places(&self, field: &str) -> Vec<String> {
        let mut found = Vec::new();
        find(self.get(""), &names(field), String::new(), &mut found);
        found
    }
}

fn names(field: &str) -> Vec<String> {
    field.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

/// Whether a value is meant by a name that stands for one.
fn is_meant(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) if name.ends_with('=') => text.starts_with(name),
        Value::String(text) => name == "*" || name == text,
        Value::Object(map) => match name.split_once('=') {
            Some((key, value)) => map.get(key).is_some_and(|v| v == value),
            None => name == "*",
        },
        _ => name == "*",
    }
}

/// Whether a value under a key is the field that these names lead to.
fn is_last(value: &Value, names: &[String]) -> bool {
    match names {
        [] => true,
        [text] => value.is_string() && is_meant(value, text),
        _ => false,
    }
}

fn forget(value: &mut Value, names: &[String], instead: Option<&Value>) {
    let Some((name, rest)) = names.split_first() else {
        return;
    };
    let stays = |value: &mut Value, rest: &[String]| {
        if !is_last(value, rest) {
            forget(value, rest, instead);
            return true;
        }
        if let Some(instead) = instead {
            *value = instead.clone();
        }
        instead.is_some()
    };
    match value {
        Value::Array(list) => list.retain_mut(|element| !is_meant(element, name) || stays(element, rest)),
        Value::Object(map) => {
            map.retain(|key, value| !(name == "*" || key == name) || stays(value, rest));
        }
        _ => {}
    }
}

fn find(value: &Value, names: &[String], at: String, found: &mut Vec<String>) {
    let Some((name, rest)) = names.split_first() else {
        found.push(at);
        return;
    };
    match value {
        Value::Array(list) => {
            for (index, element) in list.iter().enumerate().filter(|(_, element)| is_meant(element, name)) {
                match element {
                    // Who reads a list of texts names the list.
                    Value::String(_) => found.push(at.clone()),
                    _ => find(element, rest, format!("{at}/{index}"), found),
                }
            }
        }
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(key, _)| name == "*" || *key == name) {
                let key = key.replace('~', "~0").replace('/', "~1");
                find(value, rest, format!("{at}/{key}"), found);
            }
        }
        Value::String(_) if rest.is_empty() && is_meant(value, name) => found.push(at),
        _ => {}
    }
}
