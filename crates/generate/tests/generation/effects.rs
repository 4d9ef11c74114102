//! Settings without effect: each is reported with its reason, and taking it back changes nothing.

use crate::chain::{Chain, MASK, process, spec};
use aquatint_compute::ReadRow;
use aquatint_diffusion::{Alphabet, Canvas, Counting, Key, Layout, Linear, Process, Stability, WordVectors};
use aquatint_generate::{
    BlocksFrom, Cache, ConfidenceOf, Request, Settings, SettingsBuilder, Statistics, StopAt, generate, ineffective,
};
use aquatint_network::{Denoiser, HostDenoiser, NetworkError, NetworkInput, NetworkSpec};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Tokens of the vocabularies here.
const SIZE: usize = 6;

/// A network whose logits depend on a whole canvas.
struct Mixing(NetworkSpec);

impl HostDenoiser for Mixing {
    fn host_spec(&self) -> &NetworkSpec {
        &self.0
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        let sequences = input.visibility.sequences();
        for (index, row) in rows.iter().enumerate() {
            let own = sequences.iter().find(|sequence| sequence.contains(row)).cloned().unwrap_or(0..0);
            let sum: u32 = input.tokens[own.start as usize..own.end as usize].iter().sum();
            let row = row - own.start;
            let logit = |token: u32| ((sum + row * 7 + token * 5) % 11) as f32 / 4.0;
            read(index, &mut (0..SIZE as u32).map(logit).collect::<Vec<f32>>());
        }
        Ok(())
    }
}

fn uniform() -> Arc<dyn Process> {
    let alphabet = Alphabet { size: SIZE, mask: None };
    aquatint_diffusion::process("uniform", alphabet, Arc::new(Linear)).unwrap()
}

fn canvas(given: usize, open: usize) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&vec![2; given]);
    canvas.push_open(open, false, MASK);
    canvas
}

