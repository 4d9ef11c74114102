//! The standard error of any smooth figure of sums over rows, by leaving out one row after another (Tukey 1958).

/// The figure of the sums of all rows with its standard error; no error of fewer than two rows. A figure that is no number
/// without some row has no error, either.
pub(super) fn with_error<const N: usize>(rows: &[[f64; N]], figure: fn(&[f64; N]) -> f64) -> (f64, Option<f64>) {
    let mut sums = [0.0; N];
    rows.iter().for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
    let without: Vec<f64> = rows
        .iter()
        .map(|row| {
            let mut left = sums;
            left.iter_mut().zip(row).for_each(|(sum, value)| *sum -= value);
            figure(&left)
        })
        .collect();
    let count = rows.len() as f64;
    let mean = without.iter().sum::<f64>() / count;
    let squares: f64 = without.iter().map(|value| (value - mean).powi(2)).sum();
    let error = ((count - 1.0) / count * squares).sqrt();
    (figure(&sums), Some(error).filter(|error| rows.len() > 1 && error.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mean_it_is_the_usual_error_and_of_one_row_there_is_none() {
        let rows = [[1.0, 1.0], [4.0, 1.0], [2.0, 1.0], [3.0, 1.0]];
        let (mean, error) = with_error(&rows, |[sum, count]| sum / count);
        // Variance 5/3 over four of them.
        assert!((mean - 2.5).abs() < 1e-12 && (error.unwrap() - (5.0f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!(with_error(&rows[..1], |[sum, count]| sum / count), (1.0, None));
        assert_eq!(with_error(&[[1.0, 0.0], [1.0, 1.0]], |[sum, count]| sum / count).1, None);
    }
}
