//! Remasking leaves the law of every time as it is, and takes back what it should.

use aquatint_diffusion::policy::Ancestral;
use aquatint_diffusion::{Key, Remasking, StepPlan, schedule};

fn plan(name: &str, remasking: &Remasking, steps: usize) -> StepPlan {
    let schedule = schedule(name).unwrap();
    StepPlan::new(&[64], steps, schedule.as_ref(), &Ancestral, remasking).unwrap()
}

/// The reverse step of 2503.00307 keeps the marginals: α_t (1 − σ) + (1 − α_t)(1 − staying) = α_s at every step.
#[test]
fn the_share_of_clean_positions_follows_the_schedule_under_any_sigma() {
    for name in ["linear", "cosine", "polynomial:2"] {
        let schedule = schedule(name).unwrap();
        for remasking in ["none", "cap:0.05", "cap:1", "rescale:0.5", "rescale:1", "loop:0.04"] {
            let plan = plan(name, &remasking.parse().unwrap(), 50);
            let mut taken_back = 0.0;
            for step in plan.blocks()[0].steps() {
                let (from, to) = (schedule.alpha(step.from), schedule.alpha(step.to));
                let clean = from * (1.0 - step.sigma) + (1.0 - from) * (1.0 - step.staying);
                assert!((clean - to).abs() < 1e-9, "{name}, {remasking}, step {}: {clean} for {to}", step.index);
                assert!(step.sigma <= 1.0 && from * step.sigma <= 1.0 - to + 1e-12, "beyond the largest sigma");
                taken_back += step.sigma;
            }
            assert_eq!(taken_back > 0.0, remasking != "none", "{remasking}");
        }
    }
}

#[test]
fn the_rules_give_the_sigmas_of_the_paper() {
    // Step 5 of 10 under the linear schedule leads from α 0.5 to 0.6: the largest σ is 0.4/0.5.
    let sigma = |remasking: &str| plan("linear", &remasking.parse().unwrap(), 10).blocks()[0].steps()[5].sigma;
    for (remasking, expected) in
        [("none", 0.0), ("cap:0.02", 0.02), ("cap:1", 0.8), ("rescale:0.25", 0.2), ("conf:0.5", 0.4)]
    {
        assert!((sigma(remasking) - expected).abs() < 1e-12, "{remasking}: {}", sigma(remasking));
    }
}

#[test]
fn loop_fills_then_holds_then_fills_the_rest() {
    let plan = plan("linear", &Remasking::Loop { eta: 0.02 }, 100);
    let schedule = schedule("linear").unwrap();
    let alphas: Vec<f64> = plan.blocks()[0].steps().iter().map(|s| schedule.alpha(s.to)).collect();
    assert!(alphas.windows(2).all(|pair| pair[1] >= pair[0] - 1e-12));
    let held = alphas.iter().filter(|a| (**a - 0.9).abs() < 1e-9).count();
    assert!((50..=52).contains(&held), "{held} steps hold");
    assert_eq!(alphas.last(), Some(&1.0));
    for step in plan.blocks()[0].steps() {
        // 0.9 is reached when the clock shows 0.55 and left when it shows 0.05.
        assert_eq!(step.sigma > 0.0, (45..=95).contains(&step.index), "step {}", step.index);
    }
}

#[test]
fn positions_fall_with_their_chance() {
    let remasking = Remasking::Cap { eta: 0.2 };
    let planned = plan("linear", &remasking, 10).blocks()[0].steps()[4];
    let committed: Vec<(usize, f64)> = (0..20_000).map(|p| (p, 0.5)).collect();
    let taken = remasking.select(&planned.with(0, 0), &committed, Key::new(51));
    assert!((taken.len() as f64 - 4000.0).abs() < 5.0 * (20_000.0f64 * 0.2 * 0.8).sqrt(), "{}", taken.len());
    // The rest of the canvas has no say in it.
    let half: Vec<(usize, f64)> = committed.iter().copied().filter(|(p, _)| p % 2 == 0).collect();
    let again = remasking.select(&planned.with(0, 0), &half, Key::new(51));
    assert_eq!(again, taken.into_iter().filter(|p| p % 2 == 0).collect::<Vec<_>>());
}

#[test]
fn conf_takes_back_the_doubtful_first() {
    let remasking = Remasking::Conf { eta: 1.0 };
    let planned = plan("linear", &remasking, 10).blocks()[0].steps()[5];
    let chances = remasking.chances(&planned.with(0, 0), &[0.1, 0.5, 0.9]);
    assert!(chances[0] > chances[1] && chances[1] > chances[2]);
    assert!((chances.iter().sum::<f64>() - planned.sigma).abs() < 1e-12);
    assert!((chances[0] / chances[2] - 0.8f64.exp()).abs() < 1e-12);
    assert!(remasking.chances(&planned.with(0, 0), &[]).is_empty());
}

#[test]
fn nothing_is_taken_back_at_a_last_step_or_without_remasking() {
    let committed: Vec<(usize, f64)> = (0..1000).map(|p| (p, 0.5)).collect();
    for remasking in ["none", "cap:1", "rescale:1", "conf", "loop:1"] {
        let remasking: Remasking = remasking.parse().unwrap();
        let plan = plan("log-linear:0.5", &remasking, 10);
        let last = plan.blocks()[0].steps().last().unwrap();
        assert_eq!(remasking.select(&last.with(0, 0), &committed, Key::new(52)), [0usize; 0], "{remasking}");
        assert_eq!(last.staying, 0.0);
    }
    let first = plan("linear", &Remasking::None, 10).blocks()[0].steps()[5];
    assert_eq!(Remasking::None.select(&first.with(0, 0), &committed, Key::new(52)), [0usize; 0]);
}

#[test]
fn names_lead_back_to_their_rules() {
    for name in ["none", "cap:0.02", "rescale:0.04", "conf:1", "loop:0.02"] {
        assert_eq!(name.parse::<Remasking>().unwrap().to_string(), name);
    }
    for wrong in ["", "cap", "cap:2", "cap:-0.1", "cap:NaN", "none:1", "loop:x"] {
        assert!(wrong.parse::<Remasking>().is_err(), "{wrong} was taken");
    }
    assert_eq!(Remasking::Conf { eta: 1.0 }.validate(), Ok(()));
    assert_eq!(
        crate::refusal(&Remasking::Cap { eta: f64::NAN }.validate().unwrap_err()),
        "`remasking` is cap:NaN; allowed: none, cap:ETA, rescale:ETA, conf, conf:ETA, loop, loop:ETA | ETA is a number \
         from 0 to 1"
    );
    assert_eq!(
        crate::refusal(&"low-confidence".parse::<Remasking>().unwrap_err()),
        "`remasking` is \"low-confidence\"; allowed: none, cap:ETA, rescale:ETA, conf, conf:ETA, loop, loop:ETA \
         | this only commits the most confident: it is the policy `confidence`"
    );
}
