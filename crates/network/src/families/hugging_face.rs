//! Keys that Hugging Face tools add when they write the JSON files of a folder again, whichever family it is of. Keys
//! that change nothing here are passed over by name; keys that would change something are allowed only the value that
//! changes nothing; a key that is null says nothing.
//!
//! Read against `configuration_utils.py` and `generation/configuration_utils.py` of huggingface/transformers (versions 4
//! and 5).

use super::Object;
use super::config::{is_same, wrong};
use crate::NetworkError;
use serde_json::{Value, json};

/// Keys of a `config.json` that say nothing about what a network computes, or that others read.
pub(super) const CONFIG_KEYS: [&str; 32] = [
    "model_type",
    "architectures",
    "auto_map",
    "dtype",
    "torch_dtype",
    "transformers_version",
    "quantization_config",
    "codecs",
    "_name_or_path",
    "_commit_hash",
    "_attn_implementation_autoset",
    "attn_implementation",
    "attention_dropout",
    "initializer_range",
    "use_cache",
    "use_bfloat16",
    "chunk_size_feed_forward",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torchscript",
    "tf_legacy_loss",
    "problem_type",
    "id2label",
    "label2id",
    "num_labels",
    "finetuning_task",
    "task_specific_params",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
];

/// Keys of a `config.json` that would change a network, with the value that does not.
pub(super) fn neutral_config() -> [(&'static str, Value); 8] {
    [
        ("is_encoder_decoder", json!(false)),
        ("is_decoder", json!(false)),
        ("add_cross_attention", json!(false)),
        ("tie_encoder_decoder", json!(false)),
        ("pruned_heads", json!({})),
        ("attention_bias", json!(false)),
        ("mlp_bias", json!(false)),
        ("use_sliding_window", json!(false)),
    ]
}

/// Keys of a `config.json` that some families have and that change what a network computes: the value that changes
/// nothing, and what a network would need to have for others.
pub(super) fn features() -> [(&'static str, Value, &'static str); 18] {
    [
        ("rope_scaling", Value::Null, "scaled rotary frequencies"),
        ("partial_rotary_factor", json!(1), "rotary positions in a part of each head"),
        ("final_logit_softcapping", Value::Null, "a soft cap on logits"),
        ("attn_logit_softcapping", Value::Null, "a soft cap on the scores of attention"),
        ("query_pre_attn_scalar", Value::Null, "another scale of the scores of attention"),
        ("attention_multiplier", Value::Null, "another scale of the scores of attention"),
        ("embedding_multiplier", json!(1), "scaled word vectors"),
        ("residual_multiplier", json!(1), "a scaled residual stream"),
        ("logits_scaling", json!(1), "scaled logits"),
        ("clip_qkv", Value::Null, "clipped queries, keys and values"),
        ("kv_lora_rank", Value::Null, "compressed keys and values"),
        ("num_experts", json!(0), "a feed-forward part of experts"),
        ("num_local_experts", json!(0), "a feed-forward part of experts"),
        ("n_routed_experts", json!(0), "a feed-forward part of experts"),
        ("expert_capacity", json!(0), "experts that the rows of a block choose together"),
        ("vision_config", Value::Null, "a tower that reads pictures"),
        ("audio_config", Value::Null, "a tower that reads sound"),
        ("cross_attn", json!(false), "two streams of rows in inference"),
    ]
}

/// Keys of a `generation_config.json` that change no text here: records of its origin, what is returned beside the text,
/// caches, compilation, drafts by an assistant, settings of beam search, and `max_length`, which `max_new_tokens` replaces.
const GENERATION_KEYS: [&str; 32] = [
    "_from_model_config",
    "_commit_hash",
    "transformers_version",
    "trust_remote_code",
    "max_length",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "use_cache",
    "cache_implementation",
    "cache_config",
    "return_legacy_cache",
    "prefill_chunk_size",
    "low_memory",
    "compile_config",
    "disable_compile",
    "is_assistant",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "target_lookbehind",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "early_stopping",
    "length_penalty",
    "diversity_penalty",
    "renormalize_logits",
    "remove_invalid_values",
];

/// Keys of a `generation_config.json` that would change a text, with the value that does not.
fn neutral_generation() -> [(&'static str, Value); 12] {
    [
        ("num_beams", json!(1)),
        ("num_beam_groups", json!(1)),
        ("num_return_sequences", json!(1)),
        ("min_length", json!(0)),
        ("typical_p", json!(1)),
        ("epsilon_cutoff", json!(0)),
        ("eta_cutoff", json!(0)),
        ("no_repeat_ngram_size", json!(0)),
        ("encoder_no_repeat_ngram_size", json!(0)),
        ("encoder_repetition_penalty", json!(1)),
        ("token_healing", json!(false)),
        ("generation_kwargs", json!({})),
    ]
}

/// A `generation_config.json` without the keys that `GenerationConfig.save_pretrained` adds.
///
/// # Errors
/// When one of these keys has a value that would change the text in a way that is not known here.
pub(super) fn read_generation(mut file: Object) -> Result<Object, NetworkError> {
    file.retain(|key, value| !value.is_null() && !GENERATION_KEYS.contains(&key.as_str()));
    for (key, neutral) in neutral_generation() {
        if let Some(given) = file.shift_remove(key).filter(|given| !is_same(given, &neutral)) {
            return Err(wrong(key, &given, &neutral.to_string()));
        }
    }
    // There, 0 turns top-k off.
    if file.get("top_k").is_some_and(|k| is_same(k, &json!(0))) {
        file.shift_remove("top_k");
    }
    match file.shift_remove("do_sample") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            let given = file.insert("temperature".to_owned(), json!(0.0));
            // There, a temperature of 1 is the default, which counts only with `do_sample`.
            if given.is_some_and(|given| !is_same(&given, &json!(0)) && !is_same(&given, &json!(1))) {
                return Err(wrong("do_sample", &json!(false), "true where there is a `temperature`"));
            }
        }
        Some(given) => return Err(wrong("do_sample", &given, "true or false")),
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &Value) -> Result<Value, String> {
        let file = file.as_object().cloned().unwrap_or_default();
        read_generation(file).map(Value::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn what_save_pretrained_adds_is_passed_over() {
        let file = json!({
            "_from_model_config": true, "transformers_version": "5.0.0", "do_sample": true, "temperature": 0.7,
            "num_beams": 1, "typical_p": 1.0, "top_k": 0, "top_p": null, "cache_implementation": "static", "steps": 8
        });
        assert_eq!(read(&file).unwrap(), json!({"temperature": 0.7, "steps": 8}));
    }

    #[test]
    fn greedy_decoding_is_a_temperature_of_0() {
        assert_eq!(read(&json!({"do_sample": false})).unwrap(), json!({"temperature": 0.0}));
        assert_eq!(read(&json!({"do_sample": false, "temperature": 1.0})).unwrap(), json!({"temperature": 0.0}));
        let error = read(&json!({"do_sample": false, "temperature": 0.7})).unwrap_err();
        assert_eq!(error, "`do_sample` is false; allowed: true where there is a `temperature`");
        assert_eq!(read(&json!({"do_sample": "no"})).unwrap_err(), "`do_sample` is \"no\"; allowed: true or false");
    }

    #[test]
    fn what_would_change_the_text_is_refused() {
        assert_eq!(read(&json!({"num_beams": 4})).unwrap_err(), "`num_beams` is 4; allowed: 1");
        assert_eq!(read(&json!({"typical_p": 0.5})).unwrap_err(), "`typical_p` is 0.5; allowed: 1");
        // Keys that nobody knows are left to be refused by name.
        assert_eq!(read(&json!({"temprature": 1.0})).unwrap(), json!({"temprature": 1.0}));
    }
}
