//! Gaussian and simplex fields: levels, steps back, the law of what they draw, and a bound that an exact prediction
//! makes tight.

use crate::oracle::{mean, variance};
use aquatint_diffusion::{
    Alphabet, Concentration, Cost, Draws, Gaussian, Key, Level, Process, Simplex, Time, Vectors, schedule,
};

/// Three words at the corners of a triangle.
const VECTORS: [f32; 6] = [1.0, 0.0, -0.5, 0.866_025_4, -0.5, -0.866_025_4];
const LAW: [f64; 3] = [0.6, 0.3, 0.1];
const ALPHABET: Alphabet = Alphabet { size: 3, mask: None };

fn at(t: f64) -> Time {
    Time::new(t).unwrap()
}

fn gaussian() -> Gaussian {
    Gaussian::new(ALPHABET, 2, schedule("linear").unwrap())
}

fn simplex() -> Simplex {
    Simplex::new(ALPHABET, schedule("linear").unwrap())
}

fn vectors() -> Vectors<'static> {
    Vectors { size: 2, values: &VECTORS }
}

#[test]
fn a_level_keeps_the_variance_and_its_ratio_falls_along_a_straight_line_of_logarithms() {
    for t in [0.0, 0.25, 0.5, 1.0] {
        let level = Level::at(at(t));
        assert!((level.alpha * level.alpha + level.sigma * level.sigma - 1.0).abs() < 1e-12);
        assert!((level.snr.ln() - (6.0 - 13.0 * t)).abs() < 1e-9, "{level:?}");
        if t > 0.0 && t < 1.0 {
            let slope = (Level::at(at(t + 1e-6)).snr - Level::at(at(t - 1e-6)).snr) / 2e-6;
            assert!((level.slope() / slope - 1.0).abs() < 1e-6);
        }
    }
}

/// From `N(α_t e, σ_t²)` every step of whatever deviation leads to `N(α_s e, σ_s²)`; ancestral sampling has that of
/// Bayes' rule.
#[test]
fn steps_lead_from_level_to_level() {
    for (s, t) in [(0.0, 0.1), (0.3, 0.5), (0.5, 1.0)] {
        let (later, earlier) = (Level::at(at(t)), Level::at(at(s)));
        let retained = later.alpha / earlier.alpha;
        let between = later.sigma.powi(2) - (retained * earlier.sigma).powi(2);
        let posterior = between.sqrt() * earlier.sigma / later.sigma;
        assert!((later.ancestral(&earlier) - posterior).abs() < 1e-12);
        let e = 0.7;
        for deviation in [0.0, posterior, earlier.sigma] {
            // The mean is linear in the point; the noise adds its own variance.
            let here = |z: f64| later.step(&earlier, z, e, deviation, 0.0);
            let centre = here(later.alpha * e);
            assert!((centre - earlier.alpha * e).abs() < 1e-12);
            let gain = here(later.alpha * e + 1.0) - centre;
            let spread = (gain * later.sigma).powi(2) + deviation.powi(2);
            assert!((spread - earlier.sigma.powi(2)).abs() < 1e-12, "from {t} to {s} by {deviation}");
        }
        // Bayes' rule again, for the mean.
        let (z, gain) = (0.4, retained * earlier.sigma.powi(2) / later.sigma.powi(2));
        let mean = gain * z + earlier.alpha * between / later.sigma.powi(2) * e;
        assert!((later.step(&earlier, z, e, posterior, 0.0) - mean).abs() < 1e-12);
    }
}

/// The posterior of the word, given a point.
fn gaussian_prediction(point: &[f32], evidence: f32) -> Vec<f32> {
    let dot = |v: usize| point.iter().zip(&VECTORS[2 * v..]).map(|(z, e)| z * e).sum::<f32>();
    let weights: Vec<f64> = (0..3).map(|v| LAW[v] * f64::from(evidence * dot(v)).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / total) as f32).collect()
}

/// With the exact prediction the bound of the gaussian field is the entropy of the law, as mutual information has it
/// (Guo, Shamai and Verdú, "Mutual information and minimum mean-square error in Gaussian channels", 2005).
#[test]
fn an_exact_prediction_about_a_gaussian_field_costs_the_entropy() {
    let entropy: f64 = LAW.iter().map(|p| -p * p.ln()).sum();
    let process = gaussian();
    let mut samples = Vec::new();
    for part in 0..30_000u32 {
        let t = at((f64::from(part) + 0.5) / 30_000.0);
        let mut bound = 0.0;
        for clean in 0..3u32 {
            let noisy =
                process.corrupt_for_bound(&[clean], &[true], t, &mut Key::new(u64::from(clean)).at(0, u64::from(part)));
            let points = noisy.points.as_ref().unwrap();
            let own = &VECTORS[2 * clean as usize..][..2];
            let point: Vec<f32> =
                points.offset(0).iter().zip(own).map(|(rest, e)| points.clean_weight[0] * e + rest).collect();
            let prediction = gaussian_prediction(&point, points.prior_logit_scale[0]);
            let costs: Vec<f64> =
                noisy.terms.iter().map(|term| term.cost.value(clean, &prediction, vectors())).collect();
            bound += LAW[clean as usize] * noisy.bound(&costs);
        }
        samples.push(bound);
    }
    let (bound, error) = mean(&samples);
    assert!((bound - entropy).abs() < 4.0 * error && error < 0.02 * entropy, "{bound} ± {error} for {entropy}");
}

