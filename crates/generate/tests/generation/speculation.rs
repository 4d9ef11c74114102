//! Self-speculation: the text is that of one token after another, for no more passes that store it.

use crate::chain::{END, MASK, process, spec};
use crate::real::small;
use crate::refusals::refused;
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Counting, Layout, Stability, TokenId};
use aquatint_generate::{
    Cache, ChangeKind, DenoisingEvent, Outcome, Request, Settings, SettingsBuilder, StopAt, generate, ineffective,
};
use aquatint_network::{Denoiser, Network, SelfConditioningSpec};
use std::ops::ControlFlow;

type Change = fn(SettingsBuilder) -> SettingsBuilder;

fn requests(change: impl Fn(SettingsBuilder) -> SettingsBuilder) -> Vec<Request> {
    let request = |given: u32, open: usize, approximate: bool| {
        let mut canvas = Canvas::new();
        canvas.push_given(&(2..2 + given).collect::<Vec<TokenId>>());
        canvas.push_open(open, approximate, MASK);
        let settings = change(Settings::builder().seed(u64::from(given))).build().unwrap();
        Request::new(canvas, settings).with_ends(Some(END))
    };
    vec![request(3, 18, false), request(9, 12, true), request(1, 1, false), request(2, 2, false)]
}

fn filled(network: &dyn Denoiser, requests: &[Request]) -> Vec<Outcome> {
    let outcomes = generate(network, &process(), requests, &mut |_, _| ControlFlow::Continue(()));
    outcomes.into_iter().collect::<Result<_, _>>().unwrap()
}

#[test]
fn drafts_change_nothing_but_the_work_at_any_temperature_and_in_any_batch() {
    let changes: [Change; 4] = [
        |settings| settings.temperature(0.0),
        |settings| settings,
        |settings| settings.temperature(0.3).top_k(3).suppress_tokens([7]).logit_bias([(5, 2.0)]),
        // Nearly all is one token, which drafts predict.
        |settings| settings.logit_bias([(9, 60.0)]),
    ];
    let mut fewer = 0;
    for (change, path) in
        changes.into_iter().flat_map(|change| CpuPath::available().into_iter().map(move |path| (change, path)))
    {
        let spec = small(|spec| spec.attention = Layout::CausalPrefix { length: 4 });
        let network = Network::new(Cpu::<f32>::new(path, 2).unwrap(), spec, 1).unwrap();
        let alone = filled(&network, &requests(|settings| change(settings).block_length(1)));
        for (length, cache) in [(None, Cache::Exact), (Some(3), Cache::None), (Some(7), Cache::Exact)] {
            let speculating = requests(|settings| {
                let settings = change(settings).cache(cache).self_speculation(true);
                length.into_iter().fold(settings, SettingsBuilder::block_length)
            });
            for (request, (one, other)) in speculating.iter().zip(alone.iter().zip(filled(&network, &speculating))) {
                assert_eq!((&other.tokens, other.reason), (&one.tokens, one.reason), "{path}, {length:?}, {cache}");
                assert_eq!(filled(&network, std::slice::from_ref(request))[0], other, "{path}, {length:?}");
                let written = other.statistics.tokens;
                assert!(other.statistics.forward_passes < 2 * written.max(1), "{:?}", other.statistics);
                fewer += usize::from(other.statistics.forward_passes < written);
            }
        }
    }
    assert!(fewer > 0, "no draft was worth it");
}

