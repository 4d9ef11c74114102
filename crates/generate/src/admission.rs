//! Whether a request can be served, and what serving it takes: all that is decided before its first step.

use crate::blocks_from::CountedBlocks;
use crate::classifier;
use crate::confidence::Confidence;
use crate::constrained::ConstrainedSpan;
use crate::guidance;
use crate::left_to_right;
use crate::limits::Demand;
use crate::model::Model;
use crate::part::{self, PartOf, readable};
use crate::speculation::{self, most_passes};
use crate::{BlocksFrom, Cache, GenerateError, Request, Settings};
use aquatint_diffusion::PositionState::{Committed, Given};
use aquatint_diffusion::{
    Axes, Canvas, CommitPolicy, Domain, Kind, Layout, LengthTokens, PlanSettings, Process, SettingError, StepPlan,
    TokenId,
};
use aquatint_network::{NetworkKind, NetworkSpec};
use std::sync::Arc;

/// A request that can be served, with its plan. It holds no noise yet, so that one that waits takes little memory.
pub(crate) struct Admission {
    pub(crate) request: Request,
    pub(crate) planned: RequestPlan,
    pub(crate) demand: Demand,
}

/// How a request will be served: what follows from its canvas, its settings, the network and the process.
pub(crate) struct RequestPlan {
    pub(crate) tracks: Vec<TrackPlan>,
    pub(crate) cache: Cache,
    /// By how many positions the first block of the text is shorter than the others.
    pub(crate) lead: usize,
}

/// How the positions of a track will be filled.
pub(crate) struct TrackPlan {
    /// The open positions of each block.
    pub(crate) blocks: Vec<Vec<usize>>,
    /// Which blocks begin with a step in which the row before them answers for their first position.
    pub(crate) openings: Vec<bool>,
    /// For each of them, whether it is whole when it is filled, and no sub-block with another one behind it.
    pub(crate) ends_block: Vec<bool>,
    pub(crate) plan: StepPlan,
    pub(crate) policy: Arc<dyn CommitPolicy>,
    pub(crate) constrained: Vec<ConstrainedSpan>,
    /// `None` where no position is inserted or deleted.
    pub(crate) lengths: Option<Lengths>,
}

/// How positions are inserted and deleted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    pub(crate) tokens: LengthTokens,
    /// What an open position shows.
    pub(crate) noise: TokenId,
}

impl Admission {
    /// Checks a request against the network and plans its steps.
    pub(crate) fn new(request: Request, model: &Model<'_>) -> Result<Self, GenerateError> {
        let planned = RequestPlan::new(&request, model.spec(), model.process)?;
        let demand = demand(&request, planned.cache, model);
        Ok(Self { request, planned, demand })
    }
}

impl RequestPlan {
    /// Checks a request against the network and plans its steps.
    pub(crate) fn new(request: &Request, spec: &NetworkSpec, process: &dyn Process) -> Result<Self, GenerateError> {
        check(&request.canvas, spec, process)?;
        part::check(request, spec, process)?;
        check_domains(&request.canvas, spec)?;
        if matches!(spec.attention, Layout::CausalPrefix { .. }) {
            left_to_right::check_order(request, spec)?;
        }
        let first = request.part(0).settings();
        let cache = first.cache.unwrap_or_else(|| Cache::of(spec));
        cache.check(spec, first.block_length)?;
        let lead = lead(request, spec)?;
        let tracks = request.each_part().map(|part| TrackPlan::new(part, lead, spec, process));
        Ok(Self { tracks: tracks.collect::<Result<_, _>>()?, cache, lead })
    }
}

