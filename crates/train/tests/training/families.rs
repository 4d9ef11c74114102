//! Runs that begin with the folders of other people's families: each learns, goes on where it was stopped, and leaves a
//! folder of that family.

use crate::support::{device, fingerprint, run};
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_checkpoint::{Checkpoint, GenerationDefaults, Storage};
use aquatint_compute::WeightFormat;
use aquatint_corpus::{CanvasBatch, Canvases, Source, TextOnly, pack};
use aquatint_diffusion::Layout;
use aquatint_evaluate::{DiffusionBound, HeldOutBatch, likelihood};
use aquatint_network::{Learner, NetworkInput, ParameterGroup, RowLayout, TensorData, WholeRows};
use aquatint_testing::Golden;
use aquatint_train::{Ending, Overrides, Recipe, Resolved, TrainingEvent, VALIDATION_SEED, train};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Every family whose objective there is.
const FAMILIES: [&str; 16] = [
    "llada",
    "illada",
    "llada_moe",
    "llada2_moe",
    "dream",
    "sdar",
    "sdar_moe",
    "fast_dllm_v2",
    "rnd1",
    "a2d_qwen2",
    "a2d_qwen3",
    "mdlm",
    "bd3lm",
    "mmada",
    "nemotron_labs_diffusion",
    "diffusion_gemma",
];

/// Positions of a canvas, where the model has so many.
const CANVAS: usize = 48;
/// Held-out canvases.
const HELD_OUT: usize = 4;

