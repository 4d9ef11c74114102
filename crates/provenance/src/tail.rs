//! Tails of the laws that scores follow where there is no mark.

/// The probability that a gamma variable of a whole shape and scale 1 is at least `x`: e^−x Σ_{k < shape} x^k / k!, the sum
/// of as many exponential variables. 1 at shape 0.
pub fn gamma_tail(shape: usize, x: f64) -> f64 {
    if shape == 0 || x <= 0.0 {
        return 1.0;
    }
    // The terms fall from the last one where x is large, and those before the largest are small beside it where it is not.
    let ln_x = x.ln();
    let mut log_term = -x;
    let mut logs = Vec::with_capacity(shape);
    for k in 0..shape {
        if k > 0 {
            log_term += ln_x - (k as f64).ln();
        }
        logs.push(log_term);
    }
    sum_of(&logs)
}

/// The probability that at least `hits` of `trials` come true, each with probability `share`.
pub fn binomial_tail(trials: usize, hits: usize, share: f64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    if hits > trials {
        return 0.0;
    }
    let (hit, miss) = (share.ln(), (-share).ln_1p());
    let mut log_choices = 0.0;
    let mut logs = Vec::with_capacity(trials - hits + 1);
    for k in 0..=trials {
        if k > 0 {
            log_choices += ((trials - k + 1) as f64 / k as f64).ln();
        }
        if k >= hits {
            logs.push(log_choices + k as f64 * hit + (trials - k) as f64 * miss);
        }
    }
    sum_of(&logs)
}

/// The sum of numbers given by their logarithms, at most 1.
fn sum_of(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logs.iter().map(|log| (log - most).exp()).sum();
    (most + sum.ln()).exp().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) {
        assert!((value / expected - 1.0).abs() < 1e-9, "{value} is not {expected}");
    }

    /// Upper points of the chi-square distribution with 2n degrees of freedom are twice those of the gamma distribution of
    /// shape n (Abramowitz & Stegun, table 26.8, to the five or six digits that it prints).
    #[test]
    fn the_gamma_tail_agrees_with_the_table() {
        for (degrees, tail, point) in [
            (2, 0.05, 5.99146),
            (2, 0.001, 13.8155),
            (4, 0.05, 9.48773),
            (10, 0.5, 9.34182),
            (10, 0.01, 23.2093),
            (10, 0.0001, 35.564),
            (20, 0.01, 37.5662),
            (30, 0.05, 43.7729),
            (100, 0.01, 135.807),
            (100, 0.005, 140.169),
        ] {
            let value = gamma_tail(degrees / 2, point / 2.0);
            assert!((value / tail - 1.0).abs() < 1e-4, "{degrees}: {value} is not {tail}");
        }
        near(gamma_tail(1, 3.0), (-3.0f64).exp());
        near(gamma_tail(2, 3.0), 4.0 * (-3.0f64).exp());
        assert_eq!((gamma_tail(0, 5.0), gamma_tail(7, 0.0)), (1.0, 1.0));
        assert!(gamma_tail(200, 800.0) > 0.0 && gamma_tail(200, 800.0) < 1e-90);
    }

    #[test]
    fn the_binomial_tail_is_the_sum_of_its_terms() {
        near(binomial_tail(3, 2, 0.5), 0.5);
        near(binomial_tail(10, 10, 0.25), 0.25f64.powi(10));
        // 1 − Σ_{k < 8} C(20, k) 0.25^k 0.75^(20−k).
        near(binomial_tail(20, 8, 0.25), 0.101_811_856_922_723_5);
        assert_eq!((binomial_tail(5, 0, 0.3), binomial_tail(5, 6, 0.3), binomial_tail(0, 0, 0.3)), (1.0, 0.0, 1.0));
        assert!(binomial_tail(400, 390, 0.25) > 0.0);
    }
}
