//! MDLM, BD3-LM and SEDD: layer norms, fused projections, biases and conditions.

use super::{Logits, TOLERANCE, about, forwards, logits, open, precisions, texts};
use aquatint_checkpoint::{Checkpoint, Storage};
use aquatint_compute::{Cpu, CpuPath, Cuda, Memory, Visibility, WeightFormat};
use aquatint_diffusion::Layout;
use aquatint_network::{Denoiser, Learner, LossRow, NetworkInput, NetworkSpec, RowLayout, TimeInput, WholeRows};
use aquatint_testing::{Comparison, Golden};
use aquatint_vocabulary::Role;

const NAMES: [&str; 3] = ["mdlm", "bd3lm", "sedd"];

/// Sequences of one length that see themselves, and the noise of each, `1 − α`.
struct Sequences<'a> {
    tokens: &'a [u32],
    length: usize,
    times: Option<&'a [f32]>,
}

/// The logits at all rows.
fn predicted(model: &dyn Denoiser, sequences: &Sequences<'_>) -> Vec<f64> {
    let Sequences { tokens, length, times } = *sequences;
    let positions: Vec<u32> = (0..tokens.len()).map(|row| (row % length) as u32).collect();
    let visibility = Visibility::full(&vec![length; tokens.len() / length]);
    let input = NetworkInput { times, ..NetworkInput::of_tokens(tokens, &positions, &visibility) };
    let rows: Vec<u32> = (0..tokens.len() as u32).collect();
    model.logits(&input, &rows).unwrap().into_iter().map(f64::from).collect()
}

/// Calls `check` with a network on every path of the processor and on a GPU.
fn on_devices(checkpoint: &Checkpoint, mut check: impl FnMut(&dyn Denoiser, &str)) {
    for path in CpuPath::available() {
        let device = Cpu::<f32>::new(path, 1).unwrap();
        check(&checkpoint.inference_network(device, WeightFormat::F32).unwrap(), &path.to_string());
    }
    for device in Cuda::tested() {
        let words = device.describe();
        check(&checkpoint.inference_network(device, WeightFormat::F32).unwrap(), &words);
    }
}

/// Compares numbers within the references' absolute tolerance, leaving out the column of the mask.
fn compare(words: &str, spec: &NetworkSpec, given: &[f64], expected: &[f64], comparison: &mut Comparison) {
    let mask = spec.mask_token.unwrap() as usize;
    let text = |numbers: &[f64]| -> Vec<f64> {
        numbers.chunks(spec.vocabulary_size).flat_map(|row| [&row[..mask], &row[mask + 1..]].concat()).collect()
    };
    let (given, expected) = (text(given), text(expected));
    let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    comparison.check(words, &given, &expected, TOLERANCE / largest);
}

/// The noise `1 − α` of a total noise σ.
fn noise(sigma: f64) -> f32 {
    -(-sigma).exp_m1() as f32
}

#[test]
fn mdlm_predicts_what_its_own_code_does() {
    forwards("mdlm", &[("plain", None)]);
}

#[test]
fn mdlm_reads_sigma_where_its_config_says_so() {
    let golden = logits("mdlm");
    let mut checkpoint = open("mdlm");
    let time = checkpoint.spec.time_conditioning.as_mut().unwrap();
    assert_eq!(time.input, TimeInput::Nothing);
    time.input = TimeInput::Sigma { largest: 1000f64.ln() };
    let config = checkpoint.description().config().unwrap();
    assert_eq!(config["time_conditioning"], true);
    let times: Vec<f32> = golden.values("conditioned.sigma").iter().map(|sigma| noise(*sigma)).collect();
    let tokens = golden.ids("plain.ids");
    let sequences = Sequences { tokens: &tokens, length: 32, times: Some(&times) };
    let mut comparison = Comparison::new();
    on_devices(&checkpoint, |model, words| {
        let given = predicted(model, &sequences);
        compare(words, &checkpoint.spec, &given, golden.values("conditioned.logits"), &mut comparison);
    });
    comparison.finish();
}

