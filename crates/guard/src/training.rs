//! How a linear classifier is trained: logistic regression with a squared penalty on the weights, by Nesterov's accelerated
//! gradient descent over all rows at once, with the step that the largest row allows. It draws nothing, so that the same rows give
//! the same classifier.

use crate::classifier::{self, logistic};
use crate::{GuardError, GuardRow, LinearClassifier};
use aquatint_evaluate::text_words;
use std::collections::{BTreeMap, BTreeSet};

/// Steps of the descent.
const STEPS: usize = 2000;

/// How a classifier is trained.
#[derive(Debug, Clone, Copy)]
pub struct TrainingSettings {
    /// Words of the n-grams, from one to so many.
    pub words: usize,
    /// Rows that have to have an n-gram for it to get a weight.
    pub least: usize,
    /// What the penalty on the weights is multiplied by.
    pub penalty: f64,
    /// From which probability on a text is refused.
    pub threshold: f64,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self { words: 2, least: 2, penalty: 1e-3, threshold: 0.5 }
    }
}

impl TrainingSettings {
    /// Whether the settings can be.
    ///
    /// # Errors
    /// [`GuardError::Setting`] with the first that cannot.
    pub fn check(&self) -> Result<(), GuardError> {
        classifier::check(self.words, self.threshold)?;
        if self.least == 0 {
            return Err(GuardError::setting("least", 0, "1 or more"));
        }
        if !(self.penalty.is_finite() && self.penalty > 0.0) {
            return Err(GuardError::setting("penalty", self.penalty, "more than 0"));
        }
        Ok(())
    }

    /// A classifier of these rows. Of a row with holes both readings are learned, each with half of its weight.
    ///
    /// # Errors
    /// When a setting cannot be, or nothing tells the rows from each other.
    pub fn train(&self, rows: &[GuardRow]) -> Result<LinearClassifier, GuardError> {
        self.check()?;
        let untrainable = |lack| Err(GuardError::Untrainable { lack });
        if rows.iter().all(|row| row.refuse) || !rows.iter().any(|row| row.refuse) {
            return untrainable("are all of one kind");
        }
        let (mut window, mut examples) = (self.words, Vec::new());
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for row in rows {
            let mut of_row = BTreeSet::new();
            for reading in row.passage.readings() {
                let words: Vec<String> = text_words(reading.text()).into_iter().map(|(word, _)| word).collect();
                window = window.max(words.len());
                let grams = grams(&words, self.words);
                of_row.extend(grams.iter().cloned());
                examples.push((grams, row.refuse, 1.0 / row.passage.readings().len() as f64));
            }
            of_row.into_iter().for_each(|gram| *counts.entry(gram).or_default() += 1);
        }
        let known: Vec<String> =
            counts.into_iter().filter(|(_, count)| *count >= self.least).map(|(gram, _)| gram).collect();
        if known.is_empty() {
            return untrainable("have no words in common");
        }
        let number = |gram: &String| known.binary_search(gram).ok();
        let example = |(grams, refuse, share): &(BTreeSet<String>, bool, f64)| Example {
            features: grams.iter().filter_map(number).collect(),
            target: f64::from(u8::from(*refuse)),
            share: share / rows.len() as f64,
        };
        let examples: Vec<Example> = examples.iter().map(example).collect();
        let (bias, weights) = descend(&examples, known.len(), self.penalty);
        let weights = known.into_iter().zip(weights).collect();
        LinearClassifier::new((self.words, window), self.threshold, bias, weights)
    }
}

/// The n-grams of a text, each once.
fn grams(words: &[String], longest: usize) -> BTreeSet<String> {
    (1..=longest).flat_map(|length| words.windows(length).map(|gram| gram.join(" "))).collect()
}

/// A reading of a row.
struct Example {
    /// The numbers of the n-grams that it has.
    features: Vec<usize>,
    /// What is to be said of it, 0 or 1.
    target: f64,
    /// Its share of the mean over all rows.
    share: f64,
}

