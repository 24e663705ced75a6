//! The messages of the CRI, written and shown as JSON: a table for each says what number and what kind
//! a field has. The tables hold what the scenarios use; the rest of an answer is skipped.

use serde_json::{Map, Value, json};

/// The fields of a message: their names, numbers and kinds.
pub(super) type Message = &'static [(&'static str, u32, Kind)];

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Characters or bytes.
    Text,
    /// Integers, truth values and the values of enumerations.
    Number,
    /// Another message.
    One(Message),
    /// A list of texts.
    Texts,
    /// A list of numbers.
    Numbers,
    /// A list of messages.
    Many(Message),
    /// Texts by name.
    Named,
}

use Kind::{Many, Named, Number, Numbers, One, Text, Texts};

/// Encodes an object. A field that the table does not have is an error.
pub(super) fn encode(message: Message, object: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let Value::Object(object) = object else {
        return Err(format!("not an object: {object}"));
    };
    for (name, value) in object {
        let field = message.iter().find(|(n, ..)| n == name);
        let (_, number, kind) = field.ok_or_else(|| format!("unknown field {name}"))?;
        let list = value.as_array().map_or(&[][..], Vec::as_slice);
        match kind {
            Text => bytes(&mut out, *number, value.as_str().ok_or(name)?.as_bytes()),
            Number => count(&mut out, *number, value)?,
            One(inner) => bytes(&mut out, *number, &encode(inner, value)?),
            Texts => {
                for text in list {
                    bytes(&mut out, *number, text.as_str().ok_or(name)?.as_bytes());
                }
            }
            Numbers => list.iter().try_for_each(|value| count(&mut out, *number, value))?,
            Many(inner) => {
                for value in list {
                    bytes(&mut out, *number, &encode(inner, value)?);
                }
            }
            Named => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    bytes(&mut out, *number, &encode(ENTRY, &json!({ "key": key, "value": value }))?);
                }
            }
        }
    }
    Ok(out)
}

/// How an entry of `Named` looks.
const ENTRY: Message = &[("key", 1, Text), ("value", 2, Text)];

fn count(out: &mut Vec<u8>, number: u32, value: &Value) -> Result<(), String> {
    let value = value.as_bool().map(i64::from).or(value.as_i64());
    varint(out, u64::from(number) << 3);
    varint(out, value.ok_or("not a number")? as u64);
    Ok(())
}

fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push((value % 128 + 128) as u8);
        value /= 128;
    }
    out.push(value as u8);
}

/// Decodes a message: what the table has of it. None if it is cut off.
pub(super) fn decode(message: Message, mut rest: &[u8]) -> Option<Value> {
    let mut object = Map::new();
    while !rest.is_empty() {
        let tag = read(&mut rest)?;
        let field = message.iter().find(|(_, number, _)| u64::from(*number) == tag >> 3);
        let value = match tag & 7 {
            0 => {
                let value = read(&mut rest)?;
                json!(value as i64)
            }
            2 => {
                let length = usize::try_from(read(&mut rest)?).ok()?;
                let (value, others) = rest.split_at_checked(length)?;
                rest = others;
                match field {
                    Some((_, _, One(inner) | Many(inner))) => decode(inner, value)?,
                    Some((_, _, Named)) => decode(ENTRY, value)?,
                    _ => json!(String::from_utf8_lossy(value)),
                }
            }
            // Eight and four bytes: nothing here has them.
            1 => json!(skip(&mut rest, 8)?),
            5 => json!(skip(&mut rest, 4)?),
            _ => return None,
        };
        let Some((name, _, kind)) = field else {
            continue;
        };
        match kind {
            Texts | Numbers | Many(_) => {
                let list = object.entry(*name).or_insert_with(|| json!([]));
                list.as_array_mut()?.push(value);
            }
            Named => {
                let map = object.entry(*name).or_insert_with(|| json!({}));
                let key = value["key"].as_str().unwrap_or_default().to_owned();
                map.as_object_mut()?.insert(key, value["value"].clone());
            }
            Text | Number | One(_) => {
                object.insert((*name).to_owned(), value);
            }
        }
    }
    Some(object.into())
}

fn skip(rest: &mut &[u8], length: usize) -> Option<u8> {
    *rest = rest.get(length..)?;
    Some(0)
}

fn read(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, others) = rest.split_first()?;
        *rest = others;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const INNER: Message = &[("value", 1, Number)];
    const OUTER: Message = &[
        ("name", 1, Text),
        ("inner", 2, One(INNER)),
        ("words", 3, Texts),
        ("all", 4, Many(INNER)),
        ("labels", 15, Named),
        ("negative", 16, Number),
    ];

    #[test]
    fn what_is_encoded_is_decoded_again_and_cut_off_is_none() {
        let value = json!({
            "name": "a", "inner": { "value": 300 }, "words": ["x", ""], "all": [{ "value": 1 }, {}],
            "labels": { "k": "v" }, "negative": -998,
        });
        let bytes = encode(OUTER, &value).unwrap();
        assert_eq!(decode(OUTER, &bytes), Some(value));
        assert_eq!(decode(OUTER, &bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn the_wire_is_as_specified_and_unknown_fields_are_errors() {
        let bytes = encode(OUTER, &json!({ "inner": { "value": 300 } })).unwrap();
        assert_eq!(bytes, [0x12, 3, 8, 0xac, 2]);
        assert!(encode(OUTER, &json!({ "nane": "a" })).unwrap_err().contains("nane"));
        assert_eq!(decode(INNER, &bytes), Some(json!({})));
    }
}
