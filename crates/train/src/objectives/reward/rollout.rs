//! A rollout: completions that the present model draws, with what they are worth.

use super::estimator::NEVER;
use super::prompts::Prompt;
use crate::TrainError;
use crate::objective::Step;
use crate::parallel::Alone;
use crate::recipe::RewardRecipe;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Canvas, CommitPolicy, Key, PADDING_DOCUMENT, Process, TokenId};
use aquatint_evaluate::TextRequests;
use aquatint_generate::{ChangeKind, DenoisingEvent, Ended, Engine, Limits, Outcome, RequestId, Settings};
use aquatint_network::Denoiser;
use aquatint_reward::{Attempt, Rewards};
use aquatint_vocabulary::{Role, Vocabulary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Held-out prompts that are drawn together are drawn to the end.
static NEVER_STOPPED: AtomicBool = AtomicBool::new(false);

/// The completions of some steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rollout {
    /// The first step that learns from them.
    pub(super) step: u64,
    /// Group after group.
    pub(super) completions: Vec<Completion>,
    /// The mean of −ln p of a token by the model that drew it, in nats, where it has a floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) entropy: Option<Exact>,
}

/// A canvas that was filled.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Completion {
    /// Prompt, completion, and what is given behind it.
    pub(super) tokens: Vec<TokenId>,
    /// The positions of the completion, up to the end that closes it.
    pub(crate) positions: Range<usize>,
    /// The step that committed each of them.
    pub(super) committed: Vec<u32>,
    /// What the network read behind its end while it was drawn: nothing of it counts.
    #[serde(default)]
    pub(super) behind: Behind,
    pub(crate) reward: Exact,
    pub(crate) solved: bool,
    /// Forward passes that it took.
    pub(crate) passes: u64,
    /// Within its group.
    pub(super) advantage: Exact,
    /// The estimates of the model that drew it, for each update but the first.
    pub(super) before: Vec<Vec<Exact>>,
}

/// Positions that lie behind an end.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Behind {
    pub(super) tokens: Vec<TokenId>,
    /// The step that committed each of them, [`NEVER`](super::estimator::NEVER) for what was left open.
    pub(super) committed: Vec<u32>,
}

/// A real number that is saved as its bits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub(crate) struct Exact(pub(crate) f64);

