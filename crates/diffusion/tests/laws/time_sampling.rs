//! Times: each one uniform, together even.

use crate::oracle::{chi_square, chi_square_limit, variance};
use aquatint_diffusion::{Key, TimeSampling};

const BATCH: usize = 8;

fn batches(rule: TimeSampling, range: std::ops::Range<f64>) -> Vec<Vec<f64>> {
    let batch = |step| {
        let times = rule.sample(BATCH, range.clone(), &mut Key::new(21).at(0, step));
        times.into_iter().map(|t| t.value()).collect()
    };
    (0..4000).map(batch).collect()
}

#[test]
fn each_time_of_a_batch_is_uniform_on_its_range() {
    for rule in TimeSampling::ALL {
        let batches = batches(rule, 0.25..0.75);
        for place in 0..BATCH {
            let mut counts = vec![0; 10];
            for batch in &batches {
                assert_eq!(batch.len(), BATCH);
                assert!((0.25..0.75).contains(&batch[place]));
                counts[((batch[place] - 0.25) * 20.0) as usize] += 1;
            }
            let statistic = chi_square(&counts, &[0.1; 10]);
            assert!(statistic < chi_square_limit(9), "{rule} at {place}: {statistic}");
        }
    }
}

#[test]
fn low_discrepancy_puts_one_time_into_each_stratum() {
    for batch in batches(TimeSampling::LowDiscrepancy, 0.0..1.0) {
        let mut sorted = batch;
        sorted.sort_by(f64::total_cmp);
        for (stratum, t) in sorted.iter().enumerate() {
            assert_eq!((t * BATCH as f64) as usize, stratum);
        }
    }
}

#[test]
fn antithetic_times_come_in_mirrored_pairs() {
    for batch in batches(TimeSampling::Antithetic, 0.0..1.0) {
        assert!(batch.chunks(2).all(|pair| (pair[0] + pair[1] - 1.0).abs() < 1e-15));
    }
    assert_eq!(TimeSampling::Antithetic.sample(5, 0.0..1.0, &mut Key::new(0).at(0, 0)).len(), 5);
}

#[test]
fn the_mean_of_a_batch_varies_less_than_that_of_independent_times() {
    let spread = |rule| {
        let means = batches(rule, 0.0..1.0).into_iter().map(|batch| batch.iter().sum::<f64>() / BATCH as f64);
        variance(&means.collect::<Vec<_>>())
    };
    let independent = spread(TimeSampling::Uniform);
    assert!((independent - 1.0 / (12.0 * BATCH as f64)).abs() < 0.1 * independent);
    assert!(spread(TimeSampling::LowDiscrepancy) < independent / 4.0);
    assert!(spread(TimeSampling::Antithetic) < 1e-20);
}

#[test]
fn names_lead_back_to_their_rules() {
    for rule in TimeSampling::ALL {
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
    assert_eq!(
        "even".parse::<TimeSampling>().unwrap_err().to_string(),
        "`time_sampling` is \"even\"; allowed: uniform, low-discrepancy, antithetic"
    );
}
