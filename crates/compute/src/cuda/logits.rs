//! Rows of logits, some at a time: made, reduced or paid for where they are, and handed to the host where it wants
//! them.

use super::arguments::{In, Out};
use super::buffer::GpuBuffer;
use super::kernels::{
    AddBias, AdjustRows, CostRows, CrossEntropy, DistanceError, DrawRows, ForbidToken, RoundToBf16, SoftCap,
    SoftCapBackward, Softmax, SummariseRows, TemperRows,
};
use super::memory::Array;
use super::prepared::GpuMatrix;
use super::products::{Extent, Operand};
use super::{Cuda, THREADS, int};
use crate::{
    CostKind, DType, DeviceError, DrawnRow, Evidence, Head, Later, LinearShape, LogitRows, LogitsSummary,
    LossGradients, LossRows, ReadRow, RowCost, RowDraw, RowLoss, RowSummary, Targets, TokenVectors,
};
use half::bf16;
use std::collections::HashMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Bytes of logits that are there at one time.
const LOGITS: usize = 256 << 20;
/// Stands for no token.
const NO_TOKEN: u32 = u32::MAX;
/// Numbers of each draw: see `draw_rows`.
const NUMBERS: usize = 5;

/// What makes rows of logits of products with the head.
#[derive(Clone, Copy)]
struct Finish<'a> {
    bias: Option<&'a GpuBuffer>,
    soft_cap: Option<f64>,
    forbidden: Option<u32>,
    evidence: Option<Evidence<'a, GpuBuffer>>,
}

/// Some rows of logits, where they lie.
struct Part<'a> {
    rows: Range<usize>,
    logits: &'a Array<f32>,
    /// Where their gradient goes that only products read; a null pointer where it takes their place.
    gradient: Out<bf16>,
}

/// Where what pays for rows can put their gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GradientPlace {
    /// In bf16, for products.
    Image,
    /// In the place of the logits.
    Own,
}

impl Part<'_> {
    fn count(&self) -> usize {
        self.rows.len()
    }
}

impl Cuda {
    /// Rows of logits that are there at one time: a multiple of 64, so that each part begins at an aligned place.
    fn rows_at_once(columns: usize) -> usize {
        (LOGITS / (columns.max(1) * size_of::<f32>()) / 64).max(1) * 64
    }

    /// Adds what there is beside the head, and takes away what no row may be.
    fn finish(&self, columns: usize, part: &Part<'_>, finish: Finish<'_>) {
        let Finish { bias, soft_cap, forbidden, evidence } = finish;
        let (rows, logits) = (part.count(), part.logits.output());
        if let Some(bias) = bias {
            let columns = int(columns);
            self.each(rows * columns as usize, |count| AddBias { count, columns, bias: bias.input(), out: logits });
        }
        if let Some(cap) = soft_cap {
            self.each(rows * columns, |count| SoftCap { count, cap: cap as f32, logits });
        }
        if let Some(Evidence { size, points, vectors }) = evidence {
            let points = Operand::of_part(points, part.rows.start * size);
            let extent = Extent { batch: 1, rows, columns, depth: size, bias: None, added: Some(logits.input()) };
            self.multiply(extent, DType::F32, points, Operand::of(vectors).transposed(), logits);
        }
        if let Some(token) = forbidden {
            // After the evidence, which may be anything where the mask has a vector.
            let blocks = (rows.div_ceil(THREADS as usize) as u32, 1);
            self.launch(0, ForbidToken { rows: rows as i64, columns: int(columns), token, logits }, blocks, THREADS, 0);
        }
    }