impl TrackPlan {
    /// Checks a part against the network and plans its steps.
    fn new(part: PartOf<'_>, lead: usize, spec: &NetworkSpec, process: &dyn Process) -> Result<Self, GenerateError> {
        let (request, settings) = (part.request, part.settings());
        if spec.kind() == NetworkKind::Causal {
            left_to_right::check(part, spec)?;
        }
        let has_prefix = matches!(spec.attention, Layout::CausalPrefix { .. });
        check_tokens(settings, spec)?;
        guidance::check_prompt(part, spec, process)?;
        speculation::check(part, spec, process)?;
        let open = part.open();
        let blocks = match settings.stepping.self_speculation {
            // A draft begins wherever the one before it ended.
            true => vec![open],
            false => divide(&open, settings.block_length, spec.attention, lead)?,
        };
        classifier::check(part, &blocks, spec, process)?;
        if !process.revises()
            && let Some((parameter, given)) = revising(settings)
        {
            let process = process.name();
            return Err(GenerateError::Setting(SettingError {
                parameter,
                given,
                allowed: format!("nothing, since the process {process} leaves open positions as they are"),
                hint: Some("remasking takes back what is committed".to_owned()),
            }));
        }
        if process.revises() && settings.stepping.leads {
            return Err(GenerateError::Setting(SettingError {
                parameter: "leads",
                given: "true".to_owned(),
                allowed: format!("false, since the process {} writes all open positions at every step", process.name()),
                hint: None,
            }));
        }
        if let Some(editing) = settings.editing.filter(|_| process.revises()) {
            return Err(GenerateError::Setting(SettingError {
                parameter: "edit_threshold",
                given: editing.threshold().to_string(),
                allowed: format!("1, since the process {} writes open positions until they are final", process.name()),
                hint: Some("remasking takes back what is committed".to_owned()),
            }));
        }
        let lengths = lengths_of(settings, process)?;
        let constrained = ConstrainedSpan::all(part, spec.vocabulary_size, process)?;
        let policy = settings.policy.clone().unwrap_or_else(|| process.policy());
        let policy = ConstrainedSpan::restrict(&constrained, policy);
        // The first position of a block is answered by the row before it, in a pass of its own; a decoder answers for all
        // of its block.
        let first = (0..request.canvas.len()).find(|position| request.canvas.kind(*position) != Some(Kind::Padding));
        let opens = has_prefix && !spec.tells_current() && !settings.stepping.self_speculation;
        let openings = blocks.iter().map(|block| opens && block.first().copied() > first).collect::<Vec<bool>>();
        let sizes = blocks.iter().zip(&openings).map(|(block, opening)| block.len() - usize::from(*opening));
        let sizes: Vec<usize> = sizes.collect();
        // A block of one position takes one step.
        let steps = if spec.kind() == NetworkKind::Causal { 1 } else { settings.steps };
        let plan = PlanSettings {
            correctors: settings.correctors,
            churn: settings.churn,
            counting: settings.stepping.counting,
            end_time: settings.stepping.end_time,
            leads: &leads(&blocks, settings, spec, lead),
            lengths: &block_lengths(&blocks, part, spec.attention, lead),
            all_steps: settings.revise && settings.stability.is_some(),
            edits: settings.editing.map_or(0, |editing| editing.steps()),
            ..PlanSettings::new(steps, process.schedule(), policy.as_ref(), &settings.remasking, &settings.grid)
        };
        let plan = StepPlan::with_settings(&sizes, &plan)?;
        let ends_block = ends_block(&blocks, spec.attention, lead);
        Ok(Self { blocks, openings, ends_block, plan, policy, constrained, lengths })
    }
}

impl RequestPlan {
    /// Steps over all blocks of all tracks.
    pub(crate) fn total_forwards(&self) -> usize {
        self.tracks.iter().map(|track| track.plan.total_forwards()).sum()
    }
}

impl TrackPlan {
    /// Forward passes of a block, at most, of which a guided one counts twice on top of that.
    pub(crate) fn forward_passes_of(&self, block: usize, settings: &Settings) -> usize {
        match settings.stepping.self_speculation {
            true => most_passes(self.blocks[block].len()),
            false => self.plan.blocks()[block].forwards() + usize::from(self.openings[block]),
        }
    }

    /// Canvases that a classifier reads over all blocks, at most.
    pub(crate) fn classifier_passes(&self, settings: &Settings, model: &Model<'_>) -> usize {
        let Some(classifier) = &settings.classifier else { return 0 };
        let of_position = classifier.passes(model.spec());
        // What is written once is tried once.
        let is_once = self.chooses_before(settings, model.process);
        let of = |(number, block): (usize, &Vec<usize>)| {
            let steps = self.forward_passes_of(number, settings);
            let written = if is_once { block.len() } else { block.len().saturating_mul(steps) };
            // Each step reads the canvas as it stands, too.
            written.saturating_mul(of_position).saturating_add(steps)
        };
        self.blocks.iter().enumerate().map(of).fold(0, usize::saturating_add)
    }

