//! Learnt orders beside models: refused where they are damaged, kept where a model is written anew, gone where it has none.

use crate::folders::{spec, tensors, vocabulary, write};
use aquatint_checkpoint::{
    Checkpoint, CheckpointError, Description, GenerationDefaults, QuantisePlan, Storage, Tensor, Weights, is_order,
    save, save_order, write_weights,
};
use aquatint_compute::Bits;
use aquatint_diffusion::OrderNetwork;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;

const CONFIG: &str = "order/order.json";
const WEIGHTS: &str = "order/order.safetensors";

fn order() -> OrderNetwork {
    OrderNetwork::fresh(4, 0.9, 1).unwrap()
}

/// Changes the description of an order.
fn describe(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join(CONFIG);
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

/// Changes the tensors of an order.
fn rewrite(folder: &Path, change: impl FnOnce(&mut Vec<Tensor<Vec<f32>>>)) {
    let path = folder.join(WEIGHTS);
    let weights = Weights::open_file(&path).unwrap();
    let tensor = |tensor: &aquatint_diffusion::OrderTensor| Tensor {
        name: tensor.name.to_owned(),
        shape: tensor.shape(),
        values: weights.read_shaped(tensor.name, &tensor.shape()).unwrap(),
    };
    let mut tensors: Vec<Tensor<Vec<f32>>> = OrderNetwork::tensors(4).unwrap().iter().map(tensor).collect();
    drop(weights);
    change(&mut tensors);
    write_weights(&path, &tensors, Storage::F32).unwrap();
}

fn files(folder: &Path) -> [Vec<u8>; 2] {
    [CONFIG, WEIGHTS].map(|file| fs::read(folder.join(file)).unwrap())
}

/// A model with an order in its folder, and one with the order in a folder of its own.
fn written(root: &Path) {
    write(&root.join("model"), &spec(&vocabulary()), 1).unwrap();
    save_order(&root.join("beside"), &order()).unwrap();
}

#[test]
fn a_damaged_order_is_refused_with_its_file_and_what_is_wrong() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &[&str]); 10] = [
        (
            "other features",
            |folder| describe(folder, |config| config["features"] = json!(["probability", "luck"])),
            &["order.json` is no learnt order: it reads probability, luck; allowed: probability, log-odds, "],
        ),
        (
            "no width",
            |folder| describe(folder, |config| config["width"] = json!(0)),
            &["order.json` is no learnt order: `width` is 0; allowed: 1 to 256"],
        ),
        (
            "a width out of range",
            |folder| describe(folder, |config| config["width"] = json!(5000)),
            &["order.json` is no learnt order: `width` is 5000; allowed: 1 to 256"],
        ),
        (
            "another width than that of the weights",
            |folder| describe(folder, |config| config["width"] = json!(5)),
            &["order.safetensors` is no learnt order: `inner.weight` has shape [4, 12]; allowed: [5, 12]"],
        ),
        (
            "an unknown key",
            |folder| describe(folder, |config| config["depth"] = json!(3)),
            &["order.json", "unknown field `depth`"],
        ),
        (
            "no JSON",
            |folder| fs::write(folder.join(CONFIG), "{\"features\": [").unwrap(),
            &["order.json", "EOF while parsing"],
        ),
        (
            "a foreign tensor",
            |folder| {
                rewrite(folder, |tensors| {
                    tensors.push(Tensor { name: "more.weight".to_owned(), shape: vec![1], values: vec![0.0] });
                });
            },
            &["order.safetensors` is no learnt order: it has no place for the tensor `more.weight`"],
        ),
        (
            "a tensor too few",
            |folder| rewrite(folder, |tensors| tensors.retain(|tensor| tensor.name != "outer.bias")),
            &["order.safetensors", "outer.bias"],
        ),
        (
            "a tensor of another shape",
            |folder| rewrite(folder, |tensors| tensors[0].shape = vec![12, 4]),
            &["order.safetensors` is no learnt order: `inner.weight` has shape [12, 4]; allowed: [4, 12]"],
        ),
        (
            "a value that is no number",
            |folder| rewrite(folder, |tensors| tensors[1].values[0] = f32::NAN),
            &["tensor `inner.bias` in `", "order.safetensors` has NaN at index 0; allowed: finite numbers"],
        ),
    ];
    for (name, damage, parts) in cases {
        let root = tempfile::tempdir().unwrap();
        written(root.path());
        let (model, beside) = (root.path().join("model"), root.path().join("beside"));
        save_order(&model, &order()).unwrap();
        let together = format!("{}+{}", model.display(), beside.display());
        assert!(Checkpoint::open(&together).unwrap().generation.order.is_some(), "{name}");
        damage(&beside);
        let apart = Checkpoint::open(&together).unwrap_err().to_string();
        damage(&model);
        let within = Checkpoint::load(&model).unwrap_err().to_string();
        for (message, folder) in [(apart, &beside), (within, &model)] {
            assert!(parts.iter().all(|part| message.contains(part)), "{name}: {message}");
            assert!(message.contains(&folder.join("order").display().to_string()), "{name}: {message}");
        }
    }
}