impl From<u64> for Exact {
    fn from(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

impl From<Exact> for u64 {
    fn from(Exact(value): Exact) -> Self {
        value.to_bits()
    }
}

impl Rollout {
    /// The completions as canvases to learn from.
    pub(super) fn canvases(&self, length: usize) -> CanvasBatch {
        let mut batch = CanvasBatch { length, ..CanvasBatch::default() };
        for (number, Completion { tokens, positions, behind, .. }) in self.completions.iter().enumerate() {
            // Only an end that a completion wrote has something behind it, and then nothing is given there.
            let used = tokens.len() + behind.tokens.len();
            let padding = length.saturating_sub(used);
            batch.tokens.extend(tokens.iter().chain(&behind.tokens).copied().chain(std::iter::repeat_n(0, padding)));
            batch.documents.extend(std::iter::repeat_n(number as u32, used));
            batch.documents.extend(std::iter::repeat_n(PADDING_DOCUMENT, padding));
            let is_open = |position: usize| positions.contains(&position) || position >= tokens.len();
            batch.given.extend((0..used).map(|position| !is_open(position)));
            batch.given.extend(std::iter::repeat_n(false, padding));
            // Nothing of it is text of the data.
            batch.text_bytes.extend(std::iter::repeat_n(0, length));
        }
        batch
    }
}

/// The policies by which completions are filled that are drawn together.
#[derive(Clone, Copy)]
pub(crate) enum Policies<'a> {
    /// One for all.
    Same(&'a Arc<dyn CommitPolicy>),
    /// One for each, in their order.
    Each(&'a [Arc<dyn CommitPolicy>]),
}

impl Policies<'_> {
    fn of(self, number: usize) -> Arc<dyn CommitPolicy> {
        match self {
            Self::Same(policy) => Arc::clone(policy),
            Self::Each(policies) => Arc::clone(&policies[number]),
        }
    }
}

/// What draws completions.
pub(crate) struct Drawer<'a> {
    pub(crate) recipe: &'a RewardRecipe,
    pub(crate) rewards: &'a Rewards,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) process: &'a dyn Process,
    pub(crate) policy: Policies<'a>,
    /// Tokens that are never written, as the model's advice says and `generate` follows it.
    pub(crate) suppressed: &'a [TokenId],
    /// Completions of each prompt.
    pub(crate) completions: usize,
    /// The randomness of the rollout.
    pub(crate) key: Key,
}

impl Drawer<'_> {
    /// A group of completions of each prompt, without advantages. `first` is the number of the first of these prompts among all of
    /// the step.
    pub(crate) fn draw(
        &self,
        denoiser: &dyn Denoiser,
        step: Step<'_>,
        prompts: &[Prompt<'_>],
        first: usize,
    ) -> Result<Vec<Completion>, TrainError> {
        let requests = TextRequests::new(self.vocabulary, denoiser.spec().vocabulary_size);
        let mut engine = Engine::borrowing(denoiser, self.process, Limits::default())?;
        let mut filling: BTreeMap<RequestId, Filling> = BTreeMap::new();
        let each = prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, self.completions));
        for (index, prompt) in each.enumerate() {
            let number = (first * self.completions + index) as u64;
            let canvas = self.canvas(prompt);
            let steps = vec![None; canvas.len()];
            let request = requests.request(canvas, self.settings(self.policy.of(index), number, step.number)?);
            filling.insert(engine.submit(request)?, Filling { committed: steps, step: 0, outcome: None });
        }
        while !engine.is_idle() {
            if step.stop.load(Ordering::SeqCst) {
                return Err(TrainError::Stopped);
            }
            let ended = engine.step(&mut |id, event| {
                if let Some(filling) = filling.get_mut(&id) {
                    filling.hear(&event);
                }
                ControlFlow::Continue(())
            });
            for Ended { id, outcome } in ended {
                if let Some(filling) = filling.get_mut(&id) {
                    filling.outcome = Some(outcome?);
                }
            }
        }
        let each = prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, self.completions));
        let written = each.zip(filling.into_values());
        let written = written.map(|(prompt, filling)| Written::new(prompt, filling, self.vocabulary));
        let unwritten = || TrainError::ObjectiveState { reason: "a completion was left open".to_owned() };
        let written: Vec<Written> = written.collect::<Option<_>>().ok_or_else(unwritten)?;
        let scores = self.rewards.scores(&written.iter().map(Written::attempt).collect::<Vec<_>>())?;
        let completion = |(written, score): (Written, aquatint_reward::Score)| Completion {
            committed: written.committed[written.positions.clone()].iter().map(|step| step.unwrap_or(0)).collect(),
            tokens: written.canvas,
            positions: written.positions,
            behind: written.behind,
            reward: Exact(score.total),
            solved: score.solved,
            passes: written.passes,
            advantage: Exact(0.0),
            before: Vec::new(),
        };
        Ok(written.into_iter().zip(scores).map(completion).collect())
    }

    /// A completion of each of these prompts by numbers that stay the same at every step, so many `together`; `go_on` receives
    /// how many are drawn, and `None` is what comes of stopping.
    pub(crate) fn held_out(
        &self,
        denoiser: &dyn Denoiser,
        prompts: &[Prompt<'_>],
        together: usize,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<Vec<Completion>>, TrainError> {
        let mut completions = Vec::with_capacity(prompts.len());
        for some in prompts.chunks(together) {
            if !go_on(completions.len() as u64) {
                return Ok(None);
            }
            let step = Step { number: 0, canvases: some.len(), ranks: &Alone, stop: &NEVER_STOPPED };
            completions.extend(self.draw(denoiser, step, some, completions.len())?);
        }
        Ok(Some(completions))
    }

    fn canvas(&self, prompt: &Prompt<'_>) -> Canvas {
        let mut canvas = Canvas::new();
        canvas.push_given(prompt.tokens);
        // Any token will do to lay the canvas out: the process draws what open positions hold.
        let blank = self.vocabulary.role(Role::Mask).unwrap_or_default();
        canvas.push_open(prompt.length, prompt.reference.is_none(), blank);
        canvas.push_given(prompt.end.as_slice());
        canvas
    }

    fn settings(&self, policy: Arc<dyn CommitPolicy>, number: u64, step: u64) -> Result<Settings, TrainError> {
        let RewardRecipe { steps, temperature, block_length, .. } = self.recipe;
        let seed = self.key.at(number, step).next_u64();
        let builder = Settings::builder().steps(*steps).policy(policy).temperature(*temperature).seed(seed);
        let builder = builder.suppress_tokens(self.suppressed.iter().copied());
        let builder = match block_length {
            Some(length) => builder.block_length(*length),
            None => builder,
        };
        Ok(builder.build()?)
    }
}

/// A request under way.
struct Filling {
    /// The step that committed each position.
    committed: Vec<Option<u32>>,
    /// Steps so far, over all blocks.
    step: u32,
    outcome: Option<Outcome>,
}

impl Filling {
    fn hear(&mut self, event: &DenoisingEvent<'_>) {
        let DenoisingEvent::Step { changes, .. } = event else { return };
        for change in *changes {
            // What is renoised is committed again later; what is edited was last written here.
            if matches!(change.kind, ChangeKind::Committed | ChangeKind::Edited) {
                self.committed[change.position] = Some(self.step);
            }
        }
        self.step += 1;
    }
}

/// A canvas that is full, as rewards read it.
struct Written {
    prompt_text: String,
    text: String,
    reference: Option<String>,
    canvas: Vec<TokenId>,
    committed: Vec<Option<u32>>,
    behind: Behind,
    positions: Range<usize>,
    passes: u64,
}

impl Written {
    /// `None` where nothing was written, which no plan allows.
    fn new(prompt: &Prompt<'_>, filling: Filling, vocabulary: &Vocabulary) -> Option<Self> {
        let Outcome { canvas, statistics, .. } = filling.outcome?;
        let start = prompt.tokens.len();
        let end = 1 + canvas.committed_positions().last()?;
        let mut tokens = canvas.tokens().to_vec();
        let mut committed = filling.committed;
        // What fell away behind an end is no part of the text.
        let fallen = tokens.drain(end..start + prompt.length).collect();
        let steps = committed.drain(end..start + prompt.length);
        let behind = Behind { tokens: fallen, committed: steps.map(|step| step.unwrap_or(NEVER)).collect() };
        Some(Self {
            prompt_text: vocabulary.decode(prompt.tokens),
            text: vocabulary.decode(&tokens[start..end]),
            reference: prompt.reference.map(|reference| vocabulary.decode(reference)),
            canvas: tokens,
            committed,
            behind,
            positions: start..end,
            passes: statistics.forward_passes as u64,
        })
    }

    fn attempt(&self) -> Attempt<'_> {
        Attempt {
            prompt: &self.prompt_text,
            completion: &self.text,
            reference: self.reference.as_deref(),
            canvas: &self.canvas,
            committed: &self.committed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::estimator::{Drawn, Estimator};
    use super::super::estimators::trace::Trace;
    use super::*;
    use aquatint_compute::ReadRow;
    use aquatint_diffusion::{Linear, Masked, Uniforms, WordVectors, policy};
    use aquatint_network::{
        AttentionSpec, FeedForwardSpec, HostDenoiser, LayerSpec, NetworkError, NetworkInput, NetworkSpec,
    };

    /// A network whose prediction at a row depends on every token of its sequence, and on how many there are.
    struct Hashing {
        spec: NetworkSpec,
        /// The tokens that it ever writes.
        letters: Vec<TokenId>,
    }

    impl Hashing {
        fn logits(&self, tokens: &[TokenId], row: usize) -> Vec<f32> {
            let hash = tokens.iter().fold(tokens.len() as u64, |hash, token| hash.wrapping_mul(31) + u64::from(*token));
            let mut logits = vec![f32::NEG_INFINITY; self.spec.vocabulary_size];
            for letter in &self.letters {
                logits[*letter as usize] = Key::new(hash).uniform(row, u64::from(*letter)) as f32;
            }
            logits
        }

        /// The likeliest token of a row.
        fn likeliest(&self, tokens: &[TokenId], row: usize) -> TokenId {
            let logits = self.logits(tokens, row);
            self.letters.iter().copied().max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize])).unwrap()
        }
    }

    impl HostDenoiser for Hashing {
        fn host_spec(&self) -> &NetworkSpec {
            &self.spec
        }

        fn host_word_vectors(&self) -> WordVectors {
            WordVectors::default()
        }

        fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
            let sequences = input.visibility.sequences();
            for (index, row) in rows.iter().enumerate() {
                let own = sequences.iter().find(|sequence| sequence.contains(row)).unwrap();
                let tokens = &input.tokens[own.start as usize..own.end as usize];
                read(index, &mut self.logits(tokens, (row - own.start) as usize));
            }
            Ok(())
        }
    }

    /// At temperature 0 each token is the likeliest one of the canvas on which it was committed. So it is on the canvas that
    /// `trace` reads for it, where that is the same canvas.
    #[test]
    fn a_trace_reads_each_token_where_it_was_drawn() {
        let vocabulary = Vocabulary::train(std::iter::once("abcab ".repeat(20)), 270).unwrap();
        let (mask, end) = (vocabulary.required(Role::Mask).unwrap(), vocabulary.required(Role::End).unwrap());
        let letters: Vec<TokenId> = "abc".chars().flat_map(|c| vocabulary.encode(&c.to_string()).unwrap()).collect();
        let layer = LayerSpec::new(AttentionSpec::new(1, 1, 1), FeedForwardSpec::new(1));
        let spec = NetworkSpec {
            context_length: 12,
            mask_token: Some(mask),
            ..NetworkSpec::new(vocabulary.len(), 1, vec![layer])
        };
        let network = Hashing { spec, letters: [letters.clone(), vec![end]].concat() };
        let recipe: RewardRecipe = serde_json::from_value(serde_json::json!({
            "terms": [{ "name": "length:3" }], "completions": 1, "completion_length": 9, "steps": 9, "temperature": 0.0
        }))
        .unwrap();
        let prompts: Vec<Vec<TokenId>> =
            (0..60).map(|n| vec![letters[n % 3], letters[n / 3 % 3], letters[n / 9 % 3]]).collect();
        let prompts = prompts.iter().map(|tokens| Prompt { tokens, reference: None, length: 9, end: None });
        let prompts: Vec<Prompt<'_>> = prompts.collect();
        for name in ["sequential", "random", "confidence"] {
            let chosen = policy::by_name(name).unwrap();
            let drawer = Drawer {
                recipe: &recipe,
                rewards: &recipe.rewards().unwrap(),
                vocabulary: &vocabulary,
                process: &Masked::new(mask, Arc::new(Linear)),
                policy: Policies::Same(&chosen),
                suppressed: &[],
                completions: 1,
                key: Key::new(4),
            };
            let step = Step { number: 0, canvases: prompts.len(), ranks: &Alone, stop: &NEVER_STOPPED };
            let completions = drawer.draw(&network, step, &prompts, 0).unwrap();
            let ended = completions.iter().filter(|completion| !completion.behind.tokens.is_empty()).count();
            assert!(ended > 10, "{name}: {ended} ended early");
            let rollout = Rollout { step: 0, completions, entropy: None };
            let canvases = rollout.canvases(12);
            for (number, completion) in rollout.completions.iter().enumerate() {
                let Completion { positions, committed, behind, .. } = completion;
                let drawn =
                    Drawn { positions: positions.clone(), committed, behind: &behind.committed, advantage: 1.0 };
                let plan = Trace { readings: 9 }.plan(&drawn, &mut Key::new(0).at(0, 0));
                let canvas = &canvases.tokens[number * 12..(number + 1) * 12];
                for reading in &plan.readings {
                    let mut read = canvas.to_vec();
                    reading.hidden.iter().for_each(|position| read[*position] = mask);
                    for term in &reading.terms {
                        assert_eq!(network.likeliest(&read, term.position), canvas[term.position], "{name} {number}");
                    }
                }
            }
        }
    }

    /// What lay behind an end is on the canvas that is read, as an open position like the completion's own; what is given behind
    /// a completion of known length is given.
    #[test]
    fn canvases_are_those_on_which_completions_were_drawn() {
        let completion = |tokens: &[TokenId], positions: Range<usize>, fallen: &[TokenId]| Completion {
            tokens: tokens.to_vec(),
            committed: vec![0; positions.len()],
            positions,
            behind: Behind { tokens: fallen.to_vec(), committed: vec![NEVER; fallen.len()] },
            reward: Exact(0.0),
            solved: false,
            passes: 1,
            advantage: Exact(0.0),
            before: Vec::new(),
        };
        let completions = vec![completion(&[5, 6, 1], 1..3, &[7, 0]), completion(&[5, 6, 7, 1], 1..3, &[])];
        let batch = Rollout { step: 0, completions, entropy: None }.canvases(6);
        assert_eq!(batch.tokens, [5, 6, 1, 7, 0, 0, 5, 6, 7, 1, 0, 0]);
        let (given, open) = (true, false);
        assert_eq!(batch.given[..5], [given, open, open, open, open]);
        assert_eq!(batch.given[6..10], [given, open, open, given]);
        let padding = PADDING_DOCUMENT;
        assert_eq!(batch.documents, [0, 0, 0, 0, 0, padding, 1, 1, 1, 1, padding, padding]);
    }
}