/// A setting and how it is set.
type Change = (&'static str, fn(SettingsBuilder) -> SettingsBuilder);

fn settings(changes: &[Change]) -> Settings {
    changes.iter().fold(Settings::builder().seed(5), |builder, (_, change)| change(builder)).build().unwrap()
}

/// The reasons why settings have no effect, in one line each.
fn reported(layout: Layout, process: &dyn Process, canvas: Canvas, changes: &[Change]) -> Vec<String> {
    let request = Request::new(canvas, settings(changes));
    let found = ineffective(&request, &spec(SIZE, layout), process).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn every_setting_without_effect_is_reported_with_its_reason() {
    let masked = |given, open, changes: &[Change]| reported(Layout::Full, &process(), canvas(given, open), changes);
    let one_step: Change = ("steps", |b| b.steps(1));
    let cases: [(&str, usize, &[Change]); 32] = [
        (
            "`steps` has no effect: the policy first-hitting takes 4 steps for 4 open positions",
            1,
            &[("steps", |b| b.steps(2)), ("policy", |b| b.policy_named("first-hitting"))],
        ),
        (
            "`steps` has no effect: the policy margin takes at most 4 steps for 4 open positions",
            1,
            &[("steps", |b| b.steps(9)), ("policy", |b| b.policy_named("margin"))],
        ),
        (
            "`block_length` has no effect: 4 open positions are one block of 4, and none of 8",
            1,
            &[("block_length", |b| b.block_length(8)), ("steps", |b| b.steps(4))],
        ),
        (
            "`policy` has no effect: each block is filled in one step",
            1,
            &[one_step, ("policy", |b| b.policy_named("margin"))],
        ),
        (
            "`remasking` has no effect: each block is filled in one step",
            1,
            &[one_step, ("remasking", |b| b.remasking_named("cap:0.5"))],
        ),
        (
            "`remasking` has no effect: nothing is committed before the last step",
            1,
            &[("policy", |b| b.policy_named("last")), ("remasking", |b| b.remasking_named("cap:0.5"))],
        ),
        (
            "`remasking` has no effect: nothing is taken back in the first and the last step",
            1,
            &[("steps", |b| b.steps(2)), ("remasking", |b| b.remasking_named("rescale:1"))],
        ),
        (
            "`temperature` has no effect: top-k 1 leaves one token",
            1,
            &[("steps", |b| b.steps(4)), ("temperature", |b| b.temperature(0.5)), ("top_k", |b| b.top_k(1))],
        ),
        (
            "`top_k` has no effect: temperature 0 takes the likeliest token",
            1,
            &[("steps", |b| b.steps(4)), ("temperature", |b| b.temperature(0.0)), ("top_k", |b| b.top_k(3))],
        ),
        (
            "`top_k` has no effect: the vocabulary has 6 tokens",
            1,
            &[("steps", |b| b.steps(4)), ("top_k", |b| b.top_k(6))],
        ),
        (
            "`top_p` has no effect: temperature 0 takes the likeliest token",
            1,
            &[("steps", |b| b.steps(4)), ("temperature", |b| b.temperature(0.0)), ("top_p", |b| b.top_p(0.5))],
        ),
        (
            "`top_p` has no effect: top-k 1 leaves one token",
            1,
            &[("steps", |b| b.steps(4)), ("top_k", |b| b.top_k(1)), ("top_p", |b| b.top_p(0.5))],
        ),
        (
            "`repetition_penalty` has no effect: no token is on the canvas before the last step",
            0,
            &[one_step, ("repetition_penalty", |b| b.repetition_penalty(2.0))],
        ),
        (
            "`suppress_tokens` has no effect: none of its tokens is ever written here",
            1,
            &[("steps", |b| b.steps(4)), ("suppress_tokens", |b| b.suppress_tokens([MASK]))],
        ),
        (
            "`defer_tokens` has no effect: each block is filled in one step",
            1,
            &[one_step, ("defer_tokens", |b| b.defer_tokens([1]))],
        ),
        (
            "`confidence_of` has no effect: nothing shapes the prediction",
            1,
            &[
                ("steps", |b| b.steps(4)),
                ("confidence_of", |b| b.confidence_of(ConfidenceOf::Shaped { temperature: None })),
            ],
        ),
        (
            "`counting` has no effect: each step leaves as many positions open as the schedule says",
            1,
            &[("steps", |b| b.steps(2)), ("counting", |b| b.counting(Counting::Even))],
        ),
        (
            "`counting` has no effect: the policy entropy-bound:0.1 commits by no count",
            1,
            &[
                ("steps", |b| b.steps(3)),
                ("policy", |b| b.policy_named("entropy-bound")),
                ("counting", |b| b.counting(Counting::Cosine)),
            ],
        ),
        (
            "`end_time` has no effect: neither the network nor the policy reads times here",
            1,
            &[
                ("steps", |b| b.steps(3)),
                ("policy", |b| b.policy_named("threshold:0.5")),
                ("end_time", |b| b.end_time(0.3)),
            ],
        ),
        (
            "`end_time` has no effect: each block is filled in one step",
            1,
            &[one_step, ("end_time", |b| b.end_time(0.1))],
        ),
        (
            "`edit_threshold` has no effect: each block is filled in one step",
            1,
            &[one_step, ("edit_threshold", |b| b.edit_threshold(0.5).edit_steps(0))],
        ),
        (
            "`edit_steps` has no effect: nothing is edited at an edit threshold of 1",
            1,
            &[("steps", |b| b.steps(4)), ("edit_steps", |b| b.edit_steps(3))],
        ),
        (
            "`stop_at` has no effect: no span may end early",
            1,
            &[("steps", |b| b.steps(4)), ("stop_at", |b| b.stop_at(StopAt::Block))],
        ),
        (
            "`guidance_scale` has no effect: nothing is given that the unconditional branch could hide",
            0,
            &[("steps", |b| b.steps(4)), ("guidance_scale", |b| b.guidance_scale(2.0))],
        ),
        (
            "`unconditional_prompt` has no effect: guidance scale 1 reads no unconditional branch",
            1,
            &[("steps", |b| b.steps(4)), ("unconditional_prompt", |b| b.unconditional_prompt([2]))],
        ),
        (
            "`blocks_from` has no effect: the model's attention has no blocks",
            1,
            &[("steps", |b| b.steps(4)), ("blocks_from", |b| b.blocks_from(BlocksFrom::Hole))],
        ),
        (
            "`cache` has no effect: the prefix cache holds what stands before a block, and nothing does",
            0,
            &[("steps", |b| b.steps(4)), ("cache", |b| b.cache(Cache::Prefix))],
        ),
        (
            "`cache` has no effect: the dual cache holds what is outside a block, and nothing is",
            0,
            &[("steps", |b| b.steps(4)), ("cache", |b| b.cache(Cache::Dual))],
        ),
        (
            "`cache` has no effect: each block is filled in one step",
            1,
            &[one_step, ("cache", |b| b.cache(Cache::Dual))],
        ),
        (
            "`cache` has no effect: all rows are recomputed at every step",
            1,
            &[("steps", |b| b.steps(4)), ("cache", |b| b.cache(Cache::Dual)), ("refresh", |b| b.cache_refresh(1))],
        ),
        (
            "`cache_refresh` has no effect: the cache is none; only prefix and dual are approximate",
            1,
            &[("steps", |b| b.steps(4)), ("refresh", |b| b.cache_refresh(2))],
        ),
        (
            "`cache_refresh` has no effect: no block has more than 4 steps, and each begins with a refresh",
            1,
            &[("steps", |b| b.steps(4)), ("cache", |b| b.cache(Cache::Dual)), ("refresh", |b| b.cache_refresh(4))],
        ),
    ];
    for (expected, given, changes) in cases {
        assert_eq!(masked(given, 4, changes), [expected]);
    }
    let churned = |changes: &[Change]| reported(Layout::Full, uniform().as_ref(), canvas(1, 4), changes);
    let revising: [(&str, &[Change]); 5] = [
        ("`churn` has no effect: each block is filled in one step", &[one_step, ("churn", |b| b.churn(0.5))]),
        (
            "`correctors` has no effect: each block is filled in one step",
            &[one_step, ("correctors", |b| b.correctors(2))],
        ),
        ("`revise` has no effect: each block is filled in one step", &[one_step, ("revise", |b| b.revise(true))]),
        (
            "`churn` has no effect: revise draws all noise again",
            &[("steps", |b| b.steps(4)), ("churn", |b| b.churn(0.5)), ("revise", |b| b.revise(true))],
        ),
        (
            "`remasking` has no effect: nothing is committed before the last step",
            &[
                ("steps", |b| b.steps(4)),
                ("policy", |b| b.policy_named("entropy-bound")),
                ("revise", |b| b.revise(true)),
                ("remasking", |b| b.remasking_named("cap:0.2")),
            ],
        ),
    ];
    for (expected, changes) in revising {
        assert_eq!(churned(changes), [expected]);
    }
    let blocks = reported(
        Layout::Block { length: 8 },
        &process(),
        canvas(1, 4),
        &[("steps", |b| b.steps(4)), ("cache", |b| b.cache(Cache::Exact))],
    );
    assert_eq!(blocks, ["`cache` has no effect: the canvas is one block, and finished blocks are cached"]);
}

#[test]
fn neutral_values_and_settings_with_effect_are_not_reported() {
    let masked = |given, open, changes: &[Change]| reported(Layout::Full, &process(), canvas(given, open), changes);
    let none: [String; 0] = [];
    let neutral: [Change; 9] = [
        ("steps", |b| b.steps(4)),
        ("block_length", |b| b.block_length(4)),
        ("top_p", |b| b.top_p(1.0).temperature(0.0)),
        ("guidance_scale", |b| b.guidance_scale(1.0)),
        ("cache", |b| b.cache(Cache::None)),
        ("repetition_penalty", |b| b.repetition_penalty(1.0)),
        ("presence_penalty", |b| b.presence_penalty(0.0).frequency_penalty(0.0)),
        ("min_p", |b| b.min_p(0.0).temperature(0.0)),
        ("logit_bias", |b| b.logit_bias([(MASK, 0.0)])),
    ];
    assert_eq!(masked(0, 4, &neutral), none);
    for policy in ["confidence", "margin", "entropy", "random", "ancestral", "threshold", "entropy-bound", "last"] {
        let request = Request::new(
            canvas(1, 4),
            Settings::builder().steps(3).policy_named(policy).temperature(0.7).top_k(3).top_p(0.9).build().unwrap(),
        );
        assert_eq!(ineffective(&request, &spec(SIZE, Layout::Full), &process()).unwrap(), [], "{policy}");
    }
    let used: [Change; 4] = [
        ("steps", |b| b.steps(4)),
        ("cache", |b| b.cache(Cache::Dual)),
        ("refresh", |b| b.cache_refresh(3)),
        ("remasking", |b| b.remasking_named("cap:0.5")),
    ];
    assert_eq!(masked(1, 4, &used), none);
}

/// What a request comes to: its tokens, and what it took but for the second reading of guidance and for steps that read
/// nothing.
fn filled(
    denoiser: &dyn Denoiser,
    process: &dyn Process,
    canvas: &Canvas,
    settings: Settings,
) -> (Vec<u32>, Statistics) {
    let guided = if settings.guidance_scale() == 1.0 { 1 } else { 2 };
    let requests = [Request::new(canvas.clone(), settings)];
    let mut outcomes = generate(denoiser, process, &requests, &mut |_, _| ControlFlow::Continue(()));
    let outcome = outcomes.remove(0).unwrap();
    let statistics = outcome.statistics;
    let (forward_passes, rows_read) = (statistics.forward_passes / guided, statistics.rows_read / guided);
    (outcome.canvas.tokens().to_vec(), Statistics { forward_passes, rows_read, steps: 0, ..statistics })
}

/// All that is left of tokens by which nothing is deleted or inserted: they are not written either.
const NOT_WRITTEN: [Change; 2] =
    [("suppress_tokens", |b| b.suppress_tokens([4, 5])), ("suppress_tokens", |b| b.suppress_tokens([MASK, 4, 5]))];

/// More steps than any canvas here has open positions.
const LONGER: Change = ("steps", |b| b.steps(50));

#[test]
fn taking_back_what_is_reported_changes_nothing() {
    let changes: [Change; 42] = [
        ("steps", |b| b.steps(1)),
        ("steps", |b| b.steps(2)),
        ("steps", |b| b.steps(3)),
        ("policy", |b| b.policy_named("first-hitting")),
        ("policy", |b| b.policy_named("last")),
        ("policy", |b| b.policy_named("ancestral")),
        ("policy", |b| b.policy_named("entropy-bound:0.5")),
        ("policy", |b| b.policy_named("threshold:0.3")),
        ("block_length", |b| b.block_length(8)),
        ("remasking", |b| b.remasking_named("rescale:1")),
        ("remasking", |b| b.remasking_named("loop:0.5")),
        ("temperature", |b| b.temperature(0.0)),
        ("temperature", |b| b.temperature(0.5)),
        ("top_k", |b| b.top_k(1)),
        ("top_p", |b| b.top_p(0.5)),
        ("min_p", |b| b.min_p(0.4)),
        ("repetition_penalty", |b| b.repetition_penalty(2.0)),
        ("presence_penalty", |b| b.presence_penalty(1.5)),
        ("frequency_penalty", |b| b.frequency_penalty(-1.5)),
        ("logit_bias", |b| b.logit_bias([(MASK, 3.0)])),
        ("logit_bias", |b| b.logit_bias([(2, 1.5), (MASK, 3.0)])),
        ("suppress_tokens", |b| b.suppress_tokens([MASK])),
        ("defer_tokens", |b| b.defer_tokens([2])),
        ("confidence_of", |b| b.confidence_of(ConfidenceOf::Shaped { temperature: None })),
        ("counting", |b| b.counting(Counting::Nearest)),
        ("end_time", |b| b.end_time(0.1)),
        ("leads", |b| b.leads(true)),
        ("stop_at", |b| b.stop_at(StopAt::Block)),
        ("edit_threshold", |b| b.edit_threshold(0.3)),
        ("edit_threshold", |b| b.edit_threshold(0.3).edit_steps(0)),
        ("edit_steps", |b| b.edit_steps(3)),
        ("insert_token", |b| b.delete_token(4).insert_token(5)),
        ("guidance_scale", |b| b.guidance_scale(2.0)),
        ("unconditional_prompt", |b| b.unconditional_prompt([])),
        ("blocks_from", |b| b.blocks_from(BlocksFrom::Hole)),
        ("churn", |b| b.churn(0.5)),
        ("revise", |b| b.revise(true)),
        ("final_temperature", |b| b.final_temperature(0.5)),
        ("final_temperature", |b| b.final_temperature(0.0)),
        ("commit_likeliest", |b| b.commit_likeliest(true)),
        ("stability_threshold", |b| b.stability(Stability::new(1, 9.0).unwrap())),
        ("confidence_threshold", |b| b.stability(Stability::new(0, 1.0).unwrap())),
    ];
    let (chain, mixing, masked, uniform) = (Chain::mixed(SIZE), Mixing(spec(SIZE, Layout::Full)), process(), uniform());
    let models: [(&dyn Denoiser, &dyn Process); 2] = [(&chain, &masked), (&mixing, uniform.as_ref())];
    let mut found_ineffective = BTreeSet::new();
    for case in 0..600 {
        let mut draws = Key::new(11).at(case, 0);
        let mut chosen: Vec<Change> = changes.iter().copied().filter(|_| draws.uniform() < 0.25).collect();
        chosen.dedup_by_key(|(parameter, _)| *parameter);
        let (denoiser, process) = models[(case % 2) as usize];
        let canvas = canvas((case / 2 % 2) as usize * 3, [1, 2, 4, 8][(case / 4 % 4) as usize]);
        let settings_of = |changes: &[Change]| settings(changes);
        let request = Request::new(canvas.clone(), settings_of(&chosen));
        // What a process refuses is not ignored either.
        let Ok(found) = ineffective(&request, denoiser.spec(), process) else { continue };
        let whole = filled(denoiser, process, &canvas, request.parts[0].settings.clone());
        for setting in found {
            let without: Vec<Change> = match setting.parameter {
                // The default is another number of steps.
                "steps" => chosen.iter().copied().chain([LONGER]).collect(),
                // They belong together.
                "delete_token" => continue,
                "insert_token" => {
                    let is_suppressing = chosen.iter().any(|(other, _)| *other == "suppress_tokens");
                    let replaced = ["insert_token", "suppress_tokens"];
                    let others = chosen.iter().copied().filter(|(other, _)| !replaced.contains(other));
                    others.chain([NOT_WRITTEN[usize::from(is_suppressing)]]).collect()
                }
                parameter => chosen.iter().copied().filter(|(other, _)| *other != parameter).collect(),
            };
            let (tokens, statistics) = filled(denoiser, process, &canvas, settings_of(&without));
            let names: Vec<&str> = chosen.iter().map(|(parameter, _)| *parameter).collect();
            assert_eq!((&tokens, &statistics), (&whole.0, &whole.1), "case {case}: {setting}, beside {names:?}");
            found_ineffective.insert(setting.parameter);
        }
    }
    let mut expected: Vec<&str> = changes.iter().map(|(parameter, _)| *parameter).collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(Vec::from_iter(found_ineffective), expected, "every setting is without effect in some case");
}