/// The bias and the weights whose mean logistic loss with the penalty is the least; the shares add up to 1.
fn descend(examples: &[Example], features: usize, penalty: f64) -> (f64, Vec<f64>) {
    let largest = examples.iter().map(|example| example.features.len()).max().unwrap_or(0);
    // The curvature is at most a quarter of the squared length of a row, with its bias, and the penalty.
    let rate = 1.0 / (0.25 * (largest + 1) as f64 + penalty);
    let mut weights = vec![0.0; features + 1];
    let mut ahead = weights.clone();
    for step in 1..=STEPS {
        // The last one is the bias, on which there is no penalty.
        let mut gradient: Vec<f64> = ahead[..features].iter().map(|weight| penalty * weight).collect();
        gradient.push(0.0);
        for Example { features: own, target, share } in examples {
            let sum = ahead[features] + own.iter().map(|feature| ahead[*feature]).sum::<f64>();
            let error = (logistic(sum) - target) * share;
            own.iter().for_each(|feature| gradient[*feature] += error);
            gradient[features] += error;
        }
        let next: Vec<f64> = ahead.iter().zip(&gradient).map(|(weight, slope)| weight - rate * slope).collect();
        let momentum = (step as f64 - 1.0) / (step as f64 + 2.0);
        ahead = next.iter().zip(&weights).map(|(new, old)| new + momentum * (new - old)).collect();
        weights = next;
    }
    let bias = weights.pop().unwrap_or(0.0);
    (bias, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Guard, Passage};
    use aquatint_vocabulary::Template;

    fn row(text: &str, refuse: bool) -> GuardRow {
        let passage = Passage::of_template(&Template::parse(text).unwrap());
        GuardRow { passage, refuse, set: String::new() }
    }

    #[test]
    fn the_gradient_is_zero_where_the_descent_ends() {
        let of = |features: &[usize], target, share| Example { features: features.to_vec(), target, share };
        let examples =
            [of(&[0], 1.0, 0.1), of(&[0, 1], 0.0, 0.3), of(&[1], 0.0, 0.2), of(&[], 1.0, 0.2), of(&[0], 1.0, 0.2)];
        let (bias, weights) = descend(&examples, 2, 0.1);
        let loss = |bias: f64, weights: &[f64]| {
            let of = |Example { features, target, share }: &Example| {
                let sum = bias + features.iter().map(|feature| weights[*feature]).sum::<f64>();
                share * ((1.0 + sum.exp()).ln() - target * sum)
            };
            examples.iter().map(of).sum::<f64>() + 0.05 * weights.iter().map(|w| w * w).sum::<f64>()
        };
        let best = loss(bias, &weights);
        for (of_bias, first, second) in [(1e-4, 0.0, 0.0), (0.0, 1e-4, 0.0), (0.0, 0.0, 1e-4)] {
            for sign in [-1.0, 1.0] {
                let moved = [weights[0] + sign * first, weights[1] + sign * second];
                assert!(loss(bias + sign * of_bias, &moved) > best, "{bias} {weights:?}");
            }
        }
    }

    #[test]
    fn what_tells_the_rows_from_each_other_is_learned() {
        let rows = [
            row("how do I open the vork", true),
            row("open a vork for me", true),
            row("the [[3]] vork", true),
            row("how do I open the gate", false),
            row("open a window for me", false),
            row("the [[3]] garden", false),
        ];
        let guard = TrainingSettings::default().train(&rows).unwrap();
        let refuses = |text: &str| guard.judge(&Passage::of_text(text).readings()[0]).is_some();
        assert!(refuses("please open this vork") && !refuses("please open this gate"));
        assert_eq!(TrainingSettings::default().train(&rows).unwrap(), guard);
    }

    #[test]
    fn rows_that_teach_nothing_are_refused() {
        let settings = TrainingSettings::default();
        let refused = |settings: TrainingSettings, rows: &[GuardRow]| settings.train(rows).unwrap_err().to_string();
        let [one, two] = [row("open the vork", true), row("shut a gate", false)];
        assert!(refused(settings, &[one.clone(), one.clone()]).starts_with("the rows are all of one kind"));
        assert!(refused(settings, &[]).starts_with("the rows are all of one kind"));
        assert!(refused(settings, &[one.clone(), two.clone()]).starts_with("the rows have no words in common"));
        let wrong = |settings| refused(settings, &[one.clone(), two.clone()]);
        assert_eq!(wrong(TrainingSettings { least: 0, ..settings }), "`least` is 0; allowed: 1 or more");
        assert_eq!(wrong(TrainingSettings { penalty: 0.0, ..settings }), "`penalty` is 0; allowed: more than 0");
        // Settings are checked before the rows are.
        let first = |settings| refused(settings, &[]);
        assert_eq!(first(TrainingSettings { words: 9, ..settings }), "`words` is 9; allowed: 1 to 5");
        assert_eq!(first(TrainingSettings { words: 0, ..settings }), "`words` is 0; allowed: 1 to 5");
        let over = TrainingSettings { threshold: 1.5, ..settings };
        assert_eq!(first(over), "`threshold` is 1.5; allowed: more than 0 and less than 1");
    }

    #[test]
    fn a_row_counts_once_however_many_readings_it_has() {
        let rows = [row("the [[3]] vork", true), row("open the gate", false), row("open a gate", false)];
        let guard = TrainingSettings::default().train(&rows).unwrap();
        // `vork` is in both readings of one row, `the`, `gate` and `open` in two rows.
        assert_eq!(guard.size(), 3);
        // What a hole adds is no second row: holes without anything around them read the same twice.
        let plain = [row("open the vork", true), row("open the vork", true), row("open the gate", false)];
        let doubled = [row("open the vork [[2]]", true), plain[1].clone(), plain[2].clone()];
        let of = |rows: &[GuardRow]| TrainingSettings::default().train(rows).unwrap();
        let judge = |guard: &LinearClassifier| guard.judge(&Passage::of_text("open the vork").readings()[0]);
        assert_eq!(judge(&of(&plain)).unwrap().reason, judge(&of(&doubled)).unwrap().reason);
    }
}
