//! Completion for fish.

use super::{NOTE, Offer, commands, first_word, flags, quoted, value_of};
use crate::args::SIGNALS;
use crate::args::table::Flag;
use std::fmt::Write as _;

const HEAD: &str = r#"
function __oxrun_words
    # The command and what follows it, without options before it.
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case VALUES
                set -e words[1]
            case '-*'
            case '*'
                printf '%s\n' $words
                return 0
        end
        set -e words[1]
    end
    return 1
end

function __oxrun_command
    set -l words (__oxrun_words)
    and contains -- "$words[1]" $argv
end

function __oxrun_ids
    set -l words (commandline -opc)
    set -l globals
    if set -l at (contains -i -- --root $words)
        set globals --root $words[(math $at + 1)]
    end
    command -q $words[1]
    and $words[1] $globals list --quiet 2>/dev/null
end

complete -c oxrun -f
"#;

/// The script.
pub(super) fn script() -> String {
    let values: Vec<String> =
        flags(None).filter(|f| f.value.is_some()).map(|f| format!("--{}", f.long)).collect();
    let mut text = format!("# {NOTE}\n{}", HEAD.replace("VALUES", &values.join(" ")));
    let before = "not __oxrun_words >/dev/null";
    flags(None).for_each(|flag| option(&mut text, before, flag));
    for (name, about) in
        commands().map(|def| (def.name, def.about)).chain([("help", "show the help of a command")])
    {
        let _ = writeln!(text, "complete -c oxrun -n {} -a {name} -d {}", quoted(before), fish(about));
    }
    for def in commands() {
        let within = format!("__oxrun_command {}", def.name);
        flags(Some(def)).for_each(|flag| option(&mut text, &within, flag));
        let words = match first_word(def) {
            Offer::Id => "(__oxrun_ids)",
            Offer::Directory => "(__fish_complete_directories)",
            _ => continue,
        };
        let _ = writeln!(text, "complete -c oxrun -n {} -a {}", quoted(&within), quoted(words));
    }
    let signals: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(text, "complete -c oxrun -n '__oxrun_command kill' -a {}", quoted(&signals.join(" ")));
    let all: Vec<&str> = commands().map(|def| def.name).collect();
    let _ = writeln!(text, "complete -c oxrun -n '__oxrun_command help' -a {}", quoted(&all.join(" ")));
    text
}

fn option(text: &mut String, condition: &str, flag: &Flag) {
    let letter = flag.short.map(|c| format!(" -s {c}")).unwrap_or_default();
    let value = match (flag.value, value_of(flag)) {
        (None, _) => String::new(),
        (Some(_), Offer::Choice(words)) => format!(" -x -a {}", quoted(&words.replace('|', " "))),
        (Some(_), Offer::Directory) => " -x -a '(__fish_complete_directories)'".to_owned(),
        (Some(_), Offer::File) => " -r -F".to_owned(),
        (Some(_), _) => " -x".to_owned(),
    };
    let _ = writeln!(
        text,
        "complete -c oxrun -n {} -l {}{letter}{value} -d {}",
        quoted(condition),
        flag.long,
        fish(flag.help)
    );
}

/// A text in quotes as fish reads them.
fn fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
