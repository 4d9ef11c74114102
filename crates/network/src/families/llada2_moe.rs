//! LLaDA2.0 and 2.1 (2512.15745): the layout of Ling 2.0 in blocks of 32 positions that see themselves and earlier
//! blocks, without a shift. The first layers are dense; in the others a sigmoid scores each expert, experts are chosen
//! from some groups of them, with a bias that does not count for their weights, and every row reads a shared expert.
//!
//! Read against `modeling_llada2_moe.py` of inclusionAI/LLaDA2.0-mini. Its `eager` attention turns the mask around; here a
//! row sees what its `sdpa` attention shows. `generate()` of 2.0 and 2.1, and the algorithms of SGLang 0.5.23, are followed
//! step by step. 2.1 goes on behind a block that has its end token unless `eos_early_stop` says otherwise, for a text that
//! it cuts off there; here it stops. Its `num_to_transfer` is the number of steps here.
//!
//! In 2.2 the rows of a block choose together which experts they may go to. Found in SGLang's pull requests 31743 and 31768
//! with their tests and reviews, and in FluxServe's guide to the checkpoint, which agree: scores are sigmoids with the
//! bias; of each `block_size` rows an expert has the greatest score of any; the `expert_capacity` greatest of these are
//! kept, of equals the first; a row has its `num_experts_per_tok` among them by its own scores with the bias, and weighs
//! them by its scores without, divided by their sum. `n_group` and `topk_group` stand in the same file and are passed over.
//! Blocks are counted from the beginning of the text, the prompt with it, and the last may be short. Deduced: that the
//! makers' own code counts blocks so too (the reviewers compared scores and ties with it, and its `generate()` reads whole
//! blocks from the first position on), and that padding has no part in a block, since it is not read here. Documents that
//! lie in one canvas have blocks of their own. No logits of such a network were recorded: its router was held against the
//! formula. Insertions and deletions were followed on a network that routes each row by itself.

use super::config::{Config, wrong};
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, experts, hugging_face};
use crate::{
    Activation, AttentionSpec, BlockRouting, ExpertsSpec, NetworkError, NetworkSpec, RopeSpec, RouterScore, RouterSpec,
};
use aquatint_diffusion::Layout;
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct Llada2Moe;

/// Keys beside Qwen's. The last nine say nothing about what the network computes.
const OWN: [&str; 28] = [
    "block_length",
    "block_size",
    "expert_capacity",
    "first_k_dense_replace",
    "moe_intermediate_size",
    "moe_router_enable_expert_bias",
    "n_group",
    "norm_head",
    "num_experts",
    "num_experts_per_tok",
    "num_shared_experts",
    "partial_rotary_factor",
    "rotary_dim",
    "routed_scaling_factor",
    "score_function",
    "topk_group",
    "use_bias",
    "use_qk_norm",
    "use_qkv_bias",
    "embedding_dropout",
    "output_dropout",
    "output_router_logits",
    "router_dtype",
    "norm_topk_prob",
    "use_rmsnorm",
    "num_nextn_predict_layers",
    "delete_token_id",
    "split_token_id",
];

