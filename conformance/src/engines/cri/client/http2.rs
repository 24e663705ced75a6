//! One gRPC call on a connection of its own: a message goes out, a message or a status comes back.
//! That is all that the CRI needs, and far less than a library for it would bring along.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::hpack;

/// Longest silence of the server. Longer than any call here takes.
const SILENCE: Duration = Duration::from_secs(120);

/// What the server may send before it is asked for more: everything.
const WINDOW: u32 = (1 << 31) - 1;

/// What a server lets a client send unasked, and the longest frame that it has to take.
const SEND: usize = 65_535;
const FRAME: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Flags: the stream ends, or what is acknowledged; the headers end; there is padding; there is a priority.
const END: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// Calls the method at `path` with an encoded message; the encoded answer, or what the server says.
pub(super) fn call(socket: &Path, path: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let fail = |what: &str, e: std::io::Error| format!("{what} {}: {e}", socket.display());
    let mut stream = UnixStream::connect(socket).map_err(|e| fail("connecting to", e))?;
    stream.set_read_timeout(Some(SILENCE)).map_err(|e| fail("timeout of", e))?;
    let length = u32::try_from(message.len()).map_err(|e| e.to_string())?;
    let body = [&[0][..], &length.to_be_bytes(), message].concat();
    if body.len() > SEND {
        return Err(format!("{path}: a message of {length} bytes"));
    }
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let setting = |key: u16, value: u32| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
    // No table of headers, no pushed streams, no limit of what comes in.
    let settings = [setting(1, 0), setting(2, 0), setting(4, WINDOW)].concat();
    frame(&mut out, SETTINGS, 0, 0, &settings);
    frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - SEND as u32).to_be_bytes());
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let headers: Vec<u8> = headers.iter().flat_map(|(name, value)| hpack::literal(name, value)).collect();
    frame(&mut out, HEADERS, END_HEADERS, 1, &headers);
    for part in body.chunks(FRAME) {
        frame(&mut out, DATA, 0, 1, part);
    }
    frame(&mut out, DATA, END, 1, &[]);
    stream.write_all(&out).map_err(|e| fail("writing to", e))?;
    let answer = Answer::read(&mut stream).map_err(|e| fail("reading from", e))?;
    answer.message()
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // No payload here is longer than a frame may be.
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// What has come for the one stream.
#[derive(Default)]
struct Answer {
    data: Vec<u8>,
    block: Vec<u8>,
    fields: Vec<(String, String)>,
}

impl Answer {
    fn read(stream: &mut UnixStream) -> std::io::Result<Self> {
        let wrong = |what: String| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
        let (mut answer, mut ended) = (Self::default(), false);
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head)?;
            let [a, b, c, kind, flags, ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload)?;
            match kind {
                SETTINGS | PING if flags & ACK == 0 => {
                    let said = if kind == PING { &payload[..] } else { &[] };
                    let mut out = Vec::new();
                    frame(&mut out, kind, ACK, 0, said);
                    stream.write_all(&out)?;
                }
                RESET | GOAWAY => return Err(wrong(format!("the server gives up: {payload:?}"))),
                DATA => answer.data.extend_from_slice(content(kind, flags, &payload)),
                HEADERS | CONTINUATION => {
                    answer.block.extend_from_slice(content(kind, flags, &payload));
                    if flags & END_HEADERS != 0 {
                        let block = std::mem::take(&mut answer.block);
                        let fields = hpack::fields(&block).ok_or_else(|| wrong("headers cut off".into()))?;
                        answer.fields.extend(fields);
                    }
                }
                _ => {}
            }
            ended |= matches!(kind, DATA | HEADERS) && flags & END != 0;
            if ended && answer.block.is_empty() {
                return Ok(answer);
            }
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn message(self) -> Result<Vec<u8>, String> {
        match self.field("grpc-status") {
            Some("0") => {}
            Some(code) => {
                let text = unescape(self.field("grpc-message").unwrap_or_default());
                return Err(format!("code {code}: {text}"));
            }
            None => return Err("no status".into()),
        }
        // Behind a byte that says that nothing is compressed and the length.
        let body = self.data.split_at_checked(5);
        body.map(|(_, message)| message.to_vec()).ok_or_else(|| "no message".into())
    }
}

/// A payload without padding and priority.
fn content(kind: u8, flags: u8, payload: &[u8]) -> &[u8] {
    let padded = flags & PADDED != 0;
    let padding = if padded { usize::from(payload.first().copied().unwrap_or(0)) } else { 0 };
    let priority = if kind == HEADERS && flags & PRIORITY != 0 { 5 } else { 0 };
    let start = usize::from(padded) + priority;
    payload.get(start..payload.len().saturating_sub(padding)).unwrap_or_default()
}

/// Undoes what gRPC does to the characters of a message that a header cannot hold.
fn unescape(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, others)) = rest.split_first() {
        let digits = others.get(..2).filter(|_| byte == b'%').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(value) => {
                out.push(value);
                rest = &others[2..];
            }
            None => {
                out.push(byte);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_other_than_zero_is_the_servers_sentence() {
        let fields = [("grpc-status", "5"), ("grpc-message", "100%25 \"gone%0A\" %zz")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let said = Answer { fields, ..Answer::default() }.message();
        assert_eq!(said, Err("code 5: 100% \"gone\n\" %zz".into()));
    }

    #[test]
    fn padding_and_priority_are_no_content() {
        assert_eq!(content(HEADERS, PADDED | PRIORITY, &[2, 0, 0, 0, 0, 0, 7, 8, 0, 0]), [7, 8]);
        assert_eq!(content(DATA, END, &[7]), [7]);
    }
}
