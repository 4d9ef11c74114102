//! What a device draws is the token that the mathematics draws from the same row, and what it charges is the same to the
//! bit: both crates have the arithmetic, as neither knows the other.

use aquatint_compute::{
    CostKind, Cpu, CpuPath, Head, LinearShape, Loss, LossGradients, LossRows, Memory, RatioCost, RowCost, RowDraw,
    RowLoss, Sampling, TokenVectors, draw_row, softmax_row, summarise, summarise_row,
};
use aquatint_diffusion::{
    Alphabet, Cost, Distance, Draws, Key, Marginal, Ratio, Shaping, TokenId, Vectors, propose_at,
};

fn row(size: usize, draws: &mut Draws) -> Vec<f32> {
    // Now and then equal logits, and tokens of probability 0.
    let logit = |draws: &mut Draws| match draws.below(12) {
        0 => f32::NEG_INFINITY,
        1 => 1.5,
        _ => (4.0 * draws.normal()) as f32,
    };
    (0..size).map(|_| logit(draws)).collect()
}

fn some(size: usize, draws: &mut Draws) -> Vec<TokenId> {
    (0..draws.below(9)).map(|_| draws.below(size as u64 + 2) as TokenId).collect()
}

#[test]
fn a_draw_is_the_proposal_of_the_same_row() {
    let mut broken_or_empty = 0;
    for seed in 0..3000 {
        let mut draws = Key::new(seed).at(0, 0);
        let size = 1 + draws.below(700) as usize;
        let logits = row(size, &mut draws);
        let (forbidden, repeated, uniform) = (some(size, &mut draws), some(size, &mut draws), draws.uniform());
        let mut pick = |values: [f64; 4]| values[draws.below(4) as usize];
        let sampling = Sampling {
            repetition_penalty: pick([1.0, 1.0, 1.3, 0.8]),
            temperature: pick([0.0, 0.6, 1.0, 1.7]),
            min_p: Some(pick([0.0, 0.0, 0.05, 0.6])).filter(|p| *p > 0.0),
            top_k: Some(pick([0.0, 1.0, 7.0, 100.0]) as usize).filter(|k| *k > 0),
            top_p: Some(pick([0.0, 0.2, 0.9, 1.0])).filter(|p| *p > 0.0),
        };
        let (presence_penalty, frequency_penalty) = (pick([0.0, 0.0, 0.4, -1.1]), pick([0.0, 0.0, 0.3, -0.2]));
        let logit_bias: Vec<(TokenId, f64)> =
            some(size, &mut draws).into_iter().map(|token| (token, 6.0 * draws.uniform() - 3.0)).collect();
        let best = draws.below(5) as usize;
        let bonus = (draws.below(2) == 0).then(|| (draws.below(size as u64) as TokenId, 0.75));

        let mut shown = logits.clone();
        if let Some((token, bonus)) = bonus {
            shown[token as usize] += bonus;
        }
        for token in &forbidden {
            if let Some(logit) = shown.get_mut(*token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        let Sampling { repetition_penalty, temperature, min_p, top_k, top_p } = sampling;
        let shaping = Shaping {
            temperature,
            final_temperature: None,
            min_p,
            top_k,
            top_p,
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
        };
        let biases = shaping.biases(&logit_bias, &repeated);
        let row =
            RowDraw { bonus, forbidden: &forbidden, repeated: &repeated, biases: &biases, sampling, uniform, best };
        let drawn = draw_row(&mut logits.clone(), &row);
        let summary = summarise(&shown);
        assert_eq!(drawn.summary, summary, "seed {seed}");
        assert_eq!(drawn.best, summarise_row(&shown, best).best, "seed {seed}");
        let Some(likeliest) = summary.likeliest else {
            broken_or_empty += 1;
            assert_eq!(drawn.token, None, "seed {seed}");
            continue;
        };
        let expected = propose_at(&shown, &shaping, &repeated, &biases, uniform).unwrap();
        let (token, probability) = drawn.token.unwrap();
        assert_eq!((token, likeliest as TokenId), (expected.token, expected.likeliest), "seed {seed}");
        let alone = (f64::from(shown[token as usize]) - summary.log_sum_exp).exp();
        assert_eq!(probability.to_bits(), alone.to_bits(), "seed {seed}");
        // A device sums exponentials in f32.
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4;
        assert!(near(probability, expected.probability), "seed {seed}");
        assert!(near(summary.entropy, expected.entropy) && near(summary.margin, expected.margin), "seed {seed}");
    }
    assert!((1..300).contains(&broken_or_empty), "{broken_or_empty} rows had nothing to draw");
}

/// The costs of some rows of logits, and the gradient of each row.
fn on_device(
    path: CpuPath,
    rows: &[Vec<f32>],
    costs: &[RowCost],
    (size, vectors): (usize, &[f32]),
) -> (Vec<RowLoss>, Vec<f32>) {
    let device = Cpu::<f32>::new(path, 2).unwrap();
    let outputs = rows[0].len();
    // A head of ones and zeros hands logits through, and gradients back, to the bit.
    let identity: Vec<f32> = (0..outputs * outputs).map(|i| f32::from(u8::from(i % (outputs + 1) == 0))).collect();
    let (hidden, head) = (device.upload(&rows.concat()).unwrap(), device.upload(&identity).unwrap());
    let values = device.upload(vectors).unwrap();
    let shape = LinearShape { rows: rows.len(), inputs: outputs, outputs };
    let loss = LossRows {
        shape,
        hidden: &hidden,
        head: Head::Values(&head),
        bias: None,
        soft_cap: None,
        forbidden: None,
        evidence: None,
    };
    let mut gradient = device.zeros(rows.len() * outputs).unwrap();
    let gradients = LossGradients { hidden: &mut gradient, head: None, bias: None };
    let vectors = TokenVectors { size, values: &values };
    let paid = device.linear_cost_rows(loss, costs, Some(vectors), Some(gradients)).unwrap().get();
    (paid, device.download(&gradient))
}

#[test]
fn a_cost_is_that_of_the_process_to_the_bit() {
    for seed in 0..60 {
        let mut draws = Key::new(seed).at(1, 0);
        let (size, coordinates) = (5 + draws.below(60) as usize, 1 + draws.below(20) as usize);
        let vectors: Vec<f32> = (0..size * coordinates).map(|_| draws.normal() as f32).collect();
        let (mut rows, mut costs, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..20 {
            let logits: Vec<f32> = (0..size).map(|_| (3.0 * draws.normal()) as f32).collect();
            let mask = (draws.below(2) == 0).then_some(size as TokenId - 1);
            let target = draws.below(size as u64 - 1) as TokenId;
            let alphabet = Alphabet { size, mask };
            let masked = if mask.is_some() { 0.15 } else { 0.0 };
            let marginal = Marginal { alpha: 0.6, text: 0.25 / alphabet.text() as f64, masked, alphabet };
            let shown = draws.below(if mask.is_some() { size as u64 } else { size as u64 - 1 }) as TokenId;
            let posterior = draws.below(2) == 0;
            let cost = match draws.below(3) {
                0 => Cost::CrossEntropy,
                1 => Cost::Distance(Distance),
                _ => Cost::Ratio(Ratio { shown, marginal, posterior }),
            };
            let kind = match cost {
                Cost::CrossEntropy => CostKind::CrossEntropy,
                Cost::Distance(Distance) => CostKind::Distance,
                Cost::Ratio(_) => CostKind::Ratio(RatioCost {
                    shown,
                    alpha: marginal.alpha,
                    text: marginal.text,
                    masked,
                    mask,
                    posterior,
                }),
            };
            let weight = draws.uniform();
            let mut prediction = logits.clone();
            softmax_row(&mut prediction);
            let nll = Cost::CrossEntropy.value(target, &prediction, Vectors { size: 0, values: &[] });
            let value = cost.learn(target, &mut prediction, Vectors { size: coordinates, values: &vectors }, weight);
            expected.push((value, nll, prediction));
            costs.push(RowCost { target, weight, kind });
            rows.push(logits);
        }
        for path in CpuPath::available() {
            let (paid, gradients) = on_device(path, &rows, &costs, (coordinates, &vectors));
            let lines = paid.iter().zip(gradients.chunks(size)).zip(&costs).zip(&expected);
            for (((paid, gradient), cost), (value, nll, slopes)) in lines {
                let (found, given) = ([paid.cost, paid.nll].map(f64::to_bits), [*value, *nll].map(f64::to_bits));
                assert_eq!(found, given, "{path} seed {seed}: {cost:?}");
                // A sum with zeros may lose the sign of a zero.
                assert_eq!(gradient, slopes, "{path} seed {seed}: {cost:?}");
            }
        }
    }
}
