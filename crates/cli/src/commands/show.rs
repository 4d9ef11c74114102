//! `aquatint show`: what a model is, without reading its weights.

use crate::arguments::{ReportFormat, ShowArguments};
use crate::failure::Failure;
use crate::machine::{bytes, count};
use crate::model;
use crate::printer::Printer;
use aquatint::runtime;
use aquatint_checkpoint::{Checkpoint, ModelCodec, Quantisation, Scheme};
use aquatint_compute::WeightFormat;
use aquatint_diffusion::Axes;
use aquatint_diffusion::policy::Learnt;
use aquatint_network::{AdapterSpec, LayerSpec, NetworkKind, NetworkSpec};
use serde_json::{Value, json};

/// The number formats in which matrices are kept, by the names of `--precision`.
const PRECISIONS: [(&str, WeightFormat); 4] = [
    ("f32", WeightFormat::F32),
    ("bf16", WeightFormat::Bf16),
    ("int8", WeightFormat::Int8),
    ("int4", WeightFormat::Int4 { group: WeightFormat::DEFAULT_GROUP }),
];

pub(crate) fn run(arguments: &ShowArguments, printer: &Printer) -> Result<(), Failure> {
    let checkpoint = model::open(arguments.model.as_deref(), printer)?;
    match arguments.format {
        ReportFormat::Json => {
            let (parameters, size) = weight(&checkpoint);
            printer.data_line(json!({
                "name": checkpoint.origin.to_string(),
                "family": checkpoint.family.facts().model_type,
                "parameters": parameters,
                "active_parameters": checkpoint.spec.active_parameter_count(),
                "bytes": size,
                "memory": memory_as_json(&checkpoint),
                "available_memory": runtime::memory().map(|memory| memory.available),
                "adapters": checkpoint.spec.adapters.iter().map(|adapter| &adapter.name).collect::<Vec<_>>(),
                "quantisation": checkpoint.quantisation.as_ref().map(description),
                "config": checkpoint.description().config()?,
                "generation": checkpoint.description().generation,
            }))
        }
        ReportFormat::Human => printer.data(describe(&checkpoint)),
    }
}

/// How quantised matrices are kept, for scripts.
fn description(quantisation: &Quantisation) -> Value {
    let scheme =
        |scheme: &Scheme| json!({ "format": scheme.format(), "bits": scheme.bits.count(), "group": scheme.group });
    quantisation.schemes.iter().map(scheme).collect()
}

/// What the weights take in memory in each number format, null where it cannot hold them, and whether this machine has room
/// for it now, null where the system does not say.
fn memory_as_json(checkpoint: &Checkpoint) -> Value {
    let available = runtime::memory().map(|memory| memory.available);
    let entries = PRECISIONS.iter().map(|(name, format)| {
        let bytes = checkpoint.undivided_columns(*format).is_none().then(|| checkpoint.memory(*format));
        let fits = bytes.map_or(Some(false), |bytes| available.map(|available| bytes <= available));
        ((*name).to_owned(), json!({ "bytes": bytes, "fits": fits }))
    });
    Value::Object(entries.collect())
}

/// The same in words. What is available is told where something does not fit.
fn memory(checkpoint: &Checkpoint) -> String {
    let available = runtime::memory().map_or(u64::MAX, |memory| memory.available);
    let mut any_too_large = false;
    let text = PRECISIONS.map(|(name, format)| {
        if let (Some(columns), WeightFormat::Int4 { group }) = (checkpoint.undivided_columns(format), format) {
            return format!("not possible as {name}: rows of {columns} columns are no whole groups of {group}");
        }
        let size = checkpoint.memory(format);
        let is_too_large = size > available;
        any_too_large |= is_too_large;
        let fits = if is_too_large { " (does not fit here)" } else { "" };
        format!("{} as {name}{fits}", bytes(size))
    });
    let text = text.join(", ");
    match any_too_large {
        true => format!("{text}; {} are available", bytes(available)),
        false => text,
    }
}

/// Parameters, and bytes in the files.
pub(crate) fn weight(checkpoint: &Checkpoint) -> (u64, u64) {
    checkpoint.size()
}