    /// Whether the policy may choose by predictions what is then drawn in another way: where a step writes what it chooses and
    /// nothing else, nothing of it is written again, and no mark chooses in its stead.
    pub(crate) fn chooses_before(&self, settings: &Settings, process: &dyn Process) -> bool {
        let revises = process.revises() || settings.revise || self.lengths.is_some();
        let is_marked = settings.marks_order() && self.constrained.is_empty();
        !revises && !is_marked && settings.remasking.is_none() && settings.stability.is_none()
    }
}

/// Whether the network can take this canvas, under this process.
pub(crate) fn check(canvas: &Canvas, spec: &NetworkSpec, process: &dyn Process) -> Result<(), GenerateError> {
    if process.first_token().is_some() != (spec.kind() == NetworkKind::Causal) {
        return Err(GenerateError::ForeignProcess { process: process.name(), attention: spec.attention });
    }
    let length = readable(canvas);
    let stays = |position: &usize| matches!(canvas.state(*position), Some(Given | Committed));
    let given: Vec<usize> = (0..canvas.len()).filter(stays).collect();
    // Blocks see only what came before them, so that the network may read the last of it alone.
    let fits = |length: usize| length <= spec.context_length;
    let slides = spec.attention.slides() && spec.attention.block_length().is_some_and(fits);
    if length > spec.context_length && !slides {
        let context_length = spec.context_length;
        return Err(GenerateError::TooLong { length, given: given.len(), context_length });
    }
    if canvas.open_positions().is_empty() {
        return Err(GenerateError::NothingOpen);
    }
    match given.into_iter().find(|position| canvas.tokens()[*position] as usize >= spec.vocabulary_size) {
        Some(position) => Err(GenerateError::ForeignToken {
            position,
            token: canvas.tokens()[position],
            vocabulary_size: spec.vocabulary_size,
        }),
        None => Ok(()),
    }
}

/// By how many positions the first block of a text is shorter, so that its first open position begins a block where the
/// settings count from there.
fn lead(request: &Request, spec: &NetworkSpec) -> Result<usize, GenerateError> {
    let (Layout::Block { length }, BlocksFrom::Hole) =
        (spec.attention, request.part(0).settings().stepping.blocks_from)
    else {
        return Ok(0);
    };
    let first = request.canvas.open_positions().first().copied().unwrap_or(0);
    let lead = first.next_multiple_of(length.max(1)) - first;
    let rows = readable(&request.canvas);
    if lead > 0 && rows > spec.context_length {
        return Err(GenerateError::Setting(SettingError {
            parameter: "blocks_from",
            given: BlocksFrom::Hole.to_string(),
            allowed: format!("text where a canvas of {rows} is longer than the context of {}", spec.context_length),
            hint: None,
        }));
    }
    Ok(lead)
}

/// How positions are inserted and deleted, where they are.
fn lengths_of(settings: &Settings, process: &dyn Process) -> Result<Option<Lengths>, GenerateError> {
    let Some(tokens) = settings.length_tokens.filter(|_| settings.editing.is_some()) else { return Ok(None) };
    let refuse = |parameter, given: String, allowed: &str| {
        let hint = Some("at an edit threshold of 1 nothing is inserted or deleted".to_owned());
        Err(GenerateError::Setting(SettingError { parameter, given, allowed: allowed.to_owned(), hint }))
    };
    if !settings.remasking.is_none() {
        return refuse("remasking", settings.remasking.to_string(), "none, where positions are inserted and deleted");
    }
    let noise = process.noise_tokens();
    for (parameter, token) in [("delete_token", tokens.delete()), ("insert_token", tokens.insert())] {
        if noise.contains(&token) {
            return refuse(parameter, format!("{token}, the mask"), "a token that the model writes");
        }
    }
    match noise.first() {
        Some(&noise) => Ok(Some(Lengths { tokens, noise })),
        None => refuse("insert_token", tokens.insert().to_string(), "nothing, since no token of the process is noise"),
    }
}

/// A setting for processes that revise open positions, by its name, with its value.
fn revising(settings: &Settings) -> Option<(&'static str, String)> {
    let correctors = (settings.correctors > 0).then(|| ("correctors", settings.correctors.to_string()));
    let revise = settings.revise.then(|| ("revise", true.to_string()));
    let churn = settings.churn.map(|churn| ("churn", churn.to_string()));
    correctors.or(revise).or(churn)
}

