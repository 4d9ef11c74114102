//! Rows of logits: summaries, draws and whole rows. Logits are sums of small integers over eight, which every device
//! makes exactly: draws can then be compared token by token, and equal logits are frequent.

use super::*;
use crate::{DrawnRow, Evidence, LogitRows, LogitsSummary, RowDraw, Sampling, TokenVectors, WeightFormat};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A token and what is added to its logit.
type Bonus = Option<(u32, f32)>;

struct Rows {
    rows: usize,
    outputs: usize,
    hidden: Vec<f64>,
    head: Vec<f64>,
    bias: Option<Vec<f64>>,
    points: Vec<f64>,
    vectors: Vec<f64>,
    forbidden: Option<u32>,
    lists: [Vec<u32>; 2],
    biases: Vec<(u32, f32)>,
    draws: Vec<(Bonus, Sampling, f64)>,
    best: usize,
    targets: Vec<u32>,
}

/// Inputs of a row, and coordinates of a vector.
const INPUTS: usize = 6;
const SIZE: usize = 3;

impl Rows {
    fn random(rows: usize, outputs: usize, numbers: &mut Numbers) -> Self {
        let mut small = |len: usize| (0..len).map(|_| f64::from(numbers.below(7)) - 3.0).collect::<Vec<f64>>();
        let (mut hidden, head) = (small(rows * INPUTS), small(outputs * INPUTS));
        let bias: Vec<f64> = small(outputs).iter().map(|bias| bias / 8.0).collect();
        let (mut points, vectors) = (small(rows * SIZE), small(outputs * SIZE));
        points.iter_mut().for_each(|x| *x /= 8.0);
        points[..SIZE].fill(0.0);
        hidden.iter_mut().for_each(|x| *x /= 8.0);
        if numbers.below(4) == 0 {
            let place = numbers.below(hidden.len()) as usize;
            hidden[place] = f64::NAN;
        }
        let lists = [0, 1].map(|_| (0..numbers.below(20)).map(|_| numbers.below(outputs + 2)).collect());
        let biases: BTreeMap<u32, f32> = (0..numbers.below(20))
            .map(|_| (numbers.below(outputs + 2), numbers.below(17) as f32 / 4.0 - 2.0))
            .collect();
        let draws = (0..rows).map(|_| {
            let bonus = (numbers.below(3) == 0).then(|| (numbers.below(outputs), 1.25));
            let sampling = Sampling {
                repetition_penalty: [1.0, 1.5, 0.5][numbers.below(3) as usize],
                temperature: [0.0, 0.7, 1.0, 2.0][numbers.below(4) as usize],
                min_p: [None, None, Some(0.1), Some(1.0)][numbers.below(4) as usize],
                top_k: [None, Some(1), Some(5), Some(1000)][numbers.below(4) as usize],
                top_p: [None, Some(0.3), Some(0.9), Some(1.0)][numbers.below(4) as usize],
            };
            (bonus, sampling, (f64::from(numbers.below(1 << 20)) + 0.5) / f64::from(1 << 20))
        });
        let draws = draws.collect();
        let forbidden = (numbers.below(2) == 0).then(|| numbers.below(outputs));
        let bias = (numbers.below(2) == 0).then_some(bias);
        let best = numbers.below(9) as usize;
        let targets = (0..rows).map(|_| numbers.below(outputs)).collect();
        let biases = biases.into_iter().collect();
        Self { rows, outputs, hidden, head, bias, points, vectors, forbidden, lists, biases, draws, best, targets }
    }

    fn draws(&self) -> Vec<RowDraw<'_>> {
        let [forbidden, repeated] = &self.lists;
        let draw = |(row, &(bonus, sampling, uniform)): (usize, &(Bonus, Sampling, f64))| RowDraw {
            bonus,
            forbidden: if row % 2 == 0 { forbidden } else { &[] },
            repeated,
            biases: if row % 3 == 0 { &[] } else { &self.biases },
            sampling,
            uniform,
            best: if row % 2 == 0 { self.best } else { 1 },
        };
        self.draws.iter().enumerate().map(draw).collect()
    }
}

