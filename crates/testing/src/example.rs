//! A tiny network of every kind with something to learn.

use crate::Golden;
use aquatint_compute::{Device, Element, Visibility};
use aquatint_diffusion::{ContinuousState, Key, Layout, PADDING_DOCUMENT, ProcessKind};
use aquatint_network::{
    Activation, AttentionSpec, BlockRouting, ExpertsSpec, FeedForwardKind, FeedForwardSpec, GatedSpec, HeadSpec,
    LayerSpec, Learner, LossRow, Network, NetworkInput, NetworkSpec, NormSpec, ParallelSpec, RopeSpec, RotationScaling,
    RouterScore, RouterSpec, RowLayout, SelfConditioningSpec, TimeSpec,
};
use serde_json::Value;

/// A description, an input that fits it, and what there is to learn.
#[derive(Debug, Clone)]
pub struct Example {
    /// The network.
    pub spec: NetworkSpec,
    /// The token of each row.
    pub tokens: Vec<u32>,
    /// Points instead of tokens.
    pub points: Option<ContinuousState>,
    /// The position of each row.
    pub positions: Vec<u32>,
    /// The place of each row, where positions have several axes.
    pub places: Option<Vec<u32>>,
    /// What each row sees.
    pub visibility: Visibility,
    /// The time of each sequence.
    pub times: Option<Vec<f32>>,
    /// Which rows are of a current block, where the network tells them apart.
    pub current: Option<Vec<bool>>,
    /// `[T, V]`: the last prediction; of rows of current blocks, where the network tells them apart.
    pub self_conditioning: Option<Vec<f32>>,
    /// The rows with a loss.
    pub rows: Vec<LossRow>,
}

impl Example {
    /// The names that [`Example::named`] knows.
    pub const NAMES: [&str; 14] = [
        "plain",
        "grouped-queries-and-documents",
        "time-conditioning",
        "self-conditioning",
        "probability-rows",
        "two-streams",
        "causal",
        "logit-shift",
        "biases",
        "experts",
        "grouped-experts",
        "block-experts",
        "encoder-and-decoder",
        "several-axes",
    ];

