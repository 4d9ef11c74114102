//! Self-speculation: a network with a causal prefix writes from left to right, and its own blocks are the drafts
//! (Nemotron-Labs-Diffusion; Leviathan et al., "Fast inference from transformers via speculative decoding", 2211.17192, of
//! which it keeps the law).
//!
//! Two passes take turns. The first proposes a block behind the last token at once. The second reads the block causally:
//! each row says what it would have written behind it. What agrees is kept, the first token that does not is replaced, and
//! where all agree one more is written. Both draw the token of a position by the same number of the seed, so that the text
//! is the one that single positions give, at any temperature, and a draft that predicts well agrees as often as it can.
//!
//! Deviations: drafts have one length; mlx-vlm's grow from 8 to 32.

use crate::GenerateError;
use crate::part::PartOf;
use aquatint_diffusion::{Canvas, CanvasError, Key, Kind, Layout, Process, Proposal, SettingError, StepChanges};
use aquatint_network::NetworkSpec;

/// Which of the two passes comes next, and how many positions the draft has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Draft(usize),
    Verify(usize),
}

/// Where a request stands that speculates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Speculation {
    /// Positions of a block: the last token and the draft behind it.
    length: usize,
    turn: Turn,
}

impl Speculation {
    /// The length of blocks, where the request speculates.
    fn length(part: PartOf<'_>, spec: &NetworkSpec) -> Option<usize> {
        let settings = part.settings();
        settings.stepping.self_speculation.then(|| settings.block_length.or(spec.attention.block_length()).unwrap_or(1))
    }

    /// Before its first step, in which what is given is read and gives the first token.
    pub(crate) fn of(part: PartOf<'_>, spec: &NetworkSpec) -> Option<Self> {
        Some(Self { length: Self::length(part, spec)?, turn: Turn::Verify(0) })
    }

    /// Whether no block is long enough for a draft.
    pub(crate) fn drafts_nothing(part: PartOf<'_>, spec: &NetworkSpec) -> bool {
        let open = part.open().len();
        // The first token comes from what is given, and the last one from the pass that verifies.
        Self::length(part, spec).is_some_and(|length| drafted(length, open.saturating_sub(1)) == 0)
    }

    /// Whether the next pass is the causal one.
    pub(crate) fn verifies(self) -> bool {
        matches!(self.turn, Turn::Verify(_))
    }

    /// Those of the open positions that the next pass answers.
    pub(crate) fn answered(self, open: &[usize]) -> &[usize] {
        let count = match self.turn {
            Turn::Draft(count) => count,
            Turn::Verify(count) => count + 1,
        };
        &open[..count.min(open.len())]
    }

    /// The positions of the next pass: of a draft its block, which begins with the last token; of the causal one the first
    /// that it does not read.
    pub(crate) fn positions(self, canvas: &Canvas, open: &[usize]) -> Vec<usize> {
        let answered = self.answered(open);
        match (self.turn, answered.first()) {
            (Turn::Verify(_), _) => answered.last().copied().into_iter().collect(),
            (Turn::Draft(_), Some(&first)) => last_before(canvas, first).into_iter().chain(answered.to_vec()).collect(),
            (Turn::Draft(_), None) => Vec::new(),
        }
    }

    /// Shows a draft, or commits what the causal pass confirms and one token more; the rest of the draft becomes noise.
    pub(crate) fn take(
        self,
        canvas: &mut Canvas,
        proposal: &Proposal,
        process: &dyn Process,
        key: Key,
    ) -> Result<StepChanges, CanvasError> {
        let positions = proposal.positions();
        let token = |position: usize| proposal.candidate(position).map(|candidate| candidate.token);
        let before: Vec<_> = positions.iter().map(|position| canvas.tokens()[*position]).collect();
        let mut committed = Vec::new();
        match self.turn {
            Turn::Draft(_) => {
                for (position, candidate) in proposal.iter() {
                    canvas.show_noise(position, candidate.token)?;
                }
            }
            Turn::Verify(count) => {
                let agrees = |position: &&usize| token(**position) == Some(canvas.tokens()[**position]);
                let agreeing = positions.iter().take(count).take_while(agrees).count();
                committed = positions[..(agreeing + 1).min(positions.len())].to_vec();
                for &position in &committed {
                    canvas.commit(position, token(position).unwrap_or_default())?;
                }
                let rest = positions.get(committed.len()..count).unwrap_or_default();
                process.scatter(canvas, rest, 0, key);
            }
        }
        let changed =
            |(position, token): &(&usize, _)| canvas.is_open(**position) && canvas.tokens()[**position] != *token;
        let refined = positions.iter().zip(before).filter(changed).map(|(position, _)| *position).collect();
        Ok(StepChanges { committed, renoised: Vec::new(), refined })
    }