#[test]
fn an_order_that_is_not_there_is_a_missing_file() {
    let root = tempfile::tempdir().unwrap();
    written(root.path());
    let (model, beside) = (root.path().join("model"), root.path().join("beside"));
    let together = format!("{}+{}", model.display(), beside.display());
    let missing = |error: CheckpointError, file: &str| {
        let there = beside.join(file);
        assert!(matches!(&error, CheckpointError::MissingFile { path } if *path == there), "{error}");
    };
    fs::remove_file(beside.join(WEIGHTS)).unwrap();
    missing(Checkpoint::open(&together).unwrap_err(), WEIGHTS);
    fs::remove_file(beside.join(CONFIG)).unwrap();
    assert!(!is_order(&beside));
    missing(Checkpoint::load(&model).unwrap().add_order(&beside).unwrap_err(), CONFIG);
    // A folder beside a model that says nothing of an order may be that of an adapter.
    missing(Checkpoint::open(&together).unwrap_err(), "adapter_config.json");
}

#[test]
fn models_that_are_quantised_or_merged_keep_their_order() {
    let root = tempfile::tempdir().unwrap();
    written(root.path());
    let (model, beside) = (root.path().join("model"), root.path().join("beside"));
    let [quantised, again, merged] = ["quantised", "again", "merged"].map(|name| root.path().join(name));
    let checkpoint = Checkpoint::open(&format!("{}+{}", model.display(), beside.display())).unwrap();
    let plan = QuantisePlan { bits: Bits::Eight, group: None, head: false };
    checkpoint.quantise(plan, &quantised).unwrap();
    checkpoint.merge(&merged, Storage::F32).unwrap();
    // From the folder of a model as well.
    Checkpoint::load(&merged).unwrap().quantise(plan, &again).unwrap();
    for folder in [&quantised, &again, &merged] {
        assert_eq!(files(folder), files(&beside), "{}", folder.display());
        assert_eq!(Checkpoint::load(folder).unwrap().generation.order.as_deref(), Some(&order()));
    }
}

#[test]
fn a_model_without_an_order_that_is_saved_leaves_no_old_one() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("model");
    let (spec, vocabulary) = (spec(&vocabulary()), vocabulary());
    let saved = |order: Option<Arc<OrderNetwork>>| {
        let generation = GenerationDefaults { mask_token_id: spec.mask_token, order, ..GenerationDefaults::default() };
        let description = Description::native(&spec, &vocabulary, &generation);
        save(&folder, &description, &tensors(&spec, 1), Storage::F32).unwrap();
        Checkpoint::load(&folder).unwrap().generation.order
    };
    assert_eq!(saved(Some(Arc::new(order()))).as_deref(), Some(&order()));
    assert_eq!(saved(None), None);
    assert!(!folder.join("order").exists());
    // Other files in such a folder are not of an order, and stay.
    saved(Some(Arc::new(order())));
    fs::write(folder.join("order/notes.txt"), "mine").unwrap();
    assert_eq!(saved(None), None);
    let left = fs::read_dir(folder.join("order")).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(left, ["notes.txt"]);
}