    /// One of the examples; `gaussian-field` besides.
    pub fn named(name: &str) -> Self {
        let layer = LayerSpec::new(AttentionSpec::new(2, 2, 4), FeedForwardSpec::new(12));
        let plain = NetworkSpec { context_length: 16, mask_token: Some(10), ..NetworkSpec::new(11, 8, vec![layer; 2]) };
        let mut example = Self::laid_out(plain, &[5, 3, 6], &[]);
        match name {
            "plain" => {}
            "grouped-queries-and-documents" => {
                let mut spec = example.spec.clone();
                spec.head.tied = true;
                let qk_norm = Some(NormSpec::default());
                each_attention(&mut spec, |attention| {
                    *attention = AttentionSpec { qk_norm, ..AttentionSpec::new(4, 2, 6) }
                });
                let padding = PADDING_DOCUMENT;
                example = Self::laid_out(spec, &[6, 5], &[0, 0, 0, 1, 1, padding, 2, 3, 3, 3, padding]);
            }
            "time-conditioning" => {
                example.spec.time_conditioning = Some(TimeSpec::new(6));
                example.times = Some(vec![0.25, 0.5, 0.875]);
            }
            "self-conditioning" => {
                example.spec.self_conditioning = Some(SelfConditioningSpec::Added);
                example.spec.head.tied = true;
                let mut prediction = example.simplex(3);
                // Nothing is predicted of the second sequence.
                prediction[5 * 11..8 * 11].fill(0.0);
                example.self_conditioning = Some(prediction);
            }
            "probability-rows" => {
                example.spec.time_conditioning = Some(TimeSpec::new(4));
                example.spec.self_conditioning = Some(SelfConditioningSpec::Added);
                example.times = Some(vec![0.125, 0.75, 0.5]);
                let mixtures = example.simplex(4);
                example.points = Some(at_rest(mixtures, example.spec.vocabulary_size));
                example.self_conditioning = Some(example.simplex(5));
            }
            "gaussian-field" => {
                example.spec.word_vector_size = Some(3);
                example.spec.process.kind = ProcessKind::Gaussian { size: 3 };
                let mut draws = Key::new(9).at(0, 0);
                let mut points = ContinuousState::clean(14, 3);
                for row in 0..14 {
                    let noise: Vec<f32> = (0..3).map(|_| draws.normal() as f32).collect();
                    // One row holds no share of its word, and one speaks for nothing.
                    points.set(row, row as f32 / 13.0, &noise, 0.25 * row as f32);
                }
                example.points = Some(points);
            }
            "two-streams" => example = Self::two_streams(example.spec),
            "causal" => {
                let spec = NetworkSpec { attention: Layout::Causal, mask_token: None, ..example.spec };
                example = Self::laid_out(spec, &[5, 3, 6], &[]);
            }
            "logit-shift" => {
                example.spec.head.logit_shift = true;
                each_attention(&mut example.spec, |attention| attention.qk_norm = Some(NormSpec::default()));
            }
            "experts" => {
                let router = RouterSpec::softmax(true);
                let experts = ExpertsSpec {
                    experts: 5,
                    per_token: 2,
                    width: 6,
                    activation: Activation::Swiglu,
                    router,
                    shared_width: None,
                };
                example.spec.layers[1].feed_forward.kind = FeedForwardKind::Experts(experts);
            }
            "grouped-experts" => {
                let router = RouterSpec {
                    score: RouterScore::Sigmoid,
                    groups: 3,
                    groups_per_token: 2,
                    block: None,
                    bias: true,
                    normalised: true,
                    scale: 2.5,
                    expert_scale: false,
                };
                let experts = ExpertsSpec {
                    experts: 6,
                    per_token: 3,
                    width: 4,
                    activation: Activation::Swiglu,
                    router,
                    shared_width: Some(5),
                };
                let kind = FeedForwardKind::Experts(experts);
                example.spec.layers.iter_mut().for_each(|layer| layer.feed_forward.kind = kind);
                example.spec.time_conditioning = Some(TimeSpec::new(6));
                example.times = Some(vec![0.25, 0.5, 0.875]);
            }
            "block-experts" => {
                let router = RouterSpec {
                    score: RouterScore::Sigmoid,
                    block: Some(BlockRouting { length: 4, experts: 3 }),
                    bias: true,
                    ..RouterSpec::softmax(true)
                };
                let experts = ExpertsSpec {
                    experts: 6,
                    per_token: 2,
                    width: 4,
                    activation: Activation::Swiglu,
                    router,
                    shared_width: Some(5),
                };
                let mut spec = NetworkSpec { attention: Layout::Block { length: 4 }, ..example.spec };
                let kind = FeedForwardKind::Experts(experts);
                spec.layers.iter_mut().for_each(|layer| layer.feed_forward.kind = kind);
                example = Self::laid_out(spec, &[5, 3, 6], &[]);
            }
            "biases" => {
                each_attention(&mut example.spec, |attention| {
                    *attention = AttentionSpec { qkv_bias: true, ..AttentionSpec::new(4, 2, 4) };
                });
            }
            "encoder-and-decoder" => example = Self::encoder_and_decoder(example.spec),
            "several-axes" => {
                each_attention(&mut example.spec, |attention| {
                    attention.head_size = 8;
                    attention.rope.axes = 3;
                });
                // Text, and of each sequence a grid of two columns from its third row on.
                let of_row = |position: &u32| match position.checked_sub(2) {
                    Some(cell) => [2, 2 + cell / 2, 2 + cell % 2],
                    None => [*position; 3],
                };
                example.places = Some(example.positions.iter().flat_map(of_row).collect());
            }
            other => panic!("no example is called {other}"),
        }
        example
    }

