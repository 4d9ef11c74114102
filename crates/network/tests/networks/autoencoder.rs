//! Autoencoders: their gradients, codes on every device, and what they refuse.

use aquatint_compute::{Cpu, CpuPath, Cuda, Device, Element, Elementwise, Memory};
use aquatint_network::{
    AttentionSpec, Autoencoder, AutoencoderSpec, FeedForwardSpec, LayerSpec, Levels, NetworkError, NormSpec, Places,
};

const GRID: Places = Places::Grid([2, 3]);
const LINE: Places = Places::Line { window: 2 };

fn spec(places: Places, levels: Vec<u32>) -> AutoencoderSpec {
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(2, 1, 4) };
    let layer = LayerSpec::new(attention, FeedForwardSpec::new(12));
    AutoencoderSpec {
        places,
        inputs: 5,
        outputs: 4,
        width: 8,
        norm: NormSpec::default(),
        levels: Levels::new(levels).unwrap(),
        encoder: vec![layer],
        decoder: vec![layer; 2],
    }
}

fn rows(places: usize, columns: usize) -> Vec<f32> {
    (0..places * columns).map(|i| ((i * 37 + 11) % 64) as f32 / 32.0 - 1.0).collect()
}

/// Half the sum of squares of what came back beside a target.
fn cost<E: Element>(given: &[E], gradient: &mut [E]) -> f64 {
    let mut sum = 0.0;
    for (i, (given, gradient)) in given.iter().zip(gradient).enumerate() {
        let error = given.to_f64() - ((i % 7) as f64 / 3.0 - 1.0);
        sum += error * error / 2.0;
        *gradient = E::from_f64(error);
    }
    sum
}

#[test]
fn gradients_of_all_weights_are_those_of_finite_differences() {
    check_gradients(GRID, &[6, 6]);
    check_gradients(LINE, &[7, 1, 4]);
}

fn check_gradients(places: Places, lengths: &[usize]) {
    // One column of so many levels that its rounding is less than a difference sees.
    let spec = spec(places, vec![i32::MAX as u32]);
    let mut autoencoder = Autoencoder::new(Cpu::<f64>::scalar(), spec, 3).unwrap();
    let rows = rows(12, 5);
    autoencoder.forward_backward(&rows, lengths, &mut cost).unwrap();
    let device = autoencoder.weights().device().clone();
    let gradients: Vec<(String, Vec<f64>)> = autoencoder
        .weights()
        .parameters()
        .iter()
        .map(|parameter| (parameter.info.name.clone(), device.download(parameter.gradient)))
        .collect();
    for (index, (name, gradient)) in gradients.iter().enumerate() {
        let original = device.download(autoencoder.weights().parameters()[index].value);
        // A few numbers of each tensor, not the same place in all of them.
        for at in [0, gradient.len() / 2, gradient.len() - 1] {
            let mut moved = |by: f64| {
                let mut values = original.clone();
                values[at] += by;
                device.write(autoencoder.weights_mut().parameters_mut()[index].value, &values);
                autoencoder.forward_backward(&rows, lengths, &mut cost).unwrap().cost
            };
            let step = 1e-4;
            let expected = (moved(step) - moved(-step)) / (2.0 * step);
            let error = (expected - gradient[at]).abs() / (1.0 + expected.abs());
            assert!(error < 1e-4, "{name}[{at}]: {}, expected {expected}", gradient[at]);
        }
        device.write(autoencoder.weights_mut().parameters_mut()[index].value, &original);
    }
}

/// Codes in learning and without, what comes back of them, and gradients.
type Learned = (Vec<u32>, Vec<u32>, Vec<f32>, Vec<Vec<f32>>);