#[test]
fn masked_rows_have_the_log_probabilities_of_subs() {
    let (golden, checkpoint) = (logits("mdlm"), open("mdlm"));
    let model = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    let size = checkpoint.spec.vocabulary_size;
    let mask = checkpoint.spec.mask_token.unwrap();
    let tokens = &golden.ids("plain.ids")[..32];
    let positions: Vec<u32> = (0..32).collect();
    let visibility = Visibility::full(&[32]);
    let input = NetworkInput::of_tokens(tokens, &positions, &visibility);
    let masked: Vec<usize> = (0..32).filter(|row| tokens[*row] == mask).collect();
    assert!(masked.len() > 3, "{} rows are masked", masked.len());
    let row = |row: &usize| (0..mask).map(|target| LossRow { row: *row as u32, target, weight: 1.0 }).collect();
    let rows: Vec<LossRow> = masked.iter().flat_map(|at| -> Vec<LossRow> { row(at) }).collect();
    let given: Vec<f64> = model.nll(&input, &rows).unwrap().iter().map(|nll| -nll).collect();
    let expected = golden.values("subs.log_probabilities");
    let expected: Vec<f64> = masked.iter().flat_map(|row| expected[row * size..][..mask as usize].to_vec()).collect();
    let largest = expected.iter().fold(1.0f64, |most, value| most.max(value.abs()));
    let mut comparison = Comparison::new();
    comparison.check("log-probabilities", &given, &expected, TOLERANCE / largest);
    comparison.finish();
}

#[test]
fn bd3lm_predicts_block_after_block_what_its_own_code_does() {
    forwards("bd3lm", &[("sample_mode", None)]);
}

#[test]
fn bd3lm_learns_from_the_logits_of_its_own_code() {
    let (golden, checkpoint) = (logits("bd3lm"), open("bd3lm"));
    let (tokens, block) = (golden.ids("plain.ids"), checkpoint.spec.attention.block_length().unwrap());
    let mut rows = RowLayout::default();
    for _ in 0..2 {
        rows.push_two_streams(Layout::Block { length: block }, 32, &[]);
    }
    let (positions, visibility) = rows.finish().unwrap();
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    let noisy: Vec<u32> = (0..32).chain(64..96).collect();
    let mut comparison = Comparison::new();
    on_devices(&checkpoint, |model, words| {
        let given: Vec<f64> = model.logits(&input, &noisy).unwrap().into_iter().map(f64::from).collect();
        compare(words, &checkpoint.spec, &given, golden.values("plain.logits"), &mut comparison);
    });
    comparison.finish();
}

#[test]
fn sedd_predicts_the_log_scores_of_its_own_code() {
    let (golden, checkpoint) = (logits("sedd"), open("sedd"));
    let (tokens, sigmas) = (golden.ids("plain.ids"), golden.values("plain.sigma"));
    let (size, length) = (checkpoint.spec.vocabulary_size, 32);
    let times: Vec<f32> = sigmas.iter().map(|sigma| noise(*sigma)).collect();
    let sequences = Sequences { tokens: &tokens, length, times: Some(&times) };
    let scores = |model: &dyn Denoiser| {
        let mut given = predicted(model, &sequences);
        for (row, scores) in given.chunks_mut(size).enumerate() {
            let offset = sigmas[row / length].exp_m1().ln() + ((size - 1) as f64).ln();
            scores.iter_mut().for_each(|score| *score -= offset);
            scores[tokens[row] as usize] = 0.0;
        }
        given
    };
    let mut comparison = Comparison::new();
    on_devices(&checkpoint, |model, words| {
        compare(words, &checkpoint.spec, &scores(model), golden.values("plain.logits"), &mut comparison);
    });
    comparison.finish();
    // The mask itself, which no prediction has.
    let text = |numbers: &[f64]| numbers.chunks(size).flat_map(|row| row[..size - 1].to_vec()).collect();
    let expected = golden.values("plain.logits");
    precisions(&checkpoint, &about("sedd"), &|model| Logits { given: text(&scores(model)), expected: text(expected) });
}

#[test]
fn their_tokens_and_roles_are_those_of_their_own_code() {
    for name in NAMES {
        let checkpoint = open(name);
        texts(&checkpoint, &about(name));
        let roles = [Role::Mask, Role::End].map(|role| checkpoint.vocabulary.role(role));
        assert_eq!(roles, [Some(321), Some(320)], "{name}");
        assert!(checkpoint.unknown_keys.is_empty(), "{name}: {:?}", checkpoint.unknown_keys);
        // The mask lies behind the tokens of the tokenizer.
        assert_eq!((checkpoint.vocabulary.len(), checkpoint.spec.vocabulary_size), (321, 322), "{name}");
    }
    let advice = NAMES.map(|name| open(name).generation);
    assert_eq!(
        advice.map(|advice| (advice.policy.unwrap(), advice.steps)),
        [("ancestral".to_owned(), Some(128)), ("first-hitting".to_owned(), None), ("ancestral".to_owned(), Some(128))]
    );
}

