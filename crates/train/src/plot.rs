//! `loss.svg`: the bound against the steps, on the training batches and on the held-out text.

use crate::TrainError;
use aquatint_files::write_atomically;
use plotters::prelude::*;
use std::path::Path;

/// Points drawn at most; a longer run is averaged over equal stretches.
const POINTS: usize = 400;

/// Draws the two curves and, as a dashed line, the unigram entropy where there is one. A curve without points is left out.
pub(crate) fn draw(
    path: &Path,
    training: &[(u64, f64)],
    validation: &[(u64, f64)],
    unigram_entropy: Option<f64>,
) -> Result<(), TrainError> {
    let training = thin(training);
    let last = training.iter().chain(validation).map(|p| p.0).max().unwrap_or(1).max(1);
    let values = || training.iter().chain(validation).map(|p| p.1).chain(unigram_entropy).filter(|v| v.is_finite());
    // An empty plot shows nothing, at any height.
    let (top, bottom) = values().reduce(f64::max).zip(values().reduce(f64::min)).unwrap_or((1.0, 0.0));
    let margin = 0.05 * (top - bottom).max(0.1);
    let mut svg = String::new();
    let plot = |e: DrawingAreaErrorKind<_>| TrainError::Plot { path: path.to_path_buf(), reason: e.to_string() };
    {
        let area = SVGBackend::with_string(&mut svg, (860, 480)).into_drawing_area();
        area.fill(&WHITE).map_err(plot)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(40)
            .y_label_area_size(56)
            .build_cartesian_2d(0..last, bottom - margin..top + margin)
            .map_err(plot)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc("steps").y_desc("nats per token").draw().map_err(plot)?;
        let grey = RGBColor(0x8a, 0x8a, 0x8a);
        let blue = RGBColor(0x9c, 0xb4, 0xcc);
        let ink = RGBColor(0x1f, 0x3a, 0x5f);
        let key = |colour: RGBColor| move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2));
        if let Some(entropy) = unigram_entropy {
            let line = DashedLineSeries::new([(0, entropy), (last, entropy)], 6, 6, grey.into());
            chart.draw_series(line).map_err(plot)?.label("unigram entropy").legend(key(grey));
        }
        if !training.is_empty() {
            let line = LineSeries::new(training.iter().copied(), blue.stroke_width(1));
            chart.draw_series(line).map_err(plot)?.label("training batches").legend(key(blue));
        }
        if !validation.is_empty() {
            let line = LineSeries::new(validation.iter().copied(), ink.stroke_width(2));
            chart.draw_series(line).map_err(plot)?.label("held-out text").legend(key(ink));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(grey)
            .draw()
            .map_err(plot)?;
        area.present().map_err(plot)?;
    }
    write_atomically(path, |out| out.write_all(svg.as_bytes())).map_err(|source| TrainError::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    })
}

/// Means over equal stretches, each placed at its last step.
fn thin(points: &[(u64, f64)]) -> Vec<(u64, f64)> {
    let stretch = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(u64, f64)]| {
        let sum: f64 = chunk.iter().map(|p| p.1).sum();
        chunk.last().map(|last| (last.0, sum / chunk.len() as f64))
    };
    points.chunks(stretch).filter_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_curves_are_drawn_and_a_long_run_is_thinned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loss.svg");
        let training: Vec<(u64, f64)> = (1..=5000).map(|step| (step, 8.0 / (step as f64).sqrt() + 3.0)).collect();
        draw(&path, &training, &[(100, 5.0), (5000, 3.2)], Some(6.5)).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert_eq!(svg.matches("held-out text").count(), 1);
        assert!(svg.starts_with("<svg") && svg.len() < 60_000, "{} bytes", svg.len());
        assert_eq!(thin(&training).len(), 385);
        assert_eq!(thin(&[(1, 2.0), (2, 4.0)]), [(1, 2.0), (2, 4.0)]);
        // A run that has not measured anything yet has an empty plot, not an error.
        draw(&path, &[], &[], Some(6.5)).unwrap();
        draw(&path, &[], &[], None).unwrap();
    }
}