fn learned<D: Device>(device: D, (places, lengths): (Places, &[usize]), recomputed: usize) -> Learned {
    let mut autoencoder = Autoencoder::new(device, spec(places, vec![8, 5]), 7).unwrap();
    autoencoder.recompute_activations(recomputed);
    let rows = rows(12, 5);
    let learned = autoencoder.forward_backward(&rows, lengths, &mut cost).unwrap().codes;
    let codes = autoencoder.encode(&rows, lengths).unwrap();
    let back = autoencoder.decode(&codes, lengths).unwrap();
    let weights = autoencoder.weights();
    let names = weights.parameter_list().into_iter().map(|info| info.name);
    let gradients = names.map(|name| weights.read_gradient(&name).unwrap()).collect();
    (learned, codes, back, gradients)
}

#[test]
fn every_device_finds_the_same_codes_and_gradients() {
    alike_on_every_device((GRID, &[6, 6]));
    alike_on_every_device((LINE, &[7, 1, 4]));
}

fn alike_on_every_device(samples: (Places, &[usize])) {
    let exact = learned(Cpu::<f64>::scalar(), samples, 0);
    assert_eq!(exact.0, exact.1);
    assert!(exact.1.iter().all(|&code| code < 40));
    let alike = |name: &str, other: Learned| {
        assert_eq!((&other.0, &other.1), (&exact.0, &exact.1), "{name}");
        let both = exact.2.iter().zip(&other.2).chain(exact.3.iter().flatten().zip(other.3.iter().flatten()));
        for (exact, other) in both {
            assert!((exact - other).abs() < 1e-3 * (1.0 + exact.abs()), "{name}: {other}, not {exact}");
        }
    };
    for path in CpuPath::available() {
        let device = || Cpu::<f32>::new(path, 1).unwrap();
        let whole = learned(device(), samples, 0);
        // Layers that run again give the same gradients to the bit.
        assert_eq!(whole, learned(device(), samples, 3));
        alike(&path.to_string(), whole);
    }
    for device in Cuda::tested() {
        alike(&device.describe(), learned(device.clone(), samples, 1));
    }
}

#[test]
fn a_place_of_a_line_depends_on_no_place_beyond_its_windows() {
    let autoencoder = Autoencoder::new(Cpu::<f32>::scalar(), spec(LINE, vec![8, 5]), 7).unwrap();
    let codes: Vec<u32> = (0..12).map(|place| place * 3 % 40).collect();
    let whole = autoencoder.decode(&codes, &[12]).unwrap();
    // Two layers reach two places each way.
    let cut = autoencoder.decode(&codes[..9], &[9]).unwrap();
    assert_eq!(whole[..7 * 4], cut[..7 * 4]);
    assert_ne!(whole[7 * 4..9 * 4], cut[7 * 4..]);
    // Samples of one pass do not see each other.
    let both = autoencoder.decode(&[&codes[..9], &codes[..]].concat(), &[9, 12]).unwrap();
    assert_eq!(both, [cut, whole].concat());
}

#[test]
fn a_few_pictures_are_learned_by_heart() {
    let mut autoencoder = Autoencoder::new(Cpu::<f32>::scalar(), spec(GRID, vec![8, 5]), 7).unwrap();
    let (rows, mut costs) = (rows(12, 5), Vec::new());
    for _ in 0..200 {
        autoencoder.weights_mut().clear_gradients();
        costs.push(autoencoder.forward_backward(&rows, &[6, 6], &mut cost).unwrap().cost);
        let device = autoencoder.weights().device().clone();
        for parameter in autoencoder.weights_mut().trained_parameters_mut() {
            device.scale_add(-0.02, parameter.gradient, 1.0, parameter.value);
        }
    }
    assert!(costs[199] < 0.2 * costs[0], "{} of {}", costs[199], costs[0]);
}