/// What is shown of a draft is no final token, and a draft costs no row of what is stored a second time.
#[test]
fn a_draft_is_shown_and_what_disagrees_becomes_noise_again() {
    let spec = small(|spec| spec.attention = Layout::CausalPrefix { length: 4 });
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
    let request = &requests(|settings| settings.self_speculation(true))[0];
    let (mut canvas, mut announced, mut passes) = (request.canvas.tokens().to_vec(), 0, 0);
    let outcomes = generate(&network, &process(), std::slice::from_ref(request), &mut |_, event| {
        match event {
            DenoisingEvent::Started { forward_passes, .. } => announced = forward_passes,
            DenoisingEvent::Step { changes, step, of, .. } => {
                passes += 1;
                assert!(step < of && of == announced);
                let committed = changes.iter().filter(|change| change.kind == ChangeKind::Committed).count();
                // A draft and its verification take turns, but for the first token and the last.
                assert!(committed > 0 || changes.iter().all(|change| change.kind == ChangeKind::Refined));
                let shows = |change: &&aquatint_generate::Change| change.kind == ChangeKind::Refined;
                assert!(changes.iter().filter(shows).all(|change| canvas[change.position] != change.token));
                changes.iter().for_each(|change| canvas[change.position] = change.token);
                let first = canvas.iter().skip(3).position(|token| *token == MASK);
                let is_final = |change: &&aquatint_generate::Change| change.kind == ChangeKind::Committed;
                let last = changes.iter().filter(is_final).map(|change| change.position).next_back();
                // Behind what is committed, all that the draft had is noise again.
                if let (Some(last), Some(first)) = (last, first) {
                    assert_eq!(first + 3, last + 1);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    let outcome = outcomes.into_iter().next().unwrap().unwrap();
    assert_eq!((outcome.canvas.tokens(), outcome.statistics.forward_passes), (&canvas[..], passes));
    // Each of 18 tokens may need a draft and a pass that verifies it; the first one needs no draft.
    assert!(passes <= announced && announced == 2 * 18 - 1);
    // The prompt once, and for each pass no more than a block: three of a draft and the token before it.
    assert!(outcome.statistics.rows_read <= 3 + 4 * passes, "{:?}", outcome.statistics);
}

#[test]
fn what_cannot_speculate_is_refused_and_what_decides_nothing_is_reported() {
    let of = |layout, given: usize, change: Change| {
        let spec = small(|spec| spec.attention = layout);
        let network = Network::new(Cpu::<f32>::scalar(), spec, 1).unwrap();
        let mut canvas = Canvas::new();
        canvas.push_given(&vec![2; given]);
        canvas.push_open(4, false, MASK);
        let settings = change(Settings::builder().self_speculation(true)).build().unwrap();
        refused(&network, Request::new(canvas, settings))
    };
    let prefix = Layout::CausalPrefix { length: 4 };
    assert_eq!(
        of(Layout::Full, 1, |b| b),
        "`self_speculation` is true; allowed: false, unless the model can verify its drafts | such a model has a causal \
         prefix, whose rows predict the tokens behind them"
    );
    let conditioned = small(|spec| {
        spec.attention = prefix;
        spec.self_conditioning = Some(SelfConditioningSpec::Added);
    });
    let network = Network::new(Cpu::<f32>::scalar(), conditioned, 1).unwrap();
    let request = requests(|b| b.self_speculation(true)).remove(0);
    assert!(refused(&network, request).starts_with("`self_speculation` is true; allowed: false, unless the model"));
    assert!(of(prefix, 0, |b| b).starts_with("`self_speculation` is true; allowed: false where nothing stands before"));
    assert!(of(prefix, 1, |b| b.guidance_scale(2.0)).starts_with("`guidance_scale` is 2; allowed: 1 | with self-spec"));
    assert!(of(prefix, 1, |b| b.presence_penalty(1.0)).starts_with("`presence_penalty` is 1; allowed: 0"));
    // Each pass would have a temperature of its own, whatever it writes.
    assert!(of(prefix, 1, |b| b.final_temperature(0.5)).starts_with("`final_temperature` is 0.5; allowed: nothing"));
    assert!(of(prefix, 1, |b| b.edit_threshold(0.5)).starts_with("`edit_threshold` is 0.5; allowed: 1"));
    assert!(of(prefix, 1, |b| b.remasking_named("cap:0.1")).starts_with("`remasking` is cap:0.1; allowed: none"));
    assert!(of(prefix, 1, |b| b.repetition_penalty(2.0)).starts_with("`repetition_penalty` is 2; allowed: 1"));
    assert!(of(prefix, 1, |b| b.frequency_penalty(1.0)).starts_with("`frequency_penalty` is 1; allowed: 0"));
    let silent: [(&str, Change); 9] = [
        ("steps", |b| b.steps(2)),
        ("policy", |b| b.policy_named("margin")),
        ("counting", |b| b.counting(Counting::Even)),
        ("end_time", |b| b.end_time(0.1)),
        ("leads", |b| b.leads(true)),
        ("commit_likeliest", |b| b.commit_likeliest(true)),
        ("stability_threshold", |b| b.stability(Stability::new(1, 1.0).unwrap())),
        ("defer_tokens", |b| b.defer_tokens([5])),
        ("stop_at", |b| b.stop_at(StopAt::Block)),
    ];
    for (parameter, change) in silent {
        let request = &requests(|b| change(b.self_speculation(true)))[0];
        let found = ineffective(request, &spec(40, prefix), &process()).unwrap();
        assert!(found.iter().any(|setting| setting.parameter == parameter), "{parameter}: {found:?}");
    }
    let request = &requests(|b| b.self_speculation(true).policy_named("margin").block_length(1))[0];
    let found = ineffective(request, &spec(40, prefix), &process()).unwrap();
    let parameters: Vec<&str> = found.iter().map(|setting| setting.parameter).collect();
    assert_eq!(parameters, ["steps", "policy", "self_speculation"]);
}
