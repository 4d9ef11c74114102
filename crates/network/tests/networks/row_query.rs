//! What is asked of a row is answered as its logits say, whatever else is asked in the same pass.

use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Cost, Key, LossTerm, Shaping, propose};
use aquatint_network::{
    Denoiser, ForwardPass, InferenceNetwork, Learner, LossRow, Network, NetworkError, Query, RowAnswer, RowDraw,
    RowQuery, Sampling, TensorData, WholeRows,
};
use aquatint_testing::Example;
use std::sync::Mutex;

fn network(example: &Example) -> Network<Cpu<f32>> {
    example.network(Cpu::<f32>::new(CpuPath::best(), 2).unwrap())
}

/// Shapes that take every branch of a draw.
const SHAPES: [Shaping; 4] = [
    Shaping::NONE,
    Shaping { temperature: 0.0, ..Shaping::NONE },
    Shaping { temperature: 0.7, top_k: Some(3), ..Shaping::NONE },
    Shaping { temperature: 1.3, top_p: Some(0.8), repetition_penalty: 1.5, frequency_penalty: 0.4, ..Shaping::NONE },
];

fn sampling(shaping: &Shaping) -> Sampling {
    let Shaping { repetition_penalty, temperature, min_p, top_k, top_p, .. } = *shaping;
    Sampling { repetition_penalty, temperature, min_p, top_k, top_p }
}

#[test]
fn a_draw_is_the_proposal_from_the_whole_row_to_the_bit() {
    let example = Example::named("plain");
    let network = network(&example);
    let input = example.input();
    let rows: Vec<u32> = (0..example.visibility.len() as u32).collect();
    let (size, logits) = (example.spec.vocabulary_size, network.logits(&input, &rows).unwrap());
    for shaping in &SHAPES {
        let key = Key::new(5);
        let (repeated, biases) = ([2, 2, 4], shaping.biases(&[], &[2, 2, 4]));
        let draw = |&row: &u32| {
            let uniform = key.at(u64::from(row), 3).uniform();
            let draw = RowDraw::new(sampling(shaping), uniform);
            let draw = RowDraw { forbidden: &[1], repeated: &repeated, biases: &biases, ..draw };
            RowQuery { row, query: Query::Draw(draw) }
        };
        let queries: Vec<RowQuery<'_>> = rows.iter().map(draw).collect();
        let answers = network.forward(ForwardPass { input: &input, cached: None }, &queries, &|_, _| {}).unwrap();
        for ((row, answer), logits) in rows.iter().zip(answers).zip(logits.chunks(size)) {
            let expected = propose(logits, shaping, &[1], &repeated, &mut key.at(u64::from(*row), 3)).unwrap();
            let RowAnswer::Drawn(drawn) = answer else { panic!("row {row}: {answer:?}") };
            let (token, probability) = drawn.token.unwrap();
            assert_eq!((token, drawn.summary.likeliest), (expected.token, Some(expected.likeliest as usize)));
            let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
            assert!(close(probability, expected.probability) && close(drawn.summary.margin, expected.margin));
            assert!(close(drawn.summary.entropy, expected.entropy));
        }
    }
}

