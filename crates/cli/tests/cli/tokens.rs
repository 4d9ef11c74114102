//! Canvases of ids: recorded trajectories of the families, made again from the command line.

use crate::support::aquatint;
use serde_json::Value;
use std::path::Path;

/// A family, a trajectory and the flags that say its settings.
const TRAJECTORIES: [(&str, &str, &str); 11] = [
    ("llada", "low_confidence_blocks", "--steps 4 --block-length 8"),
    ("llada", "cfg_blocks", "--steps 4 --block-length 8 --cfg-scale 0.5"),
    ("llada", "fast_dual_cache", "--steps 8 --block-length 8 --cache dual"),
    ("llada", "no_end_logits", "--steps 16 --block-length 32 --suppress-tokens 69"),
    ("dream", "entropy_top_k", "--steps 16 --policy entropy --temperature 0 --top-k 5"),
    (
        "dream",
        "fast_prefix_cache_threshold",
        "--steps 8 --block-length 8 --threshold 0.6 --temperature 0 --cache prefix --leads true",
    ),
    (
        "sdar",
        "stops",
        "--steps 4 --policy dynamic:0.6 --temperature 0 --confidence-of prediction --end-token 169 --top-k 384",
    ),
    ("fast_dllm_v2", "block_cache", "--cache dual --end-token 383"),
    ("llada2_moe", "threshold_block_32", "--end-token 383 --edit-threshold 1"),
    ("llada2_moe", "edit_block_32", "--end-token 383"),
    (
        "llada2_moe",
        "edit_block_16_two",
        "--layout block:16 --block-length 16 --steps 8 --policy dynamic:0.7 --edit-threshold 0.5 --edit-steps 4 \
         --end-token 383",
    ),
];

fn ids(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

#[test]
fn trajectories_of_the_families_are_made_again() {
    for (family, name, flags) in TRAJECTORIES {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(family);
        let golden: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
        let all = golden["trajectories"].as_array().unwrap();
        let trajectory = all.iter().find(|trajectory| trajectory["name"] == name).unwrap();
        let prompt: Vec<String> = ids(&trajectory["prompt"][0]).iter().map(u64::to_string).collect();
        let states: Vec<Vec<u64>> =
            trajectory["states"].as_array().unwrap().iter().map(|state| ids(&state[0])).collect();
        let whole = trajectory["states_whole_sequence"] == true;
        let written = |ids: Vec<u64>| if whole { ids } else { ids[prompt.len()..].to_vec() };
        let length = states.iter().map(Vec::len).max().unwrap() - if whole { prompt.len() } else { 0 };
        let (folder, tokens, length) = (folder.display().to_string(), prompt.join(" "), length.to_string());
        let fixed =
            ["generate", "-m", &folder, "--tokens", &tokens, "-n", &length, "--precision", "f32", "--format", "json"];
        let arguments: Vec<&str> = fixed.into_iter().chain(flags.split_whitespace()).collect();
        let made = aquatint(&arguments).expect(0);
        assert!(!made.err.contains("--max-tokens"), "{family} {name}: {}", made.err);
        let result: Value = serde_json::from_str(&made.out).unwrap();
        let mut steps: Vec<Vec<u64>> =
            result["steps"].as_array().unwrap().iter().map(|step| written(ids(step))).collect();
        // What a state does not reach is open, as at the beginning.
        let open = |state: &Vec<u64>| [state.clone(), steps[0][state.len()..].to_vec()].concat();
        let mut states: Vec<Vec<u64>> = states.iter().map(open).collect();
        states.dedup();
        steps.dedup();
        assert_eq!(steps, states, "{family} {name}");
        let human = aquatint(&[&arguments[..9], &arguments[11..]].concat()).expect(0).out;
        let last: Vec<String> = ids(&result["ids"]).iter().map(u64::to_string).collect();
        assert_eq!(human.trim_end(), last.join(" "), "{family} {name}");
    }
}

/// Trajectories whose states are no canvases of a prompt and a continuation: their results.
const RESULTS: [(&str, &str, &str, &str); 3] = [
    (
        "mmada",
        "picture_cfg",
        "328 309 196 236 64 292 102 182 171 148 200 326 [[16]] 327",
        "--steps 6 --block-length 16 --counting cosine --suppress-tokens 0-351 --guidance-scale 3 --unconditional-prompt \
         328,326",
    ),
    (
        "a2d_qwen3",
        "bd3lm",
        "73 143 56 68 176 304 120 99 188 98 63 177 [[32]]",
        "--layout block:8 --blocks-from hole --block-length 8 --steps 4 --counting nearest --temperature 0",
    ),
    (
        "nemotron_labs_diffusion",
        "self_speculation",
        "320 143 56 68 176 304 120 99 188 98 63 177 202 [[24]]",
        "--self-speculation true --block-length 8 --temperature 0",
    ),
];

#[test]
fn pictures_blocks_behind_a_hole_and_drafts_are_made_again() {
    for (family, name, tokens, flags) in RESULTS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(family);
        let golden: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
        let all = golden["trajectories"].as_array().unwrap();
        let trajectory = all.iter().find(|trajectory| trajectory["name"] == name).unwrap();
        // Codes without the tokens of text before them; a canvas with what is padded; a sequence.
        let last = trajectory["states"].as_array().and_then(|states| states.last()).map(|state| ids(&state[0]));
        let codes: u64 = if family == "mmada" { 352 } else { 0 };
        let expected = last.unwrap_or_else(|| ids(&trajectory["result"]));
        let folder = folder.display().to_string();
        let fixed = ["generate", "-m", &folder, "--tokens", tokens, "--precision", "f32", "--format", "json"];
        let made = aquatint(&fixed.into_iter().chain(flags.split(' ')).collect::<Vec<_>>()).expect(0);
        let made = ids(&serde_json::from_str::<Value>(&made.out).unwrap()["ids"]);
        let open = tokens.split(['[', ']']).find_map(|word| word.parse::<usize>().ok()).unwrap();
        let first = tokens.split(' ').position(|word| word.starts_with("[[")).unwrap();
        let expected: Vec<u64> = expected[expected.len() - open..].iter().map(|id| id + codes).collect();
        assert_eq!(made[first..first + open], expected, "{family} {name}");
    }
}

