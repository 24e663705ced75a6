//! The tables themselves: help shows them, parsing obeys them, nothing makes them panic.

use super::*;
use crate::args::table::{Arity, Flag, HELP};

fn help_text(words: &[&str]) -> String {
    match parse_words(words) {
        Ok(Invocation { command: Command::Help(text), .. }) => text,
        other => panic!("{words:?}: {other:?}"),
    }
}

fn second_line(text: &str) -> &str {
    text.lines().nth(1).unwrap_or_default()
}

#[test]
fn the_program_shows_its_help_when_asked_or_left_alone() {
    let lines: [&[&str]; 10] = [
        &[],
        &[""],
        &["-h"],
        &["--help"],
        &["-help"],
        &["help"],
        &["h"],
        &["help", "help"],
        &["-h", "foo"],
        &["--debug", "--help", "start"],
    ];
    for words in lines {
        let text = help_text(words);
        assert!(text.starts_with("NAME:\n"), "{words:?}");
        assert_eq!(second_line(&text), "   oxrun - Open Container Initiative runtime");
        assert!(text.contains("\nUSAGE:\n   oxrun [global options] command"), "{text}");
    }
    let argv = ["/usr/bin/runc", "--help"].map(OsString::from);
    let Command::Help(text) = parse(argv).unwrap().command else { panic!("no help") };
    assert_eq!(second_line(&text), "   runc - Open Container Initiative runtime");
}

#[test]
fn every_command_shows_its_help_in_every_way_of_asking() {
    for (def, _) in COMMANDS {
        let name = def.name;
        let text = help_text(&[name, "--help"]);
        for words in [&[name, "-h"], &["help", name], &["h", name]] {
            assert_eq!(help_text(words), text, "{words:?}");
        }
        assert_eq!(text.lines().next(), Some("NAME:"), "{name}");
        assert_eq!(second_line(&text), format!("   oxrun {name} - {}", def.about));
        assert!(text.contains(&format!("\nUSAGE:\n   oxrun {name}")), "{text}");
        assert!(text.contains("\nOPTIONS:\n"), "{text}");
        if def.trailing == Trailing::None {
            assert_eq!(help_text(&[name, "c", "--help"]), text, "{name}");
        }
    }
}

#[test]
fn version_is_told_before_any_command() {
    for line in ["--version", "-v", "--version foo", "--root D --version"] {
        assert_eq!(command(line), Command::Version, "{line}");
    }
    let text = help::version("runc", Some("abc"));
    let lines: Vec<&str> = text.lines().collect();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(lines, [&format!("runc version {version}"), "commit: abc", "spec: 1.3.0"]);
    assert!(help::version("oxrun", Some("")).contains("\ncommit: unknown\n"));
}

/// The line of a help text that tells of a flag.
fn row<'a>(text: &'a str, flag: &Flag) -> Option<&'a str> {
    let label = format!("   --{}", flag.long);
    text.lines().find(|line| line.strip_prefix(&label).is_some_and(|rest| rest.starts_with([' ', ','])))
}

#[test]
fn every_flag_that_is_not_hidden_has_its_row_in_the_help() {
    let mut levels = vec![(help_text(&["--help"]), GLOBAL)];
    for (def, _) in COMMANDS {
        levels.push((help_text(&[def.name, "--help"]), def.flags));
    }
    for (text, flags) in levels {
        for flag in flags.iter().chain([&HELP]) {
            let Some(row) = row(&text, flag) else {
                assert!(flag.hidden, "--{} has no row in\n{text}", flag.long);
                continue;
            };
            assert!(!flag.hidden, "--{} is hidden", flag.long);
            assert!(row.ends_with(flag.help), "{row}");
            if let Some(letter) = flag.short {
                assert!(row.contains(&format!(", -{letter}")), "{row}");
            }
            if let Some(value) = flag.value {
                assert!(row.contains(value), "{row}");
            }
        }
    }
}

#[test]
fn the_list_of_commands_shows_those_that_work_and_no_other() {
    let argv = ["oxrun", "--help"].map(OsString::from);
    let Command::Help(text) = parse(argv).unwrap().command else { panic!("no help") };
    for (def, support) in COMMANDS {
        let listed = text
            .lines()
            .any(|line| line.starts_with(&format!("   {} ", def.name)) && line.ends_with(def.about));
        assert_eq!(listed, *support == Support::On, "{}", def.name);
    }
}

