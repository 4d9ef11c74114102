//! Folders of other people's families against what their own code makes of them (golden/NAME/README.md).

mod dense;
mod dit;
mod experts;

use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Cpu, CpuPath, Cuda, Device, Memory, WeightFormat};
use aquatint_diffusion::Layout;
use aquatint_network::{Denoiser, NetworkInput, RowLayout, WholeRows};
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
struct Logits {
    given: Vec<f64>,
    expected: Vec<f64>,
}

impl Logits {
    /// Those of sequences that are the rows of `PREFIX.ids` (or the first ones of `plain.ids`) without what a mask of the
    /// file hides, beside `PREFIX.logits`, which are those before a shift. The mask token itself, which no prediction has
    /// here, is left out.
    fn new(model: &dyn Denoiser, golden: &Golden, pass: Pass) -> Self {
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
        let input = NetworkInput {
            tokens: &tokens,
            points: None,
            positions: &positions,
            visibility: &visibility,
            times: None,
            self_conditioning: None,
        };
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

    fn mean_error(&self) -> f64 {
        let sum: f64 = self.given.iter().zip(&self.expected).map(|(given, expected)| (given - expected).abs()).sum();
        sum / self.given.len() as f64
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
/// of config.json. In bf16 the mean error is to be of the order of the reference's own, in int8 of three times that.
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
    let reference = about["about"]["plain"]["bf16_against_f32"]["mean"].as_f64().unwrap();
    for (format, allowed) in [(WeightFormat::Bf16, 1.5 * reference), (WeightFormat::Int8, 3.0 * reference)] {
        let network = checkpoint.inference_network(Cpu::<f32>::scalar(), format).unwrap();
        let error = Logits::new(&network, &golden, passes[0]).mean_error();
        assert!(error > 0.0 && error < allowed, "{name} in {format}: {error} where {allowed} is allowed");
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