    /// Each part of the rows.
    fn each_part(
        &self,
        rows: LogitRows<'_, GpuBuffer, GpuMatrix>,
        mut process: impl FnMut(Part<'_>),
    ) -> Result<(), DeviceError> {
        let LogitRows { rows, hidden, head, bias, soft_cap, forbidden, evidence } = rows;
        let finish = Finish { bias, soft_cap, forbidden, evidence };
        let (outputs, inputs) = head.shape();
        let most = Self::rows_at_once(outputs).min(rows);
        let logits = self.take::<f32>(most * outputs)?;
        for first in (0..rows).step_by(most.max(1)) {
            let part = Part { rows: first..rows.min(first + most), logits: &logits, gradient: Out::none() };
            let x = Operand::of_part(hidden, first * inputs);
            self.multiply_prepared(part.count(), (x, head), (None, false), logits.output());
            self.finish(outputs, &part, finish);
            process(part);
        }
        Ok(())
    }

    /// See [`crate::Logits::linear_rows`].
    pub(super) fn read_rows(
        &self,
        rows: LogitRows<'_, GpuBuffer, GpuMatrix>,
        read: &ReadRow<'_>,
    ) -> Result<(), DeviceError> {
        let (outputs, _) = rows.head.shape();
        self.each_part(rows, |part| {
            let mut numbers: Vec<f32> = self.fetch(part.logits.at(), part.count() * outputs);
            read_all(part.rows.start, outputs, &mut numbers, read);
        })
    }

    /// See [`crate::Logits::summarise_rows`].
    pub(super) fn summarise(
        &self,
        rows: LogitRows<'_, GpuBuffer, GpuMatrix>,
        best: usize,
    ) -> Result<Vec<RowSummary>, DeviceError> {
        let (columns, _) = rows.head.shape();
        let mut summaries = Vec::with_capacity(rows.rows);
        self.each_part(rows, |part| {
            let found = self.room(part.count(), 0, best);
            self.copy_in(found.tokens().0, &vec![NO_TOKEN; 2 * part.count()]);
            self.glance(columns, &part, &found);
            let found = self.fetch_found(&found);
            let rows = found.summaries().zip(found.likeliest());
            summaries.extend(rows.map(|(summary, best)| RowSummary { summary, best }));
        })?;
        Ok(summaries)
    }

    /// Room for what is found in some rows.
    fn room(&self, rows: usize, draws: usize, best: usize) -> Found<Array<u8>> {
        let found = Found { rows, draws, best, at: () };
        Found { at: self.scratch::<u8>(found.bytes()), rows, draws, best }
    }

    /// Reduces the rows of a part; the second of two tokens of a row comes with one that is known to be broken.
    fn glance(&self, columns: usize, part: &Part<'_>, found: &Found<Array<u8>>) {
        let kernel = SummariseRows {
            columns: int(columns),
            logits: part.logits.input(),
            count: int(found.best),
            numbers: found.numbers(),
            tokens: found.tokens(),
            best: found.best_tokens(),
            probabilities: found.best_probabilities(),
        };
        self.by_row(found.rows, kernel);
    }

    /// What was found, on the host: all of it by one copy, as each waits.
    fn fetch_found(&self, found: &Found<Array<u8>>) -> Found<Vec<u8>> {
        let &Found { rows, draws, best, ref at } = found;
        Found { at: self.fetch(at.at(), found.bytes()), rows, draws, best }
    }

    /// See [`crate::Logits::draw_rows`], and [`crate::Logits::draw_rows_expecting`] where `vectors` are given.
    pub(super) fn draw(
        &self,
        rows: LogitRows<'_, GpuBuffer, GpuMatrix>,
        draws: &[RowDraw<'_>],
        vectors: Option<TokenVectors<'_, GpuBuffer>>,
    ) -> Result<Vec<(DrawnRow, Vec<f32>)>, DeviceError> {
        assert_eq!(rows.rows, draws.len(), "as many draws as rows");
        let (columns, _) = rows.head.shape();
        let mut lists = TokenLists::default();
        let forbidden: Vec<u32> = draws.iter().flat_map(|draw| lists.bounds(draw.forbidden, false)).collect();
        let is_penalised = |draw: &RowDraw<'_>| draw.sampling.repetition_penalty != 1.0;
        let repeated = |draw: &RowDraw<'_>| lists.bounds(if is_penalised(draw) { draw.repeated } else { &[] }, true);
        let repeated: Vec<u32> = draws.iter().flat_map(repeated).collect();
        let biased: Vec<u32> = draws.iter().flat_map(|draw| lists.bounds_of_biases(draw.biases)).collect();
        let bonus = draws.iter().map(|draw| draw.bonus.unwrap_or((NO_TOKEN, 0.0)));
        let (bonus_tokens, bonuses): (Vec<u32>, Vec<f32>) = bonus.unzip();
        let top_k = draws.iter().map(|draw| draw.sampling.top_k.map_or(0, |k| k.clamp(1, columns.max(1)) as u32));
        let numbers = draws.iter().flat_map(|draw| {
            let sampling = &draw.sampling;
            let [penalty, temperature] = [sampling.repetition_penalty, sampling.temperature];
            [penalty, temperature, sampling.top_p.unwrap_or(1.0), draw.uniform, sampling.reach()]
        });
        let (top_k, numbers): (Vec<u32>, Vec<f64>) = (top_k.collect(), numbers.collect());
        let best = draws.iter().map(|draw| draw.best).max().unwrap_or(0).min(columns);
        let (forbidden, repeated, biased) = (self.store(&forbidden)?, self.store(&repeated)?, self.store(&biased)?);
        let lists = self.store(&lists.words)?;
        let (bonus_tokens, bonuses) = (self.store(&bonus_tokens)?, self.store(&bonuses)?);
        let (top_k, numbers) = (self.store(&top_k)?, self.store(&numbers)?);
        let mut drawn = Vec::with_capacity(draws.len());
        self.each_part(rows, |part| {
            let (first, count) = (part.rows.start, part.count());
            let found = self.room(count, count, best);
            self.by_row(
                count,
                AdjustRows {
                    columns: int(columns),
                    bonus_tokens: bonus_tokens.input().skip(first),
                    bonuses: bonuses.input().skip(first),
                    forbidden: forbidden.input().skip(2 * first),
                    lists: lists.input(),
                    logits: part.logits.output(),
                    tokens: found.tokens(),
                },
            );
            self.glance(columns, &part, &found);
            let kernel = DrawRows {
                columns: int(columns),
                logits: part.logits.input(),
                repeated: repeated.input().skip(2 * first),
                biased: biased.input().skip(2 * first),
                lists: lists.input(),
                top_k: top_k.input().skip(first),
                numbers: numbers.input().skip(NUMBERS * first),
                summaries: found.numbers().input(),
                tokens: found.tokens().input(),
                result: found.drawn(),
                probabilities: found.drawn_probabilities(),
            };
            let shared = columns.div_ceil(32) * size_of::<u32>();
            self.launch(0, kernel, (count as u32, 1), THREADS, shared);
            let expected = vectors.map(|vectors| {
                let numbers = numbers.input().skip(NUMBERS * first);
                let (drawn, logits) = (found.drawn().input(), part.logits.output());
                self.by_row(count, TemperRows { columns: int(columns), numbers, drawn, logits });
                (vectors.size, self.expected(count, columns, part.logits.input(), vectors))
            });
            let found = self.fetch_found(&found);
            let expected = expected.map(|(size, expected)| (size, self.fetch::<f32>(expected.at(), count * size)));
            let rows = found.summaries().zip(found.draws()).zip(found.likeliest());
            for (row, ((summary, token), mut best)) in rows.enumerate() {
                best.truncate(draws[first + row].best);
                let expected = match &expected {
                    Some((size, all)) if token.is_some() => all[row * size..][..*size].to_vec(),
                    _ => Vec::new(),
                };
                drawn.push((DrawnRow { summary, token, best }, expected));
            }
        })?;
        Ok(drawn)
    }

    /// The token vector that each row of probabilities expects, `[rows, E]`.
    fn expected(
        &self,
        rows: usize,
        columns: usize,
        probabilities: In<f32>,
        TokenVectors { size, values }: TokenVectors<'_, GpuBuffer>,
    ) -> Array<f32> {
        let expected = self.scratch::<f32>(rows * size);
        let extent = Extent { batch: 1, rows, columns: size, depth: columns, bias: None, added: None };
        self.multiply(extent, DType::F32, Operand::plain(probabilities), Operand::of(values), expected.output());
        expected
    }

    /// The logits of some rows at a time, turned by `pay` into their gradient in place, which is then multiplied back.
    fn pay_rows(
        &self,
        rows: LossRows<'_, GpuBuffer, GpuMatrix>,
        mut gradients: Option<LossGradients<'_, GpuBuffer>>,
        place: GradientPlace,
        mut pay: impl FnMut(Part<'_>),
    ) -> Result<(), DeviceError> {
        let LossRows { shape, hidden, head, bias, soft_cap, forbidden, evidence } = rows;
        let LinearShape { rows, inputs, outputs } = shape;
        let finish = Finish { bias, soft_cap, forbidden, evidence };
        let most = Self::rows_at_once(outputs).min(rows);
        let logits = self.take::<f32>(most * outputs)?;
        let dtype = self.precision.dtype();
        let read_in = match &head {
            Head::Prepared(head) => head.gradient_dtype(self.precision),
            Head::Values(_) => dtype,
        };
        let rounds = gradients.is_some() && dtype == DType::Bf16 && read_in == DType::Bf16;
        let gradient = rounds.then(|| self.take::<bf16>(most * outputs)).transpose()?;
        let image = gradient.as_ref().map_or(Out::none(), Array::output);
        for first in (0..rows).step_by(most.max(1)) {
            // Where logits are capped the gradient is finished behind what pays.
            let paid = if place == GradientPlace::Own || soft_cap.is_some() { Out::none() } else { image };
            let part = Part { rows: first..rows.min(first + most), logits: &logits, gradient: paid };
            let shape = LinearShape { rows: part.count(), inputs, outputs };
            let (x, count) = (Operand::of_part(hidden, first * inputs), shape.rows * outputs);
            match &head {
                Head::Prepared(head) => {
                    self.multiply_prepared(shape.rows, (x, head), (None, false), logits.output());
                }
                Head::Values(head) => {
                    self.forward(shape, dtype, (x, Operand::of(head)), (None, None), logits.output());
                }
            }
            // What is capped has its slope by what it was before.
            let uncapped = soft_cap.filter(|_| gradients.is_some()).map(|cap| {
                let uncapped = self.scratch::<f32>(count);
                self.scale_into(1.0, logits.input().into(), 0.0, uncapped.output().into(), count);
                (cap as f32, uncapped)
            });
            self.finish(outputs, &part, finish);
            pay(part);
            let Some(LossGradients { hidden: d_hidden, head: d_head, bias: d_bias }) = &mut gradients else { continue };
            if let Some((cap, uncapped)) = &uncapped {
                let (cap, bias, columns) = (*cap, bias.map_or(In::none(), GpuBuffer::input), int(outputs));
                let (uncapped, gradient) = (uncapped.input(), logits.output());
                self.each(count, |count| SoftCapBackward { count, columns, cap, uncapped, bias, gradient, image });
            } else if rounds && paid.is_none() {
                self.each(count, |count| RoundToBf16 { count, x: logits.input(), out: image });
            }
            let d_logits = match &gradient {
                Some(rounded) => Operand::rounded(rounded.input()),
                None => Operand::plain(logits.input()),
            };
            let d_x = d_hidden.output::<f32>().skip(first * inputs);
            match &head {
                Head::Prepared(head) => self.multiply_prepared_back(shape.rows, (d_logits, head), false, d_x),
                Head::Values(head) => self.backward_input(shape, dtype, (d_logits, Operand::of(head)), false, d_x),
            }
            if let Some(d_head) = d_head {
                self.backward_weight(shape, (d_logits, x), d_head.output());
            }
            if let Some(d_bias) = d_bias {
                self.add_rows(shape.rows, outputs, d_logits.either(), d_bias.output());
            }
        }
        Ok(())
    }

    /// See [`crate::Loss::linear_cross_entropy`].
    pub(super) fn cross_entropy(
        &self,
        rows: LossRows<'_, GpuBuffer, GpuMatrix>,
        targets: Targets<'_>,
        gradients: Option<LossGradients<'_, GpuBuffer>>,
    ) -> Result<Later<Vec<f64>>, DeviceError> {
        let LinearShape { rows: count, outputs, .. } = rows.shape;
        let losses = self.take::<f32>(count)?;
        let weights: Vec<f32> = targets.weights.iter().map(|&weight| weight as f32).collect();
        let (ids, weights) = (self.store(targets.ids)?, self.store(&weights)?);
        let (learns, forbidden) = (gradients.is_some(), rows.forbidden.unwrap_or(NO_TOKEN));
        self.pay_rows(rows, gradients, GradientPlace::Image, |part| {
            let first = part.rows.start;
            self.by_row(
                part.count(),
                CrossEntropy {
                    columns: int(outputs),
                    targets: ids.input().skip(first),
                    forbidden,
                    weights: if learns { weights.input().skip(first) } else { In::none() },
                    logits: part.logits.output(),
                    image: part.gradient,
                    losses: losses.output().skip(first),
                },
            );
        })?;
        let device = self.clone();
        Ok(Later::new(move || device.fetch::<f32>(losses.at(), count).into_iter().map(f64::from).collect()))
    }

    /// See [`crate::Loss::linear_cost_rows`].
    pub(super) fn cost_rows(
        &self,
        rows: LossRows<'_, GpuBuffer, GpuMatrix>,
        costs: &[RowCost],
        vectors: Option<TokenVectors<'_, GpuBuffer>>,
        gradients: Option<LossGradients<'_, GpuBuffer>>,
    ) -> Result<Later<Vec<RowLoss>>, DeviceError> {
        let LinearShape { rows: count, outputs, .. } = rows.shape;
        assert_eq!(count, costs.len(), "as many costs as rows");
        let targets: Vec<u32> = costs.iter().map(|cost| cost.target).collect();
        let (kinds, numbers): (Vec<_>, Vec<_>) = costs.iter().map(encoded).unzip();
        let (kinds, numbers, targets) =
            (self.store(&kinds.concat())?, self.store(&numbers.concat())?, self.store(&targets)?);
        // All costs, then the negative log-likelihoods.
        let paid = self.take::<f64>(2 * count)?;
        let distances = costs.iter().any(|cost| cost.kind == CostKind::Distance);
        let vectors = vectors.filter(|_| distances);
        assert!(vectors.is_some() || !distances, "a distance is measured between vectors");
        let learns = gradients.is_some();
        self.pay_rows(rows, gradients, GradientPlace::Image, |part| {
            let (first, rows) = (part.rows.start, part.count());
            let (p, costs) = (part.logits.output(), paid.output().skip(first));
            self.by_row(rows, Softmax { columns: int(outputs), x: p });
            let dots = vectors.map(|vectors| {
                let TokenVectors { size, values } = vectors;
                let error = self.expected(rows, outputs, p.input(), vectors);
                self.by_row(
                    rows,
                    DistanceError {
                        size: int(size),
                        targets: targets.input().skip(first),
                        vectors: values.input(),
                        expected: error.output(),
                        costs,
                    },
                );
                let dots = self.scratch::<f32>(if learns { rows * outputs } else { 0 });
                if learns {
                    let extent = Extent { batch: 1, rows, columns: outputs, depth: size, bias: None, added: None };
                    let (error, vectors) = (Operand::plain(error.input()), Operand::of(values).transposed());
                    self.multiply(extent, DType::F32, error, vectors, dots.output());
                }
                dots
            });
            self.by_row(
                rows,
                CostRows {
                    columns: int(outputs),
                    kinds: kinds.input().skip(5 * first),
                    numbers: numbers.input().skip(4 * first),
                    dots: dots.as_ref().map_or(In::none(), Array::input),
                    learns: i32::from(learns),
                    probabilities: p,
                    image: part.gradient,
                    costs,
                    nll: paid.output().skip(count + first),
                },
            );
        })?;
        let device = self.clone();
        Ok(Later::new(move || {
            let paid = device.fetch::<f64>(paid.at(), 2 * count);
            let (costs, nll) = paid.split_at(count);
            costs.iter().zip(nll).map(|(&cost, &nll)| RowLoss { cost, nll }).collect()
        }))
    }

    /// See [`crate::Loss::linear_learn_rows`].
    pub(super) fn learn_rows(
        &self,
        rows: LossRows<'_, GpuBuffer, GpuMatrix>,
        read: &ReadRow<'_>,
        gradients: LossGradients<'_, GpuBuffer>,
    ) -> Result<(), DeviceError> {
        let columns = rows.shape.outputs;
        self.pay_rows(rows, Some(gradients), GradientPlace::Own, |part| {
            let mut numbers: Vec<f32> = self.fetch(part.logits.at(), part.count() * columns);
            read_all(part.rows.start, columns, &mut numbers, read);
            self.copy_in(part.logits.at(), &numbers);
        })
    }
}

/// What was found in some rows, see [`SummariseRows`] and [`DrawRows`], in one piece of memory. In order: four numbers of
/// each row, probabilities of the likeliest tokens, of those drawn; two tokens of each row, the likeliest, those drawn.
struct Found<M> {
    at: M,
    rows: usize,
    /// As many as rows, or none.
    draws: usize,
    /// Of the likeliest tokens of each row.
    best: usize,
}

impl<M> Found<M> {
    /// Where the tokens begin.
    fn of_tokens(&self) -> usize {
        (4 * self.rows + self.best * self.rows + self.draws) * size_of::<f64>()
    }

    fn bytes(&self) -> usize {
        self.of_tokens() + (2 * self.rows + self.best * self.rows + self.draws) * size_of::<u32>()
    }
}

impl Found<Array<u8>> {
    fn numbers(&self) -> Out<f64> {
        Out::new(self.at.at())
    }
    fn best_probabilities(&self) -> Out<f64> {
        self.numbers().skip(4 * self.rows)
    }
    fn drawn_probabilities(&self) -> Out<f64> {
        self.best_probabilities().skip(self.best * self.rows)
    }
    fn tokens(&self) -> Out<u32> {
        Out::new(self.at.at() + self.of_tokens() as u64)
    }
    fn best_tokens(&self) -> Out<u32> {
        self.tokens().skip(2 * self.rows)
    }
    fn drawn(&self) -> Out<u32> {
        self.best_tokens().skip(self.best * self.rows)
    }
}

impl Found<Vec<u8>> {
    fn number(&self, index: usize) -> f64 {
        let mut bytes = [0; size_of::<f64>()];
        bytes.copy_from_slice(&self.at[index * size_of::<f64>()..][..size_of::<f64>()]);
        f64::from_ne_bytes(bytes)
    }

    fn token(&self, index: usize) -> Option<u32> {
        let mut bytes = [0; size_of::<u32>()];
        bytes.copy_from_slice(&self.at[self.of_tokens() + index * size_of::<u32>()..][..size_of::<u32>()]);
        Some(u32::from_ne_bytes(bytes)).filter(|&token| token != NO_TOKEN)
    }

    fn summaries(&self) -> impl Iterator<Item = LogitsSummary> {
        (0..self.rows).map(|row| LogitsSummary {
            likeliest: self.token(2 * row).map(|token| token as usize),
            highest: self.number(4 * row),
            log_sum_exp: self.number(4 * row + 1),
            entropy: self.number(4 * row + 2),
            margin: self.number(4 * row + 3),
            broken: self.token(2 * row + 1).map(|token| token as usize),
        })
    }

    /// The likeliest tokens of each row.
    fn likeliest(&self) -> impl Iterator<Item = Vec<(u32, f64)>> {
        (0..self.rows).map(|row| {
            let places = row * self.best..(row + 1) * self.best;
            let pair = |place| Some((self.token(2 * self.rows + place)?, self.number(4 * self.rows + place)));
            places.map_while(pair).take_while(|(_, p)| *p > 0.0).collect()
        })
    }

    /// The token drawn from each row, with its probability.
    fn draws(&self) -> impl Iterator<Item = Option<(u32, f64)>> {
        let (numbers, tokens) = ((4 + self.best) * self.rows, (2 + self.best) * self.rows);
        (0..self.rows).map(move |row| Some((self.token(tokens + row)?, self.number(numbers + row))))
    }
}

/// A cost as [`CostRows`] reads it: kind, target, shown token, mask, whether it was looked at; weight, α, text, masked.
fn encoded(cost: &RowCost) -> ([u32; 5], [f64; 4]) {
    match cost.kind {
        CostKind::CrossEntropy => ([0, cost.target, NO_TOKEN, NO_TOKEN, 0], [cost.weight, 0.0, 0.0, 0.0]),
        CostKind::Ratio(ratio) => (
            [1, cost.target, ratio.shown, ratio.mask.unwrap_or(NO_TOKEN), u32::from(ratio.posterior)],
            [cost.weight, ratio.alpha, ratio.text, ratio.masked],
        ),
        CostKind::Distance => ([2, cost.target, NO_TOKEN, NO_TOKEN, 0], [cost.weight, 0.0, 0.0, 0.0]),
    }
}

/// Lists of tokens one behind the other; one that several rows share is there once.
#[derive(Debug, Default)]
struct TokenLists {
    words: Vec<u32>,
    known: HashMap<(*const u32, usize, bool), [u32; 2]>,
    known_biases: HashMap<(*const (u32, f32), usize), [u32; 2]>,
}

impl TokenLists {
    /// Where a list begins and ends; sorted on request.
    fn bounds(&mut self, list: &[u32], sorted: bool) -> [u32; 2] {
        let Self { words, known, .. } = self;
        *known.entry((list.as_ptr(), list.len(), sorted)).or_insert_with(|| {
            let first = words.len();
            words.extend(list);
            if sorted {
                words[first..].sort_unstable();
            }
            [first as u32, words.len() as u32]
        })
    }

    /// Where the tokens of a list of biases begin and end; behind them stand the bits of as many biases.
    fn bounds_of_biases(&mut self, biases: &[(u32, f32)]) -> [u32; 2] {
        let Self { words, known_biases, .. } = self;
        *known_biases.entry((biases.as_ptr(), biases.len())).or_insert_with(|| {
            let first = words.len();
            words.extend(biases.iter().map(|(token, _)| *token));
            let end = words.len();
            words.extend(biases.iter().map(|(_, bias)| bias.to_bits()));
            [first as u32, end as u32]
        })
    }
}

/// Hands out rows to as many threads as there are processors.
fn read_all(first: usize, columns: usize, numbers: &mut [f32], read: &ReadRow<'_>) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let lines = Mutex::new(numbers.chunks_mut(columns.max(1)).enumerate());
    let next = || lines.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, line)) = next() {
                    read(first + index, line);
                }
            });
        }
    });
}