/// A batch of a family to learn from, at rows with the mask.
fn lesson(checkpoint: &Checkpoint, golden: &Golden) -> (Vec<u32>, Vec<LossRow>) {
    let mask = checkpoint.spec.mask_token.unwrap();
    let mut tokens = golden.ids("plain.ids")[..12].to_vec();
    tokens.iter_mut().step_by(3).for_each(|token| *token = mask);
    let row =
        |row: usize| LossRow { row: row as u32, target: 17 * (row as u32 + 1) % 300, weight: 0.5 + row as f64 / 9.0 };
    (tokens, (0..12).step_by(3).map(row).collect())
}

#[test]
fn their_gradients_are_those_of_finite_differences() {
    for name in NAMES {
        let (checkpoint, golden) = (open(name), logits(name));
        let (tokens, rows) = lesson(&checkpoint, &golden);
        let mut network = checkpoint.network(Cpu::<f64>::scalar()).unwrap();
        let positions: Vec<u32> = (0..12).collect();
        let visibility = Visibility::full(&[12]);
        let times = network.spec().reads_time().then_some(&[0.6f32][..]);
        let input = NetworkInput { times, ..NetworkInput::of_tokens(&tokens, &positions, &visibility) };
        let costs = network.forward_backward(&input, &rows).unwrap();
        assert_eq!(costs, network.nll(&input, &rows).unwrap(), "{name}");
        for parameter in network.parameter_list() {
            let values = network.read_parameter(&parameter.name).unwrap();
            let gradient = network.read_gradient(&parameter.name).unwrap();
            // The element with the largest gradient, so that there is something to compare.
            let at = (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap();
            let mut cost_at = |value: f32| -> f64 {
                let mut moved = values.clone();
                moved[at] = value;
                network.write_parameter(&parameter.name, &moved).unwrap();
                let costs = network.nll(&input, &rows).unwrap();
                costs.iter().zip(&rows).map(|(cost, row)| cost * row.weight).sum()
            };
            let (above, below) = (values[at] + 1e-3, values[at] - 1e-3);
            let slope = (cost_at(above) - cost_at(below)) / (f64::from(above) - f64::from(below));
            let (given, _) = (f64::from(gradient[at]), cost_at(values[at]));
            assert!(
                (given - slope).abs() < 1e-3 * (1.0 + slope.abs()),
                "{name}, {}[{at}]: {given} where {slope} is expected",
                parameter.name
            );
        }
    }
}

#[test]
fn a_tuned_one_stays_one_of_its_family() {
    for name in NAMES {
        let (checkpoint, golden) = (open(name), logits(name));
        let mut network = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
        let head = "lm_head.bias";
        let mut values = network.read_parameter(head).unwrap();
        values[7] += 0.25;
        network.write_parameter(head, &values).unwrap();
        let folder = tempfile::tempdir().unwrap();
        checkpoint.save_learner(folder.path(), &network, Storage::F32).unwrap();
        let again = Checkpoint::load(folder.path()).unwrap();
        assert_eq!((again.family.facts().model_type, &again.spec), (name, &checkpoint.spec));
        let unread = ["backbone.rotary_emb.inv_freq", "sampling_eps_max", "sampling_eps_min"];
        let own: Vec<&str> = checkpoint.weights.names().filter(|tensor| !unread.contains(tensor)).collect();
        assert_eq!(again.weights.names().collect::<Vec<_>>(), own, "{name}");
        let tokens = golden.ids("plain.ids")[..12].to_vec();
        let times = [0.5f32];
        let times = checkpoint.spec.reads_time().then_some(&times[..]);
        let sequences = Sequences { tokens: &tokens, length: 12, times };
        let reloaded = again.network(Cpu::<f32>::scalar()).unwrap();
        let (before, after) = (predicted(&network, &sequences), predicted(&reloaded, &sequences));
        assert_eq!(before, after, "{name}");
    }
}
