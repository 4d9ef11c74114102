//! Figures of steps, as means over the steps between two reports.

use crate::objective::Figure;

/// The sums of figures since the last report.
#[derive(Debug, Default)]
pub(crate) struct MeanFigures {
    steps: u32,
    sums: Vec<Figure>,
}

impl MeanFigures {
    /// Counts the figures of a step in, which are the same ones at each.
    pub(crate) fn add(&mut self, figures: Vec<Figure>) {
        self.steps += 1;
        if self.sums.is_empty() {
            self.sums = figures;
        } else {
            self.sums.iter_mut().zip(figures).for_each(|((_, sum), (_, figure))| *sum += figure);
        }
    }

    /// The means over the steps since the last call; none where there was no step.
    pub(crate) fn take(&mut self) -> Vec<Figure> {
        let Self { steps, sums } = std::mem::take(self);
        sums.into_iter().map(|(name, sum)| (name, sum / f64::from(steps))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_steps_since_the_last_report() {
        let mut means = MeanFigures::default();
        assert_eq!(means.take(), []);
        means.add(vec![("reward", 1.0), ("passes", 8.0)]);
        means.add(vec![("reward", 0.0), ("passes", 4.0)]);
        assert_eq!(means.take(), [("reward", 0.5), ("passes", 6.0)]);
        means.add(vec![("reward", 0.25), ("passes", 2.0)]);
        assert_eq!(means.take(), [("reward", 0.25), ("passes", 2.0)]);
        assert_eq!(means.take(), []);
    }
}