/// A room for runs, with a text to learn.
pub(crate) struct Room {
    folder: tempfile::TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = "The fox ran over the hill, and the hen sat by the red barn. ".repeat(8);
        std::fs::write(folder.path().join("text.txt"), text).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A recipe that goes on from a model in its folder, and says nothing of its network.
    pub(crate) fn recipe(&self, (name, initial): (&str, &Path), set: &[&str]) -> Resolved {
        let context = Checkpoint::load(initial).unwrap().spec.context_length;
        let text = format!(
            "output = '{}'\ninitial = '{}'\nseed = 5\n[data]\ntrain = [{{ path = '{text}' }}]\nvalid = [{{ path = \
             '{text}' }}]\ncanvas_length = {}\n[optimiser]\nkind = 'adamw'\nbatch = 2\nlearning_rate = 3e-3\n\
             lr_schedule = 'constant'\nwarm_up = 1\nema = 0.0\n[run]\nsteps = 10\nlog_every = 1\nvalidate_every = 100\n\
             validate_canvases = {HELD_OUT}\nvalidate_times = 2\nsave_every = 100\nsample_every = 0\nstorage = 'f32'\n",
            self.path(name).display(),
            initial.display(),
            CANVAS.min(context),
            text = self.path("text.txt").display(),
        );
        Recipe::parse(&text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap()
    }
}

/// The bits of all weights, by the names of the files.
fn bits(checkpoint: &Checkpoint) -> Vec<(String, Vec<u32>)> {
    let mut all = Vec::new();
    let read = |give: &mut dyn FnMut(&str) -> Option<TensorData>| {
        for tensor in checkpoint.spec.tensors() {
            let values = give(&tensor.name).unwrap().into_real();
            all.push((tensor.name, values.into_iter().map(f32::to_bits).collect()));
        }
        Ok(())
    };
    checkpoint.build(read).unwrap();
    all
}

/// What the held-out canvases of a run cost under the model in its folder, in nats per token.
fn measured(recipe: &Resolved) -> f64 {
    let checkpoint = Checkpoint::load(&recipe.output).unwrap();
    let source = Source::new(recipe.data.valid[0].path.clone());
    let snapshot = source.snapshot(&mut |_| true).unwrap();
    let packed = pack(&[snapshot], &checkpoint.vocabulary, &TextOnly, &recipe.cache(), &mut |_| true).unwrap();
    let canvases = Canvases::new(packed, recipe.data.canvas_length).unwrap();
    let batches = [HeldOutBatch::of(&canvases, &canvases.spread(Some(HELD_OUT)))];
    let process = checkpoint.spec.process().unwrap().unwrap();
    let rule = DiffusionBound { process: process.as_ref(), times: 2, prompt: 0 };
    let network = checkpoint.network(device()).unwrap();
    likelihood(&network, &rule, VALIDATION_SEED, batches.into_iter(), &mut |_| true).unwrap().nats_per_token
}

/// LLaDA2.2: the folder of LLaDA2 whose blocks of 32 rows choose together among 6 of 16 experts.
fn routed_by_blocks(room: &Room) -> PathBuf {
    let folder = room.path("llada2.2");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(Golden::folder("llada2_moe")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let path = folder.join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    (config["expert_capacity"], config["block_size"]) = (6.into(), 32.into());
    std::fs::write(path, config.to_string()).unwrap();
    let spec = Checkpoint::load(&folder).unwrap().spec;
    assert_eq!(spec.routing_length(), Some(32));
    folder
}

#[test]
fn every_family_learns_resumes_exactly_and_stays_one_of_its_folders() {
    let room = Room::new();
    let folders = FAMILIES.map(|name| (name, Golden::folder(name)));
    for (name, folder) in folders.into_iter().chain([("llada2.2", routed_by_blocks(&room))]) {
        let original = Checkpoint::load(&folder).unwrap();
        let begin = |name: &str, set: &[&str]| room.recipe((name, &folder), set);

        // No step: the folder that is saved is the one that was read, to the bit.
        let broken = format!("{name}-broken");
        let (untrained, _) = run(&begin(&broken, &["run.max_minutes=0"]), false).unwrap();
        assert_eq!((untrained.ending, untrained.step), (Ending::TimeUp, 0), "{name}");
        let saved = Checkpoint::load(&room.path(&broken)).unwrap();
        assert_eq!(saved.family.facts().model_type, original.family.facts().model_type);
        assert_eq!(saved.spec, original.spec, "{name}");
        assert!(bits(&saved) == bits(&original), "{name}");
        assert_eq!(saved.vocabulary.to_json().unwrap(), original.vocabulary.to_json().unwrap(), "{name}");
        // A policy that was left open is named.
        let policy = saved.generation.policy.clone();
        assert_eq!(saved.generation, GenerationDefaults { policy, ..original.generation.clone() }, "{name}");
        let description = |checkpoint: &Checkpoint| checkpoint.description().tokenizer_config.cloned();
        assert_eq!(description(&saved), description(&original), "{name}");

        // Stopped and resumed it learns as in one go.
        run(&begin(&broken, &["run.steps=3"]), true).unwrap();
        let (trained, _) = run(&begin(&broken, &[]), true).unwrap();
        let straight = begin(&format!("{name}-straight"), &[]);
        let (whole, figures) = run(&straight, false).unwrap();
        assert!(fingerprint(&room.path(&broken)) == fingerprint(&straight.output), "{name}");
        assert!(figures.iter().all(|figures| figures.loss.is_finite()), "{name}: {figures:?}");
        let (before, after) = (untrained.last.unwrap(), whole.last.unwrap());
        assert_eq!(trained.last, whole.last, "{name}");
        assert!(after < before - 0.1, "{name}: {before} nats per token before, {after} after ten steps");

        // What was saved predicts what the trainer's network predicted.
        assert_eq!(measured(&straight), after, "{name}");
        let saved_recipe = std::fs::read_to_string(straight.output.join("recipe.toml")).unwrap();
        let again = Recipe::parse(&saved_recipe, &Overrides::default()).unwrap().resolve().unwrap();
        assert_eq!(again, straight, "{name}");
    }
}

/// Families that are filled block after block.
const BLOCKS: [&str; 7] =
    ["llada2_moe", "sdar", "sdar_moe", "fast_dllm_v2", "bd3lm", "nemotron_labs_diffusion", "diffusion_gemma"];

/// Two streams show each noisy block what it sees when it is filled: the clean blocks before it, and itself.
#[test]
fn blocks_learn_from_what_they_are_filled_from() {
    let room = Room::new();
    let folders = BLOCKS.map(|name| (name, Golden::folder(name)));
    for (name, folder) in folders.into_iter().chain([("llada2.2", routed_by_blocks(&room))]) {
        let checkpoint = Checkpoint::load(&folder).unwrap();
        let (network, spec) = (checkpoint.network(device()).unwrap(), &checkpoint.spec);
        let block = spec.attention.block_length().unwrap();
        let length = (2 * block + block.div_ceil(2)).min(spec.context_length);
        let clean: Vec<u32> = (0..length as u32).map(|place| 20 + place * 37 % 250).collect();
        let (documents, text_bytes) = (vec![0; length], vec![1; length]);
        let canvas =
            CanvasBatch { length, tokens: clean.clone(), documents, text_bytes, spans: Vec::new(), given: Vec::new() };
        let packed = PackedBatch::new(&canvas, spec.attention).unwrap();
        assert_eq!(packed.canvases[..], *std::slice::from_ref(&(0..length)), "{name}");
        let mut batch = NoisyBatch::new(&packed);
        (0..length).filter(|place| place % 3 != 1).for_each(|place| batch.tokens[place] = spec.mask_token.unwrap_or(9));
        let noisy = batch.tokens[..length].to_vec();
        let all: Vec<u32> = (0..length as u32).collect();
        let learned = network.logits(&batch.input(&packed, spec, None), &all).unwrap();
        for prefix in (0..length).step_by(block) {
            let end = length.min(prefix + block);
            let mut rows = RowLayout::default();
            match spec.attention {
                Layout::CausalPrefix { .. } => rows.push_behind(prefix, end),
                layout => rows.push(layout, end, &[]),
            };
            let current = rows.current().to_vec();
            let (positions, visibility) = rows.finish().unwrap();
            let tokens = [&clean[..prefix], &noisy[prefix..end]].concat();
            let input = NetworkInput {
                current: spec.tells_current().then_some(&current[..]),
                ..NetworkInput::of_tokens(&tokens, &positions, &visibility)
            };
            let filled = network.logits(&input, &all[prefix..end]).unwrap();
            let size = spec.vocabulary_size;
            let apart = filled.iter().zip(&learned[prefix * size..end * size]);
            // The mask has no probability either way.
            let apart = apart.filter(|(a, b)| a != b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 2e-4, "{name}, block at {prefix}: {apart}");
        }
    }
}

#[test]
fn muon_averages_and_bf16_train_a_mixture_and_samples_are_filled() {
    let room = Room::new();
    for name in ["llada2_moe", "diffusion_gemma", "dream"] {
        let set = ["optimiser.kind=muon", "optimiser.ema=0.9", "run.steps=3", "run.sample_every=3", "run.storage=bf16"];
        let recipe = room.recipe((name, &Golden::folder(name)), &set);
        let mut samples = 0;
        train(&recipe, device(), false, &AtomicBool::new(false), &mut |event| {
            samples += usize::from(matches!(event, TrainingEvent::Sampled { .. }));
        })
        .unwrap();
        let saved = Checkpoint::load(&recipe.output).unwrap();
        assert_eq!((samples, saved.storage().as_deref()), (1, Some("BF16")), "{name}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_by_name_and_leaves_nothing() {
    let room = Room::new();
    let refused = |initial: &Path, set: &[&str]| {
        let recipe = room.recipe(("refused", initial), set);
        let error = run(&recipe, false).unwrap_err();
        assert!(!recipe.output.exists());
        error
    };
    let ratios = refused(&Golden::folder("sedd"), &[]);
    let expected =
        "models of the family `sedd` cannot be trained: no objective here is the one of their process, score-entropy";
    assert_eq!(ratios.to_string(), expected);
    let other = refused(&Golden::folder("llada"), &["network.width=32"]).to_string();
    assert_eq!(other, "`initial` holds another network: its width is 64, the recipe's 32");
    // The family has no words for what the recipe makes of it.
    let lost = refused(&Golden::folder("llada"), &["network.attention=block:8"]).to_string();
    assert_eq!(
        lost,
        "`initial` is of the family \"llada\", whose config.json has no words for a network with this `network.attention`"
    );

    let integers = room.path("integers");
    let checkpoint = Checkpoint::load(&Golden::folder("llada")).unwrap();
    let format = WeightFormat::Int4 { group: 16 };
    let mut learner = checkpoint.network(device()).unwrap();
    let matrices = ParameterGroup {
        parameters: "*.mlp.*".parse().unwrap(),
        trainable: false,
        learning_rate_factor: 1.0,
        precision: Some(format),
    };
    learner.set_groups(&[matrices]).unwrap();
    checkpoint.save_learner(&integers, &learner, Storage::F32).unwrap();
    let error = refused(&integers, &[]);
    let expected =
        "`initial` keeps `model.layers.0.mlp.gate_proj.weight` as integers of 4 bits, which cannot be trained";
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("`trainable = false` and `precision"), "{:?}", error.hint());
    // An embedding of integers is chosen by a role of its own.
    let blocks = refused(&Golden::folder("gguf").join("llada-q8_0.gguf"), &[]);
    let hint = blocks.hint().unwrap();
    assert!(hint.contains("`parameters` `\"role:embedding\"`, `\"role:matrix\"`, "), "{blocks}: {hint}");
    let left = "optimiser.groups=[{ parameters = '*.mlp.*', trainable = false, precision = 'int4:16' }]";
    let recipe = room.recipe(("rest", &integers), &[left, "run.steps=2"]);
    run(&recipe, false).unwrap();
    let saved = Checkpoint::load(&recipe.output).unwrap();
    assert_eq!(saved.quantised_format("model.layers.0.mlp.gate_proj.weight"), Some("integers of 4 bits".to_owned()));
    assert_eq!(saved.family.facts().model_type, "llada");
}
