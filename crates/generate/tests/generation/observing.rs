//! What events tell of predictions: the likeliest tokens beside each change, and the entropy of each step.

use crate::chain::MASK;
use crate::real::{listening, small};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Layout, Process, ProcessKind, TokenId};
use aquatint_generate::{Change, ChangeKind, DenoisingEvent, Outcome, Request, Settings, generate, process_of};
use aquatint_network::{Denoiser, Network, NetworkSpec, ProcessSpec, SelfConditioningSpec};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Tokens of the vocabularies here.
const SIZE: usize = 40;
/// The token that begins the texts of causal networks.
const BEGIN: TokenId = 1;

/// A network by the name of its kind, with its process.
type Named = (&'static str, Network<Cpu<f32>>, Arc<dyn Process>);
/// A kind of network, by what it changes of a plain one.
type Kind = (&'static str, Box<dyn Fn(&mut NetworkSpec)>);

/// A small network of each kind with its process.
pub(crate) fn models() -> Vec<Named> {
    let kind = |kind: ProcessKind, mask: Option<TokenId>, vectors: Option<usize>| {
        move |spec: &mut NetworkSpec| {
            (spec.mask_token, spec.word_vector_size) = (mask, vectors);
            spec.process = ProcessSpec { kind, ..ProcessSpec::default() };
        }
    };
    let named = |name: &str| name.parse::<ProcessKind>().unwrap();
    let changes: [Kind; 9] = [
        ("masked", Box::new(|_| {})),
        ("self-conditioning", Box::new(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added))),
        ("blocks", Box::new(|spec| spec.attention = Layout::Block { length: 4 })),
        ("causal", Box::new(|spec| (spec.attention, spec.mask_token) = (Layout::Causal, None))),
        ("uniform", Box::new(kind(named("uniform"), None, None))),
        ("uniform-posterior", Box::new(kind(named("uniform-posterior"), None, None))),
        ("hybrid", Box::new(kind(named("hybrid:0.2"), Some(MASK), None))),
        ("gaussian", Box::new(kind(named("gaussian:4"), None, Some(4)))),
        ("simplex", Box::new(kind(named("simplex"), None, None))),
    ];
    let model = |(name, change): Kind| {
        let spec = small(change);
        let process = process_of(&spec, Some(BEGIN)).unwrap();
        let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap();
        (name, listening(network), process)
    };
    changes.into_iter().map(model).collect()
}

/// A step as it was reported.
#[derive(Debug, PartialEq)]
struct Reported {
    changes: Vec<Change>,
    entropy: f64,
    closed: Vec<usize>,
    open: usize,
}

type Likely = Vec<Vec<(TokenId, f64)>>;

fn fill(denoiser: &dyn Denoiser, process: &dyn Process, request: &Request) -> (Outcome, Vec<Reported>, Vec<Likely>) {
    let (mut steps, mut likely) = (Vec::new(), Vec::new());
    let requests = std::slice::from_ref(request);
    let mut outcomes = generate(denoiser, process, requests, &mut |_, event| {
        if let DenoisingEvent::Step { changes, alternatives, entropy, closed, open, .. } = event {
            steps.push(Reported { changes: changes.to_vec(), entropy, closed: closed.to_vec(), open });
            likely.push(alternatives.to_vec());
        }
        ControlFlow::Continue(())
    });
    (outcomes.remove(0).unwrap(), steps, likely)
}

fn request(name: &str, steps: usize, guidance: f64) -> Request {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2, 3, 4]);
    canvas.push_open(9, true, MASK);
    let mut settings = Settings::builder().steps(steps).temperature(0.8).top_p(0.9).presence_penalty(1.0).seed(5);
    if name != "causal" {
        settings = settings.guidance_scale(guidance);
    }
    if name == "masked" {
        settings = settings.remasking_named("cap:0.3").policy_named("ancestral");
    }
    Request::new(canvas, settings.build().unwrap()).with_ends(Some(7)).with_forbidden(vec![8, 9])
}

#[test]
fn alternatives_are_those_of_the_prediction_and_change_nothing() {
    for (name, network, process) in models() {
        for guidance in [1.0, 1.5] {
            let request = request(name, 4, guidance);
            let (plain, steps, none) = fill(&network, process.as_ref(), &request);
            assert!(none.iter().all(Vec::is_empty));
            let (with, same, likely) = fill(&network, process.as_ref(), &request.clone().with_alternatives(SIZE));
            assert_eq!((&plain, &steps), (&with, &same), "{name} {guidance}");
            let (_, _, three) = fill(&network, process.as_ref(), &request.with_alternatives(3));
            for ((step, all), few) in steps.iter().zip(&likely).zip(&three) {
                assert_eq!((all.len(), few.len()), (step.changes.len(), step.changes.len()), "{name}");
                for ((change, all), few) in step.changes.iter().zip(all).zip(few) {
                    if change.kind == ChangeKind::Renoised {
                        assert!(all.is_empty() && few.is_empty());
                        continue;
                    }
                    assert_eq!(few[..], all[..3], "{name}");
                    assert!(
                        all.is_sorted_by(|a, b| a.1 >= b.1) && !all.iter().any(|(token, _)| [8, 9].contains(token))
                    );
                    assert!((all.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-4, "{name}");
                    let own = all.iter().find(|(token, _)| *token == change.token);
                    if change.kind == ChangeKind::Committed {
                        assert!((own.unwrap().1 - change.confidence).abs() < 1e-6, "{name}: {change:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_entropy_of_a_step_is_the_mean_of_its_predictions() {
    for (name, network, process) in models() {
        let request = request(name, 1, 1.5).with_alternatives(SIZE);
        let (_, steps, likely) = fill(&network, process.as_ref(), &request);
        for (step, likely) in steps.iter().zip(&likely) {
            assert!(step.changes.iter().all(|change| change.kind == ChangeKind::Committed), "{name}");
            let entropy = |all: &Vec<(TokenId, f64)>| all.iter().map(|(_, p)| -p * p.ln()).sum::<f64>();
            let mean = likely.iter().map(entropy).sum::<f64>() / likely.len() as f64;
            assert!(step.entropy > 0.0 && (step.entropy - mean).abs() < 1e-3, "{name}: {} {mean}", step.entropy);
        }
    }
}