    /// A network whose rows of the current block are computed in another way than those before it, with norms behind the
    /// parts of its layers, layers of two shapes, gated and routed parts side by side, and capped logits.
    fn encoder_and_decoder(spec: NetworkSpec) -> Self {
        let norm = NormSpec::default();
        let gated = GatedSpec { width: 6, activation: Activation::Geglu };
        let router = RouterSpec { expert_scale: true, ..RouterSpec::softmax(true) };
        let activation = Activation::Geglu;
        let experts = ExpertsSpec { experts: 4, per_token: 2, width: 4, activation, router, shared_width: None };
        let kind = FeedForwardKind::Parallel(ParallelSpec { gated, experts, norm });
        let attention = AttentionSpec {
            qk_norm: Some(norm),
            value_norm: true,
            post_norm: Some(norm),
            score_scale: Some(1.0),
            window: Some(3),
            ..AttentionSpec::new(4, 2, 4)
        };
        let whole = AttentionSpec {
            values_are_keys: true,
            window: None,
            rope: RopeSpec { scaling: RotationScaling::Proportional { pairs: 1 }, ..RopeSpec::default() },
            ..AttentionSpec { key_value_heads: 1, head_size: 6, ..attention }
        };
        let layer = |attention| LayerSpec {
            scaled: true,
            ..LayerSpec::new(attention, FeedForwardSpec { norm, kind, post_norm: Some(norm) })
        };
        let spec = NetworkSpec {
            layers: vec![layer(attention), layer(whole)],
            head: HeadSpec { tied: true, soft_cap: Some(3.0), ..HeadSpec::default() },
            self_conditioning: Some(SelfConditioningSpec::Gated(gated)),
            embedding_scale: Some(1.5),
            block_windows: true,
            attention: Layout::CausalPrefix { length: 3 },
            ..spec
        };
        let mut example = Self::laid_out(spec, &[5, 3, 6], &[]);
        example.self_conditioning = Some(example.simplex(6));
        example
    }

    /// Sequences of these lengths; about half of the rows are masked and have a loss.
    fn laid_out(spec: NetworkSpec, lengths: &[usize], documents: &[u32]) -> Self {
        let mut draws = Key::new(7).at(0, 0);
        let ids = spec.vocabulary_size as u64 - 1;
        let mut rows = RowLayout::default();
        for &length in lengths {
            let inside = documents.get(rows.rows()..rows.rows() + length).unwrap_or(&[]);
            rows.push(spec.attention, length, inside);
        }
        let current = spec.tells_current().then(|| rows.current().to_vec());
        let (positions, visibility) = rows.finish().expect("the layout's own intervals");
        let mut tokens: Vec<u32> = positions.iter().map(|_| draws.below(ids) as u32).collect();
        let mut requested = Vec::new();
        for (row, token) in (0u32..).zip(&mut tokens) {
            let padding = documents.get(row as usize) == Some(&PADDING_DOCUMENT);
            if (spec.mask_token.is_none() || draws.uniform() < 0.6) && !padding {
                let target = draws.below(ids) as u32;
                requested.push(LossRow { row, target, weight: 0.25 + draws.uniform() });
                *token = spec.mask_token.unwrap_or(*token);
            }
        }
        Self {
            spec,
            tokens,
            points: None,
            positions,
            places: None,
            visibility,
            times: None,
            current,
            self_conditioning: None,
            rows: requested,
        }
    }

    /// Sequences of these lengths under any description: times and a prediction are there where the description has a
    /// use for them, and every third document is cut in two.
    pub fn ragged(spec: NetworkSpec, lengths: &[usize]) -> Self {
        let documents: Vec<u32> = (0u32..)
            .zip(lengths)
            .flat_map(|(i, &n)| (0..n).map(move |p| 2 * i + u32::from(i % 3 == 2 && p > n / 3)))
            .collect();
        let mut example = Self::laid_out(spec, lengths, &documents);
        let times = (1..=lengths.len()).map(|i| i as f32 / lengths.len() as f32);
        example.times = example.spec.reads_time().then(|| times.collect());
        example.self_conditioning = example.spec.self_conditioning.map(|_| example.simplex(6));
        example
    }

    /// Block diffusion's training pass: the noisy canvas, then the clean one, in blocks of 3.
    fn two_streams(spec: NetworkSpec) -> Self {
        let (length, block) = (8, 3);
        let mut draws = Key::new(8).at(0, 0);
        let clean: Vec<u32> = (0..length).map(|_| draws.below(10) as u32).collect();
        let noisy = clean.iter().map(|&token| if draws.uniform() < 0.6 { 10 } else { token });
        let tokens: Vec<u32> = noisy.chain(clean.iter().copied()).collect();
        let rows = (0..length as u32).filter(|&row| tokens[row as usize] == 10);
        let rows = rows.map(|row| LossRow { row, target: clean[row as usize], weight: 0.5 + f64::from(row) / 8.0 });
        let rows: Vec<LossRow> = rows.collect();
        let (positions, visibility) = two_streams(length, block);
        let mut spec = NetworkSpec { attention: Layout::Block { length: block }, ..spec };
        each_attention(&mut spec, |attention| attention.qk_norm = Some(NormSpec::default()));
        Self {
            spec,
            tokens,
            points: None,
            positions,
            places: None,
            visibility,
            times: None,
            current: None,
            self_conditioning: None,
            rows,
        }
    }

