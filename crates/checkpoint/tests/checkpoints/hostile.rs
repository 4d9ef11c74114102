//! The inputs of `fuzz/seeds`: files that strangers may have written to break what reads them. Each is refused, soon, by an
//! error that says what is wrong.

use aquatint_checkpoint::{Checkpoint, GenerationDefaults, Storage, Tensor, Weights, write_weights};
use aquatint_compute::Cpu;
use aquatint_network::families;
use aquatint_testing::Golden;
use aquatint_vocabulary::ChatTemplate;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The inputs of a target by name.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 8, "{}", folder.display());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
}

/// Insists that all inputs but some are refused, and that some errors have some words.
fn refused<E: Error>(
    target: &str,
    allowed: &[&str],
    words: &[(&str, &str)],
    mut read: impl FnMut(&[u8]) -> Result<(), E>,
) {
    let mut wrong = Vec::new();
    for (name, bytes) in inputs(target) {
        let message = read(&bytes).err().map(|error| error.to_string());
        let parts: Vec<&str> = words.iter().filter(|(of, _)| *of == name).map(|(_, part)| *part).collect();
        let fits = match &message {
            None => allowed.contains(&name.as_str()),
            Some(message) => {
                let sound = !message.is_empty() && message.len() < 2000;
                sound && !allowed.contains(&name.as_str()) && parts.iter().all(|part| message.contains(part))
            }
        };
        if !fits {
            wrong.push(format!("{target}/{name}: {message:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_hostile_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let words = [
        ("header_of_2_to_63_bytes", "its header would have 9223372036854775808 bytes"),
        ("offsets_behind_the_end", "has 85 bytes where its header asks for 4194385"),
        ("header_longer_than_the_file", "4104"),
    ];
    refused("checkpoint", &["a_tensor_of_nothing"], &words, |bytes| {
        // As in the fuzz target, a description of quantised matrices stands before the first zero byte.
        fs::write(&file, &bytes[1..]).unwrap();
        Weights::open_file(&file).map(drop)
    });

    let file = folder.path().join("model.gguf");
    let words = [
        ("overlapping_tensors", "lies over another one"),
        ("a_tensor_behind_the_end", "ends behind the file"),
        ("a_type_that_is_not_read", "of type 10; allowed: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q6_K"),
        ("a_rule_that_is_not_known", "`tokenizer.ggml.pre` is dbrx; allowed: gpt-2"),
        (
            "an_architecture_that_does_not_exist",
            "`general.architecture` is \"lada\"; allowed: \"llada\", \"dream\", \"llada-moe\", \"rnd1\"",
        ),
        ("more_keys_than_bytes", "ends at byte"),
        ("a_billion_layers", "`block_count` is 1000000000; allowed: 1, as many layers"),
    ];
    refused("gguf", &[], &words, |bytes| {
        fs::write(&file, bytes).unwrap();
        Checkpoint::load(&file)?.network(Cpu::<f32>::scalar()).map(drop)
    });
}

#[test]
fn no_index_reaches_out_of_its_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    for place in [parent.path(), &folder, &folder.join("sub")] {
        fs::create_dir_all(place).unwrap();
        let tensor = Tensor { name: "a".to_owned(), shape: vec![1], values: vec![1.0] };
        write_weights(&place.join("model.safetensors"), &[tensor], Storage::F32).unwrap();
    }
    let elsewhere = "a shard must lie in the same folder";
    let words =
        ["parent_folder", "parent_in_the_middle", "absolute_path", "subfolder", "the_parent_itself", "trailing_slash"]
            .map(|name| (name, elsewhere));
    refused("index", &["no_shards"], &words, |bytes| {
        fs::write(folder.join("model.safetensors.index.json"), bytes).unwrap();
        Weights::open(&folder).map(drop)
    });
}

#[test]
fn no_description_takes_a_folder_down() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        fs::copy(Golden::folder("llada").join(file), folder.path().join(file)).unwrap();
    }
    let words = [
        ("a_billion_layers", "1000000000"),
        ("a_family_that_does_not_exist", "`model_type` is \"lada\""),
        ("negative_heads", "`n_heads` is -4"),
    ];
    refused("config", &["epsilon_of_nothing", "rotation_beyond_every_number"], &words, |bytes| {
        fs::write(folder.path().join("config.json"), bytes).unwrap();
        Checkpoint::load(folder.path())?.network(Cpu::<f32>::scalar()).map(drop)
    });
    // Numbers of a family's own words have their ranges where they are read, the others where a canvas is filled.
    let numbers = ["block_of_nothing", "length_of_nothing", "lengths_beyond_every_memory", "no_ends"];
    for (name, bytes) in inputs("generation") {
        for family in families::FAMILIES {
            let result = GenerationDefaults::parse("g", &bytes, family);
            assert!(result.is_err() || numbers.contains(&name.as_str()), "{name} of {family:?}: {result:?}");
        }
    }
}

#[test]
fn no_chat_template_runs_for_ever() {
    refused("chat_template", &[], &[], |bytes| {
        ChatTemplate::new(std::str::from_utf8(bytes).unwrap(), "", "")?.render(&[], true).map(drop)
    });
}
