//! The prediction that a row of logits stands for.

/// The softmax of a row of logits at a temperature, summed in f64 from the first to the last.
pub(crate) fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(logit - highest) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_the_weights_and_impossible_tokens_have_none() {
        let prediction = softmax(&[1000.0, 1000.0 + 3f32.ln(), f32::NEG_INFINITY], 1.0);
        assert!((prediction[0] - 0.25).abs() < 1e-4 && (prediction[1] - 0.75).abs() < 1e-4);
        assert_eq!(prediction[2], 0.0);
        assert!((prediction.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let sharper = softmax(&[0.0, 3f32.ln()], 0.5);
        assert!((sharper[0] - 0.1).abs() < 1e-6 && (sharper[1] - 0.9).abs() < 1e-6);
    }
}