    /// Goes on to the next pass, with so many positions open.
    pub(crate) fn go_on(&mut self, open: usize) {
        self.turn = match self.turn {
            Turn::Draft(count) => Turn::Verify(count),
            Turn::Verify(_) => match drafted(self.length, open) {
                0 => Turn::Verify(0),
                count => Turn::Draft(count),
            },
        };
    }
}

/// Positions of a draft where so many are open: the pass that verifies it writes one more.
fn drafted(length: usize, open: usize) -> usize {
    length.min(open).saturating_sub(1)
}

/// The position before another one that is not padding.
fn last_before(canvas: &Canvas, position: usize) -> Option<usize> {
    (0..position).rev().find(|position| canvas.kind(*position) != Some(Kind::Padding))
}

/// Forward passes at most, where so many positions are open: each draft is verified, and gives one token at least.
pub(crate) fn most_passes(open: usize) -> usize {
    (2 * open).saturating_sub(1)
}

/// Refuses a request that cannot speculate.
///
/// # Errors
/// [`GenerateError::Setting`].
pub(crate) fn check(part: PartOf<'_>, spec: &NetworkSpec, process: &dyn Process) -> Result<(), GenerateError> {
    let (request, settings) = (part.request, part.settings());
    let shaping = &settings.shaping;
    if !settings.stepping.self_speculation {
        return Ok(());
    }
    let refuse = |parameter, given: String, allowed: &str, hint: &str| {
        let (allowed, hint) = (allowed.to_owned(), Some(hint.to_owned()));
        Err(GenerateError::Setting(SettingError { parameter, given, allowed, hint }))
    };
    let is_causal = matches!(spec.attention, Layout::CausalPrefix { .. }) && !process.revises();
    if !is_causal || spec.reads_time() || spec.self_conditioning.is_some() {
        let hint = "such a model has a causal prefix, whose rows predict the tokens behind them";
        return refuse("self_speculation", "true".to_owned(), "false, unless the model can verify its drafts", hint);
    }
    let first = request.canvas.open_positions().first().copied().unwrap_or(0);
    if last_before(&request.canvas, first).is_none() {
        let hint = "give a text to continue, or the token that begins one";
        return refuse("self_speculation", "true".to_owned(), "false where nothing stands before the hole", hint);
    }
    let approached = shaping.final_temperature.filter(|last| *last != shaping.temperature);
    let others = [
        ("final_temperature", approached.map(|last| last.to_string()), "nothing"),
        ("guidance_scale", settings.is_guided().then(|| settings.guidance_scale.to_string()), "1"),
        ("remasking", (!settings.remasking.is_none()).then(|| settings.remasking.to_string()), "none"),
        ("repetition_penalty", Some(shaping.repetition_penalty).filter(|r| *r != 1.0).map(|r| r.to_string()), "1"),
        ("presence_penalty", Some(shaping.presence_penalty).filter(|r| *r != 0.0).map(|r| r.to_string()), "0"),
        ("frequency_penalty", Some(shaping.frequency_penalty).filter(|r| *r != 0.0).map(|r| r.to_string()), "0"),
        ("edit_threshold", settings.editing.map(|editing| editing.threshold().to_string()), "1"),
        ("constraint", (!request.constraints.is_empty()).then(|| "set".to_owned()), "nothing"),
    ];
    match others.into_iter().find_map(|(parameter, given, allowed)| Some((parameter, given?, allowed))) {
        Some((parameter, given, allowed)) => {
            refuse(parameter, given, allowed, "with self-speculation several tokens are verified in one pass")
        }
        None => Ok(()),
    }
}
