//! The results in the forms that people and machines read.

use super::run::{Noticed, Ran, Verdict};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How many ended how, in a sentence.
fn counts(ran: &[Ran]) -> String {
    let count = |is: fn(&Verdict) -> bool| ran.iter().filter(|ran| is(&ran.verdict)).count();
    let skipped = count(|v| matches!(v, Verdict::Skipped(_)));
    let deviates = count(|v| matches!(v, Verdict::Deviates(_)));
    let failed = count(|v| matches!(v, Verdict::Failed(_) | Verdict::Unlisted(_)));
    let passed = count(|v| matches!(v, Verdict::Passed));
    format!(
        "{} cases: {passed} passed, {failed} failed, {deviates} deviate as listed, {skipped} skipped",
        ran.len()
    )
}

/// Prints what did not pass, and the counts of each section.
pub(super) fn table(version: &str, ran: &[Ran], mutants: bool) {
    for ran in ran {
        match &ran.verdict {
            Verdict::Passed => {}
            Verdict::Failed(said) => println!("FAILED {}: {}\n  {said}", ran.name, ran.rule),
            Verdict::Unlisted(why) => println!("FAILED {}: passes, though listed: {why}", ran.name),
            Verdict::Deviates(why) => println!("deviates {}: {why}", ran.name),
            Verdict::Skipped(why) => println!("skipped {}: {why}", ran.name),
        }
        if let Some((says, Noticed::No)) = &ran.broken {
            println!("FAILED {}: does not notice a runtime that {says}", ran.name);
        }
    }
    let mut places: Vec<&str> = Vec::new();
    for ran in ran {
        if !places.contains(&ran.place) {
            places.push(ran.place);
        }
    }
    println!("\n{:44} {:>6} {:>6} {:>6} {:>7}", version, "passed", "failed", "listed", "skipped");
    for place in places {
        let count = |is: fn(&Verdict) -> bool| {
            ran.iter().filter(|ran| ran.place == place && is(&ran.verdict)).count()
        };
        println!(
            "{place:44} {:>6} {:>6} {:>6} {:>7}",
            count(|v| matches!(v, Verdict::Passed)),
            count(|v| matches!(v, Verdict::Failed(_) | Verdict::Unlisted(_))),
            count(|v| matches!(v, Verdict::Deviates(_))),
            count(|v| matches!(v, Verdict::Skipped(_)))
        );
    }
    println!("{}", counts(ran));
    if mutants {
        let broken =
            |wanted| ran.iter().filter(|ran| matches!(&ran.broken, Some((_, n)) if *n == wanted)).count();
        println!("broken runtimes: {} noticed, {} not", broken(Noticed::Yes), broken(Noticed::No));
    }
}

fn verdict(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Passed => ("passed", ""),
        Verdict::Failed(said) => ("failed", said),
        Verdict::Skipped(why) => ("skipped", why),
        Verdict::Deviates(why) => ("deviates", why),
        Verdict::Unlisted(why) => ("unlisted", why),
    }
}

/// One document: the runtime's version, and its cases in order.
pub(super) fn json(version: &str, ran: &[Ran]) -> String {
    let cases: Vec<Value> = ran
        .iter()
        .map(|ran| {
            let (word, said) = verdict(&ran.verdict);
            let mut case = json!({
                "name": ran.name, "place": ran.place, "level": ran.level.word(), "rule": ran.rule,
                "verdict": word, "seconds": (ran.took.as_secs_f64() * 1000.0).round() / 1000.0,
            });
            if !said.is_empty() {
                case["message"] = said.into();
            }
            if let Some((says, noticed)) = &ran.broken {
                case["broken"] = json!({ "says": says, "noticed": *noticed == Noticed::Yes });
            }
            case
        })
        .collect();
    format!("{:#}\n", json!({ "runtime": version, "cases": cases }))
}

/// The Test Anything Protocol, version 13.
pub(super) fn tap(ran: &[Ran]) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", ran.len());
    for (number, ran) in (1..).zip(ran) {
        let name = format!("{} ({}): {}", ran.name, ran.place, ran.rule).replace('#', "\\#");
        let (start, end) = match &ran.verdict {
            Verdict::Passed => ("ok", String::new()),
            Verdict::Skipped(why) => ("ok", format!(" # SKIP {}", line(why))),
            Verdict::Deviates(why) => ("not ok", format!(" # TODO {}", line(why))),
            Verdict::Failed(_) | Verdict::Unlisted(_) => ("not ok", String::new()),
        };
        let _ = writeln!(text, "{start} {number} - {name}{end}");
        if let Verdict::Failed(said) | Verdict::Unlisted(said) = &ran.verdict {
            said.lines().for_each(|line| {
                let _ = writeln!(text, "# {line}");
            });
        }
    }
    text
}

