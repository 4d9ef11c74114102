//! Folders of other people's families against what their own code makes of them (golden/NAME/README.md).

mod dense;
mod dit;
mod experts;
mod gemma;
mod on_demand;

use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Bits, Cpu, CpuPath, Cuda, Device, Memory, Quantised, WeightFormat};
use aquatint_diffusion::Layout;
use aquatint_network::{Denoiser, InferenceNetwork, NetworkInput, Role, RowLayout, TensorData, WholeRows};
use aquatint_testing::{Comparison, Golden};
use aquatint_vocabulary::Message;
use serde_json::Value;

/// What the READMEs allow, ten times the references' own errors against f64.
pub(crate) const TOLERANCE: f64 = 5e-4;

pub(crate) fn open(name: &str) -> Checkpoint {
    Checkpoint::load(&Golden::folder(name)).unwrap()
}

pub(crate) fn logits(name: &str) -> Golden {
    Golden::read(&Golden::folder(name).join("golden.safetensors"))
}

pub(crate) fn about(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(Golden::folder(name).join("golden.json")).unwrap()).unwrap()
}

/// A forward pass of the reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    /// Of the names of its tensors.
    pub(crate) prefix: &'static str,
    /// Of the names of its ids.
    pub(crate) ids: &'static str,
    pub(crate) layout: Layout,
    /// Where the current block begins; only its rows have logits.
    pub(crate) block: Option<usize>,
    /// The first so many sequences.
    pub(crate) sequences: usize,
}

impl Pass {
    pub(crate) fn whole(prefix: &'static str, layout: Layout) -> Self {
        Self { prefix, ids: prefix, layout, block: None, sequences: usize::MAX }
    }
}

/// The logits of a model, and those expected of it.
pub(crate) struct Logits {
    pub(crate) given: Vec<f64>,
    pub(crate) expected: Vec<f64>,
}

impl Logits {
    /// Those of sequences that are the rows of `PREFIX.ids` (or the first ones of `plain.ids`) without what a mask of the
    /// file hides, beside `PREFIX.logits`, which are those before a shift. The mask token itself, which no prediction has
    /// here, is left out.
    pub(crate) fn new(model: &dyn Denoiser, golden: &Golden, pass: Pass) -> Self {
        let Pass { prefix, layout, block, .. } = pass;
        let &[sequences, answered, size] = golden.shape(&format!("{prefix}.logits")) else { panic!("rows of logits") };
        let length = answered + block.unwrap_or(0);
        let own = format!("{}.ids", pass.ids);
        let all = golden.ids(if golden.has(&own) { &own } else { "plain.ids" });
        let hidden = format!("{prefix}.attention_mask");
        let observed: Vec<bool> = match golden.has(&hidden) {
            true => golden.values(&hidden).iter().map(|&observed| observed == 1.0).collect(),
            false => vec![true; sequences * length],
        };
        let (mut tokens, mut answering, mut rows) = (Vec::new(), Vec::new(), RowLayout::default());
        for sequence in 0..sequences.min(pass.sequences) {
            let places = sequence * length..(sequence + 1) * length;
            let inside: Vec<usize> = places.filter(|&place| observed[place]).collect();
            tokens.extend(inside.iter().map(|&place| all[place]));
            for (index, &place) in inside.iter().enumerate() {
                let before = if model.spec().head.logit_shift { index.checked_sub(1) } else { None };
                answering.push(before.map_or(place, |before| inside[before]));
            }
            match block {
                Some(block) => rows.push_behind(block, inside.len()),
                None => rows.push(layout, inside.len(), &[]),
            };
        }
        let (positions, visibility) = rows.finish().unwrap();
        let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
        let is_answered = |row: &u32| *row as usize % length >= block.unwrap_or(0);
        let rows: Vec<u32> = (0..tokens.len() as u32).filter(is_answered).collect();
        let given: Vec<f64> = model.logits(&input, &rows).unwrap().into_iter().map(f64::from).collect();
        let mask = model.spec().mask_token.map(|mask| mask as usize);
        let text = |row: &[f64]| -> Vec<f64> {
            row.iter().enumerate().filter(|(id, _)| Some(*id) != mask).map(|(_, value)| *value).collect()
        };
        let expected: Vec<&[f64]> = golden.values(&format!("{prefix}.logits")).chunks(size).collect();
        Self {
            given: given.chunks(size).flat_map(text).collect(),
            expected: match block {
                Some(_) => expected[..rows.len()].iter().flat_map(|row| text(row)).collect(),
                None => answering.into_iter().flat_map(|place| text(expected[place])).collect(),
            },
        }
    }
}

