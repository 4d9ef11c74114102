//! Settings that change nothing: the value that a setting has, beside what the canvas, the network and the other
//! settings leave it to decide.
//!
//! Neutral values (guidance scale 1, top-p 1, no cache …) request nothing, so they are never among them. A seed is always
//! obeyed, whether anything is drawn or not.

use crate::admission::{RequestPlan, TrackPlan};
use crate::confidence::Confidence;
use crate::part::PartOf;
use crate::speculation::Speculation;
use crate::visible::visible;
use crate::{BlocksFrom, Cache, ClassifierMethod, ConfidenceOf, GenerateError, Mark, Request, Settings, StopAt};
use aquatint_diffusion::policy::Last;
use aquatint_diffusion::{
    BlockPlan, CommitPolicy, Counting, Domain, Editing, Kind, Layout, PlanPart, PlannedStep, Process, Remasking, Span,
    StepPlan, Time, TokenId,
};
use aquatint_network::{NetworkKind, NetworkSpec};
use std::fmt;

/// A setting whose value changes nothing of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ineffective {
    /// Of which part of the request, from 0.
    pub part: usize,
    /// The setting, by the name of its method of [`SettingsBuilder`](crate::SettingsBuilder).
    pub parameter: &'static str,
    /// Why it changes nothing: a sentence without a full stop.
    pub reason: String,
}

impl fmt::Display for Ineffective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, parameter, reason } = self;
        match part {
            0 => write!(f, "`{parameter}` has no effect: {reason}"),
            part => write!(f, "`{parameter}` of part {part} has no effect: {reason}"),
        }
    }
}

/// The settings of a request that change nothing of what a network of this description and process does with it.
///
/// # Errors
/// When the request can never be served.
pub fn ineffective(
    request: &Request,
    spec: &NetworkSpec,
    process: &dyn Process,
) -> Result<Vec<Ineffective>, GenerateError> {
    let RequestPlan { tracks, cache, lead } = RequestPlan::new(request, spec, process)?;
    let mut found = Vec::new();
    for part in request.each_part() {
        let case = Case {
            request,
            part,
            spec,
            process,
            planned: &tracks[part.number],
            tracks: &tracks,
            cache_policy: cache,
            lead,
        };
        found.extend(case.found()?);
    }
    Ok(found)
}

/// A part of a request with its plan, and those of the others.
struct Case<'a> {
    request: &'a Request,
    part: PartOf<'a>,
    spec: &'a NetworkSpec,
    process: &'a dyn Process,
    planned: &'a TrackPlan,
    tracks: &'a [TrackPlan],
    cache_policy: Cache,
    lead: usize,
}

const ONE_STEP: &str = "each block is filled in one step";
const GREEDY: &str = "temperature 0 takes the likeliest token";
const ONE_TOKEN: &str = "top-k 1 leaves one token";
const SPECULATES: &str = "self-speculation commits what the causal pass confirms, as it comes";

