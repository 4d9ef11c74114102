//! `quantization_config` of a `config.json`: which matrices a checkpoint keeps as small integers, and how.
//!
//! The layout is that of compressed-tensors (github.com/vllm-project/compressed-tensors), which Hugging Face
//! Transformers and vLLM read; matrices of 4 bits by GPTQ and AWQ are read beside it. Of its formats these two are read and written here, symmetric and without zero points:
//!
//! | format | bits | tensors of a module `X`: a matrix `[N, K]`, groups of `G` inputs |
//! |---|---|---|
//! | `int-quantized` | 8 | `X.weight` I8 `[N, K]`, `X.weight_scale` `[N, K / G]` |
//! | `pack-quantized` | 4 | `X.weight_packed` I32 `[N, ⌈K / 8⌉]`, `X.weight_scale` `[N, K / G]`, `X.weight_shape` I64 `[N, K]` |
//!
//! A word holds eight values plus 8, the first in its lowest bits. Integers of 8 bits go from -127 to 127 here and from -128
//! there, see [`Weights::read_data`](crate::Weights::read_data). A file may have both formats (`mixed-precision`). Which
//! matrices are quantised the tensors' names say; `targets` and `ignore` are for other readers.

use crate::CheckpointError;
use crate::config_value::ConfigValue;
use aquatint_compute::{Bits, Quantised};
use serde_json::{Map, Value, json};
use std::fmt;

/// `quant_method` of this layout.
const METHOD: &str = "compressed-tensors";
/// `quant_method` of other tools, see `packed_words.rs`.
const GPTQ: &str = "gptq";
const AWQ: &str = "awq";
/// `format` where groups have formats of their own.
const MIXED: &str = "mixed-precision";
/// Keys of the description; those without a meaning for weights are for other readers.
const KEYS: [&str; 12] = [
    "quant_method",
    "format",
    "config_groups",
    "ignore",
    "quantization_status",
    "kv_cache_scheme",
    "global_compression_ratio",
    "sparsity_config",
    "moe_sparsity_config",
    "transform_config",
    "run_compressed",
    "version",
];
/// Keys of one of `config_groups`.
const GROUP_KEYS: [&str; 5] = ["targets", "weights", "input_activations", "output_activations", "format"];
/// Keys of `weights` in a group; those after the first five do not change what a file holds.
const WEIGHT_KEYS: [&str; 12] = [
    "num_bits",
    "type",
    "symmetric",
    "strategy",
    "group_size",
    "actorder",
    "block_structure",
    "dynamic",
    "observer",
    "observer_kwargs",
    "scale_dtype",
    "zp_dtype",
];

/// How a checkpoint's quantised matrices are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantisation {
    /// One for each number of bits that occurs.
    pub schemes: Vec<Scheme>,
    /// Modules that stay as they were, for other readers of the file.
    pub ignore: Vec<String>,
}

/// How the matrices of one number of bits are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// Bits of each integer.
    pub bits: Bits,
    /// How many consecutive inputs share a scale; `None` is one scale for each output.
    pub group: Option<usize>,
    /// Names or kinds of modules, for other readers of the file.
    pub targets: Vec<String>,
    /// How the integers lie.
    pub packing: Packing,
}

/// How the integers of a file lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Packing {
    /// As in this module's table; what is written here is written so.
    #[default]
    CompressedTensors,
    /// As the tools of GPTQ write them.
    Gptq {
        /// Whether zero points are kept as one less.
        one_less: bool,
    },
    /// As AutoAWQ writes them (`gemm`).
    Awq,
    /// In blocks of a GGUF file.
    Gguf,
}

impl Scheme {
    /// As it is written here.
    pub fn new(bits: Bits, group: Option<usize>, targets: Vec<String>) -> Self {
        Self { bits, group, targets, packing: Packing::CompressedTensors }
    }

