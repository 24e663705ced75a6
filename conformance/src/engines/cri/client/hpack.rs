//! What a server's header blocks say, as far as it stands in them. Nothing is remembered from block to
//! block: the connection's settings allow no table.

/// The printable characters by the length of their code. Codes of one length follow each other in the
/// order of the characters; the second number is the first of them that is printable.
const CODES: &[(u32, u32, &str)] = &[
    (5, 0x0, "012aceiost"),
    (6, 0x14, " %-./3456789=A_bdfghlmnpru"),
    (7, 0x5c, ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, 0xf8, "&*,;XZ"),
    (10, 0x3f8, "!\"()?"),
    (11, 0x7fa, "'+|"),
    (12, 0xffa, "#>"),
    (13, 0x1ff9, "$@[]~"),
    (14, 0x3ffc, "^}"),
    (15, 0x7ffc, "<`{"),
    (19, 0x7fff0, "\\"),
];

/// One name with its value.
pub(super) fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        integer(text.len(), 7, &mut out);
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// A number with so many bits in the first byte, whose other bits are zero.
fn integer(number: usize, bits: u32, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if number < most {
        out.push(number as u8);
        return;
    }
    out.push(most as u8);
    let mut rest = number - most;
    while rest >= 128 {
        out.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// The fields of a block whose names are spelled out. None if the block is cut off.
pub(super) fn fields(block: &[u8]) -> Option<Vec<(String, String)>> {
    let (mut rest, mut found) = (block, Vec::new());
    while let Some(&first) = rest.first() {
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = number(&mut rest, bits)?;
        if matches!(bits, 5 | 7) {
            continue;
        }
        let name = if index == 0 { text(&mut rest)? } else { String::new() };
        found.push((name, text(&mut rest)?));
    }
    Some(found)
}

fn number(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let mut next = || {
        let (&first, others) = rest.split_first()?;
        *rest = others;
        Some(usize::from(first))
    };
    let most = (1 << bits) - 1;
    let mut all = next()? & most;
    if all < most {
        return Some(all);
    }
    for shift in [0, 7, 14, 21] {
        let byte = next()?;
        all += (byte & 127) << shift;
        if byte < 128 {
            return Some(all);
        }
    }
    None
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let coded = *rest.first()? >= 128;
    let length = number(rest, 7)?;
    let (bytes, others) = rest.split_at_checked(length)?;
    *rest = others;
    Some(if coded { decode(bytes) } else { String::from_utf8_lossy(bytes).into_owned() })
}

/// Up to the first character that is not printable.
fn decode(bytes: &[u8]) -> String {
    let (mut out, mut code, mut length) = (String::new(), 0u32, 0u32);
    for bit in bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)) {
        (code, length) = (code << 1 | u32::from(bit), length + 1);
        let same = CODES.iter().find(|(l, ..)| *l == length);
        let found = same.and_then(|(_, first, all)| all.chars().nth(code.checked_sub(*first)? as usize));
        if let Some(character) = found {
            out.push(character);
            (code, length) = (0, 0);
        } else if length > 24 {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_are_read() {
        // RFC 7541, C.4.1: the fourth field of the request, and C.6.1: the second of the response.
        let coded = [0x8c, 0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        let block = [&[0x82, 0x41][..], &coded].concat();
        assert_eq!(fields(&block), Some(vec![(String::new(), "www.example.com".into())]));
        let coded = [0x85, 0xae, 0xc3, 0x77, 0x1a, 0x4b];
        assert_eq!(text(&mut &coded[..]), Some("private".into()));
    }

    #[test]
    fn what_is_written_is_read_again_and_a_cut_block_is_none() {
        let long = "x".repeat(300);
        let block = [literal("name", &long), literal("b", "")].concat();
        assert_eq!(fields(&block), Some(vec![("name".into(), long), ("b".into(), String::new())]));
        assert_eq!(fields(&block[..200]), None);
    }
}
