//! The masked process: corruption, exact posterior, prior.

use aquatint_diffusion::{
    Candidate, Canvas, Key, Masked, NoiseSchedule, Process, Proposal, Remasking, StepPlan, Time, Vectors, policy,
    schedule,
};
use std::sync::Arc;

const MASK: u32 = 4;
const NAMES: [&str; 4] = ["linear", "cosine", "log-linear:0.01", "polynomial:2"];

fn process(name: &str) -> (Masked, Arc<dyn NoiseSchedule>) {
    let schedule = schedule(name).unwrap();
    (Masked::new(MASK, Arc::clone(&schedule)), schedule)
}

fn at(t: f64) -> Time {
    Time::new(t).unwrap()
}

#[test]
fn corruption_masks_the_share_that_the_time_asks_for() {
    let clean: Vec<u32> = (0..5000).map(|i| i % 4).collect();
    let open: Vec<bool> = (0..5000).map(|i| i % 5 != 0).collect();
    for (index, name) in NAMES.iter().enumerate() {
        let (process, schedule) = process(name);
        for t in [0.05, 0.3, 0.8, 1.0] {
            let corrupted = process.corrupt(&clean, &open, at(t), &mut Key::new(31).at(index as u64, 0));
            let (p, n) = (1.0 - schedule.alpha(at(t)), 4000.0);
            let deviation = (corrupted.terms.len() as f64 - n * p).abs();
            assert!(deviation <= 5.0 * (n * p * (1.0 - p)).sqrt(), "{name} at {t}");
            assert!((corrupted.noise - p).abs() < 1e-12);
            let mut expected = clean.clone();
            for term in &corrupted.terms {
                assert!(open[term.position], "{name} at {t}: a closed position was corrupted");
                assert_eq!((term.target, term.weight), (clean[term.position], schedule.weight(at(t))));
                expected[term.position] = MASK;
            }
            assert_eq!(corrupted.tokens, expected);
        }
    }
}

#[test]
fn corruption_to_a_count_masks_exactly_so_many() {
    let (process, _) = process("linear");
    let open = [true, false, true, true, true, false];
    for count in 0..=9 {
        let corrupted =
            process.corrupt_count(&[0, 1, 2, 3, 0, 1], &open, count, &mut Key::new(32).at(count as u64, 0)).unwrap();
        assert_eq!(corrupted.terms.len(), count.min(4));
        assert_eq!(corrupted.tokens.iter().filter(|t| **t == MASK).count(), count.min(4));
        assert!(corrupted.terms.iter().all(|term| open[term.position] && term.weight == 4.0 / count.min(4) as f64));
    }
    assert_eq!(process.corrupt_count(&[0, 1], &[], 1, &mut Key::new(0).at(0, 0)).unwrap().terms, []);
}

/// Bayes' rule with the forward kernels: `q(z_s | z_t, x) = q(z_t | z_s) q(z_s | x) / q(z_t | x)`.
#[test]
fn the_posterior_is_the_one_of_bayes() {
    for name in NAMES {
        let (process, schedule) = process(name);
        for (s, t) in [(0.0, 0.5), (0.2, 0.3), (0.5, 1.0), (0.1, 0.9)] {
            let (alpha_s, alpha_t) = (schedule.alpha(at(s)), schedule.alpha(at(t)));
            let kernel = |from: u32, to: u32, alpha: f64| match (from, to) {
                (MASK, MASK) => 1.0,
                (_, MASK) => 1.0 - alpha,
                (a, b) if a == b => alpha,
                _ => 0.0,
            };
            for x in 0..MASK {
                let mut prediction = [0.0; 5];
                prediction[x as usize] = 1.0;
                for shown in [x, MASK] {
                    let evidence = kernel(x, shown, alpha_t);
                    if evidence == 0.0 {
                        continue;
                    }
                    let law = process.posterior(shown, &prediction, at(t), at(s));
                    assert!((law.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                    for z in 0..=MASK {
                        let exact = kernel(z, shown, alpha_t / alpha_s) * kernel(x, z, alpha_s) / evidence;
                        assert!((law[z as usize] - exact).abs() < 1e-12, "{name} {s} {t} {x} {shown} {z}");
                    }
                }
            }
        }
    }
}

/// Averaging the posterior over what time t shows gives back the forward law of time s, for a soft prediction too.
#[test]
fn the_posterior_leads_from_marginal_to_marginal() {
    let prediction = [0.5, 0.3, 0.15, 0.05, 0.0];
    for name in NAMES {
        let (process, schedule) = process(name);
        let (s, t) = (at(0.35), at(0.8));
        let marginal = |alpha: f64| {
            let mut law = prediction.map(|p| alpha * p);
            law[MASK as usize] = 1.0 - alpha;
            law
        };
        let mut reached = [0.0; 5];
        for (shown, mass) in marginal(schedule.alpha(t)).iter().enumerate() {
            let law = process.posterior(shown as u32, &prediction, t, s);
            reached.iter_mut().zip(law).for_each(|(r, p)| *r += mass * p);
        }
        for (r, e) in reached.iter().zip(marginal(schedule.alpha(s))) {
            assert!((r - e).abs() < 1e-12, "{name}");
        }
    }
}

#[test]
fn generation_begins_with_masks_and_leaves_what_is_given() {
    let (masked, schedule) = process("linear");
    let process: &dyn Process = &masked;
    let mut canvas = Canvas::new();
    canvas.push_given(&[1, 2]);
    canvas.push_open(2, false, 0);
    canvas.push_padding(1, 3);
    canvas.push_open(1, false, 0);
    process.begin(&mut canvas, Key::new(0));
    assert_eq!(canvas.tokens(), [1, 2, MASK, MASK, 3, MASK]);
    canvas.commit(2, 1).unwrap();
    let read = |hidden| process.network_input(&canvas, hidden, 0, Key::new(0)).tokens;
    assert_eq!(read(0..6), [MASK, MASK, 1, MASK, 3, MASK]);
    assert_eq!(read(0..0), canvas.tokens());

    let policy = policy::by_name("confidence").unwrap();
    let plan = StepPlan::new(&[3], 3, schedule.as_ref(), policy.as_ref(), &Remasking::None).unwrap();
    let step = plan.blocks()[0].steps()[0].with(2, 1);
    let candidate = Candidate { token: 1, probability: 0.5, entropy: 0.7, margin: 0.0, likeliest: 1, mass: 1.0 };
    let mut proposal = Proposal::new();
    proposal.insert(3, candidate);
    process.advance(&mut canvas, &proposal, &step, Key::new(0));
    assert_eq!(canvas.tokens(), [1, 2, 1, MASK, 3, MASK]);
    process.renoise(&mut canvas, &[0, 2, 3, 4, 77], &step, Key::new(0), Vectors::default());
    assert_eq!(canvas.tokens(), [1, 2, MASK, MASK, 3, MASK]);
    assert_eq!((process.noise_tokens(), canvas.open_positions()), ([MASK].as_slice(), vec![2, 3, 5]));
}
