//! From a JSON document to a type of the model, and what was noticed on the way.
//!
//! What must hold: a type gets what `serde_json::from_value` would give it, and fails with the same
//! words, but an array is no object: its elements are not taken for the fields in their order. Besides,
//! the innermost place that failed and every key that no type knows are noted.
//!
//! This is one deserializer instead of adapters around that of `serde_json`: the code of the model is
//! generated once for each layer, and every start of the program pays for it.

use super::affinity::{self, Affinity};
use super::document::{Document, Member, Object};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Error;

type Result<T> = std::result::Result<T, Error>;

/// What was noticed while a document was read.
#[derive(Default)]
pub(super) struct Notes {
    /// Pointer of the innermost value that does not fit; none for the document as a whole.
    pub(super) failed: Option<String>,
    /// Pointers of the keys that no type knows, in the document's order.
    pub(super) unknown: Vec<String>,
    /// The processors of `execCPUAffinity`, which the model does not read itself.
    pub(super) affinity: Option<Affinity>,
}

impl Notes {
    /// Notes where reading failed, unless a place further in was noted before.
    #[cold]
    #[inline(never)]
    fn at(&mut self, place: &Place<'_>, error: Error) -> Error {
        self.failed.get_or_insert_with(|| place.pointer());
        error
    }
}

/// Reads a `T`.
pub(super) fn read<T: DeserializeOwned>(document: &Document<'_>, notes: &mut Notes) -> Result<T> {
    T::deserialize(Reader { value: document, place: Place::Root, notes })
}

/// Where in the document a value stands.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Index(&'a Place<'a>, usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        match self {
            Place::Root => String::new(),
            Place::Key(parent, key) => parent.pointer() + "/" + &super::escape(key),
            Place::Index(parent, index) => parent.pointer() + "/" + &index.to_string(),
        }
    }
}

/// One value of the document.
struct Reader<'de, 'a> {
    value: &'de Document<'de>,
    place: Place<'a>,
    notes: &'a mut Notes,
}

impl<'de> Reader<'de, '_> {
    #[cold]
    #[inline(never)]
    fn wrong_type(&self, expected: &dyn Expected) -> Error {
        let found = match self.value {
            Document::Null => Unexpected::Unit,
            Document::Bool(v) => Unexpected::Bool(*v),
            Document::Number(n) => match (n.as_u64(), n.as_i64()) {
                (Some(n), _) => Unexpected::Unsigned(n),
                (None, Some(n)) => Unexpected::Signed(n),
                (None, None) => Unexpected::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Document::String(v) => Unexpected::Str(v),
            Document::Array(_) => Unexpected::Seq,
            Document::Object(_) => Unexpected::Map,
        };
        Error::invalid_type(found, expected)
    }

    fn number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let Document::Number(n) = self.value else {
            return Err(self.wrong_type(&visitor));
        };
        if let Some(n) = n.as_u64() {
            visitor.visit_u64(n)
        } else if let Some(n) = n.as_i64() {
            visitor.visit_i64(n)
        } else {
            visitor.visit_f64(n.as_f64().unwrap_or(f64::NAN))
        }
    }

    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Document::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn array<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let Document::Array(array) = self.value else {
            return Err(self.wrong_type(&visitor));
        };
        let mut rest = array.iter();
        let elements = Elements { rest: &mut rest, index: 0, parent: &self.place, notes: self.notes };
        let read = visitor.visit_seq(elements)?;
        match rest.len() {
            0 => Ok(read),
            _ => Err(Error::invalid_length(array.len(), &"fewer elements in array")),
        }
    }

    fn object<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let Document::Object(map) = self.value else {
            return Err(self.wrong_type(&visitor));
        };
        let entries = Entries { rest: map.iter(), entry: None, parent: &self.place, notes: self.notes };
        visitor.visit_map(entries)
    }
}

