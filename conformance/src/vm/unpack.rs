//! What is compressed in Debian's kernels. An emulated processor takes seconds to unpack its own
//! kernel, so the host does it once.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Start of the header of a bzImage, "the setup header" of the x86 boot protocol.
const HEADER: usize = 0x1f1;

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(word)).ok()
}

fn is_bz_image(bytes: &[u8]) -> bool {
    bytes.get(0x202..0x206) == Some(b"HdrS")
}

/// Where the real-mode part of a bzImage ends.
fn setup_end(bytes: &[u8]) -> Option<usize> {
    let sectors = match bytes.get(HEADER)? {
        0 => 4,
        n => usize::from(*n),
    };
    Some((sectors + 1) * 512)
}

/// The release that a bzImage says it is; `None` for other files.
pub(super) fn release(image: &Path) -> Result<Option<String>, String> {
    let bytes = fs::read(image).map_err(|e| format!("{}: {e}", image.display()))?;
    if !is_bz_image(&bytes) {
        return Ok(None);
    }
    let at = bytes.get(0x20e..0x210).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]])) + 0x200);
    let text = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
    let text: Vec<u8> = text.iter().copied().take_while(|b| !b.is_ascii_whitespace() && *b != 0).collect();
    Ok(String::from_utf8(text).ok())
}

/// The compressed kernel inside a bzImage, with the program and arguments that unpack it.
fn payload(bytes: &[u8]) -> Option<(&[u8], &'static str, &'static [&'static str])> {
    if !is_bz_image(bytes) {
        return None;
    }
    let start = setup_end(bytes)?.checked_add(u32_at(bytes, 0x248)?)?;
    let whole = bytes.get(start..start.checked_add(u32_at(bytes, 0x24c)?)?)?;
    // All but gzip have the unpacked size behind them.
    let bare = whole.get(..whole.len().checked_sub(4)?)?;
    match whole.get(..4)? {
        [0xfd, b'7', b'z', b'X'] => Some((whole, "xz", &["-dc", "--single-stream"])),
        [0x28, 0xb5, 0x2f, 0xfd] => Some((bare, "zstd", &["-dcq"])),
        [0x02, 0x21, 0x4c, 0x18] => Some((bare, "lz4", &["-dc"])),
        [0x1f, 0x8b, ..] => Some((whole, "gzip", &["-dc"])),
        _ => None,
    }
}

/// Writes the ELF image inside a bzImage to `to`, or the bzImage itself if there is none.
pub(super) fn kernel(image: &Path, to: &Path) -> Result<(), String> {
    let bytes = fs::read(image).map_err(|e| format!("{}: {e}", image.display()))?;
    if let Some((payload, program, arguments)) = payload(&bytes) {
        pipe(program, arguments, payload, to)?;
        let mut magic = [0; 4];
        let read = File::open(to).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
        if read.is_ok() && magic == *b"\x7fELF" {
            return Ok(());
        }
    }
    fs::write(to, &bytes).map_err(|e| format!("{}: {e}", to.display()))
}

/// Runs a program over bytes; its output goes to a file. Decompressors complain about what follows
/// the data, so their exit status says nothing.
fn pipe(program: &str, arguments: &[&str], input: &[u8], to: &Path) -> Result<(), String> {
    let file = File::create(to).map_err(|e| format!("{}: {e}", to.display()))?;
    let mut child = Command::new(super::program(program)?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("{program}: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end before it has read everything.
        let _ = stdin.write_all(input);
    }
    child.wait().map(drop).map_err(|e| format!("{program}: {e}"))
}

/// A module file's content, unpacked.
pub(super) fn module(path: &Path) -> Result<Vec<u8>, String> {
    let program = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).map_err(|e| format!("{}: {e}", path.display())),
    };
    super::output(Command::new(super::program(program)?).args(["-d", "-c", "-q"]).arg(path))
}
