//! An inference network is the network that it was made of, in the numbers that were requested.

use aquatint_compute::{Bits, Cpu, CpuPath, Device, Precision, Quantised, WeightFormat};
use aquatint_network::{Denoiser, InferenceNetwork, Network, NetworkError, Role, TensorData, WholeRows};
use aquatint_testing::Example;
use std::collections::HashMap;

const NAMES: [&str; 8] = [
    "plain",
    "grouped-queries-and-documents",
    "time-conditioning",
    "self-conditioning",
    "causal",
    "two-streams",
    "gaussian-field",
    "biases",
];

/// The tensors of a network, by name.
fn tensors<D: Device<Element = f32>>(network: &Network<D>) -> HashMap<String, Vec<f32>> {
    let parameters = network.parameters().into_iter();
    parameters.map(|parameter| (parameter.info.name.to_owned(), network.device().download(parameter.value))).collect()
}

fn inference_network(
    example: &Example,
    device: &Cpu<f32>,
    format: WeightFormat,
    change: impl Fn(&str, Vec<f32>) -> TensorData,
) -> Result<InferenceNetwork<Cpu<f32>>, NetworkError> {
    let tensors = tensors(&example.network(device.clone()));
    InferenceNetwork::new(device.clone(), example.spec.clone(), format, &mut |name| {
        tensors.get(name).map(|values| change(name, values.clone()))
    })
}

fn rows(example: &Example) -> Vec<u32> {
    (0..example.visibility.len() as u32).collect()
}

#[test]
fn real_numbers_stay_what_they_are_to_the_bit() {
    for (name, path) in
        NAMES.into_iter().flat_map(|name| CpuPath::available().into_iter().map(move |path| (name, path)))
    {
        let example = Example::named(name);
        for precision in [Precision::F32, Precision::Bf16] {
            let device = Cpu::<f32>::new(path, 2).unwrap().with_precision(precision);
            let network = example.network(device.clone());
            let inference_network =
                inference_network(&example, &device, precision.into(), |_, values| TensorData::Real(values)).unwrap();
            let input = example.input();
            assert_eq!(
                inference_network.logits(&input, &rows(&example)).unwrap(),
                network.logits(&input, &rows(&example)).unwrap(),
                "{name}, {path}, {precision}"
            );
            let costs =
                (inference_network.nll(&input, &example.rows).unwrap(), network.nll(&input, &example.rows).unwrap());
            assert!(costs.0.iter().zip(&costs.1).all(|(a, b)| (a - b).abs() < 1e-5), "{name}, {path}, {precision}");
        }
    }
}

#[test]
fn integers_predict_nearly_the_same() {
    for name in NAMES {
        let example = Example::named(name);
        let device = Cpu::<f32>::new(CpuPath::best(), 2).unwrap();
        let truth = example.network(device.clone()).logits(&example.input(), &rows(&example)).unwrap();
        let spread = truth.iter().filter(|l| l.is_finite()).fold(0.0_f32, |most, l| most.max(l.abs()));
        for (format, share) in [(WeightFormat::Int8, 0.1), (WeightFormat::Int4 { group: 8 }, 0.6)] {
            // Sizes of the examples are no multiples of eight everywhere; those that are serve.
            let Ok(inference_network) =
                inference_network(&example, &device, format, |_, values| TensorData::Real(values))
            else {
                assert!(matches!(format, WeightFormat::Int4 { .. }));
                continue;
            };
            let given = inference_network.logits(&example.input(), &rows(&example)).unwrap();
            let error = truth.iter().zip(&given).filter(|(a, _)| a.is_finite()).map(|(a, b)| (a - b).abs());
            let largest = error.fold(0.0_f32, f32::max);
            assert!(largest > 0.0 && largest < share * spread, "{name}, {format}: {largest} of {spread}");
        }
    }
}

#[test]
fn what_is_quantised_in_a_file_stays_as_it_is() {
    let example = Example::named("plain");
    let device = Cpu::<f32>::new(CpuPath::best(), 1).unwrap();
    let shapes: HashMap<String, (Role, Vec<usize>)> = example
        .network(device.clone())
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.info.name.to_owned(), (parameter.info.role, parameter.info.shape.to_vec())))
        .collect();
    let quantise = |name: &str, values: Vec<f32>| {
        let (role, shape) = &shapes[name];
        match role {
            Role::Matrix => {
                TensorData::Quantised(Quantised::of(&values, (shape[0], shape[1]), Bits::Eight, None).unwrap())
            }
            _ => TensorData::Real(values),
        }
    };
    // The head and everything else are real, so that the matrices alone are in integers; asking for integers changes
    // the head, too.
    let read = |format| {
        inference_network(&example, &device, format, quantise).unwrap().logits(&example.input(), &[0, 3]).unwrap()
    };
    let from_reals =
        inference_network(&example, &device, WeightFormat::Int8, |_, values| TensorData::Real(values)).unwrap();
    assert_eq!(read(WeightFormat::Int8), from_reals.logits(&example.input(), &[0, 3]).unwrap());
    assert_ne!(read(WeightFormat::F32), read(WeightFormat::Int8));
}

#[test]
fn weights_that_cannot_be_are_refused_by_name() {
    let example = Example::named("plain");
    let device = Cpu::<f32>::new(CpuPath::best(), 1).unwrap();
    let message = |format, change: fn(&str, Vec<f32>) -> TensorData| {
        inference_network(&example, &device, format, change).unwrap_err().to_string()
    };
    let damaged = |name: &str, mut values: Vec<f32>| {
        if name == "model.layers.1.mlp.down_proj.weight" {
            values[3] = f32::NAN;
        }
        TensorData::Real(values)
    };
    assert_eq!(
        message(WeightFormat::Int8, damaged),
        "tensor `model.layers.1.mlp.down_proj.weight` cannot be quantised: `values[3]` is NaN; allowed: numbers from \
         -1e38 to 1e38"
    );
    let real = |_: &str, values| TensorData::Real(values);
    let error = inference_network(&example, &device, WeightFormat::Int4 { group: 12 }, real).unwrap_err();
    assert!(error.to_string().contains("cannot be quantised: `group` is 12; allowed:"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--precision int8")), "{error}");
    let short = |name: &str, values: Vec<f32>| match name {
        "model.norm.weight" => TensorData::Real(values[1..].to_vec()),
        _ => TensorData::Real(values),
    };
    assert!(message(WeightFormat::F32, short).starts_with("tensor `model.norm.weight` has"));
}
