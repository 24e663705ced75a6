//! Completion for zsh.

use super::{NOTE, Offer, commands, first_word, flags, quoted, value_of};
use crate::args::SIGNALS;
use crate::args::table::{CommandDef, Flag, Trailing};
use std::fmt::Write as _;

const HEAD: &str = r#"
_oxrun_ids() {
    local -a globals ids
    (( $+opt_args[--root] )) && globals=(--root ${(Q)opt_args[--root]})
    [[ -n $oxrun_root ]] && globals=(--root $oxrun_root)
    ids=(${(f)"$(_call_program ids $oxrun_program $globals list --quiet 2>/dev/null)"})
    compadd -a ids
}
"#;

/// The script.
pub(super) fn script() -> String {
    let mut text = format!(
        "#compdef oxrun\n# {NOTE}\n{HEAD}\n_oxrun_commands() {{\n    local -a commands\n    commands=(\n"
    );
    for (name, about) in
        commands().map(|def| (def.name, def.about)).chain([("help", "show the help of a command")])
    {
        let _ = writeln!(text, "        {}", quoted(&format!("{name}:{about}")));
    }
    text.push_str("    )\n    _describe command commands\n}\n\n_oxrun() {\n    local curcontext=$curcontext state line oxrun_root oxrun_program=$words[1]\n    typeset -A opt_args\n    _arguments -C -S \\\n");
    flags(None).for_each(|flag| option(&mut text, flag, "        "));
    text.push_str("        '1: :_oxrun_commands' \\\n        '*:: :->command' && return\n    oxrun_root=${(Q)opt_args[--root]}\n    case $line[1] in\n");
    commands().for_each(|def| command(&mut text, def));
    text.push_str("    help) _oxrun_commands ;;\n    esac\n}\n\n_oxrun \"$@\"\n");
    text
}

fn command(text: &mut String, def: &'static CommandDef) {
    let _ = writeln!(text, "    {})\n        _arguments -S \\", def.name);
    flags(Some(def)).for_each(|flag| option(text, flag, "            "));
    let first = match first_word(def) {
        Offer::Id => "1:container:_oxrun_ids",
        Offer::Directory => "1:bundle:_files -/",
        _ if def.trailing == Trailing::FromFirst => "1:command:_command_names",
        _ => "1: : ",
    };
    let mut words = vec![quoted(first)];
    if def.name == "kill" {
        let signals: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
        words.push(quoted(&format!("2:signal:({})", signals.join(" "))));
    }
    if def.trailing != Trailing::None {
        words.push(quoted("*::argument:_files"));
    }
    let _ = writeln!(text, "            {} ;;", words.join(" "));
}

fn option(text: &mut String, flag: &Flag, indent: &str) {
    let help = format!("[{}]", flag.help.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]"));
    let value = match (flag.value, value_of(flag)) {
        (None, _) => String::new(),
        (Some(_), Offer::Choice(words)) => format!(":value:({})", words.replace('|', " ")),
        (Some(name), Offer::Directory) => format!(":{name}:_files -/"),
        (Some(name), Offer::File) => format!(":{name}:_files"),
        (Some(name), _) => format!(":{}: ", name.replace(':', "\\:")),
    };
    let (long, short) = match flag.value {
        Some(_) => (format!("--{}=", flag.long), "+"),
        None => (format!("--{}", flag.long), ""),
    };
    let rest = quoted(&format!("{help}{value}"));
    let _ = match (flag.short, flag.repeat) {
        (None, false) => writeln!(text, "{indent}{}{rest} \\", quoted(&long)),
        (None, true) => writeln!(text, "{indent}{}{rest} \\", quoted(&format!("*{long}"))),
        (Some(c), true) => writeln!(text, "{indent}'*'{{-{c}{short},{long}}}{rest} \\"),
        (Some(c), false) => {
            writeln!(text, "{indent}'(-{c} --{})'{{-{c}{short},{long}}}{rest} \\", flag.long)
        }
    };
}