/// The model in lines of name and value.
pub(crate) fn describe(checkpoint: &Checkpoint) -> String {
    let spec = &checkpoint.spec;
    let (parameters, size) = weight(checkpoint);
    let active = checkpoint.spec.active_parameter_count() as u64;
    let active = if active < parameters { format!(", {} of them active", count(active)) } else { String::new() };
    // Matrices that are quantised have a line of their own.
    let storage = match (checkpoint.storage(), &checkpoint.quantisation) {
        (Some(storage), None) => format!(" as {}", storage.to_lowercase()),
        (Some(storage), Some(_)) => format!(", what is not quantised as {}", storage.to_lowercase()),
        (None, _) => String::new(),
    };
    let heads = each_layer(spec, |layer| {
        let attention = layer.attention;
        let queries = format!("{} of {}", attention.heads, attention.head_size);
        match attention.key_value_heads {
            same if same == attention.heads => queries,
            fewer => format!("{queries} over {fewer} keys and values"),
        }
    });
    let feed_forward = each_layer(spec, |layer| layer.feed_forward.kind.to_string());
    let mut extras: Vec<String> = Vec::new();
    for option in spec.layers.iter().flat_map(LayerSpec::options) {
        if !extras.iter().any(|extra| extra == option) {
            extras.push(option.to_owned());
        }
    }
    if spec.head.tied {
        extras.push("tied head".to_owned());
    }
    if let Some(time) = spec.time_conditioning {
        extras.push(match spec.reads_time() {
            true => format!("time conditioning ({} features)", time.features),
            false => "modulation without time".to_owned(),
        });
    }
    if spec.head.bias {
        extras.push("head bias".to_owned());
    }
    if let Some(cap) = spec.head.soft_cap {
        extras.push(format!("soft cap {cap}"));
    }
    if spec.self_conditioning.is_some() {
        extras.push("self-conditioning".to_owned());
    }
    if extras.is_empty() {
        extras.push("none".to_owned());
    }
    let begin = if checkpoint.vocabulary.text_begin().is_some() { ", a begin token in front of each text" } else { "" };
    let mut rows = vec![
        ("model", checkpoint.origin.to_string()),
        ("family", checkpoint.family.facts().model_type.to_owned()),
        ("parameters", format!("{}{active} ({}{storage})", count(parameters), bytes(size))),
        ("memory", memory(checkpoint)),
        ("network", format!("{} layers, width {}, feed-forward {feed_forward}", spec.layers.len(), spec.width)),
        ("heads", heads),
        ("attention", spec.attention.to_string()),
        ("process", process(spec)),
        ("extras", extras.join(", ")),
        ("vocabulary", format!("{} tokens{begin}", spec.vocabulary_size)),
        ("context", format!("{} positions", spec.context_length)),
    ];
    if let Some(quantisation) = &checkpoint.quantisation {
        rows.insert(3, ("quantised", quantisation.to_string()));
    }
    if !checkpoint.codecs.is_empty() {
        rows.push(("codecs", checkpoint.codecs.iter().map(codec).collect::<Vec<_>>().join(", ")));
    }
    for adapter in &spec.adapters {
        rows.push(("adapter", describe_adapter(adapter, spec)));
    }
    if let Some(order) = &checkpoint.generation.order {
        let weights: usize = order.weights().iter().map(Vec::len).sum();
        rows.push(("order", format!("{} parameters, by `--policy {}`", count(weights as u64), Learnt::NAME)));
    }
    rows.push(("defaults", defaults(checkpoint.description().generation)));
    rows.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect()
}

/// What an adapter adds, and to what.
fn describe_adapter(adapter: &AdapterSpec, spec: &NetworkSpec) -> String {
    let mut ranks: Vec<usize> = adapter.matrices.values().map(|addition| addition.rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
    let (matrices, parameters) = (adapter.matrices.len(), adapter.parameter_count(spec) as u64);
    format!("{} (rank {}, {matrices} matrices, {})", adapter.name, ranks.join(" and "), count(parameters))
}

/// What a span of a codec holds.
fn codec(codec: &ModelCodec) -> String {
    let codes = codec.domain.ids.len();
    match codec.domain.axes {
        Axes::Grid { rows, columns } => format!("{} ({codes} codes, {rows} rows of {columns})", codec.name),
        Axes::Line => format!("{} ({codes} codes in a line)", codec.name),
    }
}

/// What is said of layers, once for neighbours of which the same is said.
fn each_layer(spec: &NetworkSpec, say: impl Fn(&LayerSpec) -> String) -> String {
    let mut all: Vec<String> = spec.layers.iter().map(say).collect();
    all.dedup();
    all.join(", then ")
}

/// What the network undoes.
fn process(spec: &NetworkSpec) -> String {
    match spec.kind() {
        NetworkKind::Causal => "none: from left to right, token by token".to_owned(),
        NetworkKind::Diffusion(process) => format!("{}, {} schedule", process.kind, process.schedule),
    }
}

/// The model's own sampling settings, ids left out.
fn defaults(generation: &aquatint_checkpoint::GenerationDefaults) -> String {
    let Ok(Value::Object(map)) = serde_json::to_value(generation) else { return "none".to_owned() };
    let known: Vec<String> = map
        .iter()
        .filter(|(key, value)| !key.ends_with("_token_id") && !value.is_null() && !generation.others.contains_key(*key))
        .map(|(key, value)| match value {
            // Fifty numbers are no help.
            Value::Array(_) => format!("{key} of its own"),
            _ => format!("{key} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        })
        .collect();
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}
