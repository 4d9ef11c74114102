//! Writes a folder with random weights of any shape, to measure what loading and stepping a model of that size takes.
//!
//! Run with: `cargo run --release -p aquatint-checkpoint --example random_folder -- golden/llada/config.json target/random-llada int8`, or with a
//! file of `benches/networks` for a real shape.
//!
//! The first argument is a `config.json`, the last one the numbers of the matrices: f32, bf16, f16, int8 or int4 (groups
//! of 32 and a head of 8 bits, as `aquatint quantize --bits 4 --head 8` writes them). Tensors are made and written one by
//! one, so that the largest of them is all that is in memory. The tokenizer has the bytes and the tokens that
//! `config.json` names.

use aquatint_checkpoint::{
    CheckpointError, Description, GenerationDefaults, PlannedTensor, QuantisePlan, Storage, save_planned,
};
use aquatint_compute::{Bits, Quantised};
use aquatint_network::families::{self, Object};
use aquatint_network::{Role, TensorData, TensorSpec};
use aquatint_vocabulary::{RoleFile, Vocabulary};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// Half the width of the interval in which weights lie, for the usual standard deviation of 0.02.
const WIDTH: f32 = 0.034_64;

/// What the last argument may be.
const NUMBERS: [&str; 5] = ["f32", "bf16", "f16", "int8", "int4"];

fn main() -> ExitCode {
    match write() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, folder, numbers] = &arguments[..] else {
        return Err(format!("usage: random_folder CONFIG.json FOLDER {}", NUMBERS.join("|")).into());
    };
    let text = std::fs::read(config).map_err(|error| format!("`{config}` cannot be read: {error}"))?;
    let mut config: Value = serde_json::from_slice(&text).map_err(|error| format!("`{config}` is no JSON: {error}"))?;
    let family = families::of_config(&config)?;
    if config["mask_token_id"].is_null() && family.facts().mask_token.is_some() {
        // The tokenizer of such a family says which token it is, and there is none yet. The last one is; with any, the
        // description says how many there are.
        config["mask_token_id"] = 0.into();
        config["mask_token_id"] = families::from_config(&config)?.vocabulary_size.saturating_sub(1).into();
    }
    let spec = families::from_config(&config)?;
    if !NUMBERS.contains(&numbers.as_str()) {
        return Err(format!("the numbers are `{numbers}`; allowed: {}", NUMBERS.join(", ")).into());
    }
    let integers = match numbers.as_str() {
        "int8" => Some(QuantisePlan { bits: Bits::Eight, group: None, head: true }),
        "int4" => Some(QuantisePlan { bits: Bits::Four, group: Some(32), head: true }),
        _ => None,
    };
    let storage = if integers.is_some() { Storage::Bf16 } else { numbers.parse()? };
    let tensors = spec.tensors();
    let real = |tensor: &TensorSpec| PlannedTensor {
        name: families::file_name(family, &tensor.name),
        shape: tensor.shape.clone(),
        integers: None,
    };
    let (planned, quantisation) = match integers {
        Some(plan) => plan.tensors(family, &spec, &|_| folder.clone()).map(|(planned, how)| (planned, Some(how)))?,
        None => (tensors.iter().map(real).collect(), None),
    };
    let roles = family.roles(config.as_object().unwrap_or(&Object::new()));
    let stated = json!({
        "mask_token_id": roles.mask, "eos_token_id": roles.end, "pad_token_id": roles.pad, "bos_token_id": roles.begin,
    });
    let named = [roles.mask, roles.end, roles.pad, roles.begin];
    let mut vocabulary = Vocabulary::from_json(tokenizer(&named).to_string().as_bytes())?;
    vocabulary.assign_roles(&[RoleFile { name: "config.json", contents: &stated }], spec.vocabulary_size)?;
    let generation = GenerationDefaults::default();
    let description = Description {
        family,
        spec: &spec,
        vocabulary: &vocabulary,
        codecs: &[],
        generation: &generation,
        tokenizer_config: None,
    };
    let mut state = 7;
    save_planned(Path::new(folder), &description, (&planned, quantisation.as_ref()), storage, &mut |index| {
        let tensor = &tensors[index];
        Ok(Cow::Owned(match planned[index].integers {
            Some(kind) => TensorData::Quantised(random_integers(tensor, kind, &mut state)?),
            None => TensorData::Real(random(tensor, &mut state)),
        }))
    })?;
    Ok(())
}

/// Matrices are uniform, norms are 1 and biases 0.
fn random(tensor: &TensorSpec, state: &mut u64) -> Vec<f32> {
    if tensor.role == Role::Vector {
        return vec![if tensor.name.contains("norm") { 1.0 } else { 0.0 }; tensor.len()];
    }
    let mut values = Vec::with_capacity(tensor.len() + 1);
    while values.len() < tensor.len() {
        let bits = next(state);
        let halves = [bits as u32, (bits >> 32) as u32];
        values.extend(halves.map(|half| half.cast_signed() as f32 * (WIDTH / 2_147_483_648.0)));
    }
    values.truncate(tensor.len());
    values
}

/// Integers of the same width; to round real numbers would take much longer.
fn random_integers(
    tensor: &TensorSpec,
    (bits, group): (Bits, usize),
    state: &mut u64,
) -> Result<Quantised, CheckpointError> {
    let mut values = Vec::with_capacity(tensor.len() + size_of::<u64>());
    let (lowest, highest) = bits.range();
    while values.len() < tensor.len() {
        let bytes = next(state).to_le_bytes().map(u8::cast_signed);
        values.extend(bytes.map(|byte| if bits == Bits::Four { byte >> 4 } else { byte.max(lowest) }));
    }
    values.truncate(tensor.len());
    let scales = vec![WIDTH / f32::from(highest); tensor.len() / group];
    Quantised::from_parts(bits, tensor.rows_and_columns(), group, values, scales)
        .map_err(|source| CheckpointError::Quantised { name: tensor.name.clone(), file: tensor.name.clone(), source })
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// A byte-level tokenizer without merges that has tokens up to the last named one.
fn tokenizer(named: &[Option<u32>]) -> Value {
    let special: std::collections::BTreeSet<u32> = named.iter().copied().flatten().collect();
    let printable = |byte: u32| (33..=126).contains(&byte) || (161..=172).contains(&byte) || byte >= 174;
    let mut unprintable = 256..;
    let alphabet = (0..256).map(|byte| if printable(byte) { byte } else { unprintable.next().unwrap_or(byte) });
    let mut bytes = alphabet.filter_map(char::from_u32);
    let mut vocabulary = Object::new();
    for id in 0..special.last().map_or(256, |last| (last + 1).max(256)) {
        let token = bytes.next().map_or_else(|| format!("<{id}>"), String::from);
        vocabulary.insert(token, id.into());
    }
    let names: Vec<String> = vocabulary.keys().cloned().collect();
    let added = special.iter().map(|&id| {
        json!({
            "id": id, "content": names[id as usize], "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    let level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null, "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": [],
        },
    })
}
