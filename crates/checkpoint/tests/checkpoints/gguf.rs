//! Files of llama.cpp's converter against the weights and logits that they stand for (golden/gguf/README.md).

use crate::families::{TOLERANCE, about, logits, open, texts};
use aquatint_checkpoint::{Checkpoint, CheckpointError};
use aquatint_compute::{Bits, Cpu, CpuPath, Cuda, Device, WeightFormat};
use aquatint_network::{Denoiser, NetworkInput, RowLayout, WholeRows};
use aquatint_testing::{Comparison, Golden};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

const FILES: [&str; 4] = ["llada-f32", "llada-q8_0", "llada-q4_0", "dream-q4_k_m"];

fn path(name: &str) -> PathBuf {
    Golden::folder("gguf").join(format!("{name}.gguf"))
}

fn load(name: &str) -> Checkpoint {
    Checkpoint::load(&path(name)).unwrap()
}

/// The logits of the tokens of a file, which are one canvas, without those of the mask.
fn given(model: &dyn Denoiser, golden: &Golden, name: &str) -> Vec<f64> {
    let tokens: Vec<u32> = golden.ids(&format!("{name}.ids"));
    let mut rows = RowLayout::default();
    rows.push(model.spec().attention, tokens.len(), &[]);
    let (positions, visibility) = rows.finish().unwrap();
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    let rows: Vec<u32> = (0..tokens.len() as u32).collect();
    text(&model.logits(&input, &rows).unwrap().into_iter().map(f64::from).collect::<Vec<_>>(), model)
}

/// Those of the reference, which are those before a shift: of the row that answers for each position.
fn expected(model: &dyn Denoiser, golden: &Golden, name: &str) -> Vec<f64> {
    let rows: Vec<&[f64]> =
        golden.values(&format!("{name}.logits_dequantised")).chunks(model.spec().vocabulary_size).collect();
    let shift = usize::from(model.spec().head.logit_shift);
    text(&(0..rows.len()).map(|row| rows[row.saturating_sub(shift)]).collect::<Vec<_>>().concat(), model)
}

fn text(logits: &[f64], model: &dyn Denoiser) -> Vec<f64> {
    let mask = model.spec().mask_token.map(|mask| mask as usize);
    let rows = logits.chunks(model.spec().vocabulary_size);
    rows.flat_map(|row| row.iter().enumerate().filter(|(id, _)| Some(*id) != mask).map(|(_, value)| *value)).collect()
}

fn compare<D: Device>(name: &str, device: D, golden: &Golden, comparison: &mut Comparison) {
    let words = format!("{name} on {}", device.describe());
    let network = load(name).network(device).unwrap();
    let expected = expected(&network, golden, name);
    let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    comparison.check(&words, &given(&network, golden, name), &expected, TOLERANCE / largest);
}

#[test]
fn logits_are_those_of_the_numbers_that_the_blocks_stand_for() {
    let golden = logits("gguf");
    let mut comparison = Comparison::new();
    for name in FILES {
        for path in CpuPath::available() {
            compare(name, Cpu::<f32>::new(path, 1).unwrap(), &golden, &mut comparison);
        }
    }
    for device in Cuda::tested() {
        compare("llada-q8_0", device, &golden, &mut comparison);
    }
    comparison.finish();
}

#[test]
fn integers_stay_integers_and_are_as_near_as_those_of_llama_cpp() {
    let (golden, about) = (logits("gguf"), about("gguf"));
    for (name, bits) in [("llada-q8_0", Bits::Eight), ("llada-q4_0", Bits::Four)] {
        let checkpoint = load(name);
        assert_eq!(checkpoint.weights.bits("model.transformer.blocks.0.q_proj.weight"), Some(bits));
        let network = checkpoint.inference_network(Cpu::<f32>::scalar(), WeightFormat::F32).unwrap();
        let expected = expected(&network, &golden, name);
        let given = given(&network, &golden, name);
        let error = given.iter().zip(&expected).map(|(a, b)| (a - b).abs()).sum::<f64>() / expected.len() as f64;
        let file = &about["about"]["files"][format!("{name}.gguf")];
        let theirs = file["llama_cpp_against_dequantised"]["mean"].as_f64().unwrap();
        assert!(error > 0.0 && error < 2.0 * theirs, "{name}: {error} where llama.cpp has {theirs}");
    }
}

