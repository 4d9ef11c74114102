//! Times that cover [0, 1] evenly: for the parts of a canvas, for neighbouring canvases, for several noisy versions of one.

use aquatint_diffusion::Time;

/// The golden ratio's fraction: its multiples fill [0, 1) as evenly as a sequence without end can.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The `number`-th of points that fill [0, 1) evenly, the first of which is the fraction of `start`.
pub fn golden_point(start: f64, number: u64) -> f64 {
    (start + number as f64 * GOLDEN).fract()
}

/// The `sample`-th of `samples` stratified times, `(sample + start) / samples` with `start` in [0, 1): one in each of as
/// many equal strata. It is never 0, where nothing is noisy and a weight would be infinite.
pub fn stratified_time(start: f64, sample: usize, samples: usize) -> Time {
    // Rounding above 1 means 1.
    Time::new(((sample as f64 + start) / samples as f64).max(f64::EPSILON)).unwrap_or(Time::NOISE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_points_leave_no_wide_gap() {
        for count in [1u64, 5, 34, 100] {
            let mut points: Vec<f64> = (0..count).map(|number| golden_point(0.3, number)).collect();
            assert!(points.iter().all(|point| (0.0..1.0).contains(point)));
            points.sort_by(f64::total_cmp);
            let around = points[0] + 1.0 - points[points.len() - 1];
            let widest = points.windows(2).map(|two| two[1] - two[0]).fold(around, f64::max);
            // Three-distance theorem: no gap is wider than φ / count.
            assert!(widest <= 1.619 / count as f64, "{count} points leave a gap of {widest}");
        }
        assert_eq!(golden_point(1.25, 0), 0.25);
    }

    #[test]
    fn each_stratum_holds_one_time_and_none_is_clean() {
        for start in [0.0, 0.5, 1.0 - f64::EPSILON] {
            for sample in 0..7 {
                let time = stratified_time(start, sample, 7).value();
                assert!(time > 0.0 && time <= 1.0);
                assert!(time >= sample as f64 / 7.0 && time <= (sample + 1) as f64 / 7.0);
            }
        }
    }
}
