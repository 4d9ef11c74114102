//! What vectors of pictures and texts cost beside each other, and the gradient of it.
//!
//! With `S[i][j] = s · p_i · t_j` for vectors of length 1, the rows and the columns of `S` are logits of which text belongs to
//! a picture and which picture to a text; the cost is the mean of both cross entropies (CLIP: Radford et al., 2103.00020,
//! figure 3). Pairs with the same label fit each other, and the target is spread evenly over them (UniCL: Yang et al.,
//! 2204.03610, equations 1 to 3): without that, two pictures of a fox in a batch would push each other's captions away.

/// Pairs of vectors, each made of one that is not of length 1 yet.
pub(super) struct Contrast<'a> {
    /// The vectors of the pictures, `[N, E]`.
    pub(super) pictures: &'a [f64],
    /// The vectors of the texts, `[N, E]`.
    pub(super) texts: &'a [f64],
    /// `E`.
    pub(super) columns: usize,
    /// What each pair is of.
    pub(super) labels: &'a [u32],
    /// The logarithm of `s`.
    pub(super) log_scale: f64,
}

/// What pairs cost, and the gradients of it.
pub(super) struct Contrasted {
    pub(super) cost: f64,
    /// Pictures whose nearest text has their label.
    pub(super) hits: usize,
    /// `[N, E]`, with respect to the vectors before they had length 1.
    pub(super) d_pictures: Vec<f64>,
    pub(super) d_texts: Vec<f64>,
    pub(super) d_log_scale: f64,
}

/// The greatest `s`, as in CLIP.
const MOST_SCALE: f64 = 100.0;
/// Vectors shorter than it count as ones of this length.
const LEAST: f64 = 1e-12;

/// `s`.
pub(super) fn scale(log_scale: f64) -> f64 {
    log_scale.exp().min(MOST_SCALE)
}

/// Vectors of length 1, and the lengths that they had.
pub(super) fn normalised(vectors: &[f64], columns: usize) -> (Vec<f64>, Vec<f64>) {
    let mut units = vectors.to_vec();
    let mut length = |vector: &mut [f64]| {
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(LEAST);
        vector.iter_mut().for_each(|value| *value /= length);
        length
    };
    let lengths = units.chunks_exact_mut(columns).map(&mut length).collect();
    (units, lengths)
}

impl Contrast<'_> {
    /// The cost of these pairs.
    pub(super) fn of(&self) -> Contrasted {
        let &Self { columns, labels, log_scale, .. } = self;
        let (n, scale) = (labels.len(), scale(log_scale));
        let (pictures, picture_lengths) = normalised(self.pictures, columns);
        let (texts, text_lengths) = normalised(self.texts, columns);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut logits = Vec::with_capacity(n * n);
        for picture in pictures.chunks_exact(columns) {
            logits.extend(texts.chunks_exact(columns).map(|text| scale * dot(picture, text)));
        }
        let fits = |i: usize, j: usize| labels[i] == labels[j];
        let count = |i: usize| (0..n).filter(|&j| fits(i, j)).count() as f64;
        let counts: Vec<f64> = (0..n).map(count).collect();
        let (mut cost, mut hits) = (0.0, 0);
        let mut slopes = vec![0.0; n * n];
        // Each picture chooses a text, then each text a picture.
        for by_columns in [false, true] {
            let at = |i: usize, j: usize| if by_columns { j * n + i } else { i * n + j };
            for i in 0..n {
                let most = (0..n).map(|j| logits[at(i, j)]).fold(f64::NEG_INFINITY, f64::max);
                let sum = (0..n).map(|j| (logits[at(i, j)] - most).exp()).sum::<f64>();
                let log_sum = most + sum.ln();
                let share = 0.5 / n as f64;
                for j in 0..n {
                    let (logit, target) = (logits[at(i, j)], if fits(i, j) { 1.0 / counts[i] } else { 0.0 });
                    cost += share * target * (log_sum - logit);
                    slopes[at(i, j)] += share * ((logit - log_sum).exp() - target);
                }
                let nearest = (0..n).max_by(|&a, &b| logits[at(i, a)].total_cmp(&logits[at(i, b)]));
                hits += usize::from(!by_columns && nearest.is_some_and(|j| fits(i, j)));
            }
        }
        let d_log_scale: f64 = slopes.iter().zip(&logits).map(|(slope, logit)| slope * logit).sum();
        // Beyond the greatest it only comes back.
        let d_log_scale = if log_scale.exp() > MOST_SCALE { d_log_scale.max(0.0) } else { d_log_scale };
        let (mut d_pictures, mut d_texts) = (vec![0.0; n * columns], vec![0.0; n * columns]);
        for i in 0..n {
            let picture = &pictures[i * columns..][..columns];
            for j in 0..n {
                let slope = scale * slopes[i * n + j];
                let text = &texts[j * columns..][..columns];
                d_pictures[i * columns..][..columns].iter_mut().zip(text).for_each(|(d, text)| *d += slope * text);
                d_texts[j * columns..][..columns].iter_mut().zip(picture).for_each(|(d, of)| *d += slope * of);
            }
        }
        lengthwise(&mut d_pictures, &pictures, &picture_lengths, columns);
        lengthwise(&mut d_texts, &texts, &text_lengths, columns);
        Contrasted { cost, hits, d_pictures, d_texts, d_log_scale }
    }
}

