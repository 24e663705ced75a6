//! The budgets of oxrun: what it may cost at most, most of it as a share of what crun costs in the same
//! loop. What must hold: a budget is met, not met, or not measured, and each is said.

use crate::figures::{CPU, Figures, RATE, WALL};
use crate::table;

/// What the figure is divided by.
#[derive(Clone, Copy)]
enum Base {
    /// Nothing.
    Itself,
    /// The figure of this runtime.
    Of(&'static str),
}

struct Budget {
    what: &'static str,
    kind: &'static str,
    base: Base,
    limit: f64,
    /// Whether more is better.
    least: bool,
}

const CRUN: Base = Base::Of("crun");
/// crun 1.8.1, as Debian 12 has it, if it is there as a peer of this name.
const OLD_CRUN: Base = Base::Of("crun-1.8.1");

/// The commands with their figure, and the shares of both versions of crun.
const COMMANDS: [(&str, &str, f64, f64); 8] = [
    ("run", CPU, 0.40, 0.20),
    ("create", WALL, 0.40, 0.20),
    ("start", CPU, 0.30, 0.28),
    ("state", CPU, 0.30, 0.27),
    ("kill", CPU, 0.30, 0.27),
    ("list 1000", CPU, 0.30, 0.27),
    ("exec", CPU, 0.35, 0.35),
    ("delete", WALL, 0.25, 0.25),
];

/// All budgets, in the order in which they are printed.
fn budgets() -> Vec<Budget> {
    let at_most = |what, kind, base, limit| Budget { what, kind, base, limit, least: false };
    let mut list = Vec::new();
    for (what, kind, new, old) in COMMANDS {
        list.push(at_most(what, kind, CRUN, new));
        list.push(at_most(what, kind, OLD_CRUN, old));
    }
    list.push(at_most("run", CPU, Base::Of("floor"), 1.25));
    list.push(at_most("list 1000", WALL, Base::Itself, 25.0));
    list.push(Budget { what: "200, 8 at a time", kind: RATE, base: CRUN, limit: 2.0, least: true });
    list.push(at_most("create in 500 MB", CPU, Base::Of("oxrun in a small process"), 1.1));
    list.push(at_most("create in 500 MB", WALL, Base::Of("oxrun in a small process"), 1.1));
    for (what, kind, limit) in [
        ("run in v2", "syscalls", 300.0),
        ("run in v1", "syscalls", 400.0),
        ("run in host", "syscalls", 400.0),
        ("facts", "tasks", 3.0),
        ("facts", "execs", 3.0),
        ("facts", "binary_mb", 3.0),
        ("facts", "pss_kib", 160.0),
        ("facts", "threads", 1.0),
        ("facts", "least_create_kib", 512.0),
        ("facts", "least_run_kib", 512.0),
    ] {
        list.push(at_most(what, kind, Base::Itself, limit));
    }
    list
}

/// Each budget that `figures` decide, and at the end how many they do not. Empty if they decide none.
pub(crate) fn text(figures: &Figures) -> String {
    let mut lines = vec![["budget", "figure", "against", "is", "allowed", ""].map(str::to_owned).to_vec()];
    let mut open = 0;
    for budget in budgets() {
        let is = match budget.base {
            Base::Itself => figures.get(budget.what, "oxrun", budget.kind),
            Base::Of(base) => figures.ratio(budget.what, "oxrun", base, budget.kind),
        };
        let Some(is) = is else {
            open += 1;
            continue;
        };
        let against = match budget.base {
            Base::Itself => "-",
            Base::Of(base) => base,
        };
        let met = if budget.least { is >= budget.limit } else { is <= budget.limit };
        let sign = if budget.least { ">=" } else { "<=" };
        lines.push(vec![
            budget.what.to_owned(),
            budget.kind.to_owned(),
            against.to_owned(),
            format!("{is:.2}"),
            format!("{sign} {}", budget.limit),
            if met { "met" } else { "NOT MET" }.to_owned(),
        ]);
    }
    if lines.len() == 1 {
        return String::new();
    }
    let mut out = table::aligned(&lines, 3, false);
    if open > 0 {
        out.push_str(&format!("{open} budgets were not measured here\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(figures: &Figures, what: &str) -> String {
        let text = text(figures);
        let found = text.lines().find(|line| line.starts_with(what)).unwrap_or_default();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_budget_is_met_up_to_its_limit() {
        let mut figures = Figures::default();
        figures.set("exec", "crun", CPU, 10.0);
        figures.set("exec", "oxrun", CPU, 3.5);
        assert_eq!(line(&figures, "exec"), "exec cpu_ms crun 0.35 <= 0.35 met");
        figures.set("exec", "oxrun", CPU, 3.6);
        assert_eq!(line(&figures, "exec"), "exec cpu_ms crun 0.36 <= 0.35 NOT MET");
    }

    #[test]
    fn a_rate_must_be_high() {
        let mut figures = Figures::default();
        figures.set("200, 8 at a time", "crun", RATE, 90.0);
        figures.set("200, 8 at a time", "oxrun", RATE, 170.0);
        assert_eq!(line(&figures, "200"), "200, 8 at a time per_second crun 1.89 >= 2 NOT MET");
        figures.set("200, 8 at a time", "oxrun", RATE, 180.0);
        assert!(line(&figures, "200").ends_with(" met"));
    }

    #[test]
    fn what_was_not_measured_is_counted_and_not_judged() {
        assert_eq!(text(&Figures::default()), "");
        let mut figures = Figures::default();
        figures.set("list 1000", "oxrun", WALL, 10.0);
        let text = text(&figures);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with(&format!("{} budgets were not measured here\n", budgets().len() - 1)));
    }
}
