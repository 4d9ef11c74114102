//! The kernels: their source, and the arguments of each.

use super::arguments::{In, Out, kernels};
use half::bf16;

/// What is compiled for a GPU.
pub(super) fn source() -> String {
    [include_str!("kernels/prelude.cuh"), BODY.concat().as_str()].concat()
}

/// Kernels that only tests have: single instructions.
#[cfg(test)]
pub(super) const INSTRUCTIONS: &str = include_str!("kernels/instructions.cu");
#[cfg(test)]
const INSTRUCTION_NAMES: [&str; 7] = [
    "try_load_matrices",
    "try_shared_banks",
    "try_multiply",
    "try_numbers",
    "try_copies",
    "try_beyond",
    "try_unwritten",
];

/// What is compiled for a processor, which tests do: every kernel behind one function that is called with its name,
/// another that returns the types that it takes, and what the last launch was found to do.
#[cfg(any(test, feature = "emulator"))]
pub(super) fn emulated_source() -> String {
    let mut text = [include_str!("kernels/emulated.h"), BODY.concat().as_str()].concat();
    let names = names();
    #[cfg(test)]
    let names = {
        text.push_str(INSTRUCTIONS);
        names.chain(INSTRUCTION_NAMES)
    };
    let names: Vec<&str> = names.collect();
    text.push_str(
        "extern \"C\" int launch(const char* name, u32 x, u32 y, u32 threads, u32 shared, void** arguments) {\n",
    );
    for name in &names {
        text.push_str(&format!(
            "    if (!strcmp(name, \"{name}\")) {{ launch_blocks([](void** from) {{ emulation::unpack({name}, from); }}, \
             x, y, threads, shared, arguments); return 0; }}\n"
        ));
    }
    text.push_str("    return 1;\n}\nextern \"C\" const char* signature(const char* name) {\n");
    for name in &names {
        text.push_str(&format!("    if (!strcmp(name, \"{name}\")) return emulation::signature({name});\n"));
    }
    text.push_str("    return nullptr;\n}\n");
    text.push_str("extern \"C\" const char* trouble() { return emulation::trouble.c_str(); }\n");
    for count in ["copied", "accesses", "conflicts"] {
        text.push_str(&format!("extern \"C\" u64 {count}() {{ return emulation::{count}; }}\n"));
    }
    text
}

const BODY: [&str; 9] = [
    include_str!("kernels/common.cuh"),
    include_str!("kernels/elementwise.cu"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/losses.cu"),
    include_str!("kernels/logits.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/tiles.cu"),
    include_str!("kernels/integers.cu"),
    include_str!("kernels/experts.cu"),
];

/// Every kernel, so that all are there or none.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().flat_map(|(names, _)| names.iter().copied())
}

