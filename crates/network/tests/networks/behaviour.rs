//! Conventions that samplers and trainers rely on, and refusals.

use aquatint_compute::{Cpu, CpuPath, Element, Memory, Optimiser, Visibility};
use aquatint_diffusion::{ContinuousState, Layout};
use aquatint_network::{
    AttentionSpec, Denoiser, FeedForwardSpec, HeadSpec, LayerSpec, Learner, LossRow, Network, NetworkError,
    NetworkInput, NetworkSpec, NormSpec, Role, RowLayout, WholeRows,
};
use aquatint_testing::{Comparison, Example};

fn scalar() -> Cpu<f64> {
    Cpu::<f64>::scalar()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|l| f64::from(l - most).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// An error with its hint.
fn message(error: &NetworkError) -> String {
    let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
    format!("{error}{hint}")
}

#[test]
fn a_cost_is_minus_the_logarithm_of_the_prediction_and_no_prediction_has_the_mask() {
    for name in Example::NAMES {
        let example = Example::named(name);
        let network = example.network(scalar());
        let rows: Vec<u32> = example.rows.iter().map(|row| row.row).collect();
        let logits = network.logits(&example.input(), &rows).unwrap();
        let costs = network.nll(&example.input(), &example.rows).unwrap();
        let predictions = logits.chunks_exact(example.spec.vocabulary_size).map(softmax);
        let mut expected = Vec::new();
        for (row, prediction) in example.rows.iter().zip(predictions) {
            expected.push(-prediction[row.target as usize].ln());
            if let Some(mask) = example.spec.mask_token {
                assert_eq!(prediction[mask as usize], 0.0);
            }
        }
        let mut comparison = Comparison::new();
        comparison.check(name, &costs, &expected, 1e-6);
        comparison.finish();
    }
}

#[test]
fn a_window_is_the_visibility_that_it_leaves() {
    for name in Example::NAMES {
        let mut example = Example::named(name);
        example.spec.layers.iter_mut().for_each(|layer| layer.attention.window = None);
        let all: Vec<u32> = (0..example.visibility.len() as u32).collect();
        let logits = |example: &Example| example.network(scalar()).logits(&example.input(), &all).unwrap();
        let within = |example: &Example, window| {
            let mut windowed = example.clone();
            windowed.spec.layers.iter_mut().for_each(|layer| layer.attention.window = window);
            windowed
        };
        let whole = logits(&example);
        assert_eq!(logits(&within(&example, Some(16))), whole, "{name}");
        for window in [1, 2] {
            let windowed = logits(&within(&example, Some(window)));
            assert_ne!(windowed, whole, "{name}");
            // Under a logit shift the layout says which row answers, and which rows choose experts together.
            if !["logit-shift", "block-experts"].contains(&name) {
                let mut cut = example.clone();
                cut.visibility = match &example.current {
                    Some(current) => example.visibility.windowed_blocks(window, &example.positions, current).unwrap(),
                    None => example.visibility.windowed(window, &example.positions).unwrap(),
                };
                assert_eq!(logits(&cut), windowed, "{name}");
            }
        }
        example.spec.layers[0].attention.window = Some(2);
        assert_ne!(logits(&example), whole, "{name}");
        assert_ne!(logits(&example), logits(&within(&example, Some(2))), "{name}");
    }
}

#[test]
fn within_a_window_of_one_a_row_depends_on_itself_alone() {
    let mut example = Example::named("plain");
    example.spec.layers.iter_mut().for_each(|layer| layer.attention.window = Some(1));
    let network = example.network(scalar());
    let all: Vec<u32> = (0..example.tokens.len() as u32).collect();
    let size = example.spec.vocabulary_size;
    let before = network.logits(&example.input(), &all).unwrap();
    for changed in &all {
        let mut tokens = example.tokens.clone();
        tokens[*changed as usize] = (tokens[*changed as usize] + 1) % 10;
        let after = network.logits(&NetworkInput { tokens: &tokens, ..example.input() }, &all).unwrap();
        let rows = before.chunks_exact(size).zip(after.chunks_exact(size));
        let differing: Vec<u32> = (0..).zip(rows).filter(|(_, (a, b))| a != b).map(|(row, _)| row).collect();
        assert_eq!(differing, [*changed]);
    }
}

#[test]
fn a_text_is_read_alike_on_one_axis_and_on_several_to_the_bit() {
    let grid = Example::named("several-axes");
    let mut text = grid.clone();
    text.places = None;
    let mut spelt = grid.clone();
    spelt.places = Some(grid.positions.iter().flat_map(|position| [*position; 3]).collect());
    let mut one = text.clone();
    one.spec.layers.iter_mut().for_each(|layer| layer.attention.rope.axes = 1);
    let all: Vec<u32> = (0..grid.visibility.len() as u32).collect();
    for device in [Cpu::<f32>::scalar(), Cpu::<f32>::new(CpuPath::best(), 2).unwrap()] {
        let logits = |example: &Example| example.network(device.clone()).logits(&example.input(), &all).unwrap();
        let expected = logits(&one);
        assert_eq!(logits(&text), expected);
        assert_eq!(logits(&spelt), expected);
        assert_ne!(logits(&grid), expected);
    }
}

#[test]
fn places_decide_nothing_of_visibility() {
    let mut example = Example::named("several-axes");
    example.spec.layers.iter_mut().for_each(|layer| layer.attention.window = Some(1));
    let network = example.network(scalar());
    let all: Vec<u32> = (0..example.visibility.len() as u32).collect();
    let elsewhere: Vec<u32> = example.places.as_ref().unwrap().iter().map(|index| 15 - index).collect();
    // A row that sees itself alone is as it is, wherever it stands.
    let moved = NetworkInput { places: Some(&elsewhere), ..example.input() };
    assert_eq!(network.logits(&moved, &all).unwrap(), network.logits(&example.input(), &all).unwrap());
}

#[test]
fn rows_answer_in_the_order_of_their_queries() {
    let example = Example::named("plain");
    let network = example.network(scalar());
    let size = example.spec.vocabulary_size;
    let requested = network.logits(&example.input(), &[4, 0, 13, 4]).unwrap();
    for (answer, row) in requested.chunks_exact(size).zip([4, 0, 13, 4]) {
        assert_eq!(answer, network.logits(&example.input(), &[row]).unwrap());
    }
    assert!(network.logits(&example.input(), &[]).unwrap().is_empty());
    assert!(network.nll(&example.input(), &[]).unwrap().is_empty());
}

#[test]
fn under_a_logit_shift_the_row_before_answers_where_it_is_visible() {
    let example = Example::named("logit-shift");
    let shifted = example.network(scalar());
    let plain = Example { spec: NetworkSpec { head: HeadSpec::default(), ..example.spec.clone() }, ..example.clone() };
    let straight = plain.network(scalar());
    // Sequences of 5, 3 and 6 rows: the first row of each has none before it.
    for (requested, answering) in [(0, 0), (1, 0), (4, 3), (5, 5), (6, 5), (8, 8), (13, 12)] {
        let given = shifted.logits(&example.input(), &[requested]).unwrap();
        assert_eq!(given, straight.logits(&plain.input(), &[answering]).unwrap(), "row {requested}");
    }
}

/// Training reads `[noisy ; clean]`, inference the clean blocks and behind them one noisy block.
#[test]
fn under_a_logit_shift_training_answers_for_a_block_as_inference_does() {
    const BLOCK: usize = 4;
    const LENGTH: usize = 10;
    for window in [None, Some(3)] {
        let mut example = Example::named("logit-shift");
        example.spec.attention = Layout::Block { length: BLOCK };
        example.spec.layers[0].attention.window = window;
        let (network, mask) = (example.network(scalar()), example.spec.mask_token.unwrap());
        let clean: Vec<u32> = (0..LENGTH as u32).map(|position| (5 * position + 2) % mask).collect();
        let noisy: Vec<u32> = (0..LENGTH).map(|row| if row % 3 == 1 { clean[row] } else { mask }).collect();
        let logits = |rows: RowLayout, tokens: &[u32], requested: &[u32]| -> Vec<f64> {
            let (positions, visibility) = rows.finish().unwrap();
            let (positions, visibility) = (&positions[..], &visibility);
            let input = NetworkInput { tokens, positions, visibility, ..example.input() };
            let logits = network.logits(&input, requested).unwrap();
            logits.into_iter().filter(|logit| logit.is_finite()).map(f64::from).collect()
        };
        for start in (0..LENGTH).step_by(BLOCK) {
            let end = (start + BLOCK).min(LENGTH);
            let requested: Vec<u32> = (start as u32..end as u32).collect();
            let (mut streams, mut blocks) = (RowLayout::default(), RowLayout::default());
            streams.push_two_streams(Layout::Block { length: BLOCK }, LENGTH, &[]);
            blocks.push(example.spec.attention, end, &[]);
            let training = logits(streams, &[&noisy[..], &clean].concat(), &requested);
            let inference = logits(blocks, &[&clean[..start], &noisy[start..end]].concat(), &requested);
            let mut comparison = Comparison::new();
            comparison.check(&format!("block at {start}, window {window:?}"), &training, &inference, 1e-5);
            comparison.finish();
        }
    }
}

#[test]
fn a_prediction_of_zeros_is_no_prediction() {
    let example = Example::named("self-conditioning");
    let network = example.network(scalar());
    let zeros = vec![0.0; example.visibility.len() * example.spec.vocabulary_size];
    let with = NetworkInput { self_conditioning: Some(&zeros), ..example.input() };
    let without = NetworkInput { self_conditioning: None, ..example.input() };
    assert_eq!(network.logits(&with, &[1, 6]).unwrap(), network.logits(&without, &[1, 6]).unwrap());
    // And one that is there counts.
    assert_ne!(network.logits(&with, &[1]).unwrap(), network.logits(&example.input(), &[1]).unwrap());
}

#[test]
fn certain_probabilities_read_as_tokens() {
    let example = Example::named("plain");
    let network = example.network(scalar());
    let size = example.spec.vocabulary_size;
    let mut certain = vec![0.0; example.tokens.len() * size];
    for (row, &token) in example.tokens.iter().enumerate() {
        certain[row * size + token as usize] = 1.0;
    }
    let rows = example.tokens.len();
    let mixtures =
        ContinuousState { size, clean_weight: vec![0.0; rows], offset: certain, prior_logit_scale: vec![0.0; rows] };
    let mixed = NetworkInput { points: Some(&mixtures), ..example.input() };
    let own = ContinuousState::clean(rows, size);
    let owned = NetworkInput { points: Some(&own), ..example.input() };
    assert_eq!(network.logits(&owned, &[2, 7]).unwrap(), network.logits(&mixed, &[2, 7]).unwrap());
    assert_eq!(network.logits(&mixed, &[2, 7]).unwrap(), network.logits(&example.input(), &[2, 7]).unwrap());
}

/// Bayes' rule: noise σ around `α e_v` makes a point z speak `α/σ² z · e_v` for v.
#[test]
fn points_of_a_gaussian_field_speak_for_their_neighbours() {
    let example = Example::named("gaussian-field");
    let network = example.network(scalar());
    let points = example.points.clone().unwrap();
    let silent = ContinuousState { prior_logit_scale: vec![0.0; points.len()], ..points.clone() };
    let read = |points: &ContinuousState| {
        network.logits(&NetworkInput { points: Some(points), ..example.input() }, &[4, 9]).unwrap()
    };
    let vectors = network.word_vectors().unwrap().values;
    let (with, without) = (read(&points), read(&silent));
    for (index, row) in [4usize, 9].into_iter().enumerate() {
        let own = &vectors[3 * example.tokens[row] as usize..][..3];
        let point: Vec<f32> =
            own.iter().zip(points.offset(row)).map(|(e, r)| points.clean_weight[row] * e + r).collect();
        // The mask, which is the last, has no prediction.
        for token in 0..10 {
            let dot: f32 = point.iter().zip(&vectors[3 * token..]).map(|(z, e)| z * e).sum();
            let spoken = with[11 * index + token] - without[11 * index + token];
            assert!((spoken - points.prior_logit_scale[row] * dot).abs() < 1e-5, "row {row}, token {token}");
        }
    }
    assert!(vectors.chunks(3).all(|e| (e.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6));
}

#[test]
fn a_fresh_network_begins_as_it_is_described() {
    let plain = Example::named("plain");
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(6, 3, 16) };
    let spec = NetworkSpec {
        width: 96,
        layers: vec![LayerSpec::new(attention, FeedForwardSpec::new(192)); 8],
        vocabulary_size: 211,
        mask_token: Some(210),
        ..plain.spec.clone()
    };
    let network = Network::new(scalar(), spec.clone(), 3).unwrap();
    for parameter in network.parameters() {
        let values = network.device().download(parameter.value);
        let deviation = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
        let expected = match parameter.info.role {
            Role::Vector => 1.0,
            _ if parameter.info.name.contains("o_proj") || parameter.info.name.contains("down_proj") => 0.02 / 4.0,
            _ => 0.02,
        };
        assert!((deviation / expected - 1.0).abs() < 0.05, "{}: {deviation}", parameter.info.name);
    }
    assert_eq!(
        spec.parameter_count(),
        network.parameters().iter().map(|p| p.info.shape.iter().product::<usize>()).sum::<usize>()
    );

    // The seed decides, on any device.
    let values = |network: &Network<Cpu<f32>>| {
        network.parameters().iter().flat_map(|p| network.device().download(p.value)).collect::<Vec<_>>()
    };
    let single = |seed| Network::new(Cpu::<f32>::scalar(), spec.clone(), seed).unwrap();
    assert_eq!(values(&single(3)), values(&single(3)));
    assert_ne!(values(&single(3)), values(&single(4)));
    let wide = network.parameters().iter().flat_map(|p| network.device().download(p.value)).collect::<Vec<_>>();
    assert!(wide.iter().zip(values(&single(3))).all(|(&wide, narrow)| wide as f32 == narrow));

    // An untrained prediction is nearly uniform.
    let rows: Vec<LossRow> = plain.rows.clone();
    let costs = network.nll(&plain.input(), &rows).unwrap();
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    assert!((mean - 210f64.ln()).abs() < 0.15, "{mean}");
}

#[test]
fn conditions_begin_without_effect() {
    for name in ["time-conditioning", "self-conditioning"] {
        let example = Example::named(name);
        let mut network = Network::new(scalar(), example.spec.clone(), 5).unwrap();
        let before = network.logits(&example.input(), &[0, 9]).unwrap();
        let plain = NetworkInput {
            times: example.times.as_ref().map(|_| &[0.1, 0.1, 0.1][..]),
            current: None,
            self_conditioning: None,
            ..example.input()
        };
        assert_eq!(before, network.logits(&plain, &[0, 9]).unwrap(), "{name}");
        // But they have a gradient from the first step.
        network.forward_backward(&example.input(), &example.rows).unwrap();
        let condition = ["model.layers.0.modulation.bias", "model.self_conditioning_norm.weight"];
        let squares: Vec<f64> = network
            .parameters()
            .iter()
            .filter(|p| condition.contains(&p.info.name.as_str()))
            .map(|p| network.device().sum_of_squares(p.gradient))
            .collect();
        assert!(squares.len() == 1 && squares[0] > 0.0, "{name}: {squares:?}");
    }
}

#[test]
fn weights_go_out_and_come_back() {
    let example = Example::named("time-conditioning");
    let network = example.network(Cpu::<f32>::scalar());
    let mut weights = |name: &str| {
        let parameters = network.parameters();
        let parameter = parameters.iter().find(|p| p.info.name == name)?;
        Some(network.device().download(parameter.value))
    };
    let copy = Network::from_weights(Cpu::<f32>::scalar(), example.spec.clone(), &mut weights).unwrap();
    let rows = [3, 11];
    assert_eq!(network.logits(&example.input(), &rows).unwrap(), copy.logits(&example.input(), &rows).unwrap());
    let refuse = |weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>| {
        message(&Network::from_weights(Cpu::<f32>::scalar(), example.spec.clone(), weights).unwrap_err())
    };
    assert_eq!(
        refuse(&mut |name| if name.ends_with("1.mlp.up_proj.weight") { None } else { weights(name) }),
        "tensor `model.layers.1.mlp.up_proj.weight` is missing; the description asks for 31 tensors, do the two belong \
         together?"
    );
    assert_eq!(
        refuse(&mut |_| Some(vec![0.0; 5])),
        "tensor `model.embed_tokens.weight` has 5 values; its shape is [11, 8]"
    );
}

#[test]
fn changed_parameters_count_at_once() {
    let example = Example::named("plain");
    let mut network = example.network(scalar());
    let before = network.logits(&example.input(), &[0]).unwrap();
    for name in ["self_attn.k_proj", "mlp.up_proj", "lm_head"] {
        let device = scalar();
        for parameter in network.parameters_mut() {
            if parameter.info.name.contains(name) {
                let halved: Vec<f64> = device.download(parameter.value).iter().map(|v| v / 2.0).collect();
                device.write(parameter.value, &halved);
            }
        }
        assert_ne!(before, network.logits(&example.input(), &[0]).unwrap(), "{name}");
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_in_words() {
    let example = Example::named("plain");
    let timed = Example::named("time-conditioning");
    let network = example.network(Cpu::<f32>::scalar());
    let timed_network = timed.network(Cpu::<f32>::scalar());
    let axes = Example::named("several-axes");
    let axes_network = axes.network(Cpu::<f32>::scalar());
    let input = example.input();
    let refuse = |input: NetworkInput<'_>, rows: &[u32]| network.logits(&input, rows).unwrap_err().to_string();
    let short = Visibility::full(&[2]);
    let cases = [
        (
            refuse(NetworkInput { visibility: &short, ..input }, &[0]),
            "`tokens` has 14 entries; expected: 2 (one for each row of `visibility`)",
        ),
        (
            refuse(NetworkInput { tokens: &[11; 14], ..input }, &[0]),
            "`tokens` has 11 at index 0; allowed: below 11 (the size of the vocabulary)",
        ),
        (
            refuse(NetworkInput { positions: &[16; 14], ..input }, &[0]),
            "`positions` has 16 at index 0; allowed: below 16 (the context length of the network)",
        ),
        (
            refuse(NetworkInput { places: Some(&[0; 42]), ..input }, &[0]),
            "`places` is given; positions of the network have one axis: leave them out",
        ),
        (
            axes_network
                .logits(&NetworkInput { places: Some(&[0; 14]), ..axes.input() }, &[0])
                .unwrap_err()
                .to_string(),
            "`places` has 14 entries; expected: 42 (an index on each axis for each row of `visibility`)",
        ),
        (
            axes_network
                .logits(&NetworkInput { places: Some(&[16; 42]), ..axes.input() }, &[0])
                .unwrap_err()
                .to_string(),
            "`places` has 16 at index 0; allowed: below 16 (the context length of the network)",
        ),
        (refuse(input, &[3, 14]), "`rows` has 14 at index 1; allowed: below 14 (the number of rows of `visibility`)"),
        (
            refuse(NetworkInput { times: Some(&[0.5; 3]), ..input }, &[0]),
            "`times` is given; the network is not conditioned on time: leave it out",
        ),
        (
            refuse(NetworkInput { self_conditioning: Some(&[0.0; 154]), ..input }, &[]),
            "`self_conditioning` is given; the network has no self-conditioning: leave it out",
        ),
        (
            refuse(NetworkInput { points: Some(&ContinuousState::clean(3, 11)), ..input }, &[]),
            "`points` has 3 entries; expected: 14 (one for each row of `visibility`)",
        ),
        (
            refuse(NetworkInput { points: Some(&ContinuousState::clean(14, 3)), ..input }, &[]),
            "`points` has 3 entries; expected: 11 (coordinates, as the network's space has)",
        ),
        (
            timed_network.logits(&NetworkInput { times: None, ..timed.input() }, &[0]).unwrap_err().to_string(),
            "`times` is missing; the network is conditioned on time: give one for each sequence",
        ),
        (
            timed_network.logits(&NetworkInput { times: Some(&[0.5]), ..timed.input() }, &[0]).unwrap_err().to_string(),
            "`times` has 1 entries; expected: 3 (one for each sequence)",
        ),
        (
            message(&network.nll(&input, &[LossRow { row: 2, target: 10, weight: 1.0 }]).unwrap_err()),
            "the target of row 2 is 10, the mask's id; a clean token is never the mask (is there a mask token in the \
             text?)",
        ),
        (
            network.nll(&input, &[LossRow { row: 2, target: 12, weight: 1.0 }]).unwrap_err().to_string(),
            "`targets` has 12 at index 0; allowed: below 11 (the size of the vocabulary)",
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(given, expected);
    }
}

#[test]
fn a_network_that_has_not_learnt_has_no_gradients() {
    let example = Example::named("plain");
    let mut network = example.network(scalar());
    network.clear_gradients();
    assert_eq!(network.gradient_norm(), 0.0);
    assert!(network.parameters().iter().all(|p| network.device().len(p.gradient) == 0));
    network.forward_backward(&example.input(), &example.rows).unwrap();
    assert!(network.parameters().iter().all(|p| network.device().len(p.gradient) == network.device().len(p.value)));
    let norm: f64 = network
        .parameters()
        .iter()
        .flat_map(|p| network.device().download(p.gradient))
        .map(|g| g.to_f64() * g.to_f64())
        .sum();
    let mut comparison = Comparison::new();
    comparison.check("norm", &[network.gradient_norm()], &[norm.sqrt()], 1e-13);
    comparison.finish();
}