    /// The format's name.
    pub fn format(&self) -> &'static str {
        match (self.packing, self.bits) {
            (Packing::CompressedTensors, Bits::Eight) => "int-quantized",
            (Packing::CompressedTensors, Bits::Four) => "pack-quantized",
            (Packing::Gptq { one_less: true }, _) => "gptq",
            (Packing::Gptq { one_less: false }, _) => "gptq_v2",
            (Packing::Awq, _) => "awq",
            (Packing::Gguf, Bits::Eight) => "Q8_0",
            (Packing::Gguf, Bits::Four) => "Q4_0",
        }
    }
}

/// `4 bits with a scale for each 32 inputs (pack-quantized)`
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with a scale for each ", self.bits)?;
        match self.group {
            Some(group) => write!(f, "{group} inputs")?,
            None => f.write_str("output")?,
        }
        write!(f, " ({})", self.format())
    }
}

impl fmt::Display for Quantisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scheme) in self.schemes.iter().enumerate() {
            write!(f, "{}{scheme}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl Quantisation {
    /// How matrices are kept that are quantised already; names are those of their modules. `None` where there are none.
    ///
    /// # Errors
    /// When those of one number of bits have groups of different sizes.
    pub(crate) fn of(matrices: &[(String, &Quantised)]) -> Result<Option<Self>, CheckpointError> {
        let mut schemes = Vec::new();
        for bits in [Bits::Four, Bits::Eight] {
            let alike = || matrices.iter().filter(|(_, matrix)| matrix.bits() == bits);
            let group = alike().map(|(_, matrix)| (matrix.group(), matrix.inputs())).find(|(group, all)| group != all);
            let group = group.map(|(group, _)| group);
            let other = |matrix: &Quantised| group.unwrap_or(matrix.inputs());
            if let Some((name, matrix)) = alike().find(|(_, matrix)| matrix.group() != other(matrix)) {
                let (name, group, other) = (name.clone(), matrix.group(), other(matrix));
                return Err(CheckpointError::MixedGroups { name, bits, group, other });
            }
            let targets: Vec<String> = alike().map(|(name, _)| name.clone()).collect();
            if !targets.is_empty() {
                schemes.push(Scheme::new(bits, group, targets));
            }
        }
        Ok((!schemes.is_empty()).then_some(Self { schemes, ignore: Vec::new() }))
    }

    /// The description that a `config.json` holds; `None` where it says nothing of quantisation.
    ///
    /// # Errors
    /// When it describes what is not read here, naming the key.
    pub fn from_config(file: &str, config: &Value) -> Result<Option<Self>, CheckpointError> {
        match config.get("quantization_config") {
            None | Some(Value::Null) => Ok(None),
            Some(value) => ConfigValue { file, path: "quantization_config".to_owned(), value }.quantisation().map(Some),
        }
    }

    /// The value of `quantization_config`.
    pub fn to_config(&self) -> Value {
        let groups = self.schemes.iter().enumerate().map(|(index, scheme)| {
            let weights = json!({
                "num_bits": scheme.bits.count(),
                "type": "int",
                "symmetric": true,
                "strategy": if scheme.group.is_some() { "group" } else { "channel" },
                "group_size": scheme.group,
                "dynamic": false,
            });
            let group = json!({
                "targets": scheme.targets,
                "weights": weights,
                "input_activations": null,
                "output_activations": null,
                "format": scheme.format(),
            });
            (format!("group_{index}"), group)
        });
        let format = match self.schemes.as_slice() {
            [one] => one.format(),
            _ => MIXED,
        };
        json!({
            "quant_method": METHOD,
            "format": format,
            "quantization_status": "compressed",
            "config_groups": groups.collect::<Map<_, _>>(),
            "ignore": self.ignore,
        })
    }

    /// 4 bits in the words of other tools.
    fn packed(packing: Packing, group: Option<usize>, ignore: Vec<String>) -> Self {
        let scheme = Scheme { bits: Bits::Four, group, targets: vec!["Linear".to_owned()], packing };
        Self { schemes: vec![scheme], ignore }
    }

    /// How matrices of so many bits are kept, if there are any.
    pub fn scheme(&self, bits: Bits) -> Option<&Scheme> {
        self.schemes.iter().find(|scheme| scheme.bits == bits)
    }
}

/// What of a description is read here.
impl ConfigValue<'_> {
    fn quantisation(&self) -> Result<Quantisation, CheckpointError> {
        if !self.value.is_object() {
            return Err(self.refuse("an object"));
        }
        match self.get("quant_method").one_of(&[METHOD, GPTQ, AWQ])? {
            GPTQ => return self.gptq(),
            AWQ => return self.awq(),
            _ => {}
        }
        self.object(&KEYS)?;
        let format = self.get("format").one_of(&["int-quantized", "pack-quantized", MIXED])?;
        for key in ["kv_cache_scheme", "sparsity_config", "moe_sparsity_config", "transform_config"] {
            self.get(key).insist(&[Value::Null, json!({})], "weights alone are quantised here")?;
        }
        let groups = self.get("config_groups");
        let map = groups.value.as_object().filter(|map| !map.is_empty());
        let map = map.ok_or_else(|| groups.refuse("an object with at least one group"))?;
        let mut schemes: Vec<Scheme> = Vec::new();
        for name in map.keys() {
            let group = groups.get(name);
            let scheme = group.scheme(format)?;
            if schemes.iter().any(|other| other.bits == scheme.bits) {
                let weights = group.get("weights");
                return Err(weights.get("num_bits").refuse("another number of bits than the groups before"));
            }
            schemes.push(scheme);
        }
        Ok(Quantisation { schemes, ignore: self.get("ignore").strings()? })
    }