#[test]
fn names_are_unique_and_options_do_not_collide_with_help() {
    for (index, (def, _)) in COMMANDS.iter().enumerate() {
        assert!(COMMANDS[index + 1..].iter().all(|(other, _)| other.name != def.name));
        for (index, flag) in def.flags.iter().enumerate() {
            for other in def.flags[index + 1..].iter().chain([&HELP]) {
                assert_ne!(flag.long, other.long, "{}", def.name);
                assert!(flag.short.is_none() || flag.short != other.short, "{}", def.name);
            }
        }
    }
}

/// Values of which at least one is right for any option, and is no default.
const VALUES: [&str; 9] = ["1", "json", "1s", "error", "systemd", "strict", "/p", "cpu:x", "true"];

#[test]
fn every_flag_changes_what_a_command_line_means_or_warns_that_it_does_not() {
    // `create` always detaches and never becomes a reaper.
    let without_effect = [("create", "detach"), ("create", "no-subreaper")];
    for (def, _) in COMMANDS {
        let words: &[&str] = match def.positionals {
            Arity::Exactly(0) => &[],
            _ => &["c"],
        };
        let line = |flag: &[String]| {
            let start = [def.name.to_owned()];
            let words = words.iter().map(|word| (*word).to_owned());
            let line: Vec<String> = start.into_iter().chain(flag.to_vec()).chain(words).collect();
            parse_words(&line.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let plain = line(&[]).unwrap();
        for flag in def.flags {
            let names = [Some(format!("--{}", flag.long)), flag.short.map(|c| format!("-{c}"))];
            for name in names.into_iter().flatten() {
                let changed = match flag.value {
                    None => line(std::slice::from_ref(&name)).unwrap() != plain,
                    Some(_) => VALUES.iter().any(|value| {
                        line(&[name.clone(), (*value).to_owned()]).is_ok_and(|invocation| invocation != plain)
                    }),
                };
                let expected = !without_effect.contains(&(def.name, flag.long));
                assert_eq!(changed, expected, "{} {name}", def.name);
            }
        }
    }
}

#[test]
fn every_global_flag_changes_what_a_command_line_means_or_warns_that_it_does_not() {
    let plain = parse_line("state c").unwrap();
    for flag in GLOBAL {
        let name = format!("--{}", flag.long);
        let changed = match flag.value {
            None => parse_words(&[&name, "state", "c"]).unwrap() != plain,
            Some(_) => VALUES.iter().any(|value| {
                let parsed = parse_words(&[&name, value, "state", "c"]);
                parsed.is_ok_and(|invocation| invocation != plain)
            }),
        };
        assert!(changed, "{name}");
    }
}

/// The ways to write a flag with a value, or of a switch without one.
fn forms(flag: &Flag, value: &str) -> Vec<Vec<String>> {
    let long = [format!("--{}", flag.long), format!("-{}", flag.long)];
    let names = long.into_iter().chain(flag.short.map(|letter| format!("-{letter}")));
    let both = |name: String| match flag.value {
        Some(_) => vec![vec![name.clone(), value.to_owned()], vec![format!("{name}={value}")]],
        None => ["true", "1", "T"]
            .iter()
            .map(|on| vec![format!("{name}={on}")])
            .chain([vec![name.clone()]])
            .collect(),
    };
    names.flat_map(both).collect()
}

#[test]
fn every_flag_means_the_same_in_every_form_and_on_either_side_of_the_words() {
    let parsed = |parts: &[&[String]]| {
        let words: Vec<&str> = parts.iter().flat_map(|part| part.iter().map(String::as_str)).collect();
        parse_words(&words)
    };
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    for (def, _) in COMMANDS {
        let words = match def.positionals {
            Arity::Exactly(0) => Vec::new(),
            _ => owned(&["c"]),
        };
        let name = owned(&[def.name]);
        for flag in def.flags {
            let takes = |value: &&&str| parsed(&[&name, &forms(flag, value)[0], &words]).is_ok();
            let value = VALUES.iter().find(takes).unwrap();
            let forms = forms(flag, value);
            let meant = parsed(&[&name, &forms[0], &words]);
            for form in &forms {
                assert_eq!(parsed(&[&name, form, &words]), meant, "{} {form:?}", def.name);
                let behind = parsed(&[&name, &words, form]);
                match def.trailing {
                    Trailing::None => assert_eq!(behind, meant, "{} {form:?} behind", def.name),
                    _ => assert_ne!(behind, meant, "{} {form:?} belongs to another program", def.name),
                }
            }
        }
    }
    for flag in GLOBAL.iter().filter(|flag| flag.long != "help") {
        let line = owned(&["state", "c"]);
        let takes = |value: &&&str| parsed(&[&forms(flag, value)[0], &line]).is_ok();
        let forms = forms(flag, VALUES.iter().find(takes).unwrap());
        for form in &forms {
            assert_eq!(parsed(&[form, &line]), parsed(&[&forms[0], &line]), "{form:?}");
        }
    }
}

#[test]
fn only_repeated_flags_keep_all_their_values() {
    for (def, _) in COMMANDS {
        for flag in def.flags.iter().filter(|flag| flag.repeat) {
            let name = format!("--{}", flag.long);
            let value = |n: &str| match flag.long {
                "cgroup" => format!("cpu{n}:x"),
                _ => n.to_owned(),
            };
            let (one, two) = (value("1"), value("2"));
            let both = parse_words(&[def.name, &name, &one, &name, &two, "c"]).unwrap();
            let last = parse_words(&[def.name, &name, &two, "c"]).unwrap();
            assert_ne!(both, last, "{} {name}", def.name);
        }
        for flag in def.flags.iter().filter(|flag| !flag.repeat && flag.value.is_some()) {
            let name = format!("--{}", flag.long);
            for (one, two) in VALUES.iter().zip(VALUES.iter().skip(1)) {
                let both = parse_words(&[def.name, &name, one, &name, two, "c"]);
                let last = parse_words(&[def.name, &name, two, "c"]);
                assert_eq!(both, last, "{} {name} {one} {two}", def.name);
            }
        }
    }
}

/// A reproducible stream of numbers (xorshift).
struct Stream(u64);

impl Stream {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// Everything that means something somewhere, and what does not anywhere.
fn vocabulary() -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let mut words: Vec<String> = [
        "",
        "-",
        "--",
        "---",
        "=",
        "-=",
        "--=",
        "-=x",
        "--=x",
        "c",
        "-c",
        "-1",
        "0",
        "9",
        "é",
        "-é",
        "SIGTERM",
        "RTMIN+300",
        "RTMAX-",
        "auto",
        "18446744073709551616",
        "9e9",
        "1.5G",
        ".5k",
        "1.s",
        "99999999999h",
        "1:",
        ":1",
        "a:b",
        "help",
        "h",
        "x\ny",
        "-x\ny=",
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend(VALUES.map(str::to_owned));
    words.extend(COMMANDS.iter().map(|(def, _)| def.name.to_owned()));
    for flag in COMMANDS.iter().flat_map(|(def, _)| def.flags).chain(GLOBAL) {
        for name in [format!("--{}", flag.long), format!("-{}", flag.long)] {
            words.extend([format!("{name}="), format!("{name}=-1"), format!("{name}=é"), name]);
        }
        words.extend(flag.short.map(|letter| format!("-{letter}")));
        words.extend(flag.short.map(|letter| format!("-{letter}{letter}=x")));
    }
    let mut words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
    for bytes in [&b"\xff"[..], b"-\xff", b"--\xff=\xfe", b"--bundle=\xff", b"-b=\xff"] {
        words.push(OsString::from_vec(bytes.to_vec()));
    }
    words
}

#[test]
fn no_command_line_panics_and_every_refusal_is_one_line_with_a_code() {
    let (words, commands) = (vocabulary(), all_on());
    let mut stream = Stream(0x9e37_79b9_7f4a_7c15);
    let (mut understood, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut argv = vec![OsString::from("oxrun")];
        if round % 2 == 0 {
            // Half of them get beyond the name of the command.
            argv.push(commands[stream.below(commands.len())].0.name.into());
        }
        for _ in 0..stream.below(5) {
            argv.push(words[stream.below(words.len())].clone());
        }
        match parse_with(argv.clone(), &commands) {
            Ok(_) => understood += 1,
            Err(rejection) => {
                refused += 1;
                assert!(matches!(rejection.exit_code, 1 | 3 | 255), "{argv:?}");
                assert!(!rejection.message.is_empty(), "{argv:?}");
                assert!(!rejection.message.contains(char::is_control), "{argv:?}: {rejection:?}");
            }
        }
    }
    assert!(understood > 1_500 && refused > 1_500, "{understood} {refused}");
}
