//! Nemotron-Labs-Diffusion's samplers, followed pass by pass (golden/nemotron_labs_diffusion/README.md): the block is the
//! same before each pass. Its first token is that of the causal pass before it. Passes that only store what is finished
//! are none of their own here.

use aquatint::checkpoint::Checkpoint;
use aquatint::compute::{Cpu, CpuPath, Cuda, Device, Memory, WeightFormat};
use aquatint::diffusion::TokenId;
use aquatint::generate::{Cache, DenoisingEvent, Request, Settings, StopAt, generate};
use aquatint::{Canvas, Outcome};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/nemotron_labs_diffusion")
}

fn ids(value: &Value) -> Vec<TokenId> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as TokenId).collect()
}

/// Follows so many passes of trajectories on a device, with and without a cache.
fn follow<D: Device>(device: D, names: &[&str], most: usize) {
    let words = device.describe();
    let golden: Value = serde_json::from_slice(&std::fs::read(folder().join("golden.json")).unwrap()).unwrap();
    let checkpoint = Checkpoint::load(&folder()).unwrap();
    let network = checkpoint.inference_network(device, WeightFormat::F32).unwrap();
    let process = checkpoint.spec.process().unwrap().unwrap();
    let mask = checkpoint.spec.mask_token.unwrap();
    for name in names {
        let all = golden["trajectories"].as_array().unwrap();
        let trajectory = all.iter().find(|trajectory| trajectory["name"] == *name).unwrap();
        let number = |key: &str| trajectory["settings"][key].as_u64().map(|number| number as usize);
        let prompt = ids(&trajectory["prompt"][0]);
        // Both of the causal modes give the prompt back with what they wrote.
        let (causal, speculates) = (number("gen_length").is_none(), *name == "self_speculation");
        let open = number("gen_length").or(number("max_new_tokens")).unwrap();
        let block = number("block_length").filter(|_| !causal || speculates).unwrap_or(1);
        let threshold = trajectory["settings"]["threshold"].as_f64();
        let policy = threshold.map_or_else(|| "confidence".to_owned(), |threshold| format!("threshold:{threshold}"));
        let ends = trajectory["settings"]["eos_early_stop"] == true;
        for cache in [Cache::Exact, Cache::None] {
            let case = format!("{name} with {cache} on {words}");
            let mut canvas = Canvas::new();
            canvas.push_given(&prompt);
            canvas.push_open(open, ends, mask);
            let mut builder = Settings::builder()
                .steps(number("steps").unwrap_or(1))
                .block_length(block)
                .policy_named(&policy)
                .temperature(0.0)
                .self_speculation(speculates)
                .cache(cache);
            if let Some(end) = number("eos_id").filter(|_| ends) {
                builder = builder.end_token(end as TokenId).stop_at(StopAt::Block);
            }
            // The canvas after each pass, how many of it are final, and in which block the pass was.
            let (mut now, mut is_final, mut states) = (vec![mask; open], 0, Vec::new());
            let requests = [Request::new(canvas, builder.build().unwrap())];
            let outcomes = generate(&network, process.as_ref(), &requests, &mut |_, event| {
                if let DenoisingEvent::Step { block, changes, open: left, .. } = event {
                    changes.iter().for_each(|change| now[change.position - prompt.len()] = change.token);
                    is_final = open - left;
                    states.push((now.clone(), is_final, block));
                }
                if states.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let [Ok(Outcome { canvas, .. })] = &outcomes[..] else { panic!("{case}: {outcomes:?}") };
            let is_whole = states.len() < most;
            let stays = |position: &usize| !canvas.is_closed(*position);
            let written: Vec<TokenId> =
                (prompt.len()..canvas.len()).filter(stays).map(|position| canvas.tokens()[position]).collect();
            let result = ids(&trajectory["result"]);
            let result = if causal { &result[prompt.len()..] } else { &result[..] };
            assert!(!is_whole || written == result, "{case}: {written:?} for {result:?}");
            // The first pass is over the prompt.
            let calls: Vec<Vec<TokenId>> =
                trajectory["calls"].as_array().unwrap()[1..].iter().map(|call| ids(&call["ids"])).collect();
            let mut read: Vec<Vec<TokenId>> = states
                .iter()
                .map(|(tokens, is_final, index)| match speculates {
                    // A pass is over the last final token and the draft behind it.
                    true => tokens[is_final - 1..].to_vec(),
                    false => tokens[index * block..((index + 1) * block).min(open)].to_vec(),
                })
                .collect();
            // What the last pass made is not read again, but by autoregression; what stores the last block is.
            read.truncate(calls.len());
            assert!(!is_whole || calls.len() - read.len() <= 1, "{case}: {} passes for {}", read.len(), calls.len());
            for (pass, (call, read)) in calls.iter().zip(&read).enumerate() {
                assert_eq!(&read[..call.len()], call, "{case}, pass {pass}");
            }
        }
    }
}

#[test]
fn blocks_behind_a_causal_prefix_are_filled_as_the_reference_fills_them() {
    let names =
        ["threshold_0.9", "threshold_0.5", "fixed_steps", "block_16", "autoregressive", "self_speculation", "ends"];
    let golden: Value = serde_json::from_slice(&std::fs::read(folder().join("golden.json")).unwrap()).unwrap();
    let recorded: Vec<&str> = golden["trajectories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trajectory| trajectory["name"].as_str().unwrap())
        .collect();
    assert_eq!(recorded, names);
    follow(Cpu::<f32>::scalar(), &names, usize::MAX);
    follow(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), &names, usize::MAX);
    for device in Cuda::tested() {
        match device.describe().contains("emulated") {
            // A block of each kind.
            true => follow(device, &["self_speculation", "ends"], 3),
            false => follow(device, &names, usize::MAX),
        }
    }
}
