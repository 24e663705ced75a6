//! Messages of D-Bus as bytes, and back (D-Bus Specification, "Message Protocol").
//!
//! What must hold: what comes from a bus is not trusted. Reading never panics, never takes more memory than the
//! bytes that are there, and never goes deeper than the specification lets a message nest.

use super::value::Value;
use std::fmt;

/// What is not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed D-Bus message: {}", self.0)
    }
}

/// The largest message that is accepted. The specification allows 128 MiB, answers about a unit are small.
pub const MAX_MESSAGE: usize = 16 << 20;

/// As deep as arrays and structures together may nest.
const MAX_DEPTH: u32 = 64;

/// Kinds of messages.
pub(super) mod kind {
    pub(in super::super) const CALL: u8 = 1;
    pub(in super::super) const REPLY: u8 = 2;
    pub(in super::super) const ERROR: u8 = 3;
    pub(in super::super) const SIGNAL: u8 = 4;
}

/// A message that was received: what this client looks at of its header, and its body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Message {
    /// 1 call, 2 reply, 3 error, 4 signal.
    pub kind: u8,
    /// The serial of the call that it answers.
    pub reply_to: Option<u32>,
    /// The interface of a signal.
    pub interface: Option<String>,
    /// The name of a signal.
    pub member: Option<String>,
    /// The name of an error.
    pub error: Option<String>,
    /// The types of the body.
    pub signature: String,
    big_endian: bool,
    body: Vec<u8>,
}

/// How long the message is that begins with these bytes; none if more are needed to tell.
///
/// # Errors
/// If no message begins so.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(head) = bytes.get(..16) else { return Ok(None) };
    let mut r = Reader::of(head, big_endian(head)?);
    r.skip(3)?;
    if r.byte()? != 1 {
        return Err(Malformed("not protocol version 1"));
    }
    let body = r.u32()? as usize;
    r.skip(4)?;
    let fields = r.u32()? as usize;
    if body > MAX_MESSAGE || fields > MAX_MESSAGE {
        return Err(Malformed("too long"));
    }
    Ok(Some((16 + fields).next_multiple_of(8) + body))
}

fn big_endian(head: &[u8]) -> Result<bool, Malformed> {
    match head.first() {
        Some(b'l') => Ok(false),
        Some(b'B') => Ok(true),
        _ => Err(Malformed("neither byte order")),
    }
}

/// Reads one whole message.
///
/// # Errors
/// If it is none.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    if length(bytes)? != Some(bytes.len()) {
        return Err(Malformed("not as long as it says"));
    }
    let mut r = Reader::of(bytes, big_endian(bytes)?);
    r.skip(1)?;
    let mut message = Message { kind: r.byte()?, big_endian: r.big_endian, ..Message::default() };
    r.skip(2)?;
    let body = r.u32()? as usize;
    r.skip(4)?;
    let end = r.u32()? as usize + r.at;
    while r.at < end {
        r.align(8)?;
        let code = r.byte()?;
        let signature = r.signature()?;
        match (code, signature) {
            (2, "s") => message.interface = Some(r.string()?.to_owned()),
            (3, "s") => message.member = Some(r.string()?.to_owned()),
            (4, "s") => message.error = Some(r.string()?.to_owned()),
            (5, "u") => message.reply_to = Some(r.u32()?),
            (8, "g") => r.signature()?.clone_into(&mut message.signature),
            (_, other) => r.pass(other, MAX_DEPTH)?,
        }
    }
    if r.at != end {
        return Err(Malformed("the fields of the header are longer than they say"));
    }
    r.align(8)?;
    message.body = r.take(body)?.to_vec();
    Ok(message)
}

impl Message {
    /// The values of the body, if they have these types: strings, paths and numbers, as text.
    ///
    /// # Errors
    /// If the body has other types or is none.
    pub fn texts(&self, signature: &str) -> Result<Vec<String>, Malformed> {
        if self.signature != signature {
            return Err(Malformed("a body of other types"));
        }
        let mut r = Reader::of(&self.body, self.big_endian);
        signature.chars().map(|c| r.text(c)).collect()
    }

    /// The text in the variant that the body is.
    ///
    /// # Errors
    /// If it is no variant, or one of something else.
    pub fn variant_text(&self) -> Result<String, Malformed> {
        if self.signature != "v" {
            return Err(Malformed("a body of other types"));
        }
        let mut r = Reader::of(&self.body, self.big_endian);
        match r.signature()? {
            "s" => Ok(r.string()?.to_owned()),
            _ => Err(Malformed("a variant of another type")),
        }
    }

    /// What an error says beside its name, if it says something.
    #[must_use]
    pub fn words(&self) -> String {
        let mut r = Reader::of(&self.body, self.big_endian);
        match self.signature.starts_with('s').then(|| r.string()) {
            Some(Ok(text)) => text.to_owned(),
            _ => String::new(),
        }
    }
}

