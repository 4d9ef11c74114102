//! `loss.svg`: the cost against the steps, of the training batches and of the held-out data.

use crate::TrainError;
use aquatint_files::write_atomically;
use plotters::prelude::*;
use std::path::Path;

/// Points drawn at most; a longer run is averaged over equal stretches.
const POINTS: usize = 400;

/// What the axis and the curves of a plot are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlotLabels {
    /// The unit of the costs.
    pub(crate) unit: &'static str,
    /// What the held-out data is: `text`, say.
    pub(crate) held_out: &'static str,
}

/// The curves of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plot<'a> {
    /// The cost of the training batches by step.
    pub(crate) training: &'a [(u64, f64)],
    /// That of the held-out data.
    pub(crate) validation: &'a [(u64, f64)],
    pub(crate) labels: PlotLabels,
    /// Drawn as a dashed line where there is one.
    pub(crate) unigram_entropy: Option<f64>,
}

impl Plot<'_> {
    /// Draws the curves. One without points is left out.
    pub(crate) fn draw(&self, path: &Path) -> Result<(), TrainError> {
        let Self { validation, unigram_entropy, labels, .. } = *self;
        let training = thin(self.training);
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
            chart.configure_mesh().light_line_style(WHITE).x_desc("steps").y_desc(labels.unit).draw().map_err(plot)?;
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
                chart.draw_series(line).map_err(plot)?.label(format!("held-out {}", labels.held_out)).legend(key(ink));
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
        let labels = PlotLabels { unit: "nats per token", held_out: "text" };
        let empty = Plot { training: &[], validation: &[], labels, unigram_entropy: Some(6.5) };
        Plot { training: &training, validation: &[(100, 5.0), (5000, 3.2)], ..empty }.draw(&path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert_eq!(svg.matches("held-out text").count(), 1);
        assert_eq!(svg.matches("nats per token").count(), 1);
        assert!(svg.starts_with("<svg") && svg.len() < 60_000, "{} bytes", svg.len());
        assert_eq!(thin(&training).len(), 385);
        assert_eq!(thin(&[(1, 2.0), (2, 4.0)]), [(1, 2.0), (2, 4.0)]);
        // A run that has not measured anything yet has an empty plot, not an error.
        empty.draw(&path).unwrap();
        Plot { unigram_entropy: None, ..empty }.draw(&path).unwrap();
    }
}
