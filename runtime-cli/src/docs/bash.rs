//! Completion for bash. Needs nothing of the package bash-completion.

use super::{NOTE, Offer, commands, first_word, flags, value_of};
use crate::args::SIGNALS;
use crate::args::table::{CommandDef, Flag, Trailing};
use std::fmt::Write as _;

const HEAD: &str = r#"
_oxrun_offer() {
    COMPREPLY=($(compgen "$@" -- "$cur"))
}

_oxrun_files() {
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$@" -- "$cur"))
}

_oxrun() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag= command= count=0 word i
    local -a globals=()
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == = ]]; then
            # `--flag=value` is three words to the shell.
            continue
        elif [[ -n $flag ]]; then
            [[ $flag == --root ]] && globals=(--root "$word")
            flag=
        elif _oxrun_takes_value "$command" "$word"; then
            flag=$word
        elif [[ $word == -* ]]; then
            :
        elif [[ -z $command ]]; then
            command=$word
        else
            ((count++))
        fi
    done
    [[ $cur == = ]] && cur=
    if [[ -n $flag ]]; then
        _oxrun_value "$command" "$flag"
    elif ((count)) && [[ " $OWN " == *" $command "* ]]; then
        # What stands here belongs to another program.
        _oxrun_files -f
    elif [[ $cur == -* ]]; then
        _oxrun_flags "$command"
    else
        _oxrun_word "$command" "$count"
    fi
}
"#;

/// The script.
pub(super) fn script() -> String {
    let own: Vec<&str> = commands().filter(|d| d.trailing != Trailing::None).map(|d| d.name).collect();
    let mut text = format!("# {NOTE}\n{}\n", HEAD.replace("$OWN", &own.join(" ")));
    let levels: Vec<Option<&'static CommandDef>> =
        std::iter::once(None).chain(commands().map(Some)).collect();

    text.push_str("_oxrun_takes_value() {\n    case \"$1 $2\" in\n");
    for def in &levels {
        let names: Vec<String> = flags(*def)
            .filter(|flag| flag.value.is_some())
            .flat_map(|flag| names(flag).map(|name| format!("\"{} {name}\"", word(*def))).collect::<Vec<_>>())
            .collect();
        if !names.is_empty() {
            let _ = writeln!(text, "    {}) return 0 ;;", names.join(" | "));
        }
    }
    text.push_str("    esac\n    return 1\n}\n\n_oxrun_value() {\n    case \"$1 $2\" in\n");
    for def in &levels {
        for flag in flags(*def) {
            let Some(offer) = offered(value_of(flag)) else { continue };
            let names: Vec<String> = names(flag).map(|name| format!("\"{} {name}\"", word(*def))).collect();
            let _ = writeln!(text, "    {}) {offer} ;;", names.join(" | "));
        }
    }
    text.push_str("    esac\n}\n\n_oxrun_flags() {\n    case \"$1\" in\n");
    for def in &levels {
        let all: Vec<String> = flags(*def).flat_map(names).collect();
        let _ = writeln!(text, "    \"{}\") _oxrun_offer -W \"{}\" ;;", word(*def), all.join(" "));
    }
    words(&mut text);
    text.push_str("complete -F _oxrun oxrun\n");
    text
}

/// What stands beside the flags.
fn words(text: &mut String) {
    let all = commands().map(|def| def.name).chain(["help"]).collect::<Vec<_>>().join(" ");
    text.push_str("    esac\n}\n\n_oxrun_word() {\n    case \"$1 $2\" in\n");
    let _ = writeln!(text, "    \" 0\" | \"help 0\") _oxrun_offer -W \"{all}\" ;;");
    let signals: Vec<&str> = SIGNALS.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(text, "    \"kill 1\") _oxrun_offer -W \"{}\" ;;", signals.join(" "));
    let with = |wanted: Offer| {
        let found = commands().filter(move |def| first_word(def) == wanted);
        found.map(|def| format!("\"{} 0\"", def.name)).collect::<Vec<_>>().join(" | ")
    };
    let list = "$(\"${COMP_WORDS[0]}\" \"${globals[@]}\" list --quiet 2>/dev/null)";
    let _ = writeln!(text, "    {})\n        _oxrun_offer -W \"{list}\" ;;", with(Offer::Id));
    let _ = writeln!(text, "    {}) _oxrun_files -d ;;", with(Offer::Directory));
    text.push_str("    \"try 0\") _oxrun_offer -c ;;\n    esac\n}\n\n");
}

fn word(def: Option<&CommandDef>) -> &str {
    def.map_or("", |def| def.name)
}

fn names(flag: &Flag) -> impl Iterator<Item = String> {
    [Some(format!("--{}", flag.long)), flag.short.map(|letter| format!("-{letter}"))].into_iter().flatten()
}

fn offered(offer: Offer) -> Option<String> {
    Some(match offer {
        Offer::Choice(words) => format!("_oxrun_offer -W \"{}\"", words.replace('|', " ")),
        Offer::Directory => "_oxrun_files -d".to_owned(),
        Offer::File => "_oxrun_files -f".to_owned(),
        Offer::Id | Offer::Nothing => return None,
    })
}
