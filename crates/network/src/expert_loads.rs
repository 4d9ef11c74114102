//! How rows are spread over experts while a network learns, and the biases of routers that even it out.

use crate::{ExpertsSpec, FeedForwardKind, Network, NetworkSpec};
use aquatint_compute::{Device, Element};
use std::cmp::Ordering;

/// How many rows went to each expert, layer after layer of those that have experts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpertLoads(pub Vec<Vec<u64>>);

impl ExpertLoads {
    /// Of a network that has not learned; empty for one without experts.
    pub(crate) fn new(spec: &NetworkSpec) -> Self {
        Self(routed(spec).map(|(_, experts)| vec![0; experts.experts]).collect())
    }

    /// Adds those of a pass.
    pub(crate) fn add(&mut self, pass: &[Vec<u32>]) {
        for (load, added) in self.0.iter_mut().zip(pass) {
            load.iter_mut().zip(added).for_each(|(load, added)| *load += u64::from(*added));
        }
    }

    /// The greatest load of an expert beside the mean one of its layer, in the layer where it is the greatest: 1 where all
    /// are even, and never more than there are experts. `None` where no row went to any expert.
    pub fn imbalance(&self) -> Option<f64> {
        let of_layer = |load: &Vec<u64>| {
            let (greatest, sum) = (load.iter().max()?, load.iter().sum::<u64>());
            (sum > 0).then(|| *greatest as f64 * load.len() as f64 / sum as f64)
        };
        self.0.iter().filter_map(of_layer).reduce(f64::max)
    }
}

impl NetworkSpec {
    /// Whether a layer has experts.
    pub fn has_experts(&self) -> bool {
        routed(self).next().is_some()
    }
}

/// The layers with experts, by their numbers.
fn routed(spec: &NetworkSpec) -> impl Iterator<Item = (usize, ExpertsSpec)> {
    spec.layers.iter().enumerate().filter_map(|(index, layer)| match layer.feed_forward.kind {
        FeedForwardKind::Experts(experts) => Some((index, experts)),
        FeedForwardKind::Parallel(parallel) => Some((index, parallel.experts)),
        FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) => None,
    })
}

impl<D: Device> Network<D> {
    /// Moves the bias of each router that has one and learns by `rate`: up for an expert with less than the mean load of its
    /// layer, down for one with more (DeepSeek-V3: 2412.19437, section 2.1.2; 2408.15664, algorithm 1).
    pub fn shift_router_biases(&mut self, loads: &ExpertLoads, rate: f64) {
        let device = self.device().clone();
        let biases = routed(&self.spec).zip(&loads.0).filter_map(|((layer, _), load)| {
            let bias = self.weight_index.layers[layer].feed_forward.router_bias()?;
            let name = &self.weights.tensors[self.weights.parameters.parts(bias)[0]].name;
            Some((name.clone(), load))
        });
        let biases: Vec<(String, &Vec<u64>)> = biases.collect();
        let mut learned = self.trained_parameters_mut();
        for (name, load) in biases {
            let Some(bias) = learned.iter_mut().find(|parameter| parameter.info.name == name) else { continue };
            let mean = load.iter().sum::<u64>() as f64 / load.len() as f64;
            let mut values = device.download(bias.value);
            for (value, load) in values.iter_mut().zip(load) {
                let shift = match (*load as f64).total_cmp(&mean) {
                    Ordering::Less => rate,
                    Ordering::Equal => 0.0,
                    Ordering::Greater => -rate,
                };
                *value = D::Element::from_f64(value.to_f64() + shift);
            }
            device.write(bias.value, &values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_imbalance_is_that_of_the_worst_layer() {
        let loads = |layers: &[&[u64]]| ExpertLoads(layers.iter().map(|load| load.to_vec()).collect());
        assert_eq!(loads(&[&[2, 2, 2, 2], &[5, 5]]).imbalance(), Some(1.0));
        assert_eq!(loads(&[&[2, 2, 2, 2], &[3, 1]]).imbalance(), Some(1.5));
        assert_eq!(loads(&[&[8, 0, 0, 0], &[3, 1]]).imbalance(), Some(4.0));
        assert_eq!(loads(&[&[0, 0]]).imbalance(), None);
        assert_eq!(loads(&[]).imbalance(), None);
        let mut sum = loads(&[&[1, 0]]);
        sum.add(&[vec![2, 5]]);
        assert_eq!(sum, loads(&[&[3, 5]]));
    }
}