/// A summary as numbers; −1 for nothing.
fn numbers_of(summary: &LogitsSummary) -> [f64; 6] {
    let place = |token: Option<usize>| token.map_or(-1.0, |token| token as f64);
    let LogitsSummary { likeliest, highest, log_sum_exp, entropy, margin, broken } = *summary;
    [place(likeliest), highest, log_sum_exp, entropy, margin, place(broken)]
}

/// Likely tokens as numbers, so many of them.
fn numbers_of_best(best: &[(u32, f64)], count: usize) -> impl Iterator<Item = f64> {
    let missing = std::iter::repeat_n([-1.0, 0.0], count - best.len());
    best.iter().map(|&(token, p)| [f64::from(token), p]).chain(missing).flatten()
}

/// A draw as numbers.
fn numbers_of_draw<'a>(row: &'a DrawnRow, draw: &RowDraw<'_>) -> impl Iterator<Item = f64> + 'a {
    let (token, probability) = row.token.map_or((-1.0, 0.0), |(token, p)| (f64::from(token), p));
    let best = numbers_of_best(&row.best, draw.best);
    numbers_of(&row.summary).into_iter().chain([token, probability]).chain(best)
}

impl Operation for Rows {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let [hidden, head, points, vectors] =
            [&self.hidden, &self.head, &self.points, &self.vectors].map(|values| up(device, values));
        let bias = self.bias.as_ref().map(|bias| up(device, bias));
        let head = device.prepare((self.outputs, INPUTS), &head, WeightFormat::F32).unwrap();
        let logits = || LogitRows {
            rows: self.rows,
            hidden: &hidden,
            head: &head,
            bias: bias.as_ref(),
            soft_cap: None,
            forbidden: self.forbidden,
            evidence: Some(Evidence { size: SIZE, points: &points, vectors: &vectors }),
        };
        let mut nll = device.nll_rows(logits(), &self.targets).unwrap();
        let mut summaries = Vec::new();
        for (row, nll) in device.summarise_rows(logits(), self.best).unwrap().into_iter().zip(&mut nll) {
            // Infinities have no distance, and a row with a logit that is no number has no likelihood.
            if !nll.is_finite() || row.summary.broken.is_some() {
                *nll = -1.0;
            }
            summaries.extend(numbers_of(&row.summary));
            summaries.extend(numbers_of_best(&row.best, self.best));
        }
        let mut drawn = Vec::new();
        for (row, draw) in device.draw_rows(logits(), &self.draws()).unwrap().iter().zip(self.draws()) {
            drawn.extend(numbers_of_draw(row, &draw));
        }
        let vectors = TokenVectors { size: SIZE, values: &vectors };
        let rows = device.draw_rows_expecting(logits(), &self.draws(), vectors).unwrap();
        for ((row, expected), draw) in rows.into_iter().zip(self.draws()) {
            drawn.extend(numbers_of_draw(&row, &draw));
            assert_eq!(expected.len(), if row.token.is_some() { SIZE } else { 0 });
            drawn.extend(expected.into_iter().map(f64::from).chain(std::iter::repeat(-1.0)).take(SIZE));
        }
        let lines: Vec<_> = (0..self.rows).map(|_| OnceLock::new()).collect();
        let read = |row: usize, line: &mut [f32]| lines[row].set(line.to_vec()).unwrap();
        device.linear_rows(logits(), &read).unwrap();
        let whole = lines.iter().flat_map(|line| line.get().unwrap());
        // Not a number becomes a value that no logit has.
        let whole: Vec<f64> = whole.map(|&l| if l.is_nan() { 1000.0 } else { f64::from(l) }).collect();
        [summaries, nll, drawn, whole].map(|values| up(device, &values)).into()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn summaries_and_draws(rows in 1..7_usize, outputs in 2..300_usize, seed: u64) {
        let rows = Rows::random(rows, outputs, &mut Numbers(seed));
        // Exponentials are f32, a few parts in a million off; tokens are whole numbers, and may not be off at all.
        agree(&rows, Precision::F32, Limits { cpu: |_, _| 1e-4, gpu: Some(1e-4) })?;
    }
}