#[test]
fn a_file_of_f32_has_the_numbers_of_its_folder_to_the_bit() {
    let (file, folder) = (load("llada-f32"), open("llada"));
    assert_eq!(file.spec, folder.spec);
    assert_eq!(file.weights.names().collect::<Vec<_>>(), folder.weights.names().collect::<Vec<_>>());
    for name in folder.weights.names() {
        assert_eq!(file.weights.read(name).unwrap(), folder.weights.read(name).unwrap(), "{name}");
    }
    assert_eq!(file.size(), folder.size());
}

#[test]
fn the_tokenizer_of_the_metadata_is_that_of_the_folder() {
    for (file, name) in [("llada-f32", "llada"), ("dream-q4_k_m", "dream")] {
        let (checkpoint, folder) = (load(file), open(name));
        texts(&checkpoint, &about(name));
        for role in aquatint_vocabulary::Role::ALL {
            assert_eq!(checkpoint.vocabulary.role(role), folder.vocabulary.role(role), "{name}: {role:?}");
        }
    }
}

#[test]
fn a_tokenizer_beside_the_file_is_taken_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.gguf");
    fs::copy(path("llada-f32"), &file).unwrap();
    let other = Golden::folder("llada").join("tokenizer.json");
    let text = fs::read_to_string(other).unwrap().replace("\"use_regex\": true", "\"use_regex\": false");
    fs::write(folder.path().join("tokenizer.json"), text).unwrap();
    let tokens = |checkpoint: &Checkpoint| checkpoint.vocabulary.encode("the river and the fox").unwrap();
    let checkpoint = Checkpoint::load(&file).unwrap();
    // Without a rule that splits words, merges may reach over a blank; what is written is the same.
    assert_eq!(checkpoint.vocabulary.decode(&tokens(&checkpoint)), "the river and the fox");
    fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    assert!(matches!(Checkpoint::load(&file), Err(CheckpointError::Vocabulary(_))));
}

