//! Annotations `org.systemd.property.NAME`: properties of the unit, their values in GVariant text
//! (glib, "GVariant Text Format").

use super::properties::Property;
use super::value::Value;
use crate::error::{Error, Result};
use std::collections::BTreeMap;

const PREFIX: &str = "org.systemd.property.";

/// As deep as a value may nest.
const MAX_DEPTH: u32 = 16;

/// The properties that annotations ask for, in the order of their names.
///
/// # Errors
/// A name that is none, a value that cannot be read.
pub(crate) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let field = format!("/annotations/{}", crate::bundle::escape(key));
        if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(Error::config(field, format!("annotation {key} name incorrect: {name:?}"))
                .hint("the name of a property has three letters at least, and nothing but letters"));
        }
        let value = parse(text).map_err(|why| {
            Error::config(field.clone(), format!("annotation {key}={text:?} value parse error: {why}"))
                .hint("values are written as in GVariant text: 'a string', true, uint64 5, ['a', 'list']")
        })?;
        let (name, value) = match seconds(name) {
            Some(name) => {
                let micros = micros(&value).ok_or_else(|| {
                    Error::config(
                        field.clone(),
                        format!("annotation {key}={text:?} value conversion error: not a number of seconds"),
                    )
                })?;
                (name, Value::U64(micros))
            }
            None => (name.to_owned(), value),
        };
        all.push(Property { name, value, field });
    }
    Ok(all)
}

/// `TimeoutStopSec`, which is a setting of unit files, is the property `TimeoutStopUSec`.
fn seconds(name: &str) -> Option<String> {
    let short = name.strip_suffix("Sec").filter(|s| s.ends_with(|c: char| c.is_ascii_lowercase()))?;
    Some(format!("{short}USec"))
}

fn micros(value: &Value) -> Option<u64> {
    let whole: u64 = match value {
        Value::I16(n) => (*n).try_into().ok()?,
        Value::U16(n) => (*n).into(),
        Value::I32(n) => (*n).try_into().ok()?,
        Value::U32(n) => (*n).into(),
        Value::I64(n) => (*n).try_into().ok()?,
        Value::U64(n) => *n,
        // The largest number stands for what is above it.
        Value::F64(n) if *n >= 0.0 => return Some((n * 1e6) as u64),
        _ => return None,
    };
    whole.checked_mul(1_000_000)
}

/// Reads one value.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(text: &str) -> std::result::Result<Value, String> {
    let mut p = Parser { rest: text };
    let value = p.value(None, MAX_DEPTH)?;
    match p.next_word() {
        "" => Ok(value),
        more => Err(format!("{more:?} after the value")),
    }
}

/// Types by the words that stand before values.
const WORDS: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

struct Parser<'a> {
    rest: &'a str,
}

type Parsed<T> = std::result::Result<T, String>;

impl<'a> Parser<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, c: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What comes next, up to a blank or a separator, without taking it.
    fn next_word(&mut self) -> &'a str {
        self.skip();
        let end = |c: char| c.is_whitespace() || ",()[]<>{}'\"".contains(c);
        self.rest
            .split_once(end)
            .map_or(self.rest, |(word, _)| if word.is_empty() { self.rest } else { word })
    }

    fn take(&mut self, word: &str) {
        self.rest = self.rest.get(word.len()..).unwrap_or("");
    }

    /// A value of this type, or of the type that it has by itself.
    fn value(&mut self, wanted: Option<&str>, depth: u32) -> Parsed<Value> {
        let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
        self.skip();
        if let Some(rest) = self.rest.strip_prefix('@') {
            let end = rest.find(char::is_whitespace).ok_or("no value after the type")?;
            let (own, rest) = rest.split_at(end);
            if !is_type(own) {
                return Err(format!("{own:?} is no type"));
            }
            self.rest = rest;
            return agree(self.value(Some(own), depth)?, wanted);
        }
        let word = self.next_word();
        if let Some((name, own)) = WORDS.iter().find(|(name, _)| *name == word) {
            self.take(name);
            return agree(self.value(Some(own), depth)?, wanted);
        }
        match self.rest.chars().next() {
            Some('\'' | '"') => text(self.string()?, wanted),
            Some('b') if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.take("b");
                let mut bytes = self.string()?.into_bytes();
                bytes.push(0);
                agree(Value::bytes(&bytes), wanted)
            }
            Some('[') => self.array(wanted, depth),
            Some('(') => self.tuple(wanted, depth),
            Some('<') => {
                self.eat('<');
                let inner = self.value(None, depth)?;
                if !self.eat('>') {
                    return Err("no > after a variant".to_owned());
                }
                agree(Value::Variant(Box::new(inner)), wanted)
            }
            Some(c) if !c.is_whitespace() => {
                self.take(word);
                scalar(word, wanted)
            }
            _ => Err("no value".to_owned()),
        }
    }

    fn array(&mut self, wanted: Option<&str>, depth: u32) -> Parsed<Value> {
        let mut element = match wanted.map(|w| w.strip_prefix('a')) {
            Some(None) => return Err(format!("a list, where the type is {}", wanted.unwrap_or(""))),
            Some(Some(element)) => Some(element.to_owned()),
            None => None,
        };
        self.eat('[');
        let mut items = Vec::new();
        while !self.eat(']') {
            if !items.is_empty() && !self.eat(',') {
                return Err("no ] after a list".to_owned());
            }
            let item = self.value(element.as_deref(), depth)?;
            element.get_or_insert_with(|| item.signature());
            items.push(item);
        }
        let element = element.ok_or("the type of an empty list must be said: @as []")?;
        Ok(Value::Array(element, items))
    }

    fn tuple(&mut self, wanted: Option<&str>, depth: u32) -> Parsed<Value> {
        let types = match wanted {
            Some(w) => Some(inner_types(w).ok_or_else(|| format!("a tuple, where the type is {w}"))?),
            None => None,
        };
        self.eat('(');
        let mut items = Vec::new();
        while !self.eat(')') {
            if !items.is_empty() && !self.eat(',') {
                return Err("no ) after a tuple".to_owned());
            }
            // (1,) is a tuple of one.
            if !items.is_empty() && self.eat(')') {
                break;
            }
            let one = match &types {
                Some(types) => Some(*types.get(items.len()).ok_or("more values than the type has")?),
                None => None,
            };
            items.push(self.value(one, depth)?);
        }
        if items.is_empty() || types.is_some_and(|t| t.len() != items.len()) {
            return Err("fewer values than the type has".to_owned());
        }
        Ok(Value::Struct(items))
    }

    /// A string in either quotes.
    fn string(&mut self) -> Parsed<String> {
        let mut chars = self.rest.chars();
        let quote = chars.next().ok_or("no string")?;
        let mut out = String::new();
        loop {
            let c = match chars.next().ok_or("a string without end")? {
                c if c == quote => break,
                '\\' => match chars.next().ok_or("a string without end")? {
                    'a' => '\x07',
                    'b' => '\x08',
                    'f' => '\x0c',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\x0b',
                    'u' => unicode(&mut chars, 4)?,
                    'U' => unicode(&mut chars, 8)?,
                    c => c,
                },
                c => c,
            };
            if c == '\0' {
                return Err("a NUL in a string".to_owned());
            }
            out.push(c);
        }
        self.rest = chars.as_str();
        Ok(out)
    }
}

