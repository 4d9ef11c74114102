//! Draws against the exact laws that they claim.

use crate::oracle::{chi_square, chi_square_limit, mean};
use aquatint_diffusion::Key;

const WEIGHTS: [f64; 6] = [0.5, 0.25, 0.125, 0.1, 0.02, 0.005];

fn counts(n: usize, kinds: usize, mut draw: impl FnMut() -> usize) -> Vec<usize> {
    let mut counts = vec![0; kinds];
    (0..n).for_each(|_| counts[draw()] += 1);
    counts
}

#[test]
fn categorical_draws_have_the_exact_frequencies() {
    let mut draws = Key::new(11).at(0, 0);
    let observed = counts(200_000, 6, || draws.categorical(&WEIGHTS).unwrap());
    let statistic = chi_square(&observed, &WEIGHTS);
    assert!(statistic < chi_square_limit(5), "categorical: {statistic}");
}

#[test]
fn normal_noise_has_its_first_four_moments() {
    let mut draws = Key::new(13).at(0, 0);
    let samples: Vec<f64> = (0..100_000).map(|_| draws.normal()).collect();
    for (power, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
        let (moment, error) = mean(&samples.iter().map(|x| x.powi(power)).collect::<Vec<_>>());
        assert!((moment - expected).abs() < 4.0 * error, "moment {power}: {moment}");
    }
}

#[test]
fn uniform_draws_fill_the_open_interval() {
    let mut draws = Key::new(14).at(0, 0);
    let observed = counts(100_000, 20, || {
        let u = draws.uniform();
        assert!(u > 0.0 && u < 1.0);
        (u * 20.0) as usize
    });
    assert!(chi_square(&observed, &[0.05; 20]) < chi_square_limit(19));
}

#[test]
fn below_is_uniform_and_chosen_sets_are_equally_likely() {
    let mut draws = Key::new(15).at(0, 0);
    let observed = counts(70_000, 7, || draws.below(7) as usize);
    assert!(chi_square(&observed, &[1.0 / 7.0; 7]) < chi_square_limit(6));
    assert_eq!((draws.below(0), draws.below(1)), (0, 0));
    // Without rejection every third value of so large a range would come twice as often.
    let observed = counts(30_000, 3, || (draws.below(3 << 62) % 3) as usize);
    assert!(chi_square(&observed, &[1.0 / 3.0; 3]) < chi_square_limit(2));

    // The 10 sets of 2 out of 5, by their bits.
    let mut sets = std::collections::BTreeMap::new();
    for _ in 0..50_000 {
        let chosen = draws.choose(5, 2);
        assert!(chosen.len() == 2 && chosen[0] < chosen[1] && chosen[1] < 5);
        *sets.entry(chosen).or_insert(0usize) += 1;
    }
    let observed: Vec<usize> = sets.into_values().collect();
    assert_eq!(observed.len(), 10);
    assert!(chi_square(&observed, &[0.1; 10]) < chi_square_limit(9));
    assert_eq!(draws.choose(3, 9), [0, 1, 2]);
    assert_eq!(draws.choose(0, 1), [0usize; 0]);
}

#[test]
fn neighbouring_positions_and_steps_are_independent() {
    // Joint counts of the quarter that each of two neighbours falls into.
    let key = Key::new(16);
    let quarter = |position, step| (key.at(position, step).uniform() * 4.0) as usize;
    let (mut positions, mut steps) = (vec![0; 16], vec![0; 16]);
    for at in 0..20_000 {
        positions[quarter(at, 5) * 4 + quarter(at + 1, 5)] += 1;
        steps[quarter(5, at) * 4 + quarter(5, at + 1)] += 1;
    }
    assert!(chi_square(&positions, &[1.0 / 16.0; 16]) < chi_square_limit(15));
    assert!(chi_square(&steps, &[1.0 / 16.0; 16]) < chi_square_limit(15));
}

#[test]
fn nothing_is_drawn_where_nothing_has_weight() {
    let mut draws = Key::new(17).at(0, 0);
    assert_eq!(draws.categorical(&[]), None);
    assert_eq!(draws.categorical(&[0.0, -1.0, f64::NAN]), None);
    assert_eq!(draws.categorical(&[0.0, 3.0, 0.0]), Some(1));
}