/// Gradients with respect to vectors of length 1 become those with respect to what they were made of.
fn lengthwise(gradients: &mut [f64], units: &[f64], lengths: &[f64], columns: usize) {
    let all = gradients.chunks_exact_mut(columns).zip(units.chunks_exact(columns)).zip(lengths);
    for ((gradient, unit), length) in all {
        let along: f64 = gradient.iter().zip(unit).map(|(d, u)| d * u).sum();
        gradient.iter_mut().zip(unit).for_each(|(d, u)| *d = (*d - along * u) / length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f64 {
        ((i * 37 + 11) % 64) as f64 / 32.0 - 1.0
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let labels = [0, 1, 0, 2];
        let pictures: Vec<f64> = (0..12).map(value).collect();
        let texts: Vec<f64> = (0..12).map(|i| value(i + 5)).collect();
        let cost = |pictures: &[f64], texts: &[f64], log_scale| {
            Contrast { pictures, texts, columns: 3, labels: &labels, log_scale }.of()
        };
        let found = cost(&pictures, &texts, 1.2);
        let step = 1e-5;
        let close = |expected: f64, given: f64| assert!((expected - given).abs() < 1e-8, "{given}, not {expected}");
        for at in 0..12 {
            let moved = |of: &[f64], by: f64| {
                let mut of = of.to_vec();
                of[at] += by;
                of
            };
            let up = cost(&moved(&pictures, step), &texts, 1.2).cost - cost(&moved(&pictures, -step), &texts, 1.2).cost;
            close(up / (2.0 * step), found.d_pictures[at]);
            let up = cost(&pictures, &moved(&texts, step), 1.2).cost - cost(&pictures, &moved(&texts, -step), 1.2).cost;
            close(up / (2.0 * step), found.d_texts[at]);
        }
        let up = cost(&pictures, &texts, 1.2 + step).cost - cost(&pictures, &texts, 1.2 - step).cost;
        close(up / (2.0 * step), found.d_log_scale);
        // The scale does not go beyond the greatest, but comes back from there.
        let beyond = cost(&pictures, &texts, 9.0);
        assert!(beyond.cost == cost(&pictures, &texts, 8.0).cost && beyond.d_log_scale > 0.0);
        let right =
            Contrast { pictures: &pictures, texts: &pictures, columns: 3, labels: &[0, 1, 2, 3], log_scale: 9.0 };
        assert_eq!(right.of().d_log_scale, 0.0);
    }

    #[test]
    fn alike_vectors_cost_what_chance_costs_and_apart_ones_nothing() {
        let alike =
            Contrast { pictures: &[1.0; 8], texts: &[2.0; 8], columns: 2, labels: &[0, 1, 2, 3], log_scale: 0.0 };
        assert!((alike.of().cost - 4.0_f64.ln()).abs() < 1e-12);
        let axes = [3.0, 0.0, 0.0, 0.5];
        let apart = Contrast { pictures: &axes, texts: &axes, columns: 2, labels: &[0, 1], log_scale: 4.0 };
        assert!(apart.of().cost < 1e-20 && apart.of().hits == 2);
        // Pairs of one label share their target, and each is a hit for the other.
        let same = Contrast { pictures: &axes, texts: &axes, columns: 2, labels: &[7, 7], log_scale: 0.0 };
        let swapped = Contrast { texts: &[0.0, 1.0, 1.0, 0.0], ..same };
        assert_eq!((swapped.of().hits, swapped.of().cost), (2, same.of().cost));
    }
}