/// A file as llama.cpp's converter writes it from a folder of experts: those of a layer one after another, all in f32. Its
/// tokenizer lies beside it.
fn convert(folder: &Checkpoint, architecture: &str, keys: &[(&str, u32)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let key = |name: &str, kind: u32, value: &[u8]| [text(name).as_slice(), &kind.to_le_bytes(), value].concat();
    let attention = folder.spec.layers[0].attention;
    let (heads, epsilon) = (attention.heads as u32, folder.spec.norm.epsilon() as f32);
    let mut entries = vec![key("general.architecture", 8, &text(architecture))];
    for (name, value) in [
        ("block_count", folder.spec.layers.len() as u32),
        ("context_length", folder.spec.context_length as u32),
        ("embedding_length", folder.spec.width as u32),
        ("attention.head_count", heads),
        ("attention.head_count_kv", attention.key_value_heads as u32),
    ]
    .iter()
    .chain(keys)
    {
        entries.push(key(&format!("{architecture}.{name}"), 4, &value.to_le_bytes()));
    }
    entries.push(key(&format!("{architecture}.attention.layer_norm_rms_epsilon"), 6, &epsilon.to_le_bytes()));
    let theta = attention.rope.theta as f32;
    entries.push(key(&format!("{architecture}.rope.freq_base"), 6, &theta.to_le_bytes()));
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for name in folder.weights.names() {
        let there = [
            ("model.embed_tokens", "token_embd"),
            ("model.norm", "output_norm"),
            ("lm_head", "output"),
            ("model.layers.", "blk."),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_norm", "attn_q_norm"),
            ("self_attn.k_norm", "attn_k_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate.", "ffn_gate_inp."),
        ];
        let there = there.iter().fold(name.to_owned(), |name, (here, there)| name.replace(here, there));
        let (shape, values) = (folder.weights.shape(name).unwrap().to_vec(), folder.weights.read(name).unwrap());
        let part = |name: &str| {
            name.replace("gate_proj", "ffn_gate").replace("up_proj", "ffn_up").replace("down_proj", "ffn_down")
        };
        match there.split_once("mlp.experts.") {
            None => tensors.push((part(&there.replace("mlp.", "")), shape, values)),
            Some((layer, rest)) => {
                let (expert, rest) = rest.split_once('.').unwrap();
                let name = format!("{layer}{}", part(rest).replace(".weight", "_exps.weight"));
                match tensors.iter_mut().find(|(known, _, _)| *known == name) {
                    // By name, ten experts would not come in order.
                    Some((_, all, gathered)) if all[0] == expert.parse::<usize>().unwrap() => {
                        all[0] += 1;
                        gathered.extend(values);
                    }
                    Some(_) => panic!("expert {expert} out of order"),
                    None => tensors.push((name, [&[1], &shape[..]].concat(), values)),
                }
            }
        }
    }
    let mut file = [b"GGUF".as_slice(), &3_u32.to_le_bytes()].concat();
    file.extend([tensors.len() as u64, entries.len() as u64].into_iter().flat_map(u64::to_le_bytes));
    entries.iter().for_each(|entry| file.extend(entry));
    let mut offset = 0_u64;
    for (name, shape, values) in &tensors {
        file.extend(text(name));
        file.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|size| file.extend((*size as u64).to_le_bytes()));
        file.extend(0_u32.to_le_bytes());
        file.extend(offset.to_le_bytes());
        offset += (4 * values.len() as u64).next_multiple_of(32);
    }
    for (_, _, values) in &tensors {
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

#[test]
fn experts_of_a_layer_are_taken_apart() {
    let moe = [("expert_count", 8), ("expert_used_count", 3), ("expert_feed_forward_length", 48)];
    let rnd1 = [
        ("expert_count", 8),
        ("expert_used_count", 2),
        ("expert_feed_forward_length", 48),
        ("feed_forward_length", 160),
        ("attention.key_length", 16),
    ];
    for (name, architecture, keys) in [("llada_moe", "llada-moe", &moe[..]), ("rnd1", "rnd1", &rnd1)] {
        let expected = open(name);
        let folder = tempfile::tempdir().unwrap();
        for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
            fs::copy(Golden::folder(name).join(file), folder.path().join(file)).unwrap();
        }
        let file = folder.path().join("model.gguf");
        fs::write(&file, convert(&expected, architecture, keys)).unwrap();
        let given = Checkpoint::load(&file).unwrap();
        assert_eq!(given.spec, expected.spec, "{name}");
        assert_eq!(given.weights.names().collect::<Vec<_>>(), expected.weights.names().collect::<Vec<_>>());
        for name in expected.weights.names() {
            assert_eq!(given.weights.read(name).unwrap(), expected.weights.read(name).unwrap(), "{name}");
        }
        given.network(Cpu::<f32>::scalar()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_change_of_a_gguf_file_is_read_or_refused(
        changes in prop::collection::vec((0_usize..9600, any::<u8>()), 1..4),
        length in prop::option::of(0_usize..12_000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.gguf");
        let mut bytes = fs::read(path("llada-q4_0")).unwrap();
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        bytes.truncate(length.unwrap_or(bytes.len()));
        fs::write(&file, bytes).unwrap();
        if let Err(error) = Checkpoint::load(&file).and_then(|checkpoint| checkpoint.network(Cpu::<f32>::scalar())) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
