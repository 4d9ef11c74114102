//! Commit policies: which of the proposed tokens become final at a step.
//!
//! Policies are pure functions of a step, a proposal and a key; none holds state, so one serves any number of requests.

mod ancestral;
mod confidence;
mod dynamic;
mod entropy;
mod entropy_bound;
mod factor;
mod first_hitting;
mod last;
mod learnt;
mod margin;
mod random;
mod sequential;
mod threshold;

pub use ancestral::Ancestral;
pub use confidence::Confidence;
pub use dynamic::Dynamic;
pub use entropy::Entropy;
pub use entropy_bound::{EntropyBound, ErrorProxy};
pub use factor::Factor;
pub use first_hitting::FirstHitting;
pub use last::Last;
pub use learnt::{Drawn, Learnt};
pub use margin::Margin;
pub use random::Random;
pub use sequential::Sequential;
pub use threshold::Threshold;

use crate::error::Named;
use crate::random::Purpose;
use crate::{Candidate, Key, OrderNetwork, Proposal, SettingError, Step};
use std::fmt::Debug;
use std::sync::Arc;

/// The positions that become final at a step, ascending; their tokens are those of the proposal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The positions.
    pub positions: Vec<usize>,
}

/// A rule for what becomes final.
///
/// Every policy commits the whole proposal at a last step, so that nothing is left open. All methods are required, so
/// that a policy that wraps another one cannot forget to delegate a method.
pub trait CommitPolicy: Debug + Send + Sync {
    /// Its name, its number included; one of those here is found again by [`by_name`] under it.
    fn name(&self) -> String;

    /// Chooses among the positions of the proposal. What is drawn for a position depends on the key, the position and
    /// the step only.
    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit;

    /// How many steps to plan for a block of `open` positions where `requested` are requested: no more than can commit
    /// something.
    fn steps(&self, open: usize, requested: usize) -> usize;

    /// What of the plan its choice depends on, beside whether a step is the last one.
    fn reads(&self) -> PlanPart;
}

/// What of the plan of a step a policy reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanPart {
    /// How many positions to commit.
    Counts,
    /// How probable it is that a position stays noisy.
    Staying,
    /// Nothing: the predictions or the draws alone say what is committed.
    Nothing,
}

/// The policy of a name: `confidence`, `margin`, `entropy`, `random`, `sequential`, `ancestral`, `first-hitting`,
/// `last`, `threshold:τ` and `dynamic:τ` (0.9 where left out), `factor:f` (1 where left out), `entropy-bound:γ` and
/// `entropy-bound-by-confidence:γ` (0.1 where left out). `learnt` belongs to a model: see [`by_name_with`].
///
/// # Errors
/// When there is no such name or its number does not fit.
pub fn by_name(name: &str) -> Result<Arc<dyn CommitPolicy>, SettingError> {
    of_name(&Named::parse("policy", name, NAMES))
}

/// The policies that need no network, as they are named.
const NAMES: &str = "confidence, margin, entropy, random, sequential, ancestral, first-hitting, last, threshold:PROBABILITY, \
     dynamic:PROBABILITY, factor:FACTOR, entropy-bound:NATS, entropy-bound-by-confidence:NATS";

fn of_name(named: &Named<'_>) -> Result<Arc<dyn CommitPolicy>, SettingError> {
    let bound = || EntropyBound::new(named.number(Some(0.1), "of 0 or more", EntropyBound::allows)?);
    Ok(match named.word {
        "confidence" => named.plain(Arc::new(Confidence))?,
        "margin" => named.plain(Arc::new(Margin))?,
        "entropy" => named.plain(Arc::new(Entropy))?,
        "random" => named.plain(Arc::new(Random))?,
        "sequential" => named.plain(Arc::new(Sequential))?,
        "ancestral" => named.plain(Arc::new(Ancestral))?,
        "first-hitting" => named.plain(Arc::new(FirstHitting))?,
        "last" => named.plain(Arc::new(Last))?,
        "threshold" => Arc::new(Threshold::new(named.number(Some(0.9), "from 0 to 1", Threshold::allows)?)?),
        "dynamic" => Arc::new(Dynamic::new(named.number(Some(0.9), "from 0 to 1", Dynamic::allows)?)?),
        "factor" => Arc::new(Factor::new(named.number(Some(1.0), "above 0", Factor::allows)?)?),
        "entropy-bound" => Arc::new(bound()?),
        "entropy-bound-by-confidence" => Arc::new(bound()?.by(ErrorProxy::Confidence)),
        "low-confidence" | "low_confidence" => return Err(named.refuse().with_hint("its right name is `confidence`")),
        _ => return Err(named.refuse()),
    })
}

/// The policy of a name where a model has this learnt order: one of those of [`by_name`], or `learnt:P` (0.5 where left out).
///
/// # Errors
/// As there, and when the order is named and there is none.
pub fn by_name_with(name: &str, order: Option<&Arc<OrderNetwork>>) -> Result<Arc<dyn CommitPolicy>, SettingError> {
    let allowed = match order {
        Some(_) => format!("learnt:PROBABILITY, {NAMES}"),
        None => format!("{NAMES}; the model has no learnt order"),
    };
    let named = Named::parse("policy", name, &allowed);
    if named.word != Learnt::NAME {
        return match order {
            Some(_) => of_name(&named),
            None => by_name(name),
        };
    }
    let probability = named.number(Some(Learnt::PROBABILITY), "from 0 to 1", Learnt::allows)?;
    match order {
        Some(order) => Ok(Arc::new(Learnt::new(Arc::clone(order), probability)?)),
        None => Err(named.refuse().with_hint(
            "`objective.kind = \"order\"` trains one for a model; `MODEL+FOLDER` opens the model with it (docs/TUNING.md)",
        )),
    }
}

/// The `count` positions of the highest scores; the earlier position where scores are equal.
fn highest(proposal: &Proposal, count: usize, score: impl Fn(usize, &Candidate) -> f64) -> Commit {
    let mut scored: Vec<(f64, usize)> = proposal.iter().map(|(p, candidate)| (score(p, candidate), p)).collect();
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    ascending(scored.into_iter().take(count).map(|(_, position)| position))
}

/// The steps of a policy that commits at least one position at each.
fn one_at_least(open: usize, requested: usize) -> usize {
    requested.min(open)
}

/// How many positions a counting policy commits.
fn count(step: &Step, proposal: &Proposal) -> usize {
    if step.is_last() { proposal.len() } else { step.commits }
}

fn everything(proposal: &Proposal) -> Commit {
    Commit { positions: proposal.positions().to_vec() }
}

fn ascending(positions: impl Iterator<Item = usize>) -> Commit {
    let mut positions: Vec<usize> = positions.collect();
    positions.sort_unstable();
    Commit { positions }
}

/// One uniform draw for each position and step.
fn uniform(key: Key, position: usize, step: &Step) -> f64 {
    key.fold(Purpose::Commit as u64).at(position as u64, step.planned.number).uniform()
}
