//! The other end of a streamed exec or attach: a WebSocket whose messages begin with the number of a
//! channel. What comes is copied out until the server has told how the process ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Longest silence of the server.
const SILENCE: Duration = Duration::from_secs(60);

/// The channels' numbers.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const SIZE: u8 = 4;

/// Frames: binary data, the end, and a question whether anybody is there.
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Connects to `url`, sends the size of the terminal if there is one and `input`, copies the output to
/// `stdout` and `stderr`, and returns the exit code, none if the server does not know it.
pub(super) fn stream(
    url: &str,
    input: &[u8],
    size: Option<(u16, u16)>,
    mut stdout: impl Write,
    mut stderr: impl Write,
) -> Result<Option<i32>, String> {
    let mut socket = Socket::connect(url)?;
    if let Some((rows, columns)) = size {
        socket.send(BINARY, SIZE, format!(r#"{{"Width":{columns},"Height":{rows}}}"#).as_bytes())?;
    }
    if !input.is_empty() {
        socket.send(BINARY, STDIN, input)?;
    }
    loop {
        let (kind, payload) = socket.receive()?;
        let (channel, text) = payload.split_first().map_or((u8::MAX, &[][..]), |(c, rest)| (*c, rest));
        let copied = match (kind, channel) {
            (CLOSE, _) => return Ok(None),
            (PING, _) => socket.send(PONG, channel, text).map(|()| Ok(())),
            (_, STDOUT) => Ok(stdout.write_all(text)),
            (_, STDERR) => Ok(stderr.write_all(text)),
            (_, STATUS) if !text.is_empty() => return ended(text),
            _ => Ok(Ok(())),
        }?;
        copied.map_err(|e| format!("copying the output: {e}"))?;
    }
}

/// The exit code that a status object has among its causes, or its message as an error.
fn ended(text: &[u8]) -> Result<Option<i32>, String> {
    let status: Value = serde_json::from_slice(text).map_err(|e| format!("status: {e}"))?;
    if status["status"] == "Success" {
        return Ok(Some(0));
    }
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let code = causes.filter(|c| c["reason"] == "ExitCode").find_map(|c| c["message"].as_str()?.parse().ok());
    code.map(Some).ok_or_else(|| status["message"].as_str().unwrap_or("no message").to_owned())
}

struct Socket(BufReader<TcpStream>);

impl Socket {
    fn connect(url: &str) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("{url}: {e}");
        let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url}: not http"))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| format!("{url}: no path"))?;
        let mut stream = TcpStream::connect(host).map_err(fail)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(fail)?;
        // The key is only echoed in a hashed form, which nobody here looks at.
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(fail)?;
        let (mut stream, mut head) = (BufReader::new(stream), String::new());
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).map_err(fail)? == 0 {
                break;
            }
        }
        if head.starts_with("HTTP/1.1 101") { Ok(Self(stream)) } else { Err(format!("{url}: {head}")) }
    }

    fn send(&mut self, kind: u8, channel: u8, text: &[u8]) -> Result<(), String> {
        let length = text.len() + 1;
        let mut out = vec![0x80 | kind];
        // A client's frames are masked; with zeros the text stays as it is.
        match u16::try_from(length) {
            Ok(length @ ..126) => out.push(0x80 | length as u8),
            Ok(length) => {
                out.push(0x80 | 126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(e) => return Err(format!("{length} bytes of input: {e}")),
        }
        out.extend_from_slice(&[0, 0, 0, 0, channel]);
        out.extend_from_slice(text);
        self.0.get_mut().write_all(&out).map_err(|e| format!("sending: {e}"))
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>), String> {
        let fail = |e: std::io::Error| format!("receiving: {e}");
        let mut head = [0; 2];
        self.0.read_exact(&mut head).map_err(fail)?;
        let mut long = [0; 8];
        let length = match head[1] & 127 {
            126 => {
                self.0.read_exact(&mut long[6..]).map_err(fail)?;
                u64::from_be_bytes(long)
            }
            127 => {
                self.0.read_exact(&mut long).map_err(fail)?;
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        };
        let mut payload = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut payload).map_err(fail)?;
        Ok((head[0] & 15, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::ended;

    #[test]
    fn the_exit_code_is_among_the_causes() {
        let status = br#"{"status":"Failure","message":"m","details":{"causes":[{"reason":"ExitCode","message":"5"}]}}"#;
        assert_eq!(ended(status), Ok(Some(5)));
        assert_eq!(ended(br#"{"status":"Success"}"#), Ok(Some(0)));
        assert_eq!(ended(br#"{"status":"Failure","message":"m"}"#), Err("m".into()));
    }
}
