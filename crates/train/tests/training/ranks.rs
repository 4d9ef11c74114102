//! Several ranks against one: the same losses, the same weights, from the same batches.

use crate::support::{device, fingerprint, recipe, run};
use aquatint_train::{Launch, ParallelError, Resolved, Ring, StepFigures, TrainError, Training, TrainingEvent};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Runs each rank in a thread; the figures of rank 0.
pub(crate) fn run_among(size: usize, recipe: &Resolved, resume: bool) -> Result<Vec<StepFigures>, TrainError> {
    let port = free_port();
    let one = |rank: usize| -> Result<Vec<StepFigures>, TrainError> {
        let address = "127.0.0.1".to_owned();
        let ring = Ring::join(&Launch { rank, size, local_rank: rank, local_size: Some(size), address, port }, b"")?;
        let mut figures = Vec::new();
        Training::new(recipe).ranks(&ring).resume(resume).run(device(), &mut |event| {
            if let TrainingEvent::Step(step) = event {
                figures.push(step);
            }
        })?;
        Ok(figures)
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..size).map(|rank| scope.spawn(move || one(rank))).collect();
        let first = one(0);
        for other in others {
            assert!(other.join().unwrap()?.is_empty(), "only rank 0 reports");
        }
        first
    })
}

/// Largest difference of the weights of two folders, relative to the largest weight of each tensor.
fn difference(one: &Path, other: &Path) -> f32 {
    let pairs = fingerprint(one).into_iter().zip(fingerprint(other));
    pairs.fold(0.0, |most, ((name, a), (same, b))| {
        assert_eq!((&name, a.len()), (&same, b.len()));
        let (a, b) = (a.iter().map(|bits| f32::from_bits(*bits)), b.iter().map(|bits| f32::from_bits(*bits)));
        let size = a.clone().fold(1e-3_f32, |size, a| size.max(a.abs()));
        a.zip(b).fold(most, |most, (a, b)| most.max((a - b).abs() / size))
    })
}

#[test]
fn the_loss_of_some_ranks_is_that_of_one() {
    let common: [&[&str]; 3] = [
        // Passes that two ranks share and four cut.
        &["optimiser.accumulate=2", "run.steps=20", "network.self_conditioning=true"],
        &["objective.process=simplex", "objective.time_sampling=adaptive", "run.steps=10"],
        &["objective.masking=complementary", "run.steps=10", "optimiser.kind=muon"],
    ];
    for set in common {
        let folder = tempfile::tempdir().unwrap();
        let alone = recipe(&folder.path().join("1"), set);
        let (_, expected) = run(&alone, false).unwrap();
        for size in [2, 4] {
            let together = recipe(&folder.path().join(size.to_string()), set);
            let got = run_among(size, &together, false).unwrap();
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!((got.step, got.tokens), (expected.step, expected.tokens));
                let error = (got.loss - expected.loss).abs() / expected.loss;
                assert!(error < 1e-4, "{set:?}, {size} ranks, step {}: {} {}", got.step, got.loss, expected.loss);
            }
            let apart = difference(&alone.output, &together.output);
            assert!(apart < 2e-2, "{set:?}, {size} ranks: {apart}");
        }
    }
}

#[test]
fn a_run_is_resumed_by_another_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let whole = recipe(&folder.path().join("whole"), &["run.steps=20"]);
    let (_, expected) = run(&whole, false).unwrap();
    let half = |steps: &str| recipe(&folder.path().join("half"), &[steps]);
    run_among(2, &half("run.steps=10"), false).unwrap();
    let rest = run_among(4, &half("run.steps=20"), true).unwrap();
    let last = |figures: &[StepFigures]| figures.last().unwrap().loss;
    assert_eq!(rest.last().unwrap().step, 20);
    // The learning rate falls to the end of a run, which the first half did not know.
    assert!((last(&rest) - last(&expected)).abs() < 0.1, "{} {}", last(&rest), last(&expected));
}

#[test]
fn a_batch_that_cannot_be_shared_is_refused_by_every_rank() {
    let folder = tempfile::tempdir().unwrap();
    let error = run_among(3, &recipe(folder.path(), &[]), false).unwrap_err();
    assert!(matches!(error, TrainError::Parallel(ParallelError::Share { batch: 8, size: 3, multiple: 3 })), "{error}");
}
