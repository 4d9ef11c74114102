//! A model with codecs: their folders lie within its own, and their tokens behind those of its tokenizer.

use crate::folders::{fails, spec, tensors, vocabulary, write};
use aquatint_checkpoint::{Checkpoint, CheckpointError, Description, GenerationDefaults, ModelCodec, Storage, save};
use aquatint_compute::{Cpu, Memory};
use aquatint_diffusion::Domain;
use aquatint_network::{Network, NetworkSpec};
use std::fs::{create_dir, read, write as put};
use std::path::Path;

/// A codec whose files say nothing.
fn codec(folder: &Path, tokens: u32) -> ModelCodec {
    create_dir(folder).unwrap();
    put(folder.join("config.json"), "{}").unwrap();
    put(folder.join("model.safetensors"), "weights").unwrap();
    let domain = Domain::grid(tokens + 2..tokens + 12, 2, 2);
    ModelCodec { name: "picture".to_owned(), domain, open: tokens, close: tokens + 1, files: folder.into() }
}

/// A network with rows for the codes.
fn joint(tokens: u32) -> NetworkSpec {
    NetworkSpec { vocabulary_size: tokens as usize + 12, ..spec(&vocabulary()) }
}

#[test]
fn codecs_are_saved_with_their_model_and_found_again() {
    let room = tempfile::tempdir().unwrap();
    let vocabulary = vocabulary();
    let tokens = vocabulary.len() as u32;
    let (spec, codecs) = (joint(tokens), [codec(&room.path().join("codec"), tokens)]);
    let generation = GenerationDefaults { mask_token_id: spec.mask_token, ..GenerationDefaults::default() };
    let description = Description { codecs: &codecs, ..Description::native(&spec, &vocabulary, &generation) };
    let folder = room.path().join("model");
    let tensors = tensors(&spec, 1);
    save(&folder, &description, &tensors, Storage::F32).unwrap();
    let loaded = Checkpoint::load(&folder).unwrap();
    let there = ModelCodec { files: (&folder.join("picture")).into(), ..codecs[0].clone() };
    assert_eq!(loaded.codecs, [there]);
    assert_eq!(read(folder.join("picture/model.safetensors")).unwrap(), b"weights");
    // What is saved of it has them, too.
    let again = room.path().join("again");
    save(&again, &loaded.description(), &tensors, Storage::F32).unwrap();
    assert_eq!(Checkpoint::load(&again).unwrap().codecs[0].domain, codecs[0].domain);
    // Nothing replaces a codec that is another.
    put(again.join("picture/config.json"), "another").unwrap();
    let refused = save(&again, &loaded.description(), &tensors, Storage::F32).unwrap_err();
    assert!(matches!(refused, CheckpointError::Occupied { file: "config.json", .. }), "{refused}");
}

#[test]
fn codes_without_rows_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let tokens = vocabulary().len() as u32;
    let codecs = [codec(&room.path().join("codec"), tokens)];
    let (vocabulary, generation) = (vocabulary(), GenerationDefaults::default());
    let spec = NetworkSpec { vocabulary_size: tokens as usize + 11, ..joint(tokens) };
    let description = Description { codecs: &codecs, ..Description::native(&spec, &vocabulary, &generation) };
    let folder = room.path().join("model");
    save(&folder, &description, &tensors(&spec, 1), Storage::F32).unwrap();
    let refused = fails(&folder).to_string();
    let (last, rows) = (tokens + 11, tokens + 11);
    assert_eq!(
        refused,
        format!("the codec `picture` has tokens up to {last}, and config.json gives the network {rows} rows")
    );
}

#[test]
fn codes_that_are_text_and_masks_around_them_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let tokens = vocabulary().len() as u32;
    let (vocabulary, generation) = (vocabulary(), GenerationDefaults::default());
    let spec = joint(tokens);
    let own = codec(&room.path().join("codec"), tokens);
    let refused = |name: &str, codec: ModelCodec| {
        let description = Description { codecs: &[codec], ..Description::native(&spec, &vocabulary, &generation) };
        let folder = room.path().join(name);
        save(&folder, &description, &tensors(&spec, 1), Storage::F32).unwrap();
        fails(&folder).to_string()
    };
    let text = ModelCodec {
        domain: Domain::grid(tokens - 1..tokens + 9, 2, 2),
        open: tokens + 9,
        close: tokens + 10,
        ..own.clone()
    };
    let expected = format!(
        "the codes of `picture` begin at token {}; allowed: {tokens} or more, behind the tokens of tokenizer.json",
        tokens - 1
    );
    assert_eq!(refused("text", text), expected);
    let mask = spec.mask_token.unwrap();
    let expected =
        format!("the codec `picture` has token {mask}, the mask, around its codes; allowed: a token of its own");
    assert_eq!(refused("mask", ModelCodec { close: mask, ..own }), expected);
}

#[test]
fn a_network_with_more_tokens_keeps_the_rows_that_are_there() {
    let room = tempfile::tempdir().unwrap();
    let there = spec(&vocabulary());
    write(room.path(), &there, 1).unwrap();
    let checkpoint = Checkpoint::load(room.path()).unwrap();
    let here = joint(vocabulary().len() as u32);
    let grown = checkpoint.grown(Cpu::<f32>::scalar(), here.clone(), 2).unwrap();
    let fresh = Network::new(Cpu::<f32>::scalar(), here, 2).unwrap();
    let own = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    let values = |network: &Network<Cpu<f32>>, name: &str| {
        let all = network.parameters();
        let found = all.into_iter().find(|parameter| parameter.info.name == name).unwrap();
        network.device().download(found.value)
    };
    for tensor in there.tensors() {
        let (new, old) = (values(&grown, &tensor.name), values(&own, &tensor.name));
        assert_eq!(new[..old.len()], old, "{}", tensor.name);
        assert_eq!(new[old.len()..], values(&fresh, &tensor.name)[old.len()..], "{}", tensor.name);
    }
    let table = there.tensors().remove(0).name;
    assert_eq!(values(&grown, &table).len() - values(&own, &table).len(), 12 * there.width);
}
