//! What does not learn has no gradient and does not change; what does has the gradient that it always had.

use aquatint_compute::{Cpu, CpuPath, Memory};
use aquatint_network::{Learner, Network, NetworkError, ParameterGroup};
use aquatint_testing::Example;

fn group(parameters: &str, trainable: bool, learning_rate_factor: f64) -> ParameterGroup {
    ParameterGroup { parameters: parameters.parse().unwrap(), trainable, learning_rate_factor, precision: None }
}

/// Names, and the gradients after one pass.
fn gradients(network: &mut dyn Learner, example: &Example) -> Vec<(String, Vec<f32>)> {
    network.clear_gradients();
    network.forward_backward(&example.input(), &example.rows).unwrap();
    let list = network.parameter_list();
    list.into_iter()
        .map(|parameter| (parameter.name.clone(), network.read_gradient(&parameter.name).unwrap()))
        .collect()
}

#[test]
fn what_learns_has_the_gradient_that_it_always_had_and_what_does_not_has_none() {
    let inference_network = [
        &["model.layers.0.*"][..],
        &["*.self_attn.q_proj.weight", "*.gate_proj.weight"],
        &["role:matrix"],
        &["role:embedding", "role:head", "role:unit-vectors"],
        &["role:vector", "*.o_proj.weight"],
    ];
    for name in Example::NAMES {
        for path in CpuPath::available() {
            let example = Example::named(name);
            let mut network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(path, 2).unwrap());
            let before = gradients(&mut network, &example);
            for patterns in inference_network {
                let groups: Vec<ParameterGroup> = patterns.iter().map(|pattern| group(pattern, false, 1.0)).collect();
                network.set_groups(&groups).unwrap();
                let mut sum = 0.0;
                for ((name, before), (_, now)) in before.iter().zip(gradients(&mut network, &example)) {
                    let list = network.parameter_list();
                    let parameter = list.iter().find(|parameter| parameter.name == *name).unwrap();
                    if parameter.trainable {
                        // Behind a frozen matrix the gradient comes through its prepared form.
                        let scale = before.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
                        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * scale.max(1e-3);
                        assert!(before.iter().zip(&now).all(near), "{path} {name} under {patterns:?}");
                    } else {
                        assert!(now.is_empty(), "{name}");
                    }
                    sum += now.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
                }
                assert!((network.gradient_norm() - sum.sqrt()).abs() < 1e-5 * (1.0 + sum.sqrt()));
            }
            // Everything learns again, as ever.
            network.set_groups(&[]).unwrap();
            assert_eq!(gradients(&mut network, &example), before, "{path} {name}");
        }
    }
}

#[test]
fn a_inference_network_takes_less_memory_for_gradients() {
    let example = Example::named("plain");
    let mut network: Network<Cpu<f32>> = example.network(Cpu::<f32>::new(CpuPath::best(), 1).unwrap());
    let numbers = |network: &Network<Cpu<f32>>| -> usize {
        network.parameters().iter().map(|parameter| network.device().len(parameter.gradient)).sum()
    };
    gradients(&mut network, &example);
    assert_eq!(numbers(&network), example.spec.parameter_count());
    assert_eq!(network.set_groups(&[group("*", false, 1.0), group("role:head", true, 1.0)]).unwrap()[1], 0);
    network.set_groups(&[group("model.norm.weight", true, 0.5), group("*", false, 1.0)]).unwrap();
    gradients(&mut network, &example);
    assert_eq!(numbers(&network), example.spec.width);
}

#[test]
fn a_learner_hides_its_device_and_is_read_and_written_by_name() {
    let example = Example::named("plain");
    let mut learners: Vec<Box<dyn Learner>> = vec![
        Box::new(example.network(Cpu::<f32>::new(CpuPath::best(), 1).unwrap())),
        Box::new(example.network(Cpu::<f64>::scalar())),
    ];
    for learner in &mut learners {
        let list = learner.parameter_list();
        assert_eq!(
            list.iter().map(|p| p.shape.iter().product::<usize>()).sum::<usize>(),
            example.spec.parameter_count()
        );
        let name = &list[0].name;
        let mut values = learner.read_parameter(name).unwrap();
        values[3] = 0.25;
        learner.write_parameter(name, &values).unwrap();
        assert_eq!(learner.read_parameter(name).unwrap(), values);
        assert!(matches!(learner.write_parameter(name, &values[1..]), Err(NetworkError::TensorLength { .. })));
        assert_eq!(
            learner.read_gradient("lm_heed.weight").unwrap_err().to_string(),
            format!("the network has no parameter `lm_heed.weight` among its {}", list.len())
        );
        // The gradient says which way the cost falls.
        let cost = |learner: &dyn Learner| -> f64 {
            let costs = learner.nll(&example.input(), &example.rows).unwrap();
            example.rows.iter().zip(costs).map(|(row, cost)| row.weight * cost).sum()
        };
        let before = cost(learner.as_ref());
        for (name, gradient) in gradients(learner.as_mut(), &example) {
            let values = learner.read_parameter(&name).unwrap();
            let moved: Vec<f32> = values.iter().zip(&gradient).map(|(v, g)| v - 1e-3 * g).collect();
            learner.write_parameter(&name, &moved).unwrap();
        }
        assert!(cost(learner.as_ref()) < before, "{}", learner.describe_device());
    }
}