kernels! {
    /// See `elementwise.cu`; so for all up to [`AdamWAll`].
    RoundToBf16 = round_to_bf16 { count: i64, x: In<f32>, out: Out<bf16> }
    WidenBf16 = widen_bf16 { count: i64, x: In<bf16>, out: Out<f32> }
    CopyBf16 = copy_bf16 { count: i64, x: In<bf16>, out: Out<bf16> }
    Glu = glu { count: i64, geglu: i32, width: i32, gate_up: In<f32>, out: Out<f32>, image: Out<bf16> }
    GluHalves = glu_halves {
        count: i64, geglu: i32, gate: In<f32>, up: In<f32>, out: Out<f32>, image: Out<bf16>,
    }
    GluBackward = glu_backward {
        count: i64, geglu: i32, width: i32, gate_up: In<f32>, d_out: In<f32>, d_gate_up: Out<f32>, image: Out<bf16>,
    }
    Silu = silu { count: i64, x: In<f32>, out: Out<f32> }
    SiluBackward = silu_backward { count: i64, x: In<f32>, d_out: In<f32>, d_x: Out<f32> }
    Gelu = gelu { count: i64, x: In<f32>, out: Out<f32>, image: Out<bf16> }
    GeluBackward = gelu_backward {
        count: i64, x: In<f32>, d_out: In<f32>, d_x: Out<f32>, image: Out<bf16>,
    }
    RoundToLevels = round_to_levels { count: i64, columns: i32, levels: In<u32>, x: In<f32>, out: Out<f32> }
    RoundToLevelsBackward = round_to_levels_backward { count: i64, x: In<f32>, d_out: In<f32>, d_x: Out<f32> }
    Modulate = modulate {
        count: i64, columns: i32, groups: In<u32>, stride: i32, shift: i32, scale: i32, x: In<f32>, x_image: In<bf16>,
        modulation: In<f32>, out: Out<f32>, image: Out<bf16>,
    }
    ModulateBackward = modulate_backward {
        count: i64, columns: i32, groups: In<u32>, stride: i32, scale: i32, modulation: In<f32>, d_out: In<f32>,
        d_x: Out<f32>,
    }
    ModulationBackward = modulation_backward {
        columns: i32, rows: In<u32>, ends: In<u32>, groups: In<u32>, stride: i32, shift: i32, scale: i32, x: In<f32>,
        d_out: In<f32>, d_modulation: Out<f32>,
    }
    SoftCap = soft_cap { count: i64, cap: f32, logits: Out<f32> }
    SoftCapBackward = soft_cap_backward {
        count: i64, columns: i32, cap: f32, uncapped: In<f32>, bias: In<f32>, gradient: Out<f32>, image: Out<bf16>,
    }
    ScaleRows = scale_rows {
        count: i64, columns: i32, groups: In<u32>, factors: In<f32>, x: In<f32>, out: Out<f32>,
    }
    RowFactorsBackward = row_factors_backward {
        columns: i32, rows: In<u32>, ends: In<u32>, groups: In<u32>, x: In<f32>, d_out: In<f32>, d_factors: Out<f32>,
    }
    GatedAdd = gated_add {
        count: i64, columns: i32, groups: In<u32>, stride: i32, gate: i32, x: In<f32>, modulation: In<f32>,
        residual: Out<f32>,
    }
    GatedAddBackward = gated_add_backward {
        count: i64, columns: i32, groups: In<u32>, stride: i32, gate: i32, modulation: In<f32>, d_out: In<f32>,
        d_x: Out<f32>, image: Out<bf16>,
    }
    ScaleAdd = scale_add {
        count: i64, a: f32, x: In<f32>, x_image: In<bf16>, b: f32, y: Out<f32>, image: Out<bf16>,
    }
    DropoutOf = dropout {
        count: i64, factor: f32, threshold: u32, seed_low: u32, seed_high: u32, x: In<f32>, out: Out<f32>,
    }
    AddColumnsOf = add_columns {
        count: i64, columns: i32, a: f32, x: In<f32>, x_stride: i32, accumulate: i32, y_stride: i32, y: Out<f32>,
    }
    AddBias = add_bias { count: i64, columns: i32, bias: In<f32>, out: Out<f32> }
    ScaleAddAll = scale_add_all { segments: i32, table: In<i64> }
    AdamWAll = adamw { segments: i32, table: In<i64>, gradient_scale: f32 }

    /// See `rows.cu`; so for all up to [`DivideByNorm`].
    Gather = gather {
        count: i64, columns: i32, table: In<f32>, table_image: In<bf16>, ids: In<u32>, out: Out<f32>, image: Out<bf16>,
    }
    WriteRowsOf = write_rows {
        count: i64, columns: i32, rows: In<f32>, rows_image: In<bf16>, stride: i32, sources: In<u32>, ids: In<u32>,
        table: Out<f32>,
    }
    ScaledPointsOf = scaled_points {
        count: i64, size: i32, vectors: In<f32>, tokens: In<u32>, weights: In<f32>, offsets: In<f32>, scales: In<f32>,
        out: Out<f32>,
    }
    ScatterAdd = scatter_add {
        columns: i32, split: i32, rows: In<u32>, ends: In<u32>, ids: In<u32>, d_out: In<f32>, partial: Out<f32>,
        d_table: Out<f32>,
    }
    SumRows = sum_rows { rows: i32, columns: i32, x: In<f32>, x_image: In<bf16>, partial: Out<f32> }
    AddPartial = add_partial { parts: i32, columns: i32, stride: i32, partial: In<f32>, out: Out<f32> }
    RmsNormRows = rms_norm {
        columns: i32, epsilon: f32, x: In<f32>, weight: In<f32>, out: Out<f32>, image: Out<bf16>, inverse_rms: Out<f32>,
    }
    RmsNormRowsBackward = rms_norm_backward {
        columns: i32, x: In<f32>, weight: In<f32>, inverse_rms: In<f32>, d_out: In<f32>, accumulate: i32,
        d_x: Out<f32>, image: Out<bf16>,
    }
    RmsNormWeightBackward = rms_norm_backward_weight {
        rows: i32, columns: i32, x: In<f32>, inverse_rms: In<f32>, d_out: In<f32>, partial: Out<f32>,
    }
    LayerNormRows = layer_norm {
        columns: i32, epsilon: f32, x: In<f32>, weight: In<f32>, out: Out<f32>, moments: Out<f32>,
    }
    LayerNormRowsBackward = layer_norm_backward {
        columns: i32, x: In<f32>, weight: In<f32>, moments: In<f32>, d_out: In<f32>, accumulate: i32, d_x: Out<f32>,
    }
    LayerNormWeightBackward = layer_norm_backward_weight {
        rows: i32, columns: i32, x: In<f32>, moments: In<f32>, d_out: In<f32>, partial: Out<f32>,
    }
    RopeRows = rope {
        rows: i32, heads: i32, key_value_heads: i32, size: i32, turned: i32, axes: i32, epsilon: f32, value_norm: i32,
        positions: In<u32>, table: In<f32>, query_factors: In<f32>, packed: In<f32>, query_norm: In<f32>,
        key_norm: In<f32>, out: Out<f32>, image: Out<bf16>,
    }
    RopeRowsBackward = rope_backward {
        rows: i32, heads: i32, key_value_heads: i32, size: i32, turned: i32, axes: i32, epsilon: f32, value_norm: i32,
        positions: In<u32>, table: In<f32>, query_factors: In<f32>, packed: In<f32>, query_norm: In<f32>,
        key_norm: In<f32>, d_out: In<f32>, d_out_image: In<bf16>, d_packed: Out<f32>, image: Out<bf16>,
        partial: Out<f32>,
    }
    SumOfSquares = sum_of_squares { count: i64, x: In<f32>, partial: Out<f64> }
    SumsOfSquares = sums_of_squares { segments: i32, table: In<i64>, partial: Out<f64> }
    DivideByNorm = divide_by_norm { count: i64, epsilon: f32, partial: In<f64>, x: Out<f32>, image: Out<bf16> }

    /// See `losses.cu`; so for all up to [`CostRows`].
    Softmax = softmax { columns: i32, x: Out<f32> }
    ForbidToken = forbid_token { rows: i64, columns: i32, token: u32, logits: Out<f32> }
    CrossEntropy = cross_entropy {
        columns: i32, targets: In<u32>, forbidden: u32, weights: In<f32>, logits: Out<f32>, image: Out<bf16>,
        losses: Out<f32>,
    }
    DistanceError = distance_error {
        size: i32, targets: In<u32>, vectors: In<f32>, expected: Out<f32>, costs: Out<f64>,
    }
    CostRows = cost_rows {
        columns: i32, kinds: In<u32>, numbers: In<f64>, dots: In<f32>, learns: i32, probabilities: Out<f32>,
        image: Out<bf16>, costs: Out<f64>, nll: Out<f64>,
    }

    /// See `logits.cu`; so for all up to [`TemperRows`].
    AdjustRows = adjust_rows {
        columns: i32, bonus_tokens: In<u32>, bonuses: In<f32>, forbidden: In<u32>, lists: In<u32>, logits: Out<f32>,
        tokens: Out<u32>,
    }
    SummariseRows = summarise_rows {
        columns: i32, logits: In<f32>, count: i32, numbers: Out<f64>, tokens: Out<u32>, best: Out<u32>,
        probabilities: Out<f64>,
    }
    DrawRows = draw_rows {
        columns: i32, logits: In<f32>, repeated: In<u32>, biased: In<u32>, lists: In<u32>, top_k: In<u32>,
        numbers: In<f64>, summaries: In<f64>, tokens: In<u32>, result: Out<u32>, probabilities: Out<f64>,
    }
    TemperRows = temper_rows { columns: i32, numbers: In<f64>, drawn: In<u32>, logits: Out<f32> }

    /// See `attention.cu`; so for all up to [`AttentionKeysBackward`].
    AttentionOf = attention {
        count: i32, heads: i32, key_value_heads: i32, size: i32, scale: f32, queries: In<f32>, query_stride: i32,
        keys_values: In<f32>, stride: i32, intervals: In<u32>, rows: In<u32>, out: Out<f32>, log_sum_exp: Out<f32>,
    }
    AttentionDelta = attention_delta { count: i64, size: i32, out: In<f32>, d_out: In<f32>, delta: Out<f32> }
    AttentionQueriesBackward = attention_backward_queries {
        rows: i32, heads: i32, key_value_heads: i32, size: i32, scale: f32, packed: In<f32>, intervals: In<u32>,
        log_sum_exp: In<f32>, delta: In<f32>, d_out: In<f32>, d_packed: Out<f32>,
    }
    AttentionKeysBackward = attention_backward_keys {
        rows: i32, heads: i32, key_value_heads: i32, size: i32, scale: f32, packed: In<f32>, intervals: In<u32>,
        readers: In<u32>, log_sum_exp: In<f32>, delta: In<f32>, d_out: In<f32>, d_packed: Out<f32>,
    }

    /// See `tiles.cu`; so for all up to [`AttentionKeysTiles`].
    RoundHeads = round_heads { count: i32, heads: i32, size: i32, x: In<f32>, stride: i32, out: Out<bf16> }
    AttentionTiles = attention_tiles_64 | attention_tiles_128 | attention_tiles_256 {
        rows: i32, count: i32, heads: i32, key_value_heads: i32, size: i32, scale: f32, queries: In<bf16>,
        query_stride: i32, keys_values: In<bf16>, stride: i32, intervals: In<u32>, requested: In<u32>, out: Out<bf16>,
        log_sum_exp: Out<f32>,
    }
    AttentionGradients = attention_gradients {
        rows: i32, heads: i32, size: i32, out: In<bf16>, d_out: In<f32>, image: In<bf16>, log_sum_exp: In<f32>,
        rounded: Out<bf16>, sums: Out<f32>,
    }
    AttentionQueriesTiles =
        attention_backward_queries_tiles_64 | attention_backward_queries_tiles_128 | attention_backward_queries_tiles_256
    {
        rows: i32, heads: i32, key_value_heads: i32, size: i32, scale: f32, packed: In<bf16>, intervals: In<u32>,
        sums: In<f32>, d_out: In<bf16>, d_packed: Out<bf16>,
    }
    AttentionKeysTiles =
        attention_backward_keys_tiles_64 | attention_backward_keys_tiles_128 | attention_backward_keys_tiles_256
    {
        rows: i32, heads: i32, key_value_heads: i32, size: i32, scale: f32, packed: In<bf16>, intervals: In<u32>,
        summaries: In<u32>, readers: In<u32>, sums: In<f32>, d_out: In<bf16>, d_packed: Out<bf16>,
    }

    /// See `experts.cu`; so for all up to [`CombineBackward`].
    RouteRows = route {
        experts: i32, per_token: i32, sigmoids: i32, groups: i32, groups_per_token: i32, per_block: i32, normalised: i32,
        scale: f32, logits: In<f32>, bias: In<f32>, blocks: In<u32>, chosen: Out<u32>, weights: Out<f32>,
    }
    RouteBackwardRows = route_backward {
        experts: i32, per_token: i32, sigmoids: i32, normalised: i32, scale: f32, logits: In<f32>, chosen: In<u32>,
        d_weights: In<f32>, d_logits: Out<f32>,
    }
    CombineRows = combine {
        count: i64, columns: i32, per_token: i32, places: In<u32>, weights: In<f32>, sorted: In<f32>, out: Out<f32>,
    }
    CombineBackward = combine_backward {
        columns: i32, per_token: i32, places: In<u32>, weights: In<f32>, sorted: In<f32>, d_out: In<f32>,
        d_weights: Out<f32>, d_sorted: Out<f32>, image: Out<bf16>,
    }

    /// See `integers.cu`; so for those that follow.
    QuantiseRows = quantise_rows {
        columns: i32, stride: i32, x: In<f32>, image: In<bf16>, out: Out<i8>, scales: Out<f32>,
    }
    MultiplyIntegers = multiply_integers {
        rows: i32, outputs: i32, stride: i32, group: i32, four_bits: i32, x: In<i8>, x_scales: In<f32>, w: In<u8>,
        w_scales: In<f32>, bias: In<f32>, accumulate: i32, out: Out<f32>,
    }
    Dequantise = dequantise {
        count: i64, columns: i32, stride: i32, group: i32, four_bits: i32, w: In<u8>, scales: In<f32>, out: Out<f32>,
    }
}