    /// What the tools of GPTQ say. Keys that say how numbers were chosen are passed over.
    fn gptq(&self) -> Result<Quantisation, CheckpointError> {
        self.get("bits").insist(&[json!(4)], "only 4 bits are read")?;
        self.get("pack_dtype").insist(&["int32".into(), Value::Null], "words have 32 bits")?;
        self.get("is_marlin_format").insist(&[false.into(), Value::Null], "that order of words is not read")?;
        self.get("dynamic").insist(&[Value::Null, json!({}), false.into()], "all matrices are quantised alike here")?;
        let format = self.get("checkpoint_format");
        let one_less = match format.value {
            Value::Null => true,
            _ => format.one_of(&["gptq", "gptq_v2"])? == "gptq",
        };
        let group = self.get("group_size").group()?;
        Ok(Quantisation::packed(Packing::Gptq { one_less }, group, Vec::new()))
    }

    /// What AutoAWQ says.
    fn awq(&self) -> Result<Quantisation, CheckpointError> {
        let either =
            |name: &str, other: &str| if self.get(name).value.is_null() { self.get(other) } else { self.get(name) };
        either("bits", "w_bit").insist(&[json!(4)], "only 4 bits are read")?;
        self.get("version")
            .insist(&["gemm".into(), "GEMM".into(), Value::Null], "other orders of words are not read")?;
        let group = either("group_size", "q_group_size").group()?;
        Ok(Quantisation::packed(Packing::Awq, group, self.get("modules_to_not_convert").strings()?))
    }

    /// Inputs that share a scale; -1 and null are all of an output.
    fn group(&self) -> Result<Option<usize>, CheckpointError> {
        match self.value.as_i64() {
            Some(-1) => Ok(None),
            Some(group) if group > 0 => Ok(usize::try_from(group).ok()),
            None if self.value.is_null() => Ok(None),
            _ => Err(self.refuse("1 or more, -1, null")),
        }
    }

