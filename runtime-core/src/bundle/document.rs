//! A JSON document whose texts are those of the bytes that it was read from.
//!
//! What must hold: a text gives what it gives as a `serde_json::Value`, and is refused with the same words. The
//! members of an object are in the order of their keys, and of a key that is given twice the last one counts. It
//! is there because a config has hundreds of texts, and a `Value` asks for memory for each of them.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use std::borrow::Cow;
use std::fmt;

/// One value.
#[derive(Debug, PartialEq)]
pub(crate) enum Document<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Document<'a>>),
    Object(Object<'a>),
}

/// A key and its value.
pub(crate) type Member<'a> = (Cow<'a, str>, Document<'a>);

/// Members in the order of their keys, each key once.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Object<'a>(Vec<Member<'a>>);

impl<'a> Document<'a> {
    /// Reads a whole text.
    pub(crate) fn read(bytes: &'a [u8]) -> serde_json::Result<Document<'a>> {
        match std::str::from_utf8(bytes) {
            // Once for all is a third cheaper than string by string.
            Ok(text) => serde_json::from_str(text),
            // It is refused, and where, says who reads it.
            Err(_) => serde_json::from_slice(bytes),
        }
    }

    /// The member of an object.
    pub(crate) fn get(&self, key: &str) -> Option<&Document<'a>> {
        self.as_object()?.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Document<'a>> {
        self.as_object_mut()?.get_mut(key)
    }

    /// The value at a JSON pointer through objects alone, none of whose keys has to be escaped.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Document<'a>> {
        pointer.split('/').skip(1).try_fold(self, |value, key| value.get(key))
    }

    pub(crate) fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Document::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn as_object_mut(&mut self) -> Option<&mut Object<'a>> {
        match self {
            Document::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Document<'a>]> {
        match self {
            Document::Array(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_array_mut(&mut self) -> Option<&mut Vec<Document<'a>>> {
        match self {
            Document::Array(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Document::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Document::Null)
    }
}

impl<'a> Object<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&Document<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Document<'a>> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Puts a member in, in place of one that has this key.
    pub(crate) fn insert(&mut self, key: &'static str, value: Document<'a>) {
        match self.0.binary_search_by(|(name, _)| name.as_ref().cmp(key)) {
            Ok(place) => {
                if let Some(member) = self.0.get_mut(place) {
                    member.1 = value;
                }
            }
            Err(place) => self.0.insert(place, (key.into(), value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.retain(|name| name != key);
    }

    /// Leaves the members whose key it is that `keep` is true of.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Member<'a>> {
        self.0.iter_mut()
    }

    pub(crate) fn into_members(self) -> Vec<Member<'a>> {
        self.0
    }
}

impl<'a> From<Vec<Member<'a>>> for Object<'a> {
    fn from(mut members: Vec<Member<'a>>) -> Object<'a> {
        if !members.is_sorted_by(|(a, _), (b, _)| a < b) {
            // Stable: the later one of two stays behind the earlier one.
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            members.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                }
                same
            });
        }
        Object(members)
    }
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any)
    }
}

/// Takes any value.
struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Document<'de>, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Document<'de>, E> {
        Ok(Document::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Document<'de>, E> {
        Ok(Document::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Document<'de>, E> {
        Ok(Document::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Document<'de>, E> {
        Ok(Number::from_f64(value).map_or(Document::Null, Document::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Document<'de>, E> {
        Ok(Document::String(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Document<'de>, E> {
        Ok(Document::String(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Document<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = from.next_element()? {
            list.push(value);
        }
        Ok(Document::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Document<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = from.next_key_seed(Key)? {
            members.push((key, from.next_value()?));
        }
        Ok(Document::Object(members.into()))
    }
}

/// Takes a key.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(key.into())
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(key.to_owned().into())
    }
}

#[cfg(test)]
mod tests;