/// Keys that choose among parts of Ling, with the one choice that is LLaDA2's.
fn fixed() -> [(&'static str, Value); 7] {
    [
        ("norm_head", json!(false)),
        ("score_function", json!("sigmoid")),
        ("use_bias", json!(false)),
        ("use_qkv_bias", json!(false)),
        ("use_rmsnorm", json!(true)),
        ("norm_topk_prob", json!(true)),
        ("num_nextn_predict_layers", json!(0)),
    ]
}

/// Positions of a block where nothing is said.
const BLOCK: usize = 32;

/// As `generate()` is run: what is more probable than 0.95 at once, and no fewer than an even share at each step. A text
/// ends with the block that has its end token.
fn sampling() -> [(&'static str, Value); 6] {
    [
        ("block_length", json!(32)),
        ("steps", json!(32)),
        ("max_new_tokens", json!(2048)),
        ("counting", json!("even")),
        ("stop_at", json!("block")),
        ("temperature", json!(0.0)),
    ]
}

/// What LLaDA2.1 and 2.2 call the settings of editing. Without them nothing is edited: LLaDA2.0 has not learned to.
const EDITING: [(&str, &str); 4] = [
    ("editing_threshold", "edit_threshold"),
    ("max_post_steps", "edit_steps"),
    ("delete_token_id", "delete_token"),
    ("split_token_id", "insert_token"),
];

/// The threshold where nothing is said.
const THRESHOLD: f64 = 0.95;

/// The two thresholds of a network that inserts and deletes, where nothing is said: those of SGLang's
/// `JointThresholdInDel`.
const INSERTING: (f64, f64) = (0.5, 0.0);

/// The columns of a head that turn, where not all do.
fn rotated(config: Config<'_>, head_size: usize) -> Result<Option<usize>, NetworkError> {
    let columns = match config.optional("partial_rotary_factor", Config::number)? {
        Some(factor) if factor > 0.0 && factor <= 1.0 => (factor * head_size as f64) as usize,
        Some(_) => {
            let given = config.value("partial_rotary_factor");
            return Err(wrong("partial_rotary_factor", given, "above 0, at most 1"));
        }
        None => config.optional("rotary_dim", Config::size)?.unwrap_or(head_size),
    };
    Ok(Some(columns).filter(|&columns| columns != head_size))
}

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("<|mask|>"),
    names: &[
        ("model.embed_tokens", "model.word_embeddings"),
        ("model.layers.*.self_attn.qkv_proj", "model.layers.*.attention.query_key_value"),
        ("model.layers.*.self_attn.q_norm", "model.layers.*.attention.query_layernorm"),
        ("model.layers.*.self_attn.k_norm", "model.layers.*.attention.key_layernorm"),
        ("model.layers.*.self_attn.o_proj", "model.layers.*.attention.dense"),
    ],
    sampling_keys: &[("delete_token_id", "delete_token_id"), ("split_token_id", "split_token_id")],
    chat_template: Some(experts::LING),
    ..FamilyFacts::new("llada2_moe")
};

impl Family for Llada2Moe {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let length = config.optional("block_length", Config::size)?.unwrap_or(BLOCK);
        let spec = Qwen::network(config, &OWN, || {
            fixed().iter().try_for_each(|(key, value)| config.insist(key, value))?;
            let attention = Qwen::Three.attention(config)?;
            let normed = config.optional("use_qk_norm", Config::flag)?.unwrap_or(true);
            let attention = AttentionSpec {
                rope: RopeSpec { rotated: rotated(config, attention.head_size)?, ..attention.rope },
                qk_norm: attention.qk_norm.filter(|_| normed),
                fused: true,
                ..attention
            };
            let (per_token, width) = (config.size("num_experts_per_tok")?, config.size("moe_intermediate_size")?);
            let shared = config.optional("num_shared_experts", experts::count)?.unwrap_or(0);
            let block = match config.optional("expert_capacity", experts::count)? {
                None | Some(0) => None,
                Some(experts) => {
                    let length = config.optional("block_size", Config::size)?.unwrap_or(length);
                    Some(BlockRouting { length, experts })
                }
            };
            // Groups stand in the same file as what a block chooses, and are passed over then.
            let groups = |key| match block {
                Some(_) => Ok(1),
                None => config.optional(key, Config::size).map(|groups| groups.unwrap_or(1)),
            };
            let router = RouterSpec {
                score: RouterScore::Sigmoid,
                groups: groups("n_group")?,
                groups_per_token: groups("topk_group")?,
                block,
                bias: config.optional("moe_router_enable_expert_bias", Config::flag)?.unwrap_or(true),
                normalised: per_token > 1,
                scale: config.optional("routed_scaling_factor", Config::number)?.unwrap_or(1.0),
                expert_scale: false,
            };
            let mixture = ExpertsSpec {
                experts: config.size("num_experts")?,
                per_token,
                width,
                activation: Activation::Swiglu,
                router,
                shared_width: Some(shared * width).filter(|&width| width > 0),
            };
            let dense = config.optional("first_k_dense_replace", experts::count)?.unwrap_or(0);
            experts::layers(config, attention, (mixture, "intermediate_size"), |index| index >= dense)
        })?;
        Ok(NetworkSpec { attention: Layout::Block { length }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&OWN))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({"model_type": FACTS.model_type, "architectures": ["LLaDA2MoeModelLM"]});
        let mut config = Qwen::write(spec, roles, own);
        config.extend(fixed().map(|(key, value)| (key.to_owned(), value)));
        let (mixture, attention) = (experts::first(&spec.layers), spec.layers.first().map(|layer| layer.attention));
        let factor = |attention: AttentionSpec| {
            attention.rope.rotated.map_or(1.0, |columns| columns as f64 / attention.head_size as f64)
        };
        let dense = spec.layers.iter().take_while(|layer| layer.feed_forward.experts().is_none()).count();
        let keys = json!({
            "block_length": spec.attention.block_length(),
            "first_k_dense_replace": dense,
            "moe_intermediate_size": mixture.map(|mixture| mixture.width),
            "moe_router_enable_expert_bias": mixture.map(|mixture| mixture.router.bias),
            "n_group": mixture.map(|mixture| mixture.router.groups),
            "num_experts": mixture.map(|mixture| mixture.experts),
            "num_experts_per_tok": mixture.map(|mixture| mixture.per_token),
            "num_shared_experts": mixture.map(|mixture| mixture.shared_width.unwrap_or(0) / mixture.width),
            "partial_rotary_factor": attention.map(factor),
            "routed_scaling_factor": mixture.map(|mixture| mixture.router.scale),
            "topk_group": mixture.map(|mixture| mixture.router.groups_per_token),
            "use_qk_norm": attention.map(|attention| attention.qk_norm.is_some()),
        });
        experts::extend(&mut config, keys);
        if let Some(BlockRouting { length, experts }) = mixture.and_then(|mixture| mixture.router.block) {
            experts::extend(&mut config, json!({ "block_size": length, "expert_capacity": experts }));
        }
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        for (theirs, ours) in EDITING {
            if let Some(given) = file.shift_remove(theirs) {
                file.entry(ours).or_insert(given);
            }
        }
        let inserting = file.contains_key("insert_token").then_some(INSERTING);
        if let Some((_, edit_threshold)) = inserting {
            file.entry("edit_threshold").or_insert(json!(edit_threshold));
        }
        let threshold = match file.shift_remove("threshold") {
            None => inserting.map_or(THRESHOLD, |(threshold, _)| threshold),
            Some(given) => given.as_f64().ok_or_else(|| wrong("threshold", &given, "a probability"))?,
        };
        file.entry("policy").or_insert_with(|| format!("dynamic:{threshold}").into());
        for (key, usual) in sampling() {
            file.entry(key).or_insert(usual);
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