/// JUnit's XML, as continuous integration reads it.
pub(super) fn junit(version: &str, ran: &[Ran]) -> String {
    let failed =
        ran.iter().filter(|r| matches!(r.verdict, Verdict::Failed(_) | Verdict::Unlisted(_))).count();
    let skipped =
        ran.iter().filter(|r| matches!(r.verdict, Verdict::Skipped(_) | Verdict::Deviates(_))).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" \
         skipped=\"{skipped}\">\n",
        xml(version),
        ran.len()
    );
    for ran in ran {
        let (word, said) = verdict(&ran.verdict);
        let inner = match word {
            "passed" => String::new(),
            "failed" | "unlisted" => {
                format!("<failure message=\"{}\">{}</failure>", xml(&ran.rule), xml(said))
            }
            _ => format!("<skipped message=\"{word}: {}\"/>", xml(said)),
        };
        let _ = writeln!(
            text,
            "  <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\">{inner}</testcase>",
            xml(ran.place),
            xml(&ran.name),
            ran.took.as_secs_f64()
        );
    }
    text + "</testsuite>\n"
}

fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A text between tags or quotes; what XML cannot hold is left out.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::case::Level;
    use super::*;
    use std::time::Duration;

    fn ran(name: &str, verdict: Verdict) -> Ran {
        let rule = "a < b & \"c\"".to_owned();
        let (place, took) = ("config.md, #1", Duration::from_millis(1500));
        Ran { name: name.to_owned(), place, level: Level::Must, rule, verdict, took, broken: None }
    }

    fn each() -> Vec<Ran> {
        vec![
            ran("one", Verdict::Passed),
            ran("two", Verdict::Failed("found: <x>\u{1b}[K\nexpected: y".to_owned())),
            ran("three", Verdict::Skipped("no such thing".to_owned())),
            ran("four", Verdict::Deviates("as others do".to_owned())),
            ran("five", Verdict::Unlisted("as others do".to_owned())),
        ]
    }

    #[test]
    fn what_was_skipped_or_deviates_is_not_counted_as_passed() {
        let said = counts(&each());
        assert_eq!(said, "5 cases: 1 passed, 2 failed, 1 deviate as listed, 1 skipped");
        let good: Vec<bool> = each().iter().map(Ran::is_good).collect();
        assert_eq!(good, [true, false, true, true, false]);
    }

    #[test]
    fn a_broken_runtime_that_was_not_noticed_is_a_failure() {
        let mut one = ran("one", Verdict::Passed);
        one.broken = Some(("reads nothing".to_owned(), Noticed::No));
        assert!(!one.is_good());
    }

    #[test]
    fn tap_has_a_line_for_each_with_its_directive() {
        let text = tap(&each());
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines[..2], ["TAP version 13", "1..5"]);
        assert!(lines[2].starts_with("ok 1 - one (config.md, \\#1): "), "{}", lines[2]);
        assert!(lines[3].starts_with("not ok 2 - two"), "{}", lines[3]);
        assert!(lines[4].starts_with("ok 3 - three") && lines[4].ends_with(" # SKIP no such thing"));
        assert!(lines[5].starts_with("not ok 4 - four") && lines[5].ends_with(" # TODO as others do"));
        assert!(lines[6].starts_with("not ok 5 - five"));
    }

    #[test]
    fn junit_counts_and_escapes() {
        let text = junit("a 1.0", &each());
        assert!(text.contains("tests=\"5\" failures=\"2\" skipped=\"2\""), "{text}");
        assert!(
            text.contains("a &lt; b &amp; &quot;c&quot;") && text.contains("found: &lt;x&gt;[K"),
            "{text}"
        );
        assert_eq!(text.matches("<testcase ").count(), text.matches("</testcase>").count());
        assert!(text.contains("time=\"1.500\""), "{text}");
    }

    #[test]
    fn json_has_each_verdict_with_its_reason() -> Result<(), serde_json::Error> {
        let value: Value = serde_json::from_str(&json("a 1.0", &each()))?;
        let words: Vec<&Value> =
            value["cases"].as_array().into_iter().flatten().map(|c| &c["verdict"]).collect();
        assert_eq!(words, ["passed", "failed", "skipped", "deviates", "unlisted"]);
        assert_eq!(value["cases"][2]["message"], "no such thing");
        Ok(())
    }
}
