//! Curves against the number of steps.

use plotters::prelude::*;

/// Colours that can be distinguished on white, also by people with colour blindness (Okabe & Ito).
const INKS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x1f, 0x1f, 0x1f),
];

/// A named curve.
pub(super) type Curve = (String, Vec<(f64, f64)>);

/// One line for each curve, over steps on a logarithmic axis, the values on one as well or on a straight one; as SVG.
/// Curves without points are left out.
pub(super) fn lines(curves: &[Curve], named: &str, logarithmic: bool) -> Result<String, String> {
    // A logarithmic axis is a straight one over logarithms, with labels that undo them.
    let scale = |value: f64| if logarithmic { value.max(f64::MIN_POSITIVE).log2() } else { value };
    let curves: Vec<(&str, Vec<(f64, f64)>)> = curves
        .iter()
        .filter(|(_, points)| !points.is_empty())
        .map(|(name, points)| {
            (name.as_str(), points.iter().map(|(steps, value)| (steps.log2(), scale(*value))).collect())
        })
        .collect();
    let points = || curves.iter().flat_map(|(_, points)| points.iter().copied()).filter(|p| p.1.is_finite());
    let span = |value: fn((f64, f64)) -> f64| {
        let low = points().map(value).fold(f64::INFINITY, f64::min);
        let high = points().map(value).fold(f64::NEG_INFINITY, f64::max);
        if low <= high { low - 0.05 * (high - low).max(0.5)..high + 0.05 * (high - low).max(0.5) } else { 0.0..1.0 }
    };
    let mut svg = String::new();
    draw(&mut svg, &curves, named, logarithmic, (span(|p| p.0), span(|p| p.1))).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(
    svg: &mut String,
    curves: &[(&str, Vec<(f64, f64)>)],
    named: &str,
    logarithmic: bool,
    (x, y): (std::ops::Range<f64>, std::ops::Range<f64>),
) -> Result<(), Box<dyn std::error::Error>> {
    let grey = RGBColor(0x8a, 0x8a, 0x8a);
    let area = SVGBackend::with_string(svg, (860, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart =
        ChartBuilder::on(&area).margin(16).x_label_area_size(40).y_label_area_size(64).build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("steps")
        .y_desc(named)
        .x_label_formatter(&|x| format!("{:.0}", x.exp2()))
        .y_label_formatter(&|y| if logarithmic { format!("{:.0}", y.exp2()) } else { format!("{y:.1}") })
        .draw()?;
    for (index, (name, points)) in curves.iter().enumerate() {
        // More curves than inks: the next round is thinner.
        let style = INKS[index % INKS.len()].stroke_width(if index < INKS.len() { 2 } else { 1 });
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
    }
    if !curves.is_empty() {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(grey)
            .draw()?;
    }
    area.present()?;
    Ok(())
}