macro_rules! read_as {
    ($kind:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.$kind(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Error;

    read_as!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64);
    read_as!(text: deserialize_char deserialize_str deserialize_string deserialize_identifier);
    read_as!(array: deserialize_seq);
    read_as!(object: deserialize_map);

    forward_to_deserialize_any! { bytes byte_buf }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Document::Null => visitor.visit_unit(),
            Document::Bool(_) => self.deserialize_bool(visitor),
            Document::Number(_) => self.number(visitor),
            Document::String(_) => self.text(visitor),
            Document::Array(_) => self.array(visitor),
            Document::Object(_) => self.object(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Document::Bool(v) => visitor.visit_bool(*v),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Document::Null => visitor.visit_unit(),
            _ => Err(self.wrong_type(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.value {
            Document::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.array(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.array(visitor)
    }

    // Inlined, so that the comparison of the name is made by the compiler: the model's own reading of
    // this one struct, with the regular expressions it needs, is then not part of the program.
    #[inline(always)]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if name == affinity::NAME {
            let notes = &mut *self.notes;
            let read = Affinity::deserialize(Reader { value: self.value, place: self.place, notes })?;
            self.notes.affinity = Some(read);
            return visitor.visit_map(Nothing);
        }
        self.object(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let (variant, content) = match self.value {
            Document::String(variant) => (variant, None),
            Document::Object(map) => {
                let (variant, content) = single(map)?;
                (variant, Some(content))
            }
            _ => return Err(self.wrong_type(&"string or map")),
        };
        let content = content.map(|value| Reader { value, ..self });
        visitor.visit_enum(Variant { variant, content })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.notes.unknown.push(self.place.pointer());
        visitor.visit_unit()
    }
}

/// The only entry of a map.
fn single<'de>(map: &'de Object<'de>) -> Result<&'de Member<'de>> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry),
        _ => Err(Error::invalid_value(Unexpected::Map, &"map with a single key")),
    }
}

struct Elements<'de, 'a> {
    rest: &'a mut std::slice::Iter<'de, Document<'de>>,
    index: usize,
    parent: &'a Place<'a>,
    notes: &'a mut Notes,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(value) = self.rest.next() else {
            return Ok(None);
        };
        let place = Place::Index(self.parent, self.index);
        self.index += 1;
        let read = seed.deserialize(Reader { value, place, notes: &mut *self.notes });
        read.map(Some).map_err(|e| self.notes.at(&place, e))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Entries<'de, 'a> {
    rest: std::slice::Iter<'de, Member<'de>>,
    entry: Option<&'de Member<'de>>,
    parent: &'a Place<'a>,
    notes: &'a mut Notes,
}

impl<'de> MapAccess<'de> for Entries<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.entry = self.rest.next();
        match self.entry {
            Some((key, _)) => seed.deserialize(key.as_ref().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let Some((key, value)) = self.entry.take() else {
            return Err(Error::custom("value is missing"));
        };
        let place = Place::Key(self.parent, key);
        let read = seed.deserialize(Reader { value, place, notes: &mut *self.notes });
        read.map_err(|e| self.notes.at(&place, e))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// A map without entries.
struct Nothing;

impl<'de> MapAccess<'de> for Nothing {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, _: K) -> Result<Option<K::Value>> {
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, _: T) -> Result<T::Value> {
        Err(Error::custom("value is missing"))
    }
}

struct Variant<'de, 'a> {
    variant: &'de str,
    content: Option<Reader<'de, 'a>>,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'de, 'a> {
    type Error = Error;
    type Variant = Content<'de, 'a>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content<'de, 'a>)> {
        let variant = seed.deserialize(self.variant.into_deserializer())?;
        Ok((variant, Content(self.content)))
    }
}

/// What stands beside the name of an enum's variant.
struct Content<'de, 'a>(Option<Reader<'de, 'a>>);

impl<'de, 'a> Content<'de, 'a> {
    fn some(self, expected: &str) -> Result<Reader<'de, 'a>> {
        self.0.ok_or_else(|| Error::invalid_type(Unexpected::UnitVariant, &expected))
    }
}

impl<'de> VariantAccess<'de> for Content<'de, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        self.0.map_or(Ok(()), <()>::deserialize)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self.some("newtype variant")?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.some("tuple variant")?.array(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value> {
        self.some("struct variant")?.object(visitor)
    }
}
