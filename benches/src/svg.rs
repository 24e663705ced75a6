//! Pictures of the figures. What must hold: they need nothing from elsewhere, no font and no script, and
//! can be read on light and on dark pages: each brings its own background, and both change together.

use std::fmt::Write as _;

use crate::figures::{CPU, Figures};

const WIDTH: usize = 760;
/// Room for the names on the left, and for the numbers on the right.
const LEFT: usize = 90;
const RIGHT: usize = 60;
/// Bars of more than this many times crun are cut.
const MOST: f64 = 8.0;
/// What is shown, with its title.
const COMMANDS: [(&str, &str); 7] = [
    ("run", "run /bin/true and delete"),
    ("create", "create"),
    ("start", "start"),
    ("exec", "exec /bin/true"),
    ("state", "state"),
    ("kill", "kill 0"),
    ("delete", "delete --force"),
];

/// Colours that stand out from white and from black, by order of appearance.
const COLOURS: [(&str, &str); 5] = [
    ("oxrun", "#e8590c"),
    ("floor", "#868e96"),
    ("crun", "#1c7ed6"),
    ("runc", "#2f9e44"),
    ("youki", "#ae3ec9"),
];

fn colour(name: &str) -> &'static str {
    COLOURS.iter().find(|(known, _)| *known == name).map_or("#0c8599", |(_, colour)| colour)
}

