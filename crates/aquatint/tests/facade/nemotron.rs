//! Nemotron-Labs-Diffusion's sampler, followed pass by pass (golden/nemotron_labs_diffusion/README.md): the block is the
//! same before each pass. Its first token is that of the causal pass before it.
//!
//! Not followed: `ends`, whose block goes on behind its end token, where a canvas here closes what follows; and
//! `self_speculation` pass by pass, which writes what `autoregressive` does.

use aquatint::checkpoint::Checkpoint;
use aquatint::compute::Cpu;
use aquatint::generate::{Cache, DenoisingEvent, Request, Settings, generate};
use aquatint::{Canvas, Outcome};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn blocks_behind_a_causal_prefix_are_filled_as_the_reference_fills_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/nemotron_labs_diffusion");
    let golden: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let checkpoint = Checkpoint::load(&folder).unwrap();
    let network = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    let process = checkpoint.spec.process().unwrap().unwrap();
    let mask = checkpoint.spec.mask_token.unwrap();
    for name in ["threshold_0.9", "threshold_0.5", "fixed_steps", "block_16", "autoregressive", "self_speculation"] {
        let all = golden["trajectories"].as_array().unwrap();
        let trajectory = all.iter().find(|trajectory| trajectory["name"] == name).unwrap();
        let number = |key: &str| trajectory["settings"][key].as_u64().map(|number| number as usize);
        let prompt = ids(&trajectory["prompt"][0]);
        let causal = number("gen_length").is_none();
        let open = number("gen_length").or(number("max_new_tokens")).unwrap();
        let block = if causal { 1 } else { number("block_length").unwrap() };
        let threshold = trajectory["settings"]["threshold"].as_f64();
        let policy = threshold.map_or_else(|| "confidence".to_owned(), |threshold| format!("threshold:{threshold}"));
        for cache in [Cache::Exact, Cache::None] {
            let mut canvas = Canvas::new();
            canvas.push_given(&prompt);
            canvas.push_open(open, false, mask);
            let settings = Settings::builder()
                .steps(number("steps").unwrap_or(1))
                .block_length(block)
                .policy_named(&policy)
                .temperature(0.0)
                .cache(cache)
                .build()
                .unwrap();
            let (mut now, mut states) = (vec![mask; open], Vec::new());
            let outcomes = generate(&network, process.as_ref(), &[Request::new(canvas, settings)], &mut |_, event| {
                if let DenoisingEvent::Step { block: index, changes, .. } = event {
                    changes.iter().for_each(|change| now[change.position - prompt.len()] = change.token);
                    states.push(now[index * block..((index + 1) * block).min(open)].to_vec());
                }
                ControlFlow::Continue(())
            });
            let [Ok(Outcome { canvas, .. })] = &outcomes[..] else { panic!("{outcomes:?}") };
            assert_eq!(canvas.tokens()[prompt.len()..], now, "{name}");
            let result = ids(&trajectory["result"]);
            assert_eq!(now, if causal { result[prompt.len()..].to_vec() } else { result }, "{name} with {cache}");
            if name == "self_speculation" {
                continue;
            }
            // The first pass is over the prompt; what the last one made is not read again, except by autoregression.
            let calls = trajectory["calls"].as_array().unwrap()[1..].iter();
            let mut expected: Vec<Vec<u32>> = calls.map(|call| ids(&call["ids"])).collect();
            if !causal {
                expected.push(now[(open - 1) / block * block..].to_vec());
            }
            assert_eq!(states[..expected.len().min(states.len())], expected[..states.len()], "{name} with {cache}");
            assert!(expected.len() - states.len() <= 1, "{name} with {cache}");
        }
    }
}