    /// One of `config_groups`; `format` is that of the whole description.
    fn scheme(&self, format: &str) -> Result<Scheme, CheckpointError> {
        self.object(&GROUP_KEYS)?;
        self.get("output_activations").insist(&[Value::Null], "what a product gives is not quantised here")?;
        self.activations()?;
        let weights = self.get("weights");
        weights.object(&WEIGHT_KEYS)?;
        weights.get("type").insist(&["int".into(), Value::Null], "only integers are read")?;
        weights.get("symmetric").insist(&[true.into(), Value::Null], "there are no zero points here")?;
        weights.get("block_structure").insist(&[Value::Null], "a scale is for inputs of one output")?;
        weights.get("dynamic").insist(&[false.into(), Value::Null], "weights do not change")?;
        let orders = [Value::Null, false.into(), "weight".into(), "static".into()];
        weights.get("actorder").insist(&orders, "a group is of consecutive inputs")?;
        let count = weights.get("num_bits");
        let bits = match count.value.as_u64() {
            Some(4) => Bits::Four,
            // Eight bits are what the layout takes where nothing is said.
            Some(8) => Bits::Eight,
            None if count.value.is_null() => Bits::Eight,
            _ => return Err(count.refuse("4, 8")),
        };
        let size = weights.get("group_size");
        let group = size.group()?;
        let strategy = weights.get("strategy");
        match (strategy.value.as_str(), group) {
            (Some("channel"), None) | (Some("group"), Some(_)) => {}
            // Without a strategy the group's size says it, and without that it would be one scale for a whole tensor.
            (None, Some(_)) if strategy.value.is_null() => {}
            (None, None) if strategy.value.is_null() && !size.value.is_null() => {}
            (Some("channel"), Some(_)) => return Err(size.refuse("null with the strategy \"channel\"")),
            (Some("group"), None) => return Err(size.refuse("a number with the strategy \"group\"")),
            _ => return Err(strategy.refuse("\"channel\", \"group\"")),
        }
        let scheme = Scheme::new(bits, group, self.get("targets").strings()?);
        let own = self.get("format");
        let format = match own.value {
            Value::Null => format,
            _ => own.one_of(&["int-quantized", "pack-quantized"])?,
        };
        if format != scheme.format() {
            return Err(count.refuse(match format {
                "pack-quantized" => "4 with the format \"pack-quantized\"",
                "int-quantized" => "8 with the format \"int-quantized\"",
                _ => "any with a `format` in each group, since the description's is \"mixed-precision\"",
            }));
        }
        Ok(scheme)
    }

