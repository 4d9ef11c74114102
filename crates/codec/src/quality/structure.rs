//! Structural similarity (Wang, Bovik, Sheikh & Simoncelli, IEEE Transactions on Image Processing 13(4), 2004): windows of
//! 11×11 pixels, gaussian with σ = 1.5, K₁ = 0.01, K₂ = 0.03.

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const PEAK: f64 = 255.0;

/// The mean over all windows inside pictures of this width; 1 for pictures that are alike. A picture that has no room for
/// a window counts as one window.
pub(super) fn similarity(one: &[f64], other: &[f64], width: usize) -> f64 {
    let height = one.len() / width.max(1);
    let window = WINDOW.min(width).min(height);
    let weights = weights(window);
    let blurred = |product: &dyn Fn(usize) -> f64| blur(product, width, height, &weights);
    let (mean_one, mean_other) = (blurred(&|i| one[i]), blurred(&|i| other[i]));
    let (square_one, square_other) = (blurred(&|i| one[i] * one[i]), blurred(&|i| other[i] * other[i]));
    let product = blurred(&|i| one[i] * other[i]);
    let (c1, c2) = ((0.01 * PEAK).powi(2), (0.03 * PEAK).powi(2));
    let mut sum = 0.0;
    for i in 0..product.len() {
        let (a, b) = (mean_one[i], mean_other[i]);
        let (variance_a, variance_b) = (square_one[i] - a * a, square_other[i] - b * b);
        let covariance = product[i] - a * b;
        sum += (2.0 * a * b + c1) * (2.0 * covariance + c2) / ((a * a + b * b + c1) * (variance_a + variance_b + c2));
    }
    sum / product.len().max(1) as f64
}

/// A gaussian that adds up to 1.
fn weights(window: usize) -> Vec<f64> {
    let centre = (window as f64 - 1.0) / 2.0;
    let raw: Vec<f64> = (0..window).map(|i| (-(i as f64 - centre).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|weight| weight / sum).collect()
}

/// The weighted means of all windows, along rows and then along columns.
fn blur(value: &dyn Fn(usize) -> f64, width: usize, height: usize, weights: &[f64]) -> Vec<f64> {
    let (columns, rows) = (width + 1 - weights.len(), height + 1 - weights.len());
    let mut narrow = Vec::with_capacity(height * columns);
    for y in 0..height {
        for x in 0..columns {
            narrow.push(weights.iter().enumerate().map(|(i, weight)| weight * value(y * width + x + i)).sum::<f64>());
        }
    }
    let mut means = Vec::with_capacity(rows * columns);
    for y in 0..rows {
        for x in 0..columns {
            let along = weights.iter().enumerate().map(|(i, weight)| weight * narrow[(y + i) * columns + x]);
            means.push(along.sum::<f64>());
        }
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alike_is_one_and_noise_is_less() {
        let picture: Vec<f64> = (0..32 * 20).map(|i| ((i * 37) % 200) as f64).collect();
        assert!((similarity(&picture, &picture, 32) - 1.0).abs() < 1e-12);
        let noisy: Vec<f64> = picture.iter().enumerate().map(|(i, v)| v + ((i * 71) % 60) as f64 - 30.0).collect();
        let similar = similarity(&picture, &noisy, 32);
        assert!((0.3..0.98).contains(&similar), "{similar}");
        let inverse: Vec<f64> = picture.iter().map(|v| 200.0 - v).collect();
        assert!(similarity(&picture, &inverse, 32) < 0.0);
        // The definition by hand where there is one window of one pixel.
        let (a, b) = (100.0, 50.0);
        let c1 = 6.5025;
        let expected = (2.0 * a * b + c1) / (a * a + b * b + c1);
        assert!((similarity(&[a], &[b], 1) - expected).abs() < 1e-12);
    }
}