/// Whether every token that a setting names is one of the network's.
fn check_tokens(settings: &Settings, spec: &NetworkSpec) -> Result<(), GenerateError> {
    let size = spec.vocabulary_size;
    let prompt = settings.unconditional_prompt.iter().flatten().map(|token| ("unconditional_prompt", *token));
    let biased = settings.logit_bias.iter().map(|(token, _)| ("logit_bias", *token));
    let suppressed = settings.choice.suppressed.iter().map(|token| ("suppress_tokens", *token));
    let deferred = settings.choice.deferred.iter().map(|token| ("defer_tokens", *token));
    let end = settings.choice.end.map(|token| ("end_token", token));
    let lengths = settings.length_tokens.iter();
    let lengths = lengths.flat_map(|tokens| [("delete_token", tokens.delete()), ("insert_token", tokens.insert())]);
    let mut all = biased.chain(suppressed).chain(deferred).chain(prompt).chain(end).chain(lengths);
    match all.find(|(_, token)| *token as usize >= size) {
        Some((parameter, token)) => Err(GenerateError::Setting(SettingError {
            parameter,
            given: format!("for token {token}"),
            allowed: format!("for tokens below {size}, the size of the model's vocabulary"),
            hint: Some("tokens are named by the ids of this model's own tokenizer".to_owned()),
        })),
        None => Ok(()),
    }
}

/// Whether the model has the tokens of every domain, and its positions can lie in rows where those of a span do.
fn check_domains(canvas: &Canvas, spec: &NetworkSpec) -> Result<(), GenerateError> {
    let refuse = |given: String, allowed: String, hint: &str| {
        let hint = Some(hint.to_owned());
        Err(GenerateError::Setting(SettingError { parameter: "domain", given, allowed, hint }))
    };
    let size = spec.vocabulary_size;
    for (number, span) in canvas.spans().iter().enumerate().filter(|(_, span)| span.domain != Domain::ANY) {
        let Domain { ids, axes } = &span.domain;
        if ids.is_empty() || ids.end as usize > size {
            let given = format!("tokens {} to {} in span {number}", ids.start, ids.end);
            let allowed = format!("one token or more, below {size}, the size of the model's vocabulary");
            return refuse(given, allowed, "choose a model that has the codes of the span");
        }
        if let Axes::Grid { rows, columns } = axes {
            let given = format!("{rows} rows of {columns} in span {number}");
            if spec.kind() == NetworkKind::Causal {
                return refuse(
                    given,
                    "a line, since a causal model writes one token after another".to_owned(),
                    "choose a diffusion model",
                );
            }
            let length = readable(canvas);
            if length > spec.context_length {
                let allowed =
                    format!("a line where a canvas of {length} is longer than the context of {}", spec.context_length);
                return refuse(given, allowed, "shorten the canvas");
            }
        }
    }
    Ok(())
}

/// The open positions of each block: those of the settings where every position sees all others, those of the layout
/// where blocks are what the network was trained on, and each by itself where the network is causal. Behind a causal prefix
/// blocks are counted from the first open position, and the settings may have another length.
fn divide(
    open: &[usize],
    block_length: Option<usize>,
    layout: Layout,
    lead: usize,
) -> Result<Vec<Vec<usize>>, GenerateError> {
    if layout == Layout::Causal {
        return Ok(open.iter().map(|position| vec![*position]).collect());
    }
    let counted = match layout {
        Layout::CausalPrefix { length } => Some(block_length.or(Some(length))),
        Layout::Full => Some(block_length),
        Layout::Block { .. } | Layout::Causal => None,
    };
    if let Some(block_length) = counted {
        return Ok(StepPlan::divide(open, block_length)?.into_iter().map(<[usize]>::to_vec).collect());
    }
    let length = layout.block_length().unwrap_or(1);
    // Parts of a block are sub-blocks, filled from left to right (Fast-dLLM v2, 2509.26328).
    if let Some(given) = block_length.filter(|given| *given == 0 || !length.is_multiple_of(*given)) {
        return Err(GenerateError::Setting(SettingError {
            parameter: "block_length",
            given: given.to_string(),
            allowed: format!("{length}, or a divisor of it for sub-blocks"),
            hint: Some("the network was trained on blocks of this length; leave it out".to_owned()),
        }));
    }
    let blocks = CountedBlocks::new(block_length.unwrap_or(length), lead);
    Ok(open.chunk_by(|a, b| blocks.of(*a) == blocks.of(*b)).map(<[usize]>::to_vec).collect())
}

