//! Values of D-Bus, as the properties of a unit have them.

use super::wire::alignment;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the types of the specification
pub enum Value {
    Bool(bool),
    Byte(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(String),
    Path(String),
    Signature(String),
    /// The place of a descriptor among those that go with the message.
    Handle(u32),
    /// The type of the elements, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    /// Text.
    pub fn text(text: impl Into<String>) -> Value {
        Value::Str(text.into())
    }

    /// A list of bytes.
    #[must_use]
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".to_owned(), bytes.iter().copied().map(Value::Byte).collect())
    }

    /// Its type.
    #[must_use]
    pub fn signature(&self) -> String {
        let one = match self {
            Value::Bool(_) => "b",
            Value::Byte(_) => "y",
            Value::I16(_) => "n",
            Value::U16(_) => "q",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::F64(_) => "d",
            Value::Str(_) => "s",
            Value::Path(_) => "o",
            Value::Signature(_) => "g",
            Value::Handle(_) => "h",
            Value::Variant(_) => "v",
            Value::Array(element, _) => return format!("a{element}"),
            Value::Struct(items) => {
                return format!("({})", items.iter().map(Value::signature).collect::<String>());
            }
        };
        one.to_owned()
    }

    /// Appends it to a message, little-endian, at its place.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.resize(out.len().next_multiple_of(alignment(&self.signature())), 0);
        match self {
            Value::Bool(b) => out.extend(u32::from(*b).to_le_bytes()),
            Value::Byte(n) => out.push(*n),
            Value::I16(n) => out.extend(n.to_le_bytes()),
            Value::U16(n) => out.extend(n.to_le_bytes()),
            Value::I32(n) => out.extend(n.to_le_bytes()),
            Value::U32(n) | Value::Handle(n) => out.extend(n.to_le_bytes()),
            Value::I64(n) => out.extend(n.to_le_bytes()),
            Value::U64(n) => out.extend(n.to_le_bytes()),
            Value::F64(n) => out.extend(n.to_le_bytes()),
            Value::Str(s) | Value::Path(s) => {
                out.extend((s.len() as u32).to_le_bytes());
                out.extend(s.bytes().chain([0]));
            }
            Value::Signature(s) => signature(s, out),
            Value::Variant(inner) => {
                signature(&inner.signature(), out);
                inner.encode(out);
            }
            Value::Struct(items) => items.iter().for_each(|item| item.encode(out)),
            Value::Array(element, items) => {
                let size = out.len();
                out.extend([0; 4]);
                out.resize(out.len().next_multiple_of(alignment(element)), 0);
                let begin = out.len();
                items.iter().for_each(|item| item.encode(out));
                let n = (out.len() - begin) as u32;
                if let Some(place) = out.get_mut(size..size + 4) {
                    place.copy_from_slice(&n.to_le_bytes());
                }
            }
        }
    }
}

fn signature(s: &str, out: &mut Vec<u8>) {
    out.push(s.len() as u8);
    out.extend(s.bytes().chain([0]));
}

impl fmt::Display for Value {
    /// As systemctl(1) shows most of them; the largest number is no limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |f: &mut fmt::Formatter<'_>, items: &[Value], between: &str| {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    f.write_str(between)?;
                }
                write!(f, "{item}")?;
            }
            Ok(())
        };
        match self {
            Value::Bool(b) => write!(f, "{}", if *b { "yes" } else { "no" }),
            Value::Byte(n) => write!(f, "{n:02x}"),
            Value::I16(n) => write!(f, "{n}"),
            Value::U16(n) => write!(f, "{n}"),
            Value::I32(n) => write!(f, "{n}"),
            Value::U32(n) | Value::Handle(n) => write!(f, "{n}"),
            Value::I64(n) => write!(f, "{n}"),
            Value::U64(u64::MAX) => f.write_str("infinity"),
            Value::U64(n) => write!(f, "{n}"),
            Value::F64(n) => write!(f, "{n}"),
            Value::Str(s) | Value::Path(s) | Value::Signature(s) => f.write_str(s),
            Value::Variant(inner) => inner.fmt(f),
            Value::Struct(items) => join(f, items, " "),
            Value::Array(element, items) if element == "y" => join(f, items, ""),
            Value::Array(_, items) => join(f, items, ", "),
        }
    }
}