/// Reads values at their places.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

const SHORT: Malformed = Malformed("it ends too early");

impl<'a> Reader<'a> {
    fn of(bytes: &'a [u8], big_endian: bool) -> Reader<'a> {
        Reader { bytes, at: 0, big_endian }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(n).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn skip(&mut self, n: usize) -> Result<(), Malformed> {
        self.take(n).map(drop)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        let n = self.at.next_multiple_of(to) - self.at;
        self.skip(n)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(SHORT)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| SHORT)?;
        Ok(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn ended(&mut self, n: usize) -> Result<&'a str, Malformed> {
        let bytes = self.take(n)?;
        if self.byte()? != 0 {
            return Err(Malformed("a string without end"));
        }
        std::str::from_utf8(bytes).map_err(|_| Malformed("a string that is not UTF-8"))
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        let n = self.u32()? as usize;
        self.ended(n)
    }

    fn signature(&mut self) -> Result<&'a str, Malformed> {
        let n = self.byte()?;
        self.ended(n.into())
    }

    fn text(&mut self, kind: char) -> Result<String, Malformed> {
        match kind {
            's' | 'o' => self.string().map(str::to_owned),
            'u' => self.u32().map(|n| n.to_string()),
            _ => Err(Malformed("a type that nobody asks for")),
        }
    }

    /// Passes over the values of a signature.
    fn pass(&mut self, signature: &str, depth: u32) -> Result<(), Malformed> {
        let mut rest = signature;
        while !rest.is_empty() {
            let (one, more) = first_type(rest)?;
            self.pass_one(one, depth)?;
            rest = more;
        }
        Ok(())
    }

    fn pass_one(&mut self, one: &str, depth: u32) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("too deep"))?;
        let inner = one.get(1..).unwrap_or("");
        match one.as_bytes().first() {
            Some(b'y') => self.skip(1),
            Some(b'n' | b'q') => self.align(2).and_then(|()| self.skip(2)),
            Some(b'b' | b'i' | b'u' | b'h') => self.u32().map(drop),
            Some(b'x' | b't' | b'd') => self.align(8).and_then(|()| self.skip(8)),
            Some(b's' | b'o') => self.string().map(drop),
            Some(b'g') => self.signature().map(drop),
            Some(b'v') => {
                let signature = self.signature()?;
                match first_type(signature)? {
                    (one, "") => self.pass_one(one, depth),
                    _ => Err(Malformed("a variant of several values")),
                }
            }
            Some(b'a') => {
                let n = self.u32()? as usize;
                self.align(alignment(inner))?;
                self.skip(n)
            }
            Some(b'(' | b'{') => {
                self.align(8)?;
                self.pass(inner.get(..inner.len().saturating_sub(1)).unwrap_or(""), depth)
            }
            _ => Err(Malformed("an unknown type")),
        }
    }
}

/// The first complete type of a signature, and the rest.
fn first_type(signature: &str) -> Result<(&str, &str), Malformed> {
    let mut open = 0u32;
    for (i, c) in signature.bytes().enumerate() {
        match c {
            b'a' => continue,
            b'(' | b'{' => open += 1,
            b')' | b'}' => open = open.checked_sub(1).ok_or(Malformed("an unbalanced signature"))?,
            _ if !c.is_ascii_lowercase() => return Err(Malformed("an unknown type")),
            _ => {}
        }
        if open == 0 {
            return signature.split_at_checked(i + 1).ok_or(SHORT);
        }
    }
    Err(Malformed("an unbalanced signature"))
}

/// How the values of a type are aligned.
pub(super) fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b'h' | b's' | b'o' | b'a') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

/// A call of a method.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Whose.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// The arguments.
    pub body: &'a [Value],
    /// How many descriptors go with it.
    pub descriptors: u32,
}

impl Call<'_> {
    /// The message of the call, little-endian.
    #[must_use]
    pub fn encode(&self, serial: u32) -> Vec<u8> {
        let mut body = Vec::new();
        let mut signature = String::new();
        for value in self.body {
            value.encode(&mut body);
            signature.push_str(&value.signature());
        }
        let field =
            |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]);
        let text = |s: &str| Value::Str(s.to_owned());
        let mut fields = vec![
            field(1, Value::Path(self.path.to_owned())),
            field(2, text(self.interface)),
            field(3, text(self.member)),
            field(6, text(self.destination)),
        ];
        if !signature.is_empty() {
            fields.push(field(8, Value::Signature(signature)));
        }
        if self.descriptors > 0 {
            fields.push(field(9, Value::U32(self.descriptors)));
        }
        let mut out = vec![b'l', kind::CALL, 0, 1];
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(serial.to_le_bytes());
        Value::Array("(yv)".to_owned(), fields).encode(&mut out);
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend(body);
        out
    }
}