fn unicode(chars: &mut std::str::Chars<'_>, digits: usize) -> Parsed<char> {
    let text: String = chars.take(digits).collect();
    let number = u32::from_str_radix(&text, 16).ok().filter(|_| text.len() == digits);
    number.and_then(char::from_u32).ok_or_else(|| format!("{text:?} is no character"))
}

/// A value that says its own type must be of the type that is wanted.
fn agree(value: Value, wanted: Option<&str>) -> Parsed<Value> {
    match wanted {
        Some(w) if w != value.signature() => Err(format!("{} where the type is {w}", value.signature())),
        _ => Ok(value),
    }
}

fn text(text: String, wanted: Option<&str>) -> Parsed<Value> {
    match wanted {
        None | Some("s") => Ok(Value::Str(text)),
        Some("o") if is_path(&text) => Ok(Value::Path(text)),
        Some("g") if text.is_empty() || types(&text).is_some() => Ok(Value::Signature(text)),
        Some(w) => Err(format!("the string {text:?}, where the type is {w}")),
    }
}

fn scalar(word: &str, wanted: Option<&str>) -> Parsed<Value> {
    let wrong = || format!("{word:?} is no value of type {}", wanted.unwrap_or("i or d"));
    if let Some(b) = match word {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    } {
        return if wanted.is_none_or(|w| w == "b") { Ok(Value::Bool(b)) } else { Err(wrong()) };
    }
    let decimal = wanted.is_none() && !word.starts_with("0x") && word.contains(['.', 'e', 'E']);
    if decimal || wanted == Some("d") {
        let number: f64 = word.parse().map_err(|_| wrong())?;
        return Ok(Value::F64(number));
    }
    let number = whole(word).ok_or_else(wrong)?;
    let value = match wanted {
        None | Some("i") => number.try_into().ok().map(Value::I32),
        Some("y") => number.try_into().ok().map(Value::Byte),
        Some("n") => number.try_into().ok().map(Value::I16),
        Some("q") => number.try_into().ok().map(Value::U16),
        Some("u") => number.try_into().ok().map(Value::U32),
        Some("x") => number.try_into().ok().map(Value::I64),
        Some("t") => number.try_into().ok().map(Value::U64),
        Some(_) => None,
    };
    value.ok_or_else(wrong)
}

/// A whole number: decimal, octal behind 0, hexadecimal behind 0x.
fn whole(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (radix, digits) = match digits {
        d if d.starts_with("0x") => (16, d.get(2..)?),
        d if d.starts_with('0') && d.len() > 1 => (8, d.get(1..)?),
        d => (10, d),
    };
    // A second sign is none.
    let number = i128::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['-', '+']))?;
    Some(sign * number)
}

fn is_path(text: &str) -> bool {
    let part = |p: &str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

/// Whether this is one type of which values can be written.
fn is_type(text: &str) -> bool {
    types(text).is_some_and(|t| t.len() == 1)
}

/// The types in a tuple's.
fn inner_types(tuple: &str) -> Option<Vec<&str>> {
    types(tuple.strip_prefix('(')?.strip_suffix(')')?)
}

/// The types of a signature one by one, if it is one.
fn types(signature: &str) -> Option<Vec<&str>> {
    let mut all = Vec::new();
    let mut rest = signature;
    while !rest.is_empty() {
        let end = type_end(rest, MAX_DEPTH)?;
        let (one, more) = rest.split_at_checked(end)?;
        all.push(one);
        rest = more;
    }
    (!all.is_empty() && signature.len() <= 255).then_some(all)
}

fn type_end(text: &str, depth: u32) -> Option<usize> {
    let depth = depth.checked_sub(1)?;
    match text.bytes().next()? {
        b'b' | b'y' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' => Some(1),
        b'a' => Some(1 + type_end(text.get(1..)?, depth)?),
        b'(' => {
            let mut at = 1;
            while !text.get(at..)?.starts_with(')') {
                at += type_end(text.get(at..)?, depth)?;
            }
            (at > 1).then_some(at + 1)
        }
        _ => None,
    }
}
