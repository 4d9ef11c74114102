//! Plots as SVG.

use super::escaped;
use std::fmt::Write as _;
use std::ops::Range;

/// Colours that can be distinguished on white and on black, also by people with colour blindness (after Okabe & Ito).
const INKS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
const WIDTH: f64 = 860.0;
/// Room for names at the left of intervals, and around curves.
const NAMES: f64 = 300.0;
const EDGE: f64 = 60.0;
/// Height of a line of intervals.
const LINE: f64 = 24.0;

/// What an axis shows.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Its name with the unit.
    pub name: String,
    /// From where to where; what lies outside is drawn at its end.
    pub range: Range<f64>,
}

/// A figure with its interval.
#[derive(Debug, Clone)]
pub struct Interval {
    /// What it is of.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// The ends of its interval; the figure twice where there is none.
    pub ends: [f64; 2],
    /// Which colour, the same for what belongs together.
    pub ink: usize,
}

/// A named line.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Points by ascending first number.
    pub points: Vec<(f64, f64)>,
}

impl Axis {
    /// An axis from 0 to 1.
    pub fn of_shares(name: &str) -> Self {
        Self { name: name.to_owned(), range: 0.0..1.0 }
    }

    /// An axis that holds all values and 0.
    pub fn around(name: &str, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite())
            .fold((0.0f64, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
        let room = 0.05 * (high - low).max(1e-9);
        Self { name: name.to_owned(), range: low - room..high + room }
    }

    /// Where a value lies between `start` and `end`.
    fn at(&self, value: f64, (start, end): (f64, f64)) -> f64 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        start + share.clamp(0.0, 1.0) * (end - start)
    }

    /// Round values along the axis, five or so.
    fn ticks(&self) -> Vec<f64> {
        let span = self.range.end - self.range.start;
        let power = 10f64.powf((span / 5.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| span / step <= 6.0);
        let step = step.unwrap_or(span);
        let first = (self.range.start / step).ceil() as i64;
        (first..).map(|number| number as f64 * step).take_while(|value| *value <= self.range.end + 1e-12).collect()
    }
}

/// A tick as text: as short as it is exact.
fn label(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

pub(super) fn intervals(axis: &Axis, neutral: Option<f64>, intervals: &[Interval]) -> String {
    let height = LINE * intervals.len() as f64 + 56.0;
    let across = (NAMES, WIDTH - 24.0);
    let bottom = height - 46.0;
    let mut svg = start(height, &axis.name);
    for tick in axis.ticks() {
        let x = axis.at(tick, across);
        put(&mut svg, format_args!("<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"4\" y2=\"{bottom:.1}\"/>"));
        words(&mut svg, (x, bottom + 18.0), "middle", &label(tick));
    }
    words(&mut svg, (f64::midpoint(across.0, across.1), height - 6.0), "middle", &axis.name);
    if let Some(x) = neutral.map(|value| axis.at(value, across)) {
        put(
            &mut svg,
            format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"4\" y2=\"{bottom:.1}\" stroke=\"currentColor\" \
                 stroke-dasharray=\"4 3\"/>"
            ),
        );
    }
    for (index, interval) in intervals.iter().enumerate() {
        let y = LINE * index as f64 + 16.0;
        words(&mut svg, (NAMES - 12.0, y + 4.0), "end", &interval.name);
        let [low, high] = interval.ends.map(|end| axis.at(end, across));
        let (x, ink) = (axis.at(interval.value, across), INKS[interval.ink % INKS.len()]);
        put(
            &mut svg,
            format_args!(
                "<line class=\"mark\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{ink}\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{ink}\"/>"
            ),
        );
    }
    svg + "</svg>"
}

pub(super) fn curves((x, y): (&Axis, &Axis), curves: &[Curve], diagonal: bool) -> String {
    let height = 420.0 + 20.0 * curves.len() as f64;
    let (across, up) = ((EDGE, WIDTH - 24.0), (360.0, 12.0));
    let mut svg = start(height, &format!("{} over {}", y.name, x.name));
    for tick in x.ticks() {
        let x = x.at(tick, across);
        put(
            &mut svg,
            format_args!("<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\"/>", up.0, up.1),
        );
        words(&mut svg, (x, up.0 + 18.0), "middle", &label(tick));
    }
    for tick in y.ticks() {
        let y = y.at(tick, up);
        put(
            &mut svg,
            format_args!("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>", across.0, across.1),
        );
        words(&mut svg, (EDGE - 8.0, y + 4.0), "end", &label(tick));
    }
    words(&mut svg, (f64::midpoint(across.0, across.1), up.0 + 40.0), "middle", &x.name);
    put(
        &mut svg,
        format_args!(
            "<text text-anchor=\"middle\" transform=\"translate(14 {:.1}) rotate(-90)\">{}</text>",
            f64::midpoint(up.0, up.1),
            escaped(&y.name)
        ),
    );
    if diagonal {
        let (low, high) = (x.range.start.max(y.range.start), x.range.end.min(y.range.end));
        let ends = [low, high].map(|value| format!("{:.1},{:.1}", x.at(value, across), y.at(value, up)));
        put(
            &mut svg,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"/>",
                ends.join(" ")
            ),
        );
    }
    for (index, curve) in curves.iter().enumerate() {
        let ink = INKS[index % INKS.len()];
        let points = curve.points.iter().filter(|point| point.0.is_finite() && point.1.is_finite());
        let points: Vec<String> =
            points.map(|point| format!("{:.1},{:.1}", x.at(point.0, across), y.at(point.1, up))).collect();
        put(&mut svg, format_args!("<polyline class=\"mark\" points=\"{}\" stroke=\"{ink}\"/>", points.join(" ")));
        let line = up.0 + 62.0 + 20.0 * index as f64;
        put(
            &mut svg,
            format_args!(
                "<line class=\"mark\" x1=\"{EDGE}\" x2=\"{}\" y1=\"{line:.1}\" y2=\"{line:.1}\" stroke=\"{ink}\"/>",
                EDGE + 24.0
            ),
        );
        words(&mut svg, (EDGE + 32.0, line + 4.0), "start", &curve.name);
    }
    svg + "</svg>"
}

fn start(height: f64, name: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" aria-label=\"{}\">",
        escaped(name)
    )
}

fn words(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    put(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text)));
}

fn put(svg: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(element);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        assert_eq!(
            Axis::of_shares("p").ticks().iter().map(|tick| label(*tick)).collect::<Vec<_>>(),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        let axis = Axis { name: String::new(), range: -3.2..7.4 };
        assert_eq!(axis.ticks().iter().map(|tick| label(*tick)).collect::<Vec<_>>(), ["-2", "0", "2", "4", "6"]);
    }

    #[test]
    fn figures_are_drawn_where_their_axis_has_them() {
        let axis = Axis::of_shares("share");
        let interval = Interval { name: "a < b".to_owned(), value: 0.5, ends: [0.25, 2.0], ink: 0 };
        let svg = intervals(&axis, Some(0.5), &[interval]);
        // The axis goes from 300 to 836; what lies outside is drawn at its end.
        assert!(svg.contains("cx=\"568.0\"") && svg.contains("x1=\"434.0\" x2=\"836.0\""), "{svg}");
        assert!(svg.contains("a &lt; b"), "{svg}");
        let curve = Curve { name: "c".to_owned(), points: vec![(0.0, 0.0), (0.5, f64::NAN), (1.0, 1.0)] };
        let svg = curves((&axis, &axis), &[curve], true);
        assert!(svg.contains("points=\"60.0,360.0 836.0,12.0\" stroke=\"#0072b2\""), "{svg}");
    }
}