/// Compares the logits of a model with those of a pass of the reference.
pub(crate) fn compare(model: &dyn Denoiser, golden: &Golden, pass: Pass, words: &str, comparison: &mut Comparison) {
    let Logits { given, expected } = Logits::new(model, golden, pass);
    // The reference's tolerance is absolute, a comparison's is of the largest magnitude.
    let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    comparison.check(&format!("{words} {}", pass.prefix), &given, &expected, TOLERANCE / largest);
}

/// Compares the forward passes of a folder with the reference's on every path of the processor, and the first sequence of
/// the first of them on a GPU. `passes` are the names of tensors with the layout that the reference had, `None` for that
/// of config.json. For fewer bits see [`precisions`].
fn forwards(name: &str, passes: &[(&'static str, Option<Layout>)]) {
    let checkpoint = open(name);
    let whole = |&(prefix, layout): &(&'static str, Option<Layout>)| {
        Pass::whole(prefix, layout.unwrap_or(checkpoint.spec.attention))
    };
    compare_everywhere(name, &passes.iter().map(whole).collect::<Vec<Pass>>());
}

/// The same of passes that need not be whole.
fn compare_everywhere(name: &str, passes: &[Pass]) {
    let (checkpoint, golden, about) = (open(name), logits(name), about(name));
    let mut comparison = Comparison::new();
    for path in CpuPath::available() {
        compare_on(&checkpoint, &golden, (Cpu::<f32>::new(path, 1).unwrap(), passes), &mut comparison);
    }
    for device in Cuda::tested() {
        let words = device.describe();
        let network = checkpoint.inference_network(device, WeightFormat::F32).unwrap();
        compare(&network, &golden, Pass { sequences: 1, ..passes[0] }, &words, &mut comparison);
    }
    comparison.finish();
    precisions(&checkpoint, &about, &|network| Logits::new(network, &golden, passes[0]));
}

/// Compares fewer bits with the reference, whose own mean error in bf16 is the measure: 1.5 times that in bf16, three times
/// that in int8. In int4 weights differ from the reference's by more than any tolerance; there it is the network of what the
/// integers stand for, in f32, that is to be three times that away. `predict` gives logits of a network and the reference's.
pub(crate) fn precisions(checkpoint: &Checkpoint, about: &Value, predict: &dyn Fn(&dyn Denoiser) -> Logits) {
    let name = checkpoint.origin.to_string();
    let reference = about["about"]["plain"]["bf16_against_f32"]["mean"].as_f64().unwrap();
    let run = |format| predict(&checkpoint.inference_network(Cpu::<f32>::scalar(), format).unwrap());
    let check = |format: WeightFormat, times: f64, Logits { given, expected }: Logits| {
        let (error, allowed) = (mean_error(&given, &expected), times * reference);
        assert!(error > 0.0 && error < allowed, "{name} in {format}: {error} where {allowed} is allowed");
    };
    check(WeightFormat::Bf16, 1.5, run(WeightFormat::Bf16));
    check(WeightFormat::Int8, 3.0, run(WeightFormat::Int8));
    // Groups of 8 fit the few columns of these models.
    let format = WeightFormat::Int4 { group: 8 };
    let specs = checkpoint.spec.tensors();
    let stood_for = checkpoint.build(|weights| {
        InferenceNetwork::new(Cpu::<f32>::scalar(), checkpoint.spec.clone(), WeightFormat::F32, &mut |name| {
            let (tensor, values) = (specs.iter().find(|tensor| tensor.name == name)?, weights(name)?.into_real());
            let (bits, group) = match tensor.role {
                Role::Matrix => (Bits::Four, Some(8)),
                Role::Head => (Bits::Eight, None),
                _ => return Some(TensorData::Real(values)),
            };
            let matrix = Quantised::of(&values, (tensor.shape[0], tensor.shape[1]), bits, group).unwrap();
            Some(TensorData::Real(matrix.dequantise()))
        })
    });
    check(format, 3.0, Logits { expected: predict(&stood_for.unwrap()).given, ..run(format) });
}

fn mean_error(given: &[f64], expected: &[f64]) -> f64 {
    let sum: f64 = given.iter().zip(expected).map(|(given, expected)| (given - expected).abs()).sum();
    sum / given.len() as f64
}

#[test]
fn texts_and_conversations_are_those_of_their_own_code() {
    for (name, conversations) in [
        ("dream", 0),
        ("sdar", 7),
        ("fast_dllm_v2", 4),
        ("a2d_qwen2", 0),
        ("a2d_qwen3", 4),
        ("mmada", 0),
        ("nemotron_labs_diffusion", 0),
        ("llada_moe", 1),
        ("rnd1", 0),
        ("sdar_moe", 4),
        ("llada2_moe", 4),
    ] {
        let (checkpoint, about) = (open(name), about(name));
        assert!(checkpoint.unknown_keys.is_empty(), "{name}: {:?}", checkpoint.unknown_keys);
        assert_eq!(about["chat"]["cases"].as_array().map_or(0, Vec::len), conversations, "{name}");
        texts(&checkpoint, &about);
        // Which reads again what it writes.
        checkpoint.description().config().unwrap();
    }
}

#[test]
fn tokens_have_the_roles_that_their_own_code_gives_them() {
    use aquatint_vocabulary::Role;
    for (name, expected) in [
        ("dream", ["<|mask|>", "<|endoftext|>", "<|endoftext|>", "<|beginoftext|>"]),
        ("sdar", ["<|MASK|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("fast_dllm_v2", ["|<MASK>|", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("a2d_qwen3", ["<|mask|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("mmada", ["<|mdm_mask|>", "<|endoftext|>", "<|endoftext|>", "<|startoftext|>"]),
        ("llada_moe", ["<|mask|>", "<|endoftext|>", "<|endoftext|>", "<|startoftext|>"]),
        ("llada2_moe", ["<|mask|>", "<|endoftext|>", "<|endoftext|>", "<|startoftext|>"]),
        ("rnd1", ["<|mask|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
        ("sdar_moe", ["<|MASK|>", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"]),
    ] {
        let vocabulary = open(name).vocabulary;
        let roles = [Role::Mask, Role::End, Role::Pad, Role::Begin];
        assert_eq!(roles.map(|role| vocabulary.token_text(vocabulary.role(role).unwrap())), expected, "{name}");
    }
}

fn compare_on<D: Device>(
    checkpoint: &Checkpoint,
    golden: &Golden,
    (device, passes): (D, &[Pass]),
    comparison: &mut Comparison,
) {
    let words = device.describe();
    let learns = checkpoint.network(device.clone()).unwrap();
    let runs = checkpoint.inference_network(device, WeightFormat::F32).unwrap();
    for &pass in passes {
        compare(&learns, golden, pass, &format!("on {words}, learning,"), comparison);
        compare(&runs, golden, pass, &format!("on {words}, running,"), comparison);
    }
}

/// Checks the tokenizer, and the chat template where the reference has conversations.
pub(crate) fn texts(checkpoint: &Checkpoint, about: &Value) {
    let ids = |value: &Value| -> Vec<u32> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    for case in about["tokenizer"].as_array().unwrap() {
        let tokens = checkpoint.vocabulary.encode_marked(case["text"].as_str().unwrap()).unwrap();
        assert_eq!(tokens, ids(&case["ids"]), "{case}");
        // Special tokens are no text here.
        if !tokens.iter().any(|&token| checkpoint.vocabulary.is_special(token)) {
            assert_eq!(checkpoint.vocabulary.decode(&tokens), case["decoded"].as_str().unwrap());
        }
    }
    for case in about["chat"]["cases"].as_array().into_iter().flatten() {
        let mut template = checkpoint.chat_template().unwrap();
        if let Some(thinks) = case["enable_thinking"].as_bool() {
            template = template.with_variable("enable_thinking", thinks);
        }
        let turns = case["messages"].as_array().unwrap().iter();
        let turns: Vec<Message> =
            turns.map(|turn| Message::new(turn["role"].as_str().unwrap(), turn["content"].as_str().unwrap())).collect();
        let text = template.render(&turns, case["add_generation_prompt"].as_bool().unwrap()).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{}", case["name"]);
        assert_eq!(checkpoint.vocabulary.encode_marked(&text).unwrap(), ids(&case["ids"]), "{}", case["name"]);
    }
}
