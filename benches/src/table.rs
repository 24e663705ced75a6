//! The results as a table. What must hold: a figure that was not measured is a dash, never a zero, and
//! every ratio names what it is a ratio to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::figures::{CPU, CPU_MEDIAN, Figures, WALL, WALL_P90, WALL_P99, summary};
use crate::session::{Op, Runtime};

/// One measured command.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Wall time.
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
}

/// Samples by command and runtime (index).
pub(crate) type Samples = BTreeMap<(Op, usize), Vec<Sample>>;

const HEADER: [&str; 12] = [
    "command",
    "runtime",
    "n",
    "wall_ms",
    "wall_p90",
    "wall_p99",
    "cpu_ms",
    "cpu_med",
    "cpu/crun",
    "wall/crun",
    "cpu/floor",
    "wall/floor",
];

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// What the samples amount to.
pub(crate) fn figures(runtimes: &[Runtime], samples: &Samples) -> Figures {
    let mut figures = Figures::default();
    for ((op, index), samples) in samples.iter().filter(|(_, samples)| !samples.is_empty()) {
        let of = |value: fn(&Sample) -> Duration| samples.iter().map(|s| ms(value(s))).collect();
        for (kind, value) in summary(of(|s| s.wall), of(|s| s.cpu)) {
            figures.set(op.name(), &runtimes[*index].name, kind, value);
        }
    }
    figures
}

/// For people.
pub(crate) fn text(runtimes: &[Runtime], samples: &Samples) -> String {
    let figures = figures(runtimes, samples);
    let mut lines: Vec<Vec<String>> = vec![HEADER.map(str::to_owned).to_vec()];
    for ((op, index), samples) in samples {
        let (op, name) = (op.name(), &runtimes[*index].name);
        let mut cells = vec![op.to_owned(), name.clone(), samples.len().to_string()];
        let kinds = [WALL, WALL_P90, WALL_P99, CPU, CPU_MEDIAN];
        cells.extend(kinds.map(|kind| cell(figures.get(op, name, kind))));
        let bases = [("crun", CPU), ("crun", WALL), ("floor", CPU), ("floor", WALL)];
        cells.extend(bases.map(|(base, kind)| cell(figures.ratio(op, name, base, kind))));
        lines.push(cells);
    }
    aligned(&lines, 2, true)
}

/// Two decimals, or a dash.
pub(crate) fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

/// Every single sample, times in microseconds.
pub(crate) fn raw(runtimes: &[Runtime], samples: &Samples) -> String {
    let mut out = "command,runtime,round,wall_us,cpu_us\n".to_owned();
    for ((op, index), samples) in samples {
        for (round, sample) in samples.iter().enumerate() {
            let (wall, cpu) = (sample.wall.as_micros(), sample.cpu.as_micros());
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{},{},{round},{wall},{cpu}", op.name(), runtimes[*index].name);
        }
    }
    out
}

/// Columns of equal width: the first `left` to the left, the others to the right. With `groups` a blank
/// line stands where the first column changes.
pub(crate) fn aligned(lines: &[Vec<String>], left: usize, groups: bool) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| lines.iter().filter_map(|l| l.get(i)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let (mut out, mut group) = (String::new(), None);
    for line in lines {
        if groups && group.is_some() && group != line.first() {
            out.push('\n');
        }
        group = line.first();
        let mut text = String::new();
        for (i, cell) in line.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = if i < left {
                write!(text, "{cell:<width$}  ", width = widths[i])
            } else {
                write!(text, "{cell:>width$}  ", width = widths[i])
            };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(name: &str) -> Runtime {
        Runtime { name: name.to_owned(), program: "x".into(), floor: name == "floor" }
    }

    fn samples(values: &[u64]) -> Vec<Sample> {
        let sample = |v: &u64| Sample { wall: Duration::from_millis(*v), cpu: Duration::from_millis(*v * 2) };
        values.iter().map(sample).collect()
    }

    #[test]
    fn ratios_are_to_the_same_command_and_missing_ones_are_dashes() {
        let runtimes = [runtime("crun"), runtime("oxrun"), runtime("floor")];
        let all = BTreeMap::from([
            ((Op::Run, 0), samples(&[10, 10])),
            ((Op::Run, 1), samples(&[4, 4])),
            ((Op::Run, 2), samples(&[2, 2])),
            ((Op::State, 1), samples(&[3])),
        ]);
        let text = text(&runtimes, &all);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let run =
            ["run", "oxrun", "2", "4.00", "4.00", "4.00", "8.00", "8.00", "0.40", "0.40", "2.00", "2.00"];
        assert!(lines.contains(&run.to_vec()), "{text}");
        let state = ["state", "oxrun", "1", "3.00", "3.00", "3.00", "6.00", "6.00", "-", "-", "-", "-"];
        assert!(lines.contains(&state.to_vec()), "{text}");
    }

    #[test]
    fn each_sample_is_a_line_of_its_own() {
        let all = BTreeMap::from([((Op::Run, 0), samples(&[10, 11]))]);
        let raw = raw(&[runtime("crun")], &all);
        assert_eq!(
            raw.lines().skip(1).collect::<Vec<_>>(),
            ["run,crun,0,10000,20000", "run,crun,1,11000,22000"]
        );
    }
}
