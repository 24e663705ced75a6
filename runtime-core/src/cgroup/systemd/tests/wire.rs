//! Messages to bytes and back; addresses; the handshake.

use crate::cgroup::systemd::bus::{Address, Answer, addresses, answer};
use crate::cgroup::systemd::value::Value;
use crate::cgroup::systemd::wire::{Call, MAX_MESSAGE, decode, length};

fn call(body: &[Value]) -> Vec<u8> {
    let call = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartTransientUnit",
        body,
        descriptors: 0,
    };
    call.encode(7)
}

/// A reply of the other byte order, written by hand from the specification.
fn big_endian() -> Vec<u8> {
    let mut out = vec![b'B', 2, 1, 1];
    out.extend(9u32.to_be_bytes());
    out.extend(3u32.to_be_bytes());
    // Fields: reply to 7; signature "s".
    out.extend(15u32.to_be_bytes());
    out.extend([5, 1, b'u', 0, 0, 0, 0, 7, 8, 1, b'g', 0, 1, b's', 0, 0]);
    out.extend(4u32.to_be_bytes());
    out.extend(b"done\0");
    out
}

#[test]
fn a_call_says_what_the_specification_says() {
    let bytes = call(&[Value::text("a.scope"), Value::U32(5)]);
    assert_eq!(length(&bytes), Ok(Some(bytes.len())));
    let message = decode(&bytes).unwrap();
    assert_eq!((message.kind, message.member.as_deref()), (1, Some("StartTransientUnit")));
    assert_eq!(message.texts("su").unwrap(), ["a.scope", "5"]);
    assert_eq!(bytes.get(..4), Some(&[b'l', 1, 0, 1][..]));
    assert_eq!(bytes.get(8..12), Some(&7u32.to_le_bytes()[..]));
}

#[test]
fn nested_values_are_aligned() {
    let list = Value::Array(
        "(sv)".to_owned(),
        vec![Value::Struct(vec![Value::text("MemoryMax"), Value::Variant(Box::new(Value::U64(1 << 40)))])],
    );
    let bytes = call(&[Value::Bool(true), list]);
    let message = decode(&bytes).unwrap();
    assert_eq!(message.signature, "ba(sv)");
    // bool, size, (string: size, 9 bytes and NUL; signature: 1 t NUL; to 8; 8 bytes)
    let expected = [
        &[1, 0, 0, 0, 32, 0, 0, 0, 9, 0, 0, 0][..],
        b"MemoryMax\0",
        &[1, b't', 0, 0, 0, 0, 0, 0, 0, 0],
        &(1u64 << 40).to_le_bytes(),
    ]
    .concat();
    assert_eq!(bytes.get(bytes.len() - expected.len()..), Some(expected.as_slice()));
}

#[test]
fn both_byte_orders_are_read() {
    let message = decode(&big_endian()).unwrap();
    assert_eq!((message.kind, message.reply_to), (2, Some(7)));
    assert_eq!(message.texts("s").unwrap(), ["done"]);
}

#[test]
fn a_damaged_message_is_an_error_at_worst() {
    let list = Value::Array("s".to_owned(), vec![Value::text("x"), Value::text("y")]);
    let variant = Value::Variant(Box::new(Value::Struct(vec![Value::Byte(1), list.clone()])));
    for bytes in [call(&[list, variant]), big_endian()] {
        for end in 0..bytes.len() {
            let part = bytes.get(..end).unwrap();
            assert!(decode(part).is_err(), "{end} bytes");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 7, b'(', b'a', b'v', b'{', 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                *damaged.get_mut(at).unwrap() = value;
                if let Ok(message) = decode(&damaged) {
                    let _ = (message.words(), message.variant_text(), message.texts("uoss"));
                }
            }
        }
    }
}

#[test]
fn lengths_are_believed_to_a_limit() {
    let mut bytes = big_endian();
    bytes.get_mut(4..8).unwrap().copy_from_slice(&(MAX_MESSAGE as u32 + 1).to_be_bytes());
    assert!(length(&bytes).is_err());
    bytes.get_mut(4..8).unwrap().copy_from_slice(&(MAX_MESSAGE as u32).to_be_bytes());
    assert_eq!(length(&bytes), Ok(Some(32 + MAX_MESSAGE)));
    assert_eq!(length(bytes.get(..15).unwrap()), Ok(None));
    assert!(length(b"GET / HTTP/1.1\r\n\r\n").is_err());
}

#[test]
fn a_header_that_nests_without_end_is_refused() {
    let signature = ["a".repeat(0).as_str(), &"(".repeat(120), "y", &")".repeat(120)].concat();
    let mut fields = vec![77, signature.len() as u8];
    fields.extend(signature.bytes().chain([0]));
    fields.resize(fields.len().next_multiple_of(8) + 8, 0);
    let mut bytes = vec![b'l', 2, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend((fields.len() as u32).to_le_bytes());
    bytes.extend(&fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    assert_eq!(decode(&bytes).unwrap_err().0, "too deep");
}

#[test]
fn addresses_are_those_of_sockets() {
    let mut abstracted = Address::bus("x bus");
    abstracted.name.insert(0, 0);
    for (text, expected) in [
        ("unix:path=/run/user/1000/bus", vec![Address::bus("/run/user/1000/bus")]),
        ("unix:guid=12,path=/a%20b;tcp:host=h", vec![Address::bus("/a b")]),
        ("unix:abstract=x%20bus,guid=1;unix:path=/b", vec![abstracted, Address::bus("/b")]),
        ("unix:path=/a%2;unix:path=%00;unix:;;nonsense", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(addresses(text), expected, "{text}");
    }
}

#[test]
fn the_answer_to_the_handshake_is_read_in_pieces() {
    for (text, expected) in [
        ("", Answer::Open),
        ("DATA\r\nOK 12", Answer::Open),
        ("DATA\r\nOK 12\r\n", Answer::Open),
        ("DATA\r\nOK 12\r\nAGREE_UNIX_FD\r\nl", Answer::Accepted(28)),
        // Before 246; without descriptors.
        ("OK 12\r\nOK 12\r\nAGREE_UNIX_FD\r\n", Answer::Accepted(29)),
        ("DATA\r\nOK 12\r\nERROR\r\n", Answer::Accepted(20)),
        ("REJECTED EXTERNAL\r\n", Answer::Rejected("REJECTED EXTERNAL".to_owned())),
        ("ERROR\r\n", Answer::Rejected("ERROR".to_owned())),
        ("AGREE_UNIX_FD\r\n", Answer::Rejected("AGREE_UNIX_FD".to_owned())),
    ] {
        assert_eq!(answer(text.as_bytes()), expected, "{text:?}");
    }
    assert!(matches!(answer(&[b'x'; 20_000]), Answer::Rejected(_)));
}