    /// Activations as they are, or quantised to 8 bits row by row while the network runs, which is a device's affair.
    fn activations(&self) -> Result<(), CheckpointError> {
        let activations = self.get("input_activations");
        if activations.value.is_null() {
            return Ok(());
        }
        let reason = "activations are quantised to 8 bits while the network runs, or not at all";
        activations.get("num_bits").insist(&[8.into()], reason)?;
        activations.get("type").insist(&["int".into(), Value::Null], reason)?;
        activations.get("symmetric").insist(&[true.into(), Value::Null], reason)?;
        activations.get("dynamic").insist(&[true.into()], reason)?;
        activations.get("strategy").insist(&["token".into(), Value::Null], reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(config: &Value) -> Result<Option<Quantisation>, CheckpointError> {
        Quantisation::from_config("config.json", &json!({ "quantization_config": config }))
    }

    fn scheme(bits: Bits, group: Option<usize>, target: &str) -> Scheme {
        Scheme::new(bits, group, vec![target.to_owned()])
    }

    #[test]
    fn what_is_written_is_read() {
        for schemes in [
            vec![scheme(Bits::Eight, None, "Linear")],
            vec![scheme(Bits::Four, Some(32), "Linear")],
            vec![scheme(Bits::Four, Some(64), "Linear"), scheme(Bits::Eight, None, "lm_head")],
        ] {
            let quantisation = Quantisation { schemes, ignore: vec!["lm_head".to_owned()] };
            assert_eq!(parse(&quantisation.to_config()).unwrap(), Some(quantisation));
        }
        assert_eq!(parse(&Value::Null).unwrap(), None);
        let words = Quantisation {
            schemes: vec![scheme(Bits::Four, Some(32), "a"), scheme(Bits::Eight, None, "b")],
            ignore: Vec::new(),
        };
        assert_eq!(
            words.to_string(),
            "4 bits with a scale for each 32 inputs (pack-quantized), 8 bits with a scale for each output (int-quantized)"
        );
    }

    #[test]
    fn what_others_write_is_read() {
        // The keys that llm-compressor writes for W8A8 and W4A16.
        let eight = json!({
            "quant_method": "compressed-tensors", "format": "int-quantized", "quantization_status": "compressed",
            "global_compression_ratio": 1.24, "ignore": ["lm_head"], "kv_cache_scheme": null,
            "config_groups": {"group_0": {
                "targets": ["Linear"], "output_activations": null,
                "input_activations": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "token",
                    "dynamic": true, "group_size": null, "observer": null, "observer_kwargs": {}},
                "weights": {"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel", "dynamic": false,
                    "actorder": null, "block_structure": null, "group_size": null, "observer": "minmax",
                    "observer_kwargs": {}}}}
        });
        assert_eq!(parse(&eight).unwrap().unwrap().schemes, [scheme(Bits::Eight, None, "Linear")]);
        let four = json!({
            "quant_method": "compressed-tensors", "format": "pack-quantized", "sparsity_config": {}, "version": "0.11.0",
            "config_groups": {"group_0": {"targets": ["Linear"], "format": "pack-quantized",
                "weights": {"num_bits": 4, "group_size": 128, "actorder": "static", "zp_dtype": null}}}
        });
        assert_eq!(parse(&four).unwrap().unwrap().schemes, [scheme(Bits::Four, Some(128), "Linear")]);
    }

    #[test]
    fn what_is_not_read_is_refused_with_its_key() {
        let good = Quantisation { schemes: vec![scheme(Bits::Four, Some(32), "Linear")], ignore: Vec::new() };
        let weights = "/config_groups/group_0/weights";
        for (pointer, key, value, expected) in [
            ("", "quant_method", json!("fp8"), "`quantization_config.quant_method` is \"fp8\"; allowed: compressed"),
            ("", "quant_method", Value::Null, "quant_method` is null"),
            ("", "format", json!("nvfp4-pack-quantized"), "allowed: int-quantized, pack-quantized, mixed-precision"),
            ("", "format", json!("int-quantized"), "num_bits` is 4; allowed: 8 with the format \"int-quantized\""),
            ("", "kv_cache_scheme", json!({"num_bits": 8}), "kv_cache_scheme"),
            ("", "sparsity_config", json!({"format": "sparse-24-bitmask"}), "sparsity_config"),
            ("", "config_groups", json!({}), "config_groups` is {}; allowed: an object with at least one group"),
            ("", "ignore", json!("lm_head"), "allowed: a list of names"),
            ("", "bits", json!(4), "quantization_config.bits` is 4; allowed: one of the keys quant_method, "),
            ("/config_groups/group_0", "output_activations", json!({}), "output_activations"),
            ("/config_groups/group_0", "input_activations", json!({"num_bits": 8, "dynamic": false}), "dynamic"),
            ("/config_groups/group_0", "targets", json!([1]), "a list of names"),
            (weights, "num_bits", json!(3), "config_groups.group_0.weights.num_bits` is 3; allowed: 4, 8"),
            (weights, "type", json!("float"), "weights.type` is \"float\"; allowed: \"int\""),
            (weights, "symmetric", json!(false), "symmetric` is false; allowed: true, null (there are no zero points"),
            (weights, "group_size", json!(0), "group_size` is 0; allowed: 1 or more, -1, null"),
            (weights, "group_size", Value::Null, "group_size` is null; allowed: a number with the strategy \"group\""),
            (weights, "strategy", json!("tensor"), "strategy` is \"tensor\"; allowed: \"channel\", \"group\""),
            (weights, "strategy", json!("channel"), "group_size` is 32; allowed: null with the strategy"),
            (weights, "actorder", json!("group"), "actorder"),
            (weights, "dynamic", json!(true), "weights.dynamic"),
            (weights, "zero_point", json!(8), "weights.zero_point"),
        ] {
            let mut config = good.to_config();
            config.pointer_mut(pointer).unwrap()[key] = value;
            if key == "format" && pointer.is_empty() {
                config["config_groups"]["group_0"]["format"] = Value::Null;
            }
            let error = parse(&config).unwrap_err().to_string();
            assert!(error.contains(expected), "{key}: {error}");
        }
        let twice = Quantisation {
            schemes: vec![scheme(Bits::Four, Some(32), "a"), scheme(Bits::Four, Some(64), "b")],
            ignore: Vec::new(),
        };
        assert!(parse(&twice.to_config()).unwrap_err().to_string().contains("group_1.weights.num_bits` is 4"));
        assert!(parse(&json!("int8")).unwrap_err().to_string().contains("allowed: an object"));
    }
}
