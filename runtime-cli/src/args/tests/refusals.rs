//! What is not understood, and how it is told.

use super::*;

fn real(words: &[&str]) -> Result<Invocation, Rejection> {
    parse(["oxrun"].iter().chain(words).map(OsString::from))
}

#[test]
fn an_unknown_command_exits_with_3_and_is_named() {
    for line in ["foo", "foo -h", "foo bar --baz", "--debug foo", "help foo", "-- foo"] {
        let rejection = refusal(line);
        assert_eq!(rejection.exit_code, 3, "{line}");
        assert_eq!(rejection.message, "No help topic for 'foo'", "{line}");
        assert_eq!(rejection.screen, None, "{line}");
    }
    assert_eq!(refusal("-").message, "No help topic for '-'");
}

#[test]
fn checkpoint_and_restore_fail_with_one_sentence_whatever_follows() {
    let lines: [&[&str]; 5] = [
        &["checkpoint", "--help"],
        &["help", "checkpoint"],
        &["checkpoint", "c"],
        &["restore", "--lsm-mount-context"],
        &["restore", "-no-subreaper", "c"],
    ];
    for words in lines {
        let rejection = real(words).unwrap_err();
        assert_eq!(rejection.exit_code, 1, "{words:?}");
        assert!(rejection.message.contains("not supported"), "{words:?}");
        assert!(!rejection.message.contains("flag needs an argument"), "{words:?}");
        assert_eq!(rejection.screen, None, "{words:?}");
    }
}

#[test]
fn an_unknown_option_is_named_with_one_dash() {
    let cases = [
        ("--zork state c", "-zork", "oxrun - Open"),
        ("state --zork c", "-zork", "oxrun state -"),
        ("state c --zork=1", "-zork", "oxrun state -"),
        ("delete -forse c", "-forse", "oxrun delete -"),
        ("run -bundel x c", "-bundel", "oxrun run -"),
        ("kill c -9", "-9", "oxrun kill -"),
        ("exec --zork c ls", "-zork", "oxrun exec -"),
        ("start c --debug", "-debug", "oxrun start -"),
        ("help --zork", "-zork", "oxrun - Open"),
    ];
    for (line, option, help) in cases {
        let rejection = refusal(line);
        assert_eq!(rejection.exit_code, 1, "{line}");
        let expected = format!("flag provided but not defined: {option}");
        assert!(rejection.message.starts_with(&expected), "{line}: {}", rejection.message);
        let screen = rejection.screen.unwrap();
        assert!(screen.starts_with(&format!("Incorrect Usage: {expected}")), "{line}: {screen}");
        assert!(screen.contains(help), "{line}: {screen}");
    }
}

#[test]
fn an_option_without_its_value_is_named() {
    for (line, option) in [
        ("--log", "-log"),
        ("list -f", "-f"),
        ("create c --pid-file", "-pid-file"),
        ("restore --lsm-mount-context", "-lsm-mount-context"),
    ] {
        let rejection = refusal(line);
        assert_eq!(rejection.message, format!("flag needs an argument: {option}"), "{line}");
        assert_eq!(rejection.exit_code, 1, "{line}");
    }
}

#[test]
fn a_wrong_number_of_words_is_incorrect_usage() {
    for (line, required) in [
        ("create", "\"create\" requires exactly 1 argument(s)"),
        ("run -d --", "\"run\" requires exactly 1 argument(s)"),
        ("start a b", "\"start\" requires exactly 1 argument(s)"),
        ("list a", "\"list\" requires exactly 0 argument(s)"),
        ("features x", "\"features\" requires exactly 0 argument(s)"),
        ("kill", "\"kill\" requires a minimum of 1 argument(s)"),
        ("kill a 9 b", "\"kill\" requires a maximum of 2 argument(s)"),
        ("exec", "\"exec\" requires a minimum of 1 argument(s)"),
        ("exec -d", "\"exec\" requires a minimum of 1 argument(s)"),
        ("ps", "\"ps\" requires a minimum of 1 argument(s)"),
        ("explain a b", "\"explain\" requires a maximum of 1 argument(s)"),
    ] {
        let rejection = refusal(line);
        assert_eq!(rejection.message, format!("oxrun: {required}"), "{line}");
        assert_eq!(rejection.exit_code, 1, "{line}");
        let screen = rejection.screen.unwrap();
        assert!(screen.starts_with("Incorrect Usage.\n\nNAME:\n   oxrun "), "{line}: {screen}");
    }
}

