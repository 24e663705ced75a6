//! Every figure that was measured: of what, of whom, and of which kind. What must hold: a figure that
//! was not measured is not there, and nothing stands in its place.

use std::collections::BTreeMap;

/// Median wall time in milliseconds.
pub(crate) const WALL: &str = "wall_ms";
/// 90th percentile of the wall time.
pub(crate) const WALL_P90: &str = "wall_p90_ms";
/// 99th percentile of the wall time.
pub(crate) const WALL_P99: &str = "wall_p99_ms";
/// Mean of user and system time in milliseconds.
pub(crate) const CPU: &str = "cpu_ms";
/// Median of user and system time.
pub(crate) const CPU_MEDIAN: &str = "cpu_median_ms";
/// Containers made and started in a second.
pub(crate) const RATE: &str = "per_second";

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Figures(BTreeMap<(String, String, &'static str), f64>);

impl Figures {
    /// Notes the figure `kind` of `runtime` doing `what`.
    pub(crate) fn set(&mut self, what: &str, runtime: &str, kind: &'static str, value: f64) {
        self.0.insert((what.to_owned(), runtime.to_owned(), kind), value);
    }

    /// The figure, if it was measured.
    pub(crate) fn get(&self, what: &str, runtime: &str, kind: &'static str) -> Option<f64> {
        self.0.get(&(what.to_owned(), runtime.to_owned(), kind)).copied()
    }

    /// The figure of `runtime` as a multiple of that of `base`.
    pub(crate) fn ratio(&self, what: &str, runtime: &str, base: &str, kind: &'static str) -> Option<f64> {
        let base = self.get(what, base, kind).filter(|base| *base > 0.0)?;
        Some(self.get(what, runtime, kind)? / base)
    }

    /// Takes over all of `other`.
    pub(crate) fn add(&mut self, other: Figures) {
        self.0.extend(other.0);
    }

    /// One line for each.
    pub(crate) fn csv(&self) -> String {
        let lines = self.0.iter().map(|((what, runtime, kind), value)| {
            // Three decimals of a millisecond are more than what is steady.
            format!("{what},{runtime},{kind},{}\n", (value * 1000.0).round() / 1000.0)
        });
        std::iter::once("what,runtime,figure,value\n".to_owned()).chain(lines).collect()
    }
}

/// What a list of milliseconds amounts to. `wall` and `cpu` belong to the same runs and are not empty.
pub(crate) fn summary(mut wall: Vec<f64>, mut cpu: Vec<f64>) -> [(&'static str, f64); 5] {
    wall.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    [
        (WALL, rank(&wall, 0.5)),
        (WALL_P90, rank(&wall, 0.9)),
        (WALL_P99, rank(&wall, 0.99)),
        (CPU, cpu.iter().sum::<f64>() / cpu.len() as f64),
        (CPU_MEDIAN, rank(&cpu, 0.5)),
    ]
}

/// The value at `share` of the sorted list, by nearest rank. The list is not empty.
pub(crate) fn rank(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share).ceil() as usize;
    sorted[index.clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sorted: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!((rank(&sorted, 0.5), rank(&sorted, 0.9), rank(&sorted, 0.99)), (5.0, 9.0, 10.0));
        assert_eq!(rank(&[7.0], 0.9), 7.0);
    }

    #[test]
    fn a_ratio_needs_both_figures() {
        let mut figures = Figures::default();
        figures.set("run", "oxrun", CPU, 3.0);
        assert_eq!(figures.ratio("run", "oxrun", "crun", CPU), None);
        figures.set("run", "crun", CPU, 12.0);
        assert_eq!(figures.ratio("run", "oxrun", "crun", CPU), Some(0.25));
        assert_eq!(figures.ratio("run", "oxrun", "crun", WALL), None);
    }

    #[test]
    fn the_csv_has_a_line_for_each_figure_and_none_for_others() {
        let mut figures = Figures::default();
        figures.set("run", "oxrun", CPU, 3.0004);
        assert_eq!(figures.csv(), "what,runtime,figure,value\nrun,oxrun,cpu_ms,3\n");
    }
}