impl Case<'_> {
    /// The settings of the part that change nothing.
    fn found(&self) -> Result<Vec<Ineffective>, GenerateError> {
        let shaping = &self.settings().shaping;
        let reasons = [
            ("steps", self.steps()),
            ("block_length", self.block_length()),
            ("policy", self.policy()?),
            ("remasking", self.remasking()?),
            ("temperature", self.temperature()),
            ("final_temperature", self.final_temperature()),
            ("min_p", self.min_p()),
            ("top_k", self.top_k()),
            ("top_p", self.top_p()),
            ("repetition_penalty", self.penalty(shaping.repetition_penalty != 1.0)),
            ("presence_penalty", self.penalty(shaping.presence_penalty != 0.0)),
            ("frequency_penalty", self.penalty(shaping.frequency_penalty != 0.0)),
            ("logit_bias", self.logit_bias()),
            ("suppress_tokens", self.tokens(Settings::suppress_tokens)),
            ("defer_tokens", self.defer_tokens()),
            ("confidence_of", self.confidence_of()),
            ("end_token", self.end_token()),
            ("counting", self.counting()?),
            ("end_time", self.end_time()?),
            ("leads", self.leads()),
            ("stop_at", self.stop_at()),
            ("blocks_from", self.blocks_from()),
            ("self_speculation", self.self_speculation()),
            ("edit_threshold", self.edit_threshold()),
            ("edit_steps", self.edit_steps()),
            ("delete_token", self.length_tokens()),
            ("insert_token", self.length_tokens()),
            ("guidance_scale", self.guidance_scale()),
            ("unconditional_prompt", self.unconditional_prompt()),
            ("classifier_method", self.classifier_method()),
            ("classifier_candidates", self.classifier_candidates()),
            ("cache", self.cache()),
            ("cache_refresh", self.cache_refresh()),
            ("churn", self.churn()),
            ("correctors", self.correctors()),
            ("revise", self.revise()),
            ("commit_likeliest", self.commit_likeliest()),
            ("stability_threshold", self.stability()),
            ("confidence_threshold", self.stability()),
            ("watermark", self.watermark()),
        ];
        let part = self.part.number;
        let found = reasons
            .into_iter()
            .filter_map(|(parameter, reason)| Some(Ineffective { part, parameter, reason: reason? }));
        Ok(found.collect())
    }

    fn settings(&self) -> &Settings {
        self.part.settings()
    }

    /// The spans of the part.
    fn spans(&self) -> impl Iterator<Item = &Span> {
        let spans = self.request.canvas.spans().iter().enumerate();
        spans.filter(|(number, _)| self.part.has_span(*number)).map(|(_, span)| span)
    }

    /// The steps of each block that has something open.
    fn blocks(&self) -> impl Iterator<Item = &[PlannedStep]> {
        self.planned.plan.blocks().iter().map(|block| block.steps()).filter(|steps| !steps.is_empty())
    }

    fn has_one_step(&self) -> bool {
        self.blocks().all(|steps| steps.len() == 1)
    }

    /// Why what acts between two passes over a block does nothing.
    fn one_pass(&self) -> Option<String> {
        self.planned.plan.blocks().iter().all(|block| block.forwards() <= 1).then(|| ONE_STEP.to_owned())
    }

    /// Why what acts between two steps does nothing.
    fn one_step(&self) -> Option<String> {
        self.has_one_step().then(|| ONE_STEP.to_owned())
    }

    /// Whether anything may be final before the last step of its block.
    fn commits_early(&self) -> bool {
        // What has settled is committed at once, whatever the policy says.
        self.settings().stability.is_some() || !self.settings().revise && !self.commits_last()
    }

    /// Whether the policy chooses nothing before the last step.
    fn commits_last(&self) -> bool {
        self.planned.policy.name() == Last.name() && !self.blocks().flatten().any(|step| step.leads)
    }

    /// Why what decides which positions become final does nothing, if it is set.
    fn speculates(&self, is_set: bool) -> Option<String> {
        (is_set && self.settings().stepping.self_speculation).then(|| SPECULATES.to_owned())
    }

    fn steps(&self) -> Option<String> {
        if let Some(reason) = self.speculates(true) {
            return Some(reason);
        }
        if self.spec.kind() == NetworkKind::Causal {
            return Some("a causal model writes one token in each forward pass".to_owned());
        }
        let (requested, correctors) = (self.settings().steps, self.settings().correctors);
        let blocks = self.planned.plan.blocks().iter().filter(|block| block.open() > 0);
        // Correctors stand behind each step but the last.
        let counts: Vec<(usize, usize)> =
            blocks.map(|block| ((block.steps().len() - 1) / (1 + correctors) + 1, block.open())).collect();
        let describe = |(steps, open): (usize, usize), bound| {
            let (steps, s) = (format!("{bound}{steps}"), if steps == 1 { "" } else { "s" });
            format!("the policy {} takes {steps} step{s} for {open} open positions", self.planned.policy.name())
        };
        let most = counts.iter().copied().max()?;
        match most.0 {
            steps if steps > requested => Some(describe(most, "")),
            steps if steps < requested => Some(describe(most, "at most ")),
            _ => None,
        }
    }

    fn block_length(&self) -> Option<String> {
        let open = self.part.open().len();
        let length = self.settings().block_length.filter(|length| *length > open)?;
        let free = !self.spec.attention.slides();
        free.then(|| format!("{open} open positions are one block of {open}, and none of {length}"))
    }

    fn policy(&self) -> Result<Option<String>, GenerateError> {
        if let Some(reason) = self.speculates(self.settings().policy.is_some()) {
            return Ok(Some(reason));
        }
        if self.settings().policy.is_none() || !self.has_one_step() {
            return Ok(None);
        }
        // Where the process's own policy takes more steps, one step is what this policy is for.
        let without = self.plan_with(|settings| settings.policy = None)?;
        let one_step = without.blocks().iter().all(|block| block.steps().len() <= 1);
        Ok(one_step.then(|| ONE_STEP.to_owned()))
    }

    fn remasking(&self) -> Result<Option<String>, GenerateError> {
        if self.settings().remasking.is_none() {
            return Ok(None);
        }
        let without = self.plan_with(|settings| settings.remasking = Remasking::None)?;
        if !same_steps(&self.planned.plan, &without, |step| (step.from, step.to)) {
            return Ok(None);
        }
        // The steps that only edit stand elsewhere then.
        if self.settings().editing.is_some() {
            return Ok(None);
        }
        if self.has_one_step() {
            return Ok(self.one_step());
        }
        if !self.commits_early() {
            // Under `revise` a policy still says what is accepted, by what it reads of the plan.
            let nothing = self.commits_last() || self.reads_the_same(&without);
            return Ok(nothing.then(|| "nothing is committed before the last step".to_owned()));
        }
        // What the first step commits can be taken back in the second one, and nothing can in the last.
        let takes_back =
            |steps: &[PlannedStep]| steps.len() > 2 && steps[1..steps.len() - 1].iter().any(|s| s.sigma > 0.0);
        let same_counts = same_steps(&self.planned.plan, &without, |step| step.open_after);
        let nothing = same_counts && !self.blocks().any(takes_back);
        Ok(nothing.then(|| "nothing is taken back in the first and the last step".to_owned()))
    }

    /// Whether the likeliest token is taken, and its confidence is what the network says.
    fn is_greedy(&self) -> bool {
        let shaping = &self.settings().shaping;
        let is_zero = shaping.temperature == 0.0 && shaping.final_temperature.is_none();
        is_zero && self.settings().choice.confidence_of == ConfidenceOf::Prediction
    }

    fn temperature(&self) -> Option<String> {
        let shaping = &self.settings().shaping;
        // The word vector that is expected is that of all tokens.
        let one = shaping.top_k == Some(1) && self.process.vector_size().is_none();
        (one && shaping.temperature != 1.0).then(|| ONE_TOKEN.to_owned())
    }

    fn final_temperature(&self) -> Option<String> {
        let shaping = &self.settings().shaping;
        let last = shaping.final_temperature.filter(|last| *last != shaping.temperature)?;
        match self.one_pass() {
            Some(_) => Some(format!("{ONE_STEP}, and {last} is reached behind the last one")),
            None => self.temperature(),
        }
    }

    fn commit_likeliest(&self) -> Option<String> {
        let shaping = &self.settings().shaping;
        let greedy = shaping.temperature == 0.0 && shaping.final_temperature.is_none();
        // What is added to logits may make another token the one that is drawn.
        let biased =
            shaping.repetition_penalty != 1.0 || shaping.counts_tokens() || !self.settings().logit_bias.is_empty();
        match self.settings().commit_likeliest {
            true if self.settings().stepping.self_speculation => self.speculates(true),
            true if !self.planned.constrained.is_empty() => {
                Some("a constraint draws the tokens of a text together".to_owned())
            }
            true if greedy && !biased => Some(GREEDY.to_owned()),
            _ => None,
        }
    }

    fn stability(&self) -> Option<String> {
        let is_set = self.settings().stability.is_some();
        // What was inserted while a block is edited becomes final at once.
        let nothing = || if self.planned.lengths.is_some() { self.one_pass() } else { self.one_step() };
        self.speculates(is_set).or_else(|| is_set.then(nothing).flatten())
    }

    fn min_p(&self) -> Option<String> {
        let shaping = &self.settings().shaping;
        match shaping.min_p.filter(|share| *share > 0.0) {
            Some(_) if self.is_greedy() => Some(GREEDY.to_owned()),
            Some(_) if shaping.top_k == Some(1) => Some(ONE_TOKEN.to_owned()),
            _ => None,
        }
    }

    fn top_k(&self) -> Option<String> {
        let (shaping, size) = (&self.settings().shaping, self.spec.vocabulary_size);
        match shaping.top_k {
            Some(_) if self.is_greedy() => Some(GREEDY.to_owned()),
            Some(k) if k >= size => Some(format!("the vocabulary has {size} tokens")),
            _ => None,
        }
    }

    fn top_p(&self) -> Option<String> {
        let shaping = &self.settings().shaping;
        match shaping.top_p.filter(|p| *p < 1.0) {
            Some(_) if self.is_greedy() => Some(GREEDY.to_owned()),
            Some(_) if shaping.top_k == Some(1) => Some(ONE_TOKEN.to_owned()),
            _ => None,
        }
    }

    /// Why a penalty for tokens that occur already does nothing.
    fn penalty(&self, is_set: bool) -> Option<String> {
        let blocks = self.blocks().count();
        // What is committed in one step is on the canvas in the next one.
        let edits = self.planned.plan.blocks().iter().any(|block| !block.edits().is_empty());
        let alone = self.tracks.len() == 1 && blocks == 1 && !edits && (self.has_one_step() || !self.commits_early());
        let is_bare = self.request.canvas.committed_positions().is_empty() && !self.has_given();
        let nothing = is_set && alone && is_bare;
        nothing.then(|| "no token is on the canvas before the last step".to_owned())
    }

    fn logit_bias(&self) -> Option<String> {
        let biased = self.settings().logit_bias.iter().filter(|(_, bias)| *bias != 0.0);
        self.never_written(biased.map(|(token, _)| *token))
    }

    /// Why a list of tokens does nothing, which is not empty: none of them is ever written.
    fn never_written(&self, tokens: impl Iterator<Item = TokenId>) -> Option<String> {
        let mut tokens = tokens.peekable();
        tokens.peek()?;
        let Request { ends, forbidden, .. } = self.request;
        let may_end = self.spans().any(|span| span.approximate);
        let is_of = |span: &Span, token: &TokenId| match span.domain == Domain::ANY {
            true => !forbidden.contains(token),
            false => span.domain.ids.contains(token),
        };
        let is_never_drawn = |token: &TokenId| match ends.contains(token) {
            true => !may_end,
            false => self.process.noise_tokens().contains(token) || !self.spans().any(|span| is_of(span, token)),
        };
        let nothing = tokens.all(|token| is_never_drawn(&token));
        nothing.then(|| "none of its tokens is ever written here".to_owned())
    }

    fn tokens(&self, of: fn(&Settings) -> &[TokenId]) -> Option<String> {
        self.never_written(of(self.settings()).iter().copied())
    }

    fn defer_tokens(&self) -> Option<String> {
        let is_set = !self.settings().choice.deferred.is_empty();
        let reason = || self.speculates(is_set).or_else(|| is_set.then(|| self.one_pass()).flatten());
        self.tokens(Settings::defer_tokens).or_else(reason)
    }

    fn confidence_of(&self) -> Option<String> {
        let mut alone = self.settings().clone();
        alone.choice.deferred.clear();
        let is_set = self.settings().choice.confidence_of != ConfidenceOf::Prediction;
        let nothing = is_set && Confidence::of(&alone).is_none();
        let reason = || self.speculates(is_set).or_else(|| is_set.then(|| self.one_pass()).flatten());
        nothing.then(|| "nothing shapes the prediction".to_owned()).or_else(reason)
    }

    fn end_token(&self) -> Option<String> {
        self.settings().choice.end.and_then(|_| self.no_end())
    }

    fn stop_at(&self) -> Option<String> {
        let is_set = self.settings().stepping.stop_at != StopAt::Step;
        self.speculates(is_set).or_else(|| is_set.then(|| self.no_end()).flatten())
    }

    /// Why nothing ends early.
    fn no_end(&self) -> Option<String> {
        let ends = !self.request.ends.is_empty() && self.spans().any(|span| span.approximate);
        (!ends).then(|| "no span may end early".to_owned())
    }

    fn counting(&self) -> Result<Option<String>, GenerateError> {
        let is_set = self.settings().stepping.counting != Counting::Scheduled;
        if !is_set || self.settings().stepping.self_speculation {
            return Ok(self.speculates(is_set));
        }
        let without = self.plan_with(|settings| settings.stepping.counting = Counting::Scheduled)?;
        if same_steps(&self.planned.plan, &without, |step| step.open_after) {
            return Ok(Some("each step leaves as many positions open as the schedule says".to_owned()));
        }
        let nothing =
            self.planned.policy.reads() != PlanPart::Counts && same_steps(&self.planned.plan, &without, times);
        Ok(nothing.then(|| format!("the policy {} commits by no count", self.planned.policy.name())))
    }

    fn end_time(&self) -> Result<Option<String>, GenerateError> {
        let is_set = self.settings().stepping.end_time > 0.0;
        let reason = self.speculates(is_set).or_else(|| is_set.then(|| self.one_step()).flatten());
        if !is_set || reason.is_some() || !self.settings().remasking.is_none() || self.reads_times() {
            return Ok(reason);
        }
        let without = self.plan_with(|settings| settings.stepping.end_time = 0.0)?;
        let nothing = self.reads_the_same(&without);
        Ok(nothing.then(|| "neither the network nor the policy reads times here".to_owned()))
    }

    fn leads(&self) -> Option<String> {
        let is_set = self.settings().stepping.leads;
        let nothing = is_set && !self.blocks().flatten().any(|step| step.leads && step.of > 1);
        let reason = || nothing.then(|| "no block of several steps begins with an open position".to_owned());
        self.speculates(is_set).or_else(reason)
    }

    fn blocks_from(&self) -> Option<String> {
        let is_set = self.settings().stepping.blocks_from != BlocksFrom::Text;
        let reason = match self.spec.attention {
            Layout::Block { .. } => "a block begins with the first open position anyway",
            Layout::Full | Layout::Causal | Layout::CausalPrefix { .. } => "the model's attention has no blocks",
        };
        (is_set && self.lead == 0).then(|| reason.to_owned())
    }

    fn self_speculation(&self) -> Option<String> {
        let nothing = Speculation::drafts_nothing(self.part, self.spec);
        nothing.then(|| "no block is long enough for a draft".to_owned())
    }

    fn unconditional_prompt(&self) -> Option<String> {
        let nothing = self.settings().unconditional_prompt.is_some() && !self.settings().is_guided();
        nothing.then(|| "guidance scale 1 reads no unconditional branch".to_owned())
    }

    fn classifier_candidates(&self) -> Option<String> {
        let classifier = self.settings().classifier()?;
        match classifier.method() {
            _ if classifier.scale() == 0.0 => Some("nothing is tried at a classifier scale of 0".to_owned()),
            ClassifierMethod::FirstOrder => Some("the gradient is of all tokens".to_owned()),
            ClassifierMethod::Exact => None,
        }
    }

    fn classifier_method(&self) -> Option<String> {
        let nothing = self.settings().classifier().is_some_and(|classifier| classifier.scale() == 0.0);
        nothing.then(|| "nothing is tried at a classifier scale of 0".to_owned())
    }

    fn edit_threshold(&self) -> Option<String> {
        let Settings { editing, .. } = self.settings();
        let free = |position: &usize| !self.planned.constrained.iter().any(|span| span.contains(*position));
        if editing.is_some() && !self.planned.blocks.iter().flatten().any(free) {
            return Some("tokens of constrained spans are not edited".to_owned());
        }
        // Where positions are deleted, the two tokens are predicted that are never written otherwise.
        editing.filter(|_| self.settings().length_tokens.is_none()).and_then(|_| self.one_pass())
    }

    fn edit_steps(&self) -> Option<String> {
        let Settings { editing, edit_steps, .. } = self.settings();
        let nothing = editing.is_none() && *edit_steps != Editing::STEPS;
        nothing.then(|| "nothing is edited at an edit threshold of 1".to_owned())
    }

    fn length_tokens(&self) -> Option<String> {
        let Settings { editing, length_tokens, .. } = self.settings();
        let nothing = editing.is_none() && length_tokens.is_some();
        nothing.then(|| "nothing is edited at an edit threshold of 1, and they are never written".to_owned())
    }

    fn guidance_scale(&self) -> Option<String> {
        let nothing = self.settings().is_guided() && !self.has_given();
        nothing.then(|| "nothing is given that the unconditional branch could hide".to_owned())
    }

    fn cache(&self) -> Option<String> {
        let rows = visible(&self.request.canvas, &self.request.ends);
        // The canvas is read at once for the blocks of all parts.
        let blocks = || self.tracks.iter().flat_map(|track| track.blocks.iter().zip(track.plan.blocks()));
        let several = || blocks().filter(|(_, block)| block.forwards() > 1);
        let refreshed = self.settings().cache_refresh == Some(1);
        match (self.settings().cache?, self.spec.attention) {
            (Cache::None, _) => None,
            (Cache::Exact, Layout::Block { length }) => {
                (rows.len() <= length).then(|| "the canvas is one block, and finished blocks are cached".to_owned())
            }
            (Cache::Exact, _) => None,
            (Cache::Prefix | Cache::Dual, _) if refreshed => Some("all rows are recomputed at every step".to_owned()),
            (Cache::Prefix | Cache::Dual, _) if several().count() == 0 => Some(ONE_STEP.to_owned()),
            (Cache::Prefix, _) => {
                let first = |block: &[usize]| block.first().is_none_or(|first| rows.first() >= Some(first));
                let nothing = several().all(|(block, _)| first(block));
                nothing.then(|| "the prefix cache holds what stands before a block, and nothing does".to_owned())
            }
            (Cache::Dual, _) => {
                let nothing = several().all(|(block, _)| block.len() >= rows.len());
                nothing.then(|| "the dual cache holds what is outside a block, and nothing is".to_owned())
            }
        }
    }

    fn cache_refresh(&self) -> Option<String> {
        let refresh = self.settings().cache_refresh?;
        if !matches!(self.cache_policy, Cache::Prefix | Cache::Dual) {
            return Some(format!("the cache is {}; only prefix and dual are approximate", self.cache_policy));
        }
        if refresh > 1
            && let Some(reason) = self.cache()
        {
            return Some(reason);
        }
        let most = self.tracks.iter().flat_map(|track| track.plan.blocks()).map(BlockPlan::forwards).max()?;
        (refresh >= most).then(|| format!("no block has more than {most} steps, and each begins with a refresh"))
    }

    fn churn(&self) -> Option<String> {
        self.settings().churn?;
        let again = self.settings().revise && self.process.point_size().is_none();
        self.one_step().or_else(|| again.then(|| "revise draws all noise again".to_owned()))
    }

    fn correctors(&self) -> Option<String> {
        (self.settings().correctors > 0).then(|| self.one_step()).flatten()
    }

    fn revise(&self) -> Option<String> {
        self.settings().revise.then(|| self.one_step()).flatten()
    }

    fn watermark(&self) -> Option<String> {
        let (settings, shaping) = (self.settings(), &self.settings().shaping);
        let mark = settings.watermark()?.mark();
        let free = |position: &usize| !self.planned.constrained.iter().any(|span| span.contains(*position));
        if !self.planned.blocks.iter().flatten().any(free) {
            return Some("a constraint draws the tokens of a text together".to_owned());
        }
        let is_cold = shaping.temperature == 0.0 && shaping.final_temperature.is_none_or(|last| last == 0.0);
        match mark {
            Mark::Draws(_) if is_cold => Some(format!("{GREEDY}, and the mark is in what is drawn")),
            Mark::Draws(_) if shaping.top_k == Some(1) => {
                Some(format!("{ONE_TOKEN}, and the mark is in what is drawn"))
            }
            Mark::Draws(_) | Mark::Logits(_) if settings.commit_likeliest && self.has_one_step() => {
                Some("the likeliest tokens are written".to_owned())
            }
            Mark::Order(_) if settings.stepping.self_speculation => Some(SPECULATES.to_owned()),
            Mark::Order(_) if !self.planned.constrained.is_empty() => Some("a constraint decides the order".to_owned()),
            Mark::Order(_) if !self.commits_early() => Some("nothing is committed before the last step".to_owned()),
            Mark::Order(_) => self.one_step(),
            Mark::Draws(_) | Mark::Logits(_) => None,
        }
    }

    /// Whether the policy reads the same in another plan of this request.
    fn reads_the_same(&self, other: &StepPlan) -> bool {
        let plan = &self.planned.plan;
        match self.planned.policy.reads() {
            PlanPart::Counts => same_steps(plan, other, |step| (step.index, step.open_after, step.share)),
            PlanPart::Staying => same_steps(plan, other, |step| (step.index, step.staying)),
            PlanPart::Nothing => same_steps(plan, other, |step| (step.index, step.of)),
        }
    }

    /// Whether the network is given the times of steps, or the process draws or reads noise by them.
    fn reads_times(&self) -> bool {
        // Under `revise` all noise is drawn again, as pure noise.
        let by_times = self.process.revises() && (!self.settings().revise || self.process.point_size().is_some());
        let evident = |step: &PlannedStep| {
            (0..self.spec.vocabulary_size as TokenId).any(|token| {
                self.process.evidence(token, step.from).is_some()
                    || self.process.shown_evidence(token, step.from) != 0.0
            })
        };
        // The first step begins with pure noise, which is evidence of nothing.
        self.spec.reads_time() || by_times || self.blocks().flatten().nth(1).is_some_and(evident)
    }

    /// The plan of the same request with other settings.
    fn plan_with(&self, change: impl FnOnce(&mut Settings)) -> Result<StepPlan, GenerateError> {
        let mut request = self.request.clone();
        change(&mut request.parts[self.part.number].settings);
        Ok(RequestPlan::new(&request, self.spec, self.process)?.tracks.remove(self.part.number).plan)
    }

    fn has_given(&self) -> bool {
        let canvas = &self.request.canvas;
        (0..canvas.len()).any(|position| canvas.kind(position) == Some(Kind::Given))
    }
}

/// When a step begins and ends, and where it stands in its block.
fn times(step: &PlannedStep) -> (usize, usize, Time, Time) {
    (step.index, step.of, step.from, step.to)
}

/// Whether something of each step is the same in two plans.
fn same_steps<T: PartialEq>(one: &StepPlan, other: &StepPlan, of: impl Fn(&PlannedStep) -> T) -> bool {
    let all = |plan: &StepPlan| -> Vec<T> { plan.blocks().iter().flat_map(|block| block.steps()).map(&of).collect() };
    all(one) == all(other)
}