/// The positions of each block, open or not, where the network has blocks of its own; none where it has not.
fn block_lengths(blocks: &[Vec<usize>], part: PartOf<'_>, layout: Layout, lead: usize) -> Vec<usize> {
    let Layout::Block { length } = layout else { return Vec::new() };
    let counted = CountedBlocks::new(part.settings().block_length.unwrap_or(length), lead);
    let counts = |position: &usize| !matches!(part.request.canvas.kind(*position), Some(Kind::Padding) | None);
    let of = |block: &Vec<usize>| {
        let number = block.first().map_or(0, |first| counted.of(*first));
        (counted.start(number)..counted.start(number + 1)).filter(counts).count()
    };
    blocks.iter().map(of).collect()
}

/// Which of the blocks have no sub-block of the same block of the layout behind them.
fn ends_block(blocks: &[Vec<usize>], layout: Layout, lead: usize) -> Vec<bool> {
    let whole = |first: Option<&usize>| match layout {
        Layout::Block { length } => first.map(|first| CountedBlocks::new(length, lead).of(*first)),
        Layout::Full | Layout::Causal | Layout::CausalPrefix { .. } => None,
    };
    let next = blocks.iter().skip(1).map(|block| whole(block.first())).chain([None]);
    blocks.iter().zip(next).map(|(block, next)| next.is_none() || next != whole(block.first())).collect()
}

/// The blocks that begin with a step for their first position alone: of a network of blocks, those whose first position is
/// open.
fn leads(blocks: &[Vec<usize>], settings: &Settings, spec: &NetworkSpec, lead: usize) -> Vec<bool> {
    let begins = |first: usize| match spec.attention {
        Layout::Block { length } => CountedBlocks::new(length, lead).begin_with(first),
        Layout::Full => true,
        // The one has single positions, the other a pass of its own for them.
        Layout::Causal | Layout::CausalPrefix { .. } => false,
    };
    let leads = |block: &Vec<usize>| settings.stepping.leads && block.first().is_some_and(|first| begins(*first));
    blocks.iter().map(leads).collect()
}

/// What a request takes at most.
fn demand(request: &Request, cache: Cache, model: &Model<'_>) -> Demand {
    let spec = model.spec();
    let length = readable(&request.canvas).min(spec.context_length);
    let (readings, of_parts) = guidance::readings(request);
    let (branches, is_guided) = (readings.len(), of_parts.iter().any(Option::is_some));
    let reads_rows = |settings: &Settings| settings.marks_draws() || settings.classifier.is_some();
    let measures =
        request.parts.iter().any(|part| Confidence::of(&part.settings).is_some() || reads_rows(&part.settings));
    // Of a classifier also those that it guides.
    let classified = usize::from(request.part(0).settings().classifier.is_some());
    // Whole rows of the vocabulary: logits that are kept; with self-conditioning also the prediction, and its rows in the pass.
    let whole = match spec.self_conditioning {
        Some(_) => 3,
        None => usize::from(is_guided || measures) + classified,
    };
    // Joint draws take the row, its f32 logits again, and in f64 its shaped logits and two lists of weights.
    let whole = if request.constraints.is_empty() { whole } else { whole + 8 };
    // The points that the canvas holds and those in the pass.
    let points = 2 * model.process.point_size().unwrap_or(0);
    let numbers = whole.saturating_mul(spec.vocabulary_size).saturating_add(points);
    let cached = if cache == Cache::None { 0 } else { model.denoiser.kv_cache_bytes(length) };
    let bytes = length.saturating_mul(numbers).saturating_mul(size_of::<f32>()).saturating_add(cached);
    // What a classifier reads at once comes on top of that.
    let (read, logits) = request.part(0).settings().classifier.as_ref().map_or((0, 0), |classifier| {
        let canvases = classifier.at_once(length, spec);
        (canvases * length, canvases * classifier.target().len() * spec.vocabulary_size * size_of::<f32>())
    });
    Demand { rows: branches * length + read, bytes: bytes.saturating_mul(branches).saturating_add(logits) }
}
