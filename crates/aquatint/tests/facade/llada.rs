//! LLaDA's own sampler, followed pass by pass (golden/llada/README.md): the canvas is the same before each pass.
//!
//! Followed are the greedy ones whose steps divide their blocks evenly; how others divide is a known deviation of step plans.

use aquatint::checkpoint::Checkpoint;
use aquatint::compute::Cpu;
use aquatint::generate::{DenoisingEvent, Request, Settings, generate};
use aquatint::{Canvas, Outcome};
use std::ops::ControlFlow;
use std::path::Path;

const OPEN: usize = 32;

#[test]
fn greedy_trajectories_are_those_of_the_reference() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/llada");
    let golden = std::fs::read(folder.join("golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
    let checkpoint = Checkpoint::load(&folder).unwrap();
    let network = checkpoint.network(Cpu::<f32>::scalar()).unwrap();
    let process = checkpoint.spec.process().unwrap().unwrap();
    let mask = checkpoint.spec.mask_token.unwrap();
    let row = |value: &serde_json::Value| -> Vec<u32> {
        value[0].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    for name in ["low_confidence", "low_confidence_blocks", "low_confidence_32_steps", "cfg", "cfg_blocks"] {
        let all = golden["trajectories"].as_array().unwrap();
        let trajectory = all.iter().find(|trajectory| trajectory["name"] == name).unwrap();
        let setting = |key: &str| trajectory["settings"][key].as_u64().unwrap() as usize;
        let prompt = row(&trajectory["prompt"]);
        let mut canvas = Canvas::new();
        canvas.push_given(&prompt);
        canvas.push_open(OPEN, false, mask);
        let settings = Settings::builder()
            .steps(setting("steps") / (OPEN / setting("block_length")))
            .block_length(setting("block_length"))
            .policy_named("confidence")
            .temperature(0.0)
            // un + (w + 1)(c − un)
            .guidance_scale(1.0 + trajectory["settings"]["cfg_scale"].as_f64().unwrap_or(0.0))
            .build()
            .unwrap();
        let mut now = vec![mask; OPEN];
        let mut states = vec![now.clone()];
        let outcomes = generate(&network, process.as_ref(), &[Request::new(canvas, settings)], &mut |_, event| {
            if let DenoisingEvent::Step { changes, .. } = event {
                changes.iter().for_each(|change| now[change.position - prompt.len()] = change.token);
                states.push(now.clone());
            }
            ControlFlow::Continue(())
        });
        let expected: Vec<Vec<u32>> = trajectory["states"].as_array().unwrap().iter().map(row).collect();
        assert_eq!(states, expected, "{name}");
        let [Ok(Outcome { canvas, .. })] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(canvas.tokens()[prompt.len()..], now, "{name}");
    }
}
