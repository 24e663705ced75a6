//! Changes of documents that stay documents: bytes changed at random hardly ever get past the parser.

use serde_json::{Map, Value};

/// A generator of numbers, enough to choose by.
pub struct Random(u64);

impl Random {
    /// From what libFuzzer gives.
    pub fn new(seed: u32) -> Random {
        Random(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`, 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }
}

const NUMBERS: [i64; 22] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    10,
    19,
    20,
    63,
    64,
    100,
    255,
    256,
    1000,
    65535,
    65536,
    262_144,
    2_147_483_647,
    4_294_967_295,
    i64::MAX,
    i64::MIN,
];

const STRINGS: [&str; 64] = [
    "",
    "/",
    ".",
    "..",
    "/..",
    "../..",
    "a",
    "/a",
    "/a/b",
    "/proc",
    "/proc/self",
    "/proc/1/ns/net",
    "/sys",
    "/sys/fs/cgroup",
    "/dev",
    "/dev/null",
    "/dev/pts",
    "/dev/shm",
    "/tmp",
    "/etc/passwd",
    "\u{0}",
    "a\u{0}b",
    "é",
    "a=b",
    "a=",
    "=a",
    "ro",
    "rw",
    "bind",
    "rbind",
    "rro",
    "nosuid",
    "private",
    "rshared",
    "runbindable",
    "idmap",
    "ridmap",
    "tmpcopyup",
    "mode=755",
    "size=1k",
    "gid=5",
    "ptmxmode=0666",
    "cgroup",
    "cgroup2",
    "tmpfs",
    "proc",
    "sysfs",
    "overlay",
    "lowerdir=/a:/b",
    "none",
    "a:b:c",
    "system.slice:x:y",
    "net.ipv4.ip_forward",
    "kernel.shmmax",
    "0-3",
    "0,2",
    "2MB",
    "1GB",
    "CAP_SYS_ADMIN",
    "cap_chown",
    "LINUX32",
    "SCHED_FIFO",
    "IDLE",
    "0123456789012345678901234567890123456789012345678901234567890123456789",
];

/// Changes a document once or a few times. `donor` is one to take parts from.
pub fn change(document: &mut Value, donor: &Value, random: &mut Random) {
    for _ in 0..=random.below(3) {
        once(document, donor, random);
    }
}

fn once(document: &mut Value, donor: &Value, random: &mut Random) {
    match random.below(8) {
        // What the donor has at a place, put at the same place.
        0..=2 => graft(document, donor, random),
        3 | 4 => scalar(node(document, random), random),
        5 => remove(node(document, random), random),
        6 => double(node(document, random), random),
        _ => *node(document, random) = any(random),
    }
}

/// Goes down from the root, each time to a random child, and stops somewhere.
fn node<'a>(at: &'a mut Value, random: &mut Random) -> &'a mut Value {
    let children = match at {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if children == 0 || random.below(6) == 0 {
        return at;
    }
    let n = random.below(children);
    let child = match at {
        Value::Object(map) => map.values_mut().nth(n),
        Value::Array(list) => list.get_mut(n),
        _ => None,
    };
    node(child.expect("one of its children"), random)
}

fn graft(to: &mut Value, from: &Value, random: &mut Random) {
    let stop = random.below(4) == 0;
    match from {
        Value::Object(parts) if !parts.is_empty() && !stop => {
            if !to.is_object() {
                *to = Value::Object(Map::new());
            }
            if let (Some((key, part)), Some(map)) =
                (parts.iter().nth(random.below(parts.len())), to.as_object_mut())
            {
                graft(map.entry(key.clone()).or_insert(Value::Null), part, random);
            }
        }
        Value::Array(parts) if !parts.is_empty() && !stop => {
            if !to.is_array() {
                *to = Value::Array(Vec::new());
            }
            let part = &parts[random.below(parts.len())];
            if let Some(list) = to.as_array_mut() {
                let n = random.below(list.len() + 1);
                match list.get_mut(n) {
                    Some(there) if random.below(2) == 0 => graft(there, part, random),
                    _ => list.insert(n, part.clone()),
                }
            }
        }
        _ => *to = from.clone(),
    }
}

fn scalar(at: &mut Value, random: &mut Random) {
    match at {
        Value::Bool(b) => *b = !*b,
        Value::Number(_) => *at = number(random),
        Value::String(text) => match random.below(5) {
            0 => text.push_str(STRINGS[random.below(STRINGS.len())]),
            1 => {
                let cut = text.char_indices().nth(random.below(text.len())).map_or(0, |(at, _)| at);
                text.truncate(cut);
            }
            2 => text.make_ascii_uppercase(),
            _ => STRINGS[random.below(STRINGS.len())].clone_into(text),
        },
        _ => {}
    }
}

fn remove(at: &mut Value, random: &mut Random) {
    match at {
        Value::Object(map) => {
            let key = map.keys().nth(random.below(map.len())).cloned();
            key.map(|key| map.remove(&key));
        }
        Value::Array(list) if !list.is_empty() => {
            list.remove(random.below(list.len()));
        }
        other => *other = Value::Null,
    }
}

fn double(at: &mut Value, random: &mut Random) {
    if let Value::Array(list) = at
        && !list.is_empty()
    {
        let (from, to) = (random.below(list.len()), random.below(list.len()));
        match random.below(2) {
            0 => list.insert(to, list[from].clone()),
            _ => list.swap(from, to),
        }
    }
}

fn number(random: &mut Random) -> Value {
    match random.below(12) {
        0 => u64::MAX.into(),
        1 => 0.5.into(),
        _ => NUMBERS[random.below(NUMBERS.len())].into(),
    }
}

fn any(random: &mut Random) -> Value {
    match random.below(6) {
        0 => Value::Null,
        1 => Value::Bool(true),
        2 => Value::Array(Vec::new()),
        3 => Value::Object(Map::new()),
        4 => number(random),
        _ => STRINGS[random.below(STRINGS.len())].into(),
    }
}
