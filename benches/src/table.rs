//! The results as a table and as CSV. What must hold: a figure that was not measured is a dash, never
//! a zero, and every ratio names what it is a ratio to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::session::{Op, Runtime};

/// One measured command.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Wall time.
    pub(crate) wall: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
}

struct Row {
    op: &'static str,
    runtime: String,
    n: usize,
    wall: f64,
    wall_p90: f64,
    cpu: f64,
    cpu_median: f64,
    /// Wall and CPU ratios to crun, then to the floor.
    ratios: [Option<f64>; 4],
}

const HEADER: [&str; 11] = [
    "command",
    "runtime",
    "n",
    "wall_ms",
    "wall_p90",
    "cpu_ms",
    "cpu_med",
    "cpu/crun",
    "wall/crun",
    "cpu/floor",
    "wall/floor",
];

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The value at `share` of the sorted list, by nearest rank. The list is not empty.
fn rank(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted[index.clamp(1, sorted.len()) - 1]
}

fn rows(runtimes: &[Runtime], samples: &BTreeMap<(Op, usize), Vec<Sample>>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for ((op, index), samples) in samples {
        let sorted = |value: fn(&Sample) -> Duration| {
            let mut list: Vec<f64> = samples.iter().map(|s| ms(value(s))).collect();
            list.sort_by(f64::total_cmp);
            list
        };
        let (wall, cpu) = (sorted(|s| s.wall), sorted(|s| s.cpu));
        rows.push(Row {
            op: op.name(),
            runtime: runtimes[*index].name.clone(),
            n: samples.len(),
            wall: rank(&wall, 0.5),
            wall_p90: rank(&wall, 0.9),
            cpu: cpu.iter().sum::<f64>() / cpu.len() as f64,
            cpu_median: rank(&cpu, 0.5),
            ratios: [None; 4],
        });
    }
    let bases: BTreeMap<(&str, String), (f64, f64)> =
        rows.iter().map(|row| ((row.op, row.runtime.clone()), (row.cpu, row.wall))).collect();
    for row in &mut rows {
        let to = |name: &str, of: fn(&(f64, f64)) -> f64, value: f64| {
            bases.get(&(row.op, name.to_owned())).map(|base| value / of(base))
        };
        row.ratios = [
            to("crun", |b| b.0, row.cpu),
            to("crun", |b| b.1, row.wall),
            to("floor", |b| b.0, row.cpu),
            to("floor", |b| b.1, row.wall),
        ];
    }
    rows
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.op.to_owned(), row.runtime.clone(), row.n.to_string()];
    for value in [row.wall, row.wall_p90, row.cpu, row.cpu_median] {
        cells.push(format!("{value:.2}"));
    }
    for ratio in row.ratios {
        cells.push(ratio.map_or("-".to_owned(), |r| format!("{r:.2}")));
    }
    cells
}

/// For people.
pub(crate) fn text(runtimes: &[Runtime], samples: &BTreeMap<(Op, usize), Vec<Sample>>) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEADER.map(str::to_owned).to_vec()];
    lines.extend(rows(runtimes, samples).iter().map(cells));
    aligned(&lines, 2)
}

/// For programs.
pub(crate) fn csv(runtimes: &[Runtime], samples: &BTreeMap<(Op, usize), Vec<Sample>>) -> String {
    let mut out = HEADER.join(",");
    out.push('\n');
    for row in rows(runtimes, samples) {
        out.push_str(&cells(&row).join(",").replace(",-", ","));
        out.push('\n');
    }
    out
}

/// Columns of equal width: the first `left` to the left, the others to the right. A blank line stands
/// where the first column changes.
pub(crate) fn aligned(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| lines.iter().filter_map(|l| l.get(i)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let (mut out, mut group) = (String::new(), None);
    for line in lines {
        if left > 1 && group.is_some() && group != line.first() {
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
    fn median_and_p90_are_nearest_ranks() {
        let sorted: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!((rank(&sorted, 0.5), rank(&sorted, 0.9)), (5.0, 9.0));
        assert_eq!(rank(&[7.0], 0.9), 7.0);
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
        let csv = csv(&runtimes, &all);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[2], "run,oxrun,2,4.00,4.00,8.00,8.00,0.40,0.40,2.00,2.00");
        assert_eq!(lines[4], "state,oxrun,1,3.00,3.00,6.00,6.00,,,,");
    }
}