#[test]
fn fields_learn_from_cross_entropy_and_say_so() {
    let draws = &mut Key::new(1).at(0, 0);
    for process in [&gaussian() as &dyn Process, &simplex()] {
        let noisy = process.corrupt(&[0, 1, 2], &[true, false, true], at(0.4), draws);
        assert!(noisy.terms.iter().all(|term| term.cost == Cost::CrossEntropy && term.weight == 1.0));
        assert_eq!(noisy.terms.iter().map(|term| term.position).collect::<Vec<_>>(), [0, 2]);
        assert!(!process.learns_bound());
        let points = noisy.points.unwrap();
        assert_eq!(
            (points.clean_weight[1], points.offset(1).iter().sum::<f32>()),
            (1.0, 0.0),
            "what is closed is clean"
        );
    }
    assert!(gaussian().is_bounded() && !simplex().is_bounded());
}

/// Holds draws of points against the first two moments of a Dirichlet law, each within four standard errors.
fn check_moments(what: &str, concentration: Concentration, draw: &mut dyn FnMut(&mut Draws) -> Vec<f32>) {
    let mut draws = Key::new(11).at(0, 0);
    let points: Vec<Vec<f32>> = (0..20_000).map(|_| draw(&mut draws)).collect();
    let total = concentration.total();
    let each = concentration.text / 3.0 / total;
    let expected = [each + concentration.token / total, each, each];
    for (token, expected) in expected.into_iter().enumerate() {
        let observed: Vec<f64> = points.iter().map(|point| f64::from(point[token])).collect();
        let (average, error) = mean(&observed);
        assert!((average - expected).abs() < 4.0 * error, "{what}: token {token} {average} ± {error}, not {expected}");
        let spread = expected * (1.0 - expected) / (total + 1.0);
        let squares: Vec<f64> = observed.iter().map(|p| (p - expected).powi(2)).collect();
        let (average, error) = (mean(&squares).0, (variance(&squares) / squares.len() as f64).sqrt());
        assert!((average - spread).abs() < 4.0 * error, "{what}: spread of {token} {average} ± {error}, not {spread}");
    }
    let product: Vec<f64> = points.iter().map(|point| f64::from(point[0]) * f64::from(point[1])).collect();
    let (average, error) = mean(&product);
    let expected = expected[0] * expected[1] * total / (total + 1.0);
    assert!((average - expected).abs() < 4.0 * error, "{what}: product {average} ± {error}, not {expected}");
}

#[test]
fn a_simplex_field_draws_from_its_dirichlet_law() {
    for t in [0.05, 0.3, 0.6, 0.95, 1.0] {
        let concentration = simplex().concentration(at(t));
        check_moments(&format!("time {t}"), concentration, &mut |draws| simplex().draw(0, concentration, draws));
    }
}

/// Oracle 9: a step back from the law of a time leads to the law of the earlier one, whatever the churn.
#[test]
fn a_step_back_leads_to_the_law_of_the_earlier_time() {
    let field = simplex();
    for (s, t) in [(0.1, 0.3), (0.5, 0.7), (0.6, 1.0), (0.8, 0.82)] {
        for churn in [0.0, 0.4, 1.0] {
            check_moments(&format!("{t} to {s} with churn {churn}"), field.concentration(at(s)), &mut |draws| {
                let point = field.draw(0, field.concentration(at(t)), draws);
                field.step(&point, 0, (at(t), at(s)), churn, draws)
            });
        }
    }
}

/// Without churn a short step moves little: the point is kept, and not drawn again.
#[test]
fn churn_says_how_much_of_a_point_is_drawn_again() {
    let field = simplex();
    let mut draws = Key::new(4).at(0, 0);
    let mut moved = |churn| {
        let far = |_| {
            let point = field.draw(0, field.concentration(at(0.6)), &mut draws);
            let next = field.step(&point, 0, (at(0.6), at(0.59)), churn, &mut draws);
            point.iter().zip(&next).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>()
        };
        mean(&(0..2000).map(far).collect::<Vec<f64>>()).0
    };
    let (still, half, fresh) = (moved(0.0), moved(0.5), moved(1.0));
    assert!(still < 0.3 * half && half < fresh, "{still}, {half}, {fresh}");
}

#[test]
fn a_point_of_a_large_vocabulary_is_a_law_that_never_breaks() {
    let large = Simplex::new(Alphabet { size: 50_000, mask: Some(7) }, schedule("linear").unwrap());
    for (step, t) in [0.001, 0.2, 0.5, 1.0].into_iter().enumerate() {
        let mut draws = Key::new(2).at(0, step as u64);
        let point = large.draw(123, large.concentration(at(t)), &mut draws);
        let total: f64 = point.iter().map(|p| f64::from(*p)).sum();
        assert!((total - 1.0).abs() < 1e-5 && point.iter().all(|p| (0.0..=1.0).contains(p)), "{t}");
        assert_eq!(point[7], 0.0, "the mask is no text");
        let next = large.step(&point, 123, (at(t), at(t / 2.0)), 0.3, &mut draws);
        assert!((next.iter().map(|p| f64::from(*p)).sum::<f64>() - 1.0).abs() < 1e-5, "{t}");
    }
}
