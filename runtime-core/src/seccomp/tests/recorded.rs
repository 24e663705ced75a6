//! Decisions of libseccomp, recorded by `oxrun-conformance oracle seccomp --record`; its
//! documentation has the format. Where the two differ on purpose, our decision is recorded beside.

use super::machine::Call;
use super::*;

const VECTORS: &str = include_str!("../testdata/libseccomp.txt");

fn hex(word: &str) -> u64 {
    if word == "*" { u64::MAX } else { u64::from_str_radix(word, 16).unwrap() }
}

fn hex32(word: &str) -> u32 {
    u32::try_from(hex(word)).unwrap()
}

/// The numbers and arguments of one entry.
fn entry(word: &str) -> (std::ops::RangeInclusive<u32>, [u64; 6]) {
    let (numbers, list) = word.split_once(':').unwrap_or((word, ""));
    let mut args = [0; 6];
    for (arg, word) in args.iter_mut().zip(list.split(',').filter(|word| !word.is_empty())) {
        *arg = hex(word);
    }
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    (hex32(first)..=hex32(last), args)
}

fn named(name: &str) -> &'static str {
    match name {
        "docker20-run-fg" => include_str!("../testdata/docker20-run-fg.json"),
        "docker20-seccomp" => include_str!("../testdata/docker20-seccomp.json"),
        "docker28-run-fg" => include_str!("../testdata/docker28-run-fg.json"),
        "podman43-run-fg" => include_str!("../testdata/podman43-run-fg.json"),
        _ => panic!("{name}"),
    }
}

fn compiled(line: &str) -> Program {
    let (native, text) = line.split_once(' ').unwrap();
    let native = Arch::ALL.iter().find(|arch| arch.name() == native).unwrap();
    let text = if text.starts_with('{') { text } else { named(text) };
    compile(&serde_json::from_str(text).unwrap(), *native).unwrap()
}

#[test]
fn calls_are_decided_as_libseccomp_decided_them() {
    let (mut profiles, mut calls, mut differ) = (0, 0, 0);
    let mut program = None;
    for line in VECTORS.lines().filter(|line| !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("profile ") {
            program = Some(compiled(line));
            profiles += 1;
            continue;
        }
        let mut words = line.split(' ');
        let (arch, decision) = (hex32(words.next().unwrap()), words.next().unwrap());
        let theirs = decision.split('>').next().map(hex32).unwrap();
        let wanted = match decision.split_once('>') {
            Some((_, ours)) => {
                let (ours, kind) = ours.split_once(':').unwrap();
                assert!(theirs != hex32(ours) && !kind.is_empty(), "{line}");
                hex32(ours)
            }
            None => theirs,
        };
        for (numbers, args) in words.map(entry) {
            for number in numbers {
                let got = machine::run(&program.as_ref().unwrap().insns, &Call { number, arch, args });
                assert_eq!(got, wanted, "{number:x} {args:x?} of {line}");
                calls += 1;
                differ += usize::from(wanted != theirs);
            }
        }
    }
    // An empty file would prove nothing, nor would one in which everything differs.
    assert!(profiles > 100 && calls > 5000 && differ < calls / 4, "{profiles} {calls} {differ}");
}
