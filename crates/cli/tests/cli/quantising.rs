//! Models of integers: written, shown, read back, and refused where they cannot be.

use crate::support::{aquatint, model, room, text};
use aquatint_checkpoint::{Checkpoint, Weights};
use aquatint_network::TensorData;
use std::fs;

/// Every weight of the small model beside what a quantised one makes of it.
fn compare(out: &std::path::Path, quantised: usize) {
    let original = Weights::open(std::path::Path::new(model())).unwrap();
    let checkpoint = Checkpoint::load(out).unwrap();
    let mut found = 0;
    for name in original.names() {
        let data = checkpoint.build(|weights| Ok(weights(name))).unwrap().unwrap();
        let values = original.read(name).unwrap();
        if let TensorData::Quantised(matrix) = &data {
            found += 1;
            let scales = matrix.scales().iter().flat_map(|scale| std::iter::repeat_n(scale.abs(), matrix.group()));
            for ((value, back), scale) in values.iter().zip(matrix.dequantise()).zip(scales) {
                assert!((value - back).abs() <= 0.50001 * scale, "{name}: {value} became {back}, the scale is {scale}");
            }
        } else {
            assert_eq!(data.into_real(), values, "{name} stays");
        }
    }
    assert_eq!(found, quantised);
}

#[test]
fn a_quantised_model_is_described_and_is_the_same_model_within_half_a_step() {
    let outs = [
        ("8", None, "8 bits with a scale for each output (int-quantized)"),
        ("4", Some("16"), "4 bits with a scale for each 16 inputs (pack-quantized)"),
    ];
    for (bits, group, words) in outs {
        let out = room("quantised").join(bits);
        let mut arguments = vec!["quantize", model(), "--bits", bits, "--out", text(&out)];
        arguments.extend(group.map(|group| ["--group", group]).into_iter().flatten());
        let output = aquatint(&arguments).expect(0);
        assert_eq!(output.out.trim_end(), text(&out));
        assert!(output.err.starts_with(&format!("quantised   {words}\nthe rest    bf16\nsize ")), "{}", output.err);
        for kind in ["q_proj", "o_proj", "down_proj"] {
            assert!(output.err.lines().any(|line| line.starts_with(kind) && line.ends_with(" %")), "{}", output.err);
        }
        // Four matrices of the attention and three of the feed-forward part.
        compare(&out, 7);
        let shown = aquatint(&["show", text(&out)]).expect(0).out;
        assert!(shown.contains(&format!("\nquantised   {words}\n")), "{shown}");
        assert!(shown.contains("\nparameters  7440 (") && shown.contains("what is not quantised as bf16"), "{shown}");
        let json = aquatint(&["show", text(&out), "--format", "json"]).expect(0).out;
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["quantisation"][0]["bits"].to_string(), bits);
        assert_eq!(object["quantisation"][0]["group"], serde_json::json!(group.map(|g| g.parse::<u32>().unwrap())));
        aquatint(&["generate", "The fox", "-m", text(&out), "-n", "4", "--seed", "1"]).expect(0);

        let again = aquatint(&["quantise", text(&out), "--out", text(&room("quantised").join("twice"))]).expect(2);
        assert!(again.err.contains("is quantised already: ") && again.err.contains("\n\nhint: "), "{}", again.err);
    }
}

#[test]
fn what_cannot_be_quantised_is_refused_and_nothing_is_written() {
    let out = room("unquantised").join("out");
    let refused = |arguments: &[&str]| {
        let output = aquatint(&[&["quantize", model(), "--out", text(&out)], arguments].concat()).expect(2);
        assert!(!out.exists(), "{arguments:?}");
        output.err
    };
    assert!(refused(&["--bits", "5"]).starts_with("error: `bits` is 5; allowed: 4, 8"));
    // The width is 16: the group of 32 that is taken where nothing is said does not fit.
    let words = refused(&["--bits", "4"]);
    assert!(
        words.contains("q_proj.weight` in `") && words.contains("`group` is 32; allowed: a divisor of 16"),
        "{words}"
    );

    let model = std::path::Path::new(model());
    let before = fs::read(model.join("model.safetensors")).unwrap();
    let output = aquatint(&["quantize", "tales", "--out", text(model)]).expect(2);
    assert!(output.err.contains("already holds a model\n\nhint: choose another folder"), "{}", output.err);
    assert_eq!(fs::read(model.join("model.safetensors")).unwrap(), before);
}