#[test]
fn queries_of_all_kinds_share_a_pass_and_a_row() {
    let example = Example::named("plain");
    let network = network(&example);
    let input = example.input();
    let size = example.spec.vocabulary_size;
    let draw = RowDraw { best: 1, ..RowDraw::new(sampling(&SHAPES[0]), 0.4) };
    let kinds = [
        Query::WholeRow,
        Query::Summary { best: 2 },
        Query::Draw(draw),
        Query::Summary { best: size },
        Query::WholeRow,
        Query::Draw(RowDraw { best: 3, ..draw }),
    ];
    let queries: Vec<RowQuery<'_>> =
        [7, 2, 2, 7, 0, 2].into_iter().zip(kinds).map(|(row, query)| RowQuery { row, query }).collect();
    let read = Mutex::new(Vec::new());
    let pass = ForwardPass { input: &input, cached: None };
    let answers =
        network.forward(pass, &queries, &|index, logits| read.lock().unwrap().push((index, logits.to_vec()))).unwrap();
    let mut read = read.into_inner().unwrap();
    read.sort_by_key(|(index, _)| *index);
    let logits = |row| network.logits(&input, &[row]).unwrap();
    assert_eq!(read, [(0, logits(7)), (4, logits(0))]);
    assert_eq!((&answers[0], &answers[4]), (&RowAnswer::Read, &RowAnswer::Read));
    let [RowAnswer::Summary(two), RowAnswer::Summary(all)] = [&answers[1], &answers[3]] else { panic!("{answers:?}") };
    assert_eq!(two.best.len(), 2);
    let [RowAnswer::Drawn(one), RowAnswer::Drawn(three)] = [&answers[2], &answers[5]] else { panic!("{answers:?}") };
    assert_eq!((&one.best[..], &three.best[..2], three.best.len()), (&two.best[..1], &two.best[..], 3));
    assert_eq!((one.token, one.summary), (three.token, two.summary));
    // The mask is never a clean token.
    let possible = size - usize::from(example.spec.mask_token.is_some());
    assert_eq!(all.best.len(), possible);
    assert!(all.best.is_sorted_by(|a, b| a.1 >= b.1));
    assert!((all.best.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-5);
    assert_eq!(Some(two.best[0].0 as usize), two.summary.likeliest);
    assert!((two.best[0].1 - two.best[1].1 - two.summary.margin).abs() < 1e-5);
    // Alone, each is answered the same.
    for (query, answer) in queries.iter().zip(&answers) {
        let pass = ForwardPass { input: &input, cached: None };
        assert_eq!(&network.forward(pass, &[*query], &|_, _| {}).unwrap()[0], answer);
    }
}

#[test]
fn a_bonus_counts_and_a_broken_or_empty_row_draws_nothing() {
    let example = Example::named("plain");
    let network = network(&example);
    let input = example.input();
    let drawn = |bonus, forbidden: &[u32]| {
        let draw = RowDraw { bonus, forbidden, ..RowDraw::new(sampling(&SHAPES[1]), 0.5) };
        let queries = [RowQuery { row: 3, query: Query::Draw(draw) }];
        match network.forward(ForwardPass { input: &input, cached: None }, &queries, &|_, _| {}).unwrap().remove(0) {
            RowAnswer::Drawn(drawn) => drawn,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(drawn(Some((4, 1e3)), &[]).token.unwrap().0, 4);
    assert_eq!(drawn(Some((4, f32::NAN)), &[]).summary.broken, Some(4));
    let all: Vec<u32> = (0..example.spec.vocabulary_size as u32).collect();
    let nothing = drawn(None, &all);
    assert_eq!((nothing.token, nothing.summary.likeliest), (None, None));
}

#[test]
fn costs_of_cross_entropy_are_the_negative_log_likelihood_and_its_gradient() {
    for name in ["plain", "gaussian-field"] {
        let example = Example::named(name);
        let mut network = network(&example);
        let input = example.input();
        let term = |row: &LossRow| {
            let LossRow { row, target, weight } = *row;
            LossTerm { position: row as usize, target, weight, cost: Cost::CrossEntropy }
        };
        let terms: Vec<LossTerm> = example.rows.iter().map(term).collect();
        let near = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        let nll = network.nll(&input, &example.rows).unwrap();
        assert!(near(&nll, &network.costs(&input, &terms).unwrap()), "{name}");
        network.forward_backward(&input, &example.rows).unwrap();
        let norm = network.gradient_norm();
        network.clear_gradients();
        let paid = network.forward_backward_costs(&input, &terms).unwrap();
        assert!(paid.iter().all(|row| row.cost.to_bits() == row.nll.to_bits()), "{name}");
        assert!(near(&nll, &paid.iter().map(|row| row.cost).collect::<Vec<f64>>()), "{name}");
        assert!((network.gradient_norm() - norm).abs() < 1e-3 * norm, "{name}");
        if let Some(mask) = example.spec.mask_token {
            let masked = [LossTerm { target: mask, ..terms[0] }];
            assert!(matches!(network.costs(&input, &masked), Err(NetworkError::MaskTarget { .. })));
        }
    }
}

#[test]
fn an_inference_network_expects_the_same_word_vectors() {
    let example = Example::named("gaussian-field");
    let learner = network(&example);
    let device = learner.device().clone();
    let format = aquatint_compute::WeightFormat::F32;
    let values = |name: &str| {
        let parameters = learner.parameters();
        let parameter = parameters.iter().find(|parameter| parameter.info.name == name)?;
        Some(TensorData::Real(aquatint_compute::Memory::download(&device, parameter.value)))
    };
    let inference =
        InferenceNetwork::new(device.clone(), example.spec.clone(), format, &mut |name| values(name)).unwrap();
    let input = example.input();
    for shaping in &SHAPES[..3] {
        let draw = RowDraw::new(sampling(shaping), 0.3);
        let queries = [RowQuery { row: 1, query: Query::DrawExpecting(draw) }];
        let answer = |denoiser: &dyn Denoiser| {
            denoiser.forward(ForwardPass { input: &input, cached: None }, &queries, &|_, _| {}).unwrap().remove(0)
        };
        let (RowAnswer::Expecting(drawn, expected), other) = (answer(&learner), answer(&inference)) else { panic!() };
        assert_eq!(RowAnswer::Expecting(drawn.clone(), expected.clone()), other);
        assert_eq!(Some(expected.len()), example.spec.word_vector_size);
        if shaping.temperature == 0.0 {
            let vectors = learner.word_vectors().unwrap().values;
            let (size, token) = (expected.len(), drawn.token.unwrap().0 as usize);
            assert_eq!(expected, vectors[token * size..][..size]);
        }
    }
}