#[test]
fn a_value_that_makes_no_sense_is_told_in_one_line_without_help() {
    for (line, message, exit_code) in [
        ("--log-format xml state c", "invalid log-format: xml", 1),
        ("--log-level loud state c", "invalid log-level: loud", 1),
        ("--rootless=maybe state c", "invalid value \"maybe\" for flag -rootless", 1),
        ("--cgroup-manager x state c", "invalid value \"x\" for flag -cgroup-manager", 1),
        ("kill c ZORK", "unknown signal \"ZORK\"", 1),
        ("kill c 65", "unknown signal \"65\"", 1),
        ("list --format zork", "invalid format option", 1),
        ("ps --format zork c", "invalid format option", 1),
        ("create --preserve-fds x c", "invalid value \"x\" for flag -preserve-fds", 1),
        ("create --preserve-fds -1 c", "invalid value \"-1\" for flag -preserve-fds", 1),
        ("update --memory 1Q c", "invalid value \"1Q\" for flag -memory", 1),
        ("update --cpu-share -1 c", "invalid value \"-1\" for flag -cpu-share", 1),
        ("update --blkio-weight 65536 c", "invalid value \"65536\" for flag -blkio-weight", 1),
        ("events --interval 5 c", "invalid value \"5\" for flag -interval", 1),
        ("checkpoint --parent-path /p c", "--parent-path must be relative", 1),
        ("restore --manage-cgroups-mode x c", "invalid manage-cgroups-mode value", 1),
        ("exec --user joe c id", "exec failed: invalid user \"joe\"", 255),
        ("exec --cgroup a:b:c c id", "exec failed: invalid --cgroup argument", 255),
        ("exec --cgroup a --cgroup b c id", "exec failed: invalid --cgroup argument", 255),
        ("exec --cgroup cpu:a --cgroup cpu:b c id", "exec failed: invalid --cgroup argument", 255),
    ] {
        let rejection = refusal(line);
        assert!(rejection.message.starts_with(message), "{line}: {}", rejection.message);
        assert_eq!(rejection.exit_code, exit_code, "{line}");
        assert_eq!(rejection.screen, None, "{line}");
    }
    let zero = refusal("events --interval 0s c").message;
    assert!(zero.contains("duration interval must be greater than 0"), "{zero}");
}

#[test]
fn behind_two_dashes_nothing_is_an_option() {
    assert_eq!(refusal("kill -- -c -a").message, "unknown signal \"-a\"");
    assert_eq!(refusal("kill -- -c --all").message, "unknown signal \"--all\"");
}

#[test]
fn a_switch_takes_a_boolean_or_nothing() {
    let rejection = refusal("--debug=zork state c");
    assert_eq!(rejection.message, "invalid boolean value \"zork\" for -debug: parse error");
    assert!(rejection.screen.is_some());
    assert!(parse_line("delete -f=zork c").is_err());
}

#[test]
fn a_refusal_knows_the_log_that_was_asked_for() {
    for line in [
        "--log F --log-format json start --zork",
        "--log F --log-format json start",
        "--log F --log-format json foo",
        "--log F --log-format json --rootless=x start c",
        "--log F --log-format json --zork start c",
    ] {
        let global = refusal(line).global;
        assert_eq!(global.log.as_deref(), Some(Path::new("F")), "{line}");
        assert_eq!(global.log_format, crate::log::Format::Json, "{line}");
    }
}

#[test]
fn the_program_is_called_by_its_file_name() {
    let message = |argv0: &str| {
        let argv = [argv0, "start"].map(OsString::from);
        parse(argv).unwrap_err().message
    };
    assert!(message("/usr/bin/runc").starts_with("runc: \"start\""));
    assert!(message("./oxrun").starts_with("oxrun: \"start\""));
    assert!(message("").starts_with("oxrun: \"start\""));
    assert!(matches!(parse([]).unwrap().command, Command::Help(_)));
}

#[test]
fn text_that_is_not_utf8_is_refused_where_it_cannot_be_passed_on() {
    use std::os::unix::ffi::OsStringExt;
    let odd = OsString::from_vec(b"x\xff\n".to_vec());
    let argv = ["oxrun".into(), "exec".into(), "c".into(), odd.clone()];
    let message = parse_with(argv, &all_on()).unwrap_err().message;
    assert!(message.starts_with("argument is not valid UTF-8"), "{message}");
    assert!(!message.contains('\n'), "{message}");
    let argv = ["oxrun".into(), odd];
    let rejection = parse_with(argv, &all_on()).unwrap_err();
    assert_eq!(rejection.exit_code, 3);
    assert!(!rejection.message.contains('\n'), "{}", rejection.message);
}
