//! Experts whose matrices are read when rows are routed to them: the same logits to the bit, whatever stays in memory.

use super::{logits, open};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Cpu, CpuPath, Cuda, Device, WeightFormat};
use aquatint_diffusion::Layout;
use aquatint_network::{
    Denoiser, ExpertSource, InferenceNetwork, NetworkError, NetworkInput, ReadRows, RowLayout, StoredWeights,
    TensorData, WholeRows,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const FORMATS: [WeightFormat; 3] = [WeightFormat::F32, WeightFormat::Int8, WeightFormat::Int4 { group: 8 }];

/// Logits of the first rows of the golden canvas.
fn predict(network: &dyn Denoiser, name: &str, rows: usize) -> Result<Vec<f32>, NetworkError> {
    let tokens: Vec<u32> = logits(name).ids("plain.ids")[..rows].to_vec();
    let mut layout = RowLayout::default();
    layout.push(Layout::Full, tokens.len(), &[]);
    let (positions, visibility) = layout.finish().unwrap();
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    network.logits(&input, &(0..rows as u32).collect::<Vec<_>>())
}

fn check<D: Device>(name: &str, device: &D, formats: &[WeightFormat], rows: &[usize]) {
    let mut checkpoint = open(name);
    checkpoint.spec.attention = Layout::Full;
    for &format in formats {
        let whole = checkpoint.inference_network(device.clone(), format).unwrap();
        // Nothing stays, some of it, everything.
        for memory in [0, checkpoint.expert_memory(format) as usize / 2, usize::MAX] {
            let network = checkpoint.inference_network_within(device.clone(), format, memory).unwrap();
            for &rows in rows {
                let expected = predict(&whole, name, rows).unwrap();
                let given = predict(&network, name, rows).unwrap();
                let same = expected.iter().zip(&given).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{name} in {format:?} with {memory} bytes on {}", device.describe());
            }
            assert!(network.weight_bytes() <= whole.weight_bytes());
        }
    }
}

#[test]
fn logits_are_the_same_to_the_bit_whatever_stays_in_memory() {
    for name in ["llada_moe", "llada2_moe"] {
        for path in CpuPath::available() {
            // Several times, so that what stays is read as well.
            check(name, &Cpu::<f32>::new(path, 2).unwrap(), &FORMATS, &[8, 2, 8]);
        }
    }
    for device in Cuda::tested() {
        check("llada2_moe", &device, &FORMATS[1..2], &[2, 2]);
    }
}

/// Files hold the experts of a layer stacked there, and a dense part stands beside them.
#[test]
fn experts_of_gemma_are_read_from_their_stacks() {
    let (checkpoint, golden) = (open("diffusion_gemma"), logits("diffusion_gemma"));
    let bits = |network: &dyn Denoiser| -> Vec<u64> {
        let read = super::gemma::predicted(network, &golden, "plain", 2);
        read.given.into_iter().map(f64::to_bits).collect()
    };
    let device = Cpu::<f32>::new(CpuPath::best(), 2).unwrap();
    for format in FORMATS {
        let expected = bits(&checkpoint.inference_network(device.clone(), format).unwrap());
        for memory in [0, 1, checkpoint.expert_memory(format) as usize / 2, usize::MAX] {
            let network = checkpoint.inference_network_within(device.clone(), format, memory).unwrap();
            // The second time reads what has stayed.
            assert!(bits(&network) == expected && bits(&network) == expected, "{format:?} within {memory} bytes");
        }
    }
}

/// How often each matrix was read.
type Reads = Arc<Mutex<BTreeMap<String, usize>>>;

/// A network that counts what is read of each expert's matrix.
fn counting(checkpoint: &Checkpoint, memory: usize) -> (InferenceNetwork<Cpu<f32>>, Reads) {
    let reads = Reads::default();
    let all = checkpoint.build(|weights| {
        let tensors = checkpoint.spec.tensors().into_iter();
        Ok(tensors.filter_map(|tensor| Some((tensor.name.clone(), weights(&tensor.name)?))).collect::<BTreeMap<_, _>>())
    });
    let all = Arc::new(all.unwrap());
    let (given, counted) = (Arc::clone(&all), Arc::clone(&reads));
    let read = move |name: &str| {
        *counted.lock().unwrap().entry(name.to_owned()).or_default() += 1;
        given.get(name).cloned().ok_or_else(|| "it is not there".to_owned())
    };
    let network = InferenceNetwork::with_stored_weights(
        Cpu::<f32>::scalar(),
        checkpoint.spec.clone(),
        WeightFormat::F32,
        &mut |name, _| {
            assert!(!name.contains(".mlp.experts."), "{name} is read before a row is routed to it");
            all.get(name).cloned()
        },
        StoredWeights { table: None, experts: Some(ExpertSource { memory, read: Arc::new(read) }) },
    );
    (network.unwrap(), reads)
}

#[test]
fn only_experts_that_rows_are_routed_to_are_read_and_those_that_stay_once() {
    let mut checkpoint = open("llada2_moe");
    checkpoint.spec.attention = Layout::Full;
    let (network, reads) = counting(&checkpoint, usize::MAX);
    // One row goes to 4 of 16 experts in each of two layers, and each has three matrices.
    predict(&network, "llada2_moe", 1).unwrap();
    assert_eq!(reads.lock().unwrap().values().sum::<usize>(), 2 * 4 * 3);
    predict(&network, "llada2_moe", 1).unwrap();
    assert_eq!(reads.lock().unwrap().values().sum::<usize>(), 2 * 4 * 3, "what stays is not read again");
    predict(&network, "llada2_moe", 20).unwrap();
    assert!(reads.lock().unwrap().values().all(|&count| count == 1));
    assert!(reads.lock().unwrap().len() > 2 * 4 * 3);

    let (network, reads) = counting(&checkpoint, 0);
    for _ in 0..2 {
        predict(&network, "llada2_moe", 1).unwrap();
    }
    assert_eq!(reads.lock().unwrap().len(), 2 * 4 * 3);
    assert!(reads.lock().unwrap().values().all(|&count| count == 2), "without memory nothing stays");
}

#[test]
fn an_expert_that_cannot_be_read_is_named_by_the_pass_that_needs_it() {
    let checkpoint = open("llada_moe");
    let read = |name: &str| match name.contains("up_proj") {
        true => Err("the file is gone".to_owned()),
        false => Ok(TensorData::Real(vec![0.0; 64 * 48])),
    };
    let network = checkpoint.build(|weights| {
        let experts = ExpertSource { memory: 0, read: Arc::new(read) };
        let device = Cpu::<f32>::scalar();
        let spec = checkpoint.spec.clone();
        let stored = StoredWeights { table: None, experts: Some(experts) };
        let give = &mut |name: &str, _| weights(name);
        InferenceNetwork::with_stored_weights(device, spec, WeightFormat::F32, give, stored)
    });
    let error = predict(&network.unwrap(), "llada_moe", 1).unwrap_err().to_string();
    assert!(error.contains("up_proj.weight` could not be read: the file is gone"), "{error}");
}

#[test]
fn rows_of_the_embedding_table_are_read_when_tokens_are_and_make_the_same_logits() {
    let checkpoint = open("llada_moe");
    let (device, spec) = (Cpu::<f32>::scalar(), &checkpoint.spec);
    for format in [WeightFormat::F32, WeightFormat::Int8] {
        let whole = checkpoint.build(|weights| InferenceNetwork::new(device.clone(), spec.clone(), format, weights));
        let whole = whole.unwrap();
        let stored = checkpoint.inference_network(device.clone(), format).unwrap();
        assert!(stored.weight_bytes() < whole.weight_bytes(), "{format}");
        let bits = |network| predict(network, "llada_moe", 1).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&stored), bits(&whole), "{format}");
    }
    let unreadable = checkpoint.build(|weights| {
        let table: Arc<ReadRows> = Arc::new(|_: &[u32]| Err("the disk is gone".to_owned()));
        let give = &mut |name: &str, _| weights(name);
        let stored = StoredWeights { table: Some(table), experts: None };
        InferenceNetwork::with_stored_weights(device.clone(), spec.clone(), WeightFormat::F32, give, stored)
    });
    let error = predict(&unreadable.unwrap(), "llada_moe", 1).unwrap_err().to_string();
    assert_eq!(error, "the weights `model.embed_tokens.weight` could not be read: the disk is gone");
}