    /// A point of the simplex for each row, or for those of current blocks.
    fn simplex(&self, seed: u64) -> Vec<f32> {
        let mut draws = Key::new(seed).at(0, 0);
        let mut rows = Vec::new();
        let rows_of = |current: &Vec<bool>| current.iter().filter(|current| **current).count();
        for _ in 0..self.current.as_ref().map_or(self.visibility.len(), rows_of) {
            let weights: Vec<f64> = (0..self.spec.vocabulary_size).map(|_| (2.0 * draws.normal()).exp()).collect();
            let sum: f64 = weights.iter().sum();
            rows.extend(weights.iter().map(|weight| (weight / sum) as f32));
        }
        rows
    }

    /// The example of a golden file of a whole network. What each row sees is laid out here, from the description: that
    /// the reference's masks agree is part of what a test of it shows.
    pub fn golden(golden: &Golden) -> Self {
        let about = &golden.about;
        let whole = |value: &Value| value.as_u64().expect("a whole number") as usize;
        let list = |key: &str| about[key].as_array().expect("a list").iter().map(whole).collect::<Vec<_>>();
        let spec = aquatint_network::families::from_config(&about["config"]).expect("a valid description");
        let documents: Vec<u32> = list("documents").iter().map(|&document| document as u32).collect();
        let visibility = match about["two_streams"].as_array() {
            Some(two) => two_streams(whole(&two[0]), whole(&two[1])).1,
            None => Self::laid_out(spec.clone(), &list("lengths"), &documents).visibility,
        };
        let size = spec.vocabulary_size;
        let optional = |name: &str| golden.has(name).then(|| golden.singles(name));
        let requested = golden.ids("rows").into_iter().zip(golden.ids("targets")).zip(golden.values("weights"));
        Self {
            spec,
            tokens: golden.ids("tokens"),
            points: optional("probabilities").map(|rest| at_rest(rest, size)),
            positions: golden.ids("positions"),
            places: None,
            visibility,
            times: optional("times"),
            current: None,
            self_conditioning: optional("self_conditioning"),
            rows: requested.map(|((row, target), &weight)| LossRow { row, target, weight }).collect(),
        }
    }

    /// What the network is given.
    pub fn input(&self) -> NetworkInput<'_> {
        NetworkInput {
            tokens: &self.tokens,
            points: self.points.as_ref(),
            positions: &self.positions,
            places: self.places.as_deref(),
            visibility: &self.visibility,
            times: self.times.as_deref(),
            current: self.current.as_deref(),
            self_conditioning: self.self_conditioning.as_deref(),
        }
    }

    /// A network whose weights are all random and none small, so that no gradient is zero by initialisation.
    pub fn network<D: Device>(&self, device: D) -> Network<D> {
        let mut network = Network::new(device.clone(), self.spec.clone(), 0).expect("a valid description");
        for (index, parameter) in (0u64..).zip(network.parameters_mut()) {
            let mut draws = Key::new(99).fold(index).at(0, 0);
            let (centre, spread) = if parameter.info.name.contains("norm.weight") { (1.0, 0.2) } else { (0.0, 0.35) };
            let length = parameter.info.shape.iter().product();
            let values: Vec<D::Element> =
                (0..length).map(|_| D::Element::from_f64(centre + spread * draws.normal())).collect();
            device.write(parameter.value, &values);
        }
        network.normalise_word_vectors();
        network
    }
}

/// The rows of one canvas in two streams.
fn two_streams(length: usize, block: usize) -> (Vec<u32>, Visibility) {
    let mut rows = RowLayout::default();
    rows.push_two_streams(Layout::Block { length: block }, length, &[]);
    rows.finish().expect("the layout's own intervals")
}

/// Points without signal.
fn at_rest(offset: Vec<f32>, size: usize) -> ContinuousState {
    let rows = offset.len() / size;
    ContinuousState { size, clean_weight: vec![0.0; rows], offset, prior_logit_scale: vec![0.0; rows] }
}

fn each_attention(spec: &mut NetworkSpec, change: impl Fn(&mut AttentionSpec)) {
    spec.layers.iter_mut().for_each(|layer| change(&mut layer.attention));
}