fn begin(height: usize, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n\
         <style>\n\
         .paper {{ fill: #ffffff }} text {{ fill: #1f2328; font: 12px system-ui, sans-serif }}\n\
         .quiet {{ fill: #59636e }} .axis {{ stroke: #59636e; stroke-width: 1; fill: none }}\n\
         .head {{ font-weight: 600; font-size: 13px }} .end {{ text-anchor: end }}\n\
         @media (prefers-color-scheme: dark) {{\n\
         .paper {{ fill: #0d1117 }} text {{ fill: #f0f6fc }} .quiet {{ fill: #9198a1 }} .axis {{ stroke: #9198a1 }}\n\
         }}\n\
         </style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n"
    )
}

fn text(out: &mut String, x: f64, y: f64, class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{words}</text>");
}

/// Bars: the CPU time of each command of each runtime as a multiple of crun's. None without crun.
pub(crate) fn bars(figures: &Figures, runtimes: &[String]) -> Option<String> {
    const BAR: usize = 15;
    let room = (WIDTH - LEFT - RIGHT) as f64;
    let (mut body, mut y) = (String::new(), 46_usize);
    let top = y;
    for (op, title) in COMMANDS {
        let ratios: Vec<(&String, f64)> =
            runtimes.iter().filter_map(|name| Some((name, figures.ratio(op, name, "crun", CPU)?))).collect();
        if ratios.is_empty() {
            continue;
        }
        text(&mut body, 12.0, y as f64 + 12.0, "head", title);
        y += 18;
        for (name, ratio) in ratios {
            let width = ratio.min(MOST) / MOST * room;
            text(&mut body, LEFT as f64 - 8.0, y as f64 + 11.0, "end", name);
            let _ = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>",
                y + 2,
                BAR - 4,
                colour(name)
            );
            let more = if ratio > MOST { ", cut" } else { "" };
            text(&mut body, LEFT as f64 + width + 6.0, y as f64 + 11.0, "", &format!("{ratio:.2}{more}"));
            y += BAR;
        }
        y += 8;
    }
    if body.is_empty() {
        return None;
    }
    let mut out = begin(y + 8, "CPU time of OCI runtimes as a multiple of crun's");
    text(&mut out, 12.0, 20.0, "head", "CPU time of a command and its container, as a multiple of crun's");
    text(
        &mut out,
        12.0,
        36.0,
        "quiet",
        "less is better; the floor is the same isolation by a program that does nothing else",
    );
    out.push_str(&body);
    let one = LEFT as f64 + room / MOST;
    let _ = writeln!(out, "<path class=\"axis\" stroke-dasharray=\"3 3\" d=\"M{one:.1} {top}V{y}\"/>");
    out.push_str("</svg>\n");
    Some(out)
}

/// A line's name and its points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// Small pictures side by side, one for each curve, with milliseconds of CPU on a logarithmic axis.
pub(crate) fn curves(curves: &[(String, Vec<Line>)]) -> Option<String> {
    const COLUMNS: usize = 3;
    const HEIGHT: usize = 200;
    let width = WIDTH / COLUMNS;
    let lines = curves.iter().flat_map(|(_, lines)| lines);
    let mut names: Vec<&str> = lines.map(|(name, _)| name.as_str()).collect();
    names.sort_by_key(|name| COLOURS.iter().position(|(known, _)| known == name).unwrap_or(COLOURS.len()));
    names.dedup();
    if names.is_empty() {
        return None;
    }
    let height = 52 + curves.len().div_ceil(COLUMNS) * HEIGHT;
    let mut out = begin(height, "What OCI runtimes cost with more of everything");
    text(
        &mut out,
        12.0,
        20.0,
        "head",
        "Milliseconds of CPU with more containers, mounts and further processes",
    );
    for (i, name) in names.iter().enumerate() {
        let x = 12.0 + 90.0 * i as f64;
        let _ =
            writeln!(out, "<rect x=\"{x}\" y=\"30\" width=\"10\" height=\"10\" fill=\"{}\"/>", colour(name));
        text(&mut out, x + 15.0, 39.0, "", name);
    }
    for (i, (title, lines)) in curves.iter().enumerate() {
        let (left, top) = ((i % COLUMNS * width) as f64, (52 + i / COLUMNS * HEIGHT) as f64);
        panel(&mut out, left, top, width as f64, HEIGHT as f64, title, lines);
    }
    out.push_str("</svg>\n");
    Some(out)
}

fn panel(out: &mut String, left: f64, top: f64, width: f64, height: f64, title: &str, lines: &[Line]) {
    let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let most_x = points().map(|p| p.0).fold(1.0, f64::max);
    // Whole powers of ten around the values.
    let low = points().map(|p| p.1).fold(f64::MAX, f64::min).max(0.001).log10().floor();
    let high = points().map(|p| p.1).fold(0.001, f64::max).log10().ceil().max(low + 1.0);
    let (x0, x1) = (left + 40.0, left + width - 14.0);
    let (y0, y1) = (top + height - 34.0, top + 24.0);
    let x = |value: f64| x0 + value / most_x * (x1 - x0);
    let y = |value: f64| y0 - (value.max(0.001).log10() - low) / (high - low) * (y0 - y1);
    text(out, left + 12.0, top + 14.0, "head", title);
    let _ = writeln!(out, "<path class=\"axis\" d=\"M{x0:.1} {y1:.1}V{y0:.1}H{x1:.1}\"/>");
    for power in low as i32..=high as i32 {
        let value = 10_f64.powi(power);
        text(out, x0 - 6.0, y(value) + 4.0, "quiet end", &format!("{value}"));
    }
    text(out, x0, y0 + 16.0, "quiet", "0");
    text(out, x1, y0 + 16.0, "quiet end", &format!("{most_x}"));
    for (name, points) in lines {
        let path: Vec<String> = points.iter().map(|p| format!("{:.1} {:.1}", x(p.0), y(p.1))).collect();
        let colour = colour(name);
        let _ = writeln!(
            out,
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" d=\"M{}\"/>",
            path.join("L")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every element is closed, in order, and every `&` is an entity.
    fn well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap_or_default();
            let name = tag.split_whitespace().next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) if open.pop() != Some(name) => return false,
                Some(_) => {}
                None if tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        open.is_empty() && !svg.contains("NaN") && !svg.contains("inf")
    }

    #[test]
    fn bars_are_a_picture_with_a_bar_for_each_figure() {
        let mut figures = Figures::default();
        for (name, value) in [("crun", 10.0), ("oxrun", 4.0), ("runc", 90.0)] {
            figures.set("run", name, CPU, value);
        }
        let names = ["crun", "oxrun", "runc", "youki"].map(str::to_owned);
        let svg = bars(&figures, &names).unwrap_or_default();
        assert!(well_formed(&svg), "{svg}");
        assert_eq!(svg.matches("height=\"11\"").count(), 3);
        assert!(svg.contains(">0.40<") && svg.contains(">9.00, cut<"), "{svg}");
        assert!(!well_formed("<svg><g></svg></g>"));
    }

    #[test]
    fn without_crun_there_are_no_bars() {
        let mut figures = Figures::default();
        figures.set("run", "oxrun", CPU, 4.0);
        assert_eq!(bars(&figures, &["oxrun".to_owned()]), None);
    }

    #[test]
    fn each_curve_is_a_panel_with_its_lines() {
        let line = |name: &str| (name.to_owned(), vec![(0.0, 0.5), (1000.0, 50.0)]);
        let all =
            [("list".to_owned(), vec![line("oxrun"), line("crun")]), ("run".to_owned(), vec![line("crun")])];
        let svg = curves(&all).unwrap_or_default();
        assert!(well_formed(&svg), "{svg}");
        assert_eq!(svg.matches("stroke-width=\"2\"").count(), 3);
        assert_eq!(curves(&[]), None);
    }
}