#[test]
fn what_is_no_canvas_of_ids_is_refused() {
    let refused = aquatint(&["generate", "--tokens", "1 the 2"]).expect(2).err;
    assert!(refused.contains("`--tokens` has the; allowed: ids of tokens, and holes such as [[8]]"), "{refused}");
    let warned = aquatint(&["generate", "--tokens", "1 [[2]]", "-n", "5", "--steps", "1"]).expect(0).err;
    assert!(warned.contains("`--max-tokens` has no effect"), "{warned}");
    let refused = aquatint(&["generate", "--tokens", "1 99999999"]).expect(2).err;
    assert!(refused.contains("`--tokens` has 99999999; allowed: ids below"), "{refused}");
    let refused = aquatint(&["generate", "--tokens", "1 2", "--layout", "causal"]).expect(2).err;
    assert!(refused.contains("`layout` is \"causal\"; allowed: full, block:LENGTH"), "{refused}");
}

#[test]
fn what_a_diffusion_gemma_does_not_obey_is_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/diffusion_gemma").display().to_string();
    let made = |more: &[&str]| {
        let fixed = ["generate", "-m", &folder, "--tokens", "320 143 56 68", "-n", "16", "-s", "1"];
        aquatint(&[&fixed[..], more].concat())
    };
    let plain = made(&[]).expect(0);
    // Ids are printed whole: nothing of the text is left out.
    assert!(!plain.err.contains("left out"), "{}", plain.err);
    // The model's own settings revise; only a request without that is another one.
    assert_eq!(made(&["--revise"]).expect(0).out, plain.out);
    assert_ne!(made(&["--revise=false"]).expect(0).out, plain.out);
    let warned = made(&["--counting", "even"]).expect(0);
    let reason = "`--counting` has no effect: the policy entropy-bound:0.1 commits by no count";
    assert!(warned.err.contains(reason), "{}", warned.err);
    assert_eq!(warned.out, plain.out);
    let refused = aquatint(&["generate", "-m", &folder, "--tokens", "320 [[8]] 7"]).expect(2).err;
    let expected = "error: a causal-prefix:16 model writes from left to right and does not see the text behind a hole";
    assert!(refused.starts_with(expected) && refused.contains("choose a model with full attention"), "{refused}");
}