#[test]
fn what_is_no_whole_grid_or_no_code_is_refused() {
    let autoencoder = Autoencoder::new(Cpu::<f32>::scalar(), spec(GRID, vec![8, 5]), 7).unwrap();
    let message = |result: Result<Vec<f32>, NetworkError>| result.unwrap_err().to_string();
    assert_eq!(
        message(autoencoder.decode(&[0; 7], &[6])),
        "`codes` has 7 entries; expected: 6 (the places of all samples)"
    );
    assert_eq!(message(autoencoder.decode(&[0; 7], &[7])), "`lengths` is 7; allowed: 6 places, those of the grid");
    assert_eq!(
        message(autoencoder.decode(&[0, 1, 2, 3, 40, 5], &[6])),
        "`codes` has 40 at index 4; allowed: below 40 (the number of codes)"
    );
    assert_eq!(
        autoencoder.encode(&[], &[]).unwrap_err().to_string(),
        "`rows` has 0 entries; expected: 5 (the places of all samples)"
    );
    let line = Autoencoder::new(Cpu::<f32>::scalar(), spec(LINE, vec![8, 5]), 7).unwrap();
    assert_eq!(message(line.decode(&[1], &[1, 0])), "`lengths` is 0; allowed: 1 to 1048576 places");
    let refused = |spec| Autoencoder::new(Cpu::<f32>::scalar(), spec, 0).unwrap_err().to_string();
    let impossible = spec(Places::Grid([0, 3]), vec![8, 5]);
    assert_eq!(refused(impossible), "`grid` is [0, 3]; allowed: two sides of 1 to 4096");
    assert_eq!(refused(spec(Places::Line { window: 0 }, vec![8, 5])), "`window` is 0; allowed: 1 or more");
    let mut turned = spec(GRID, vec![8, 5]);
    turned.encoder[0].attention.rope.axes = 3;
    assert_eq!(
        refused(turned),
        "`position_axes` is 3; allowed: 1: the sides of a grid have learned tables, and a line has one side"
    );
    let mut scaled = spec(GRID, vec![8, 5]);
    scaled.decoder[1].scaled = true;
    let error = refused(scaled);
    assert!(error.starts_with("`scaled` is true; allowed: false: places have no current block"), "{error}");
}

#[test]
fn rows_and_columns_have_vectors_of_their_own() {
    let spec = spec(GRID, vec![1000, 1000]);
    // Places that read the same, through layers that add nothing, differ by the vectors of their rows and columns alone.
    let codes = |without: &str| {
        let mut autoencoder = Autoencoder::new(Cpu::<f32>::scalar(), spec.clone(), 3).unwrap();
        let of = |name: &str| spec.tensors().into_iter().find(|tensor| tensor.name == name).unwrap();
        let is_nothing = |name: &str| name == without || name.starts_with("encoder.layers.");
        let mut nothing = |name: &str| is_nothing(name).then(|| vec![0.0; of(name).len()]);
        autoencoder.weights_mut().load(&mut nothing).unwrap();
        autoencoder.encode(&[0.3; 6 * 5], &[6]).unwrap()
    };
    let (rows, columns) = (codes("encoder.columns.weight"), codes("encoder.rows.weight"));
    assert!(rows[..3].iter().all(|code| *code == rows[0]) && rows[3..].iter().all(|code| *code == rows[3]), "{rows:?}");
    assert_ne!(rows[0], rows[3]);
    assert_eq!(columns[..3], columns[3..]);
    assert!(columns[0] != columns[1] && columns[1] != columns[2] && columns[0] != columns[2], "{columns:?}");
}

#[test]
fn samples_of_one_pass_do_not_see_each_other() {
    for (places, lengths) in [(GRID, [6, 6]), (LINE, [7, 5])] {
        let autoencoder = Autoencoder::new(Cpu::<f32>::scalar(), spec(places, vec![1000, 1000]), 3).unwrap();
        let both = rows(12, 5);
        let (one, other) = both.split_at(5 * lengths[0]);
        let encode = |rows: &[f32], places: usize| autoencoder.encode(rows, &[places]).unwrap();
        let codes = [encode(one, lengths[0]), encode(other, lengths[1])];
        assert_eq!(autoencoder.encode(&both, &lengths).unwrap(), codes.concat());
        let returned = codes.each_ref().map(|codes| autoencoder.decode(codes, &[codes.len()]).unwrap());
        assert_eq!(autoencoder.decode(&codes.concat(), &lengths).unwrap(), returned.concat());
    }
}
