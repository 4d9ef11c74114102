//! The kernels' source, and their names.

/// What is compiled for a GPU.
pub(super) fn source() -> String {
    [include_str!("kernels/prelude.cuh"), BODY.concat().as_str()].concat()
}

/// What is compiled for a processor, which tests do: every kernel behind one function that is called with its name.
#[cfg(any(test, feature = "emulator"))]
pub(super) fn emulated_source() -> String {
    let mut text = [include_str!("kernels/emulated.h"), BODY.concat().as_str()].concat();
    text.push_str("extern \"C\" int launch(const char* name, u32 x, u32 y, u32 threads, void** arguments) {\n");
    for name in NAMES {
        text.push_str(&format!(
            "    if (!strcmp(name, \"{name}\")) {{ launch_blocks([](void** from) {{ emulation::unpack({name}, from); }}, \
             x, y, threads, arguments); return 0; }}\n"
        ));
    }
    text.push_str("    return 1;\n}\n");
    text
}

const BODY: [&str; 6] = [
    include_str!("kernels/common.cuh"),
    include_str!("kernels/elementwise.cu"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/tiles.cu"),
    include_str!("kernels/integers.cu"),
];

/// Every kernel, so that all are there or none.
pub(super) const NAMES: [&str; 40] = [
    "adamw",
    "add_bias",
    "add_partial",
    "attention",
    "attention_backward_keys",
    "attention_backward_keys_tiles_128",
    "attention_backward_keys_tiles_64",
    "attention_backward_queries",
    "attention_backward_queries_tiles_128",
    "attention_backward_queries_tiles_64",
    "attention_delta",
    "attention_tiles_128",
    "attention_tiles_64",
    "cross_entropy",
    "gated_add",
    "gated_add_backward",
    "gather",
    "modulate",
    "modulate_backward",
    "modulation_backward",
    "multiply_integers",
    "quantise_rows",
    "rms_norm",
    "rms_norm_backward",
    "rms_norm_backward_weight",
    "rope",
    "rope_backward",
    "rope_backward_weight",
    "round_to_bf16",
    "scale_add",
    "scatter_add",
    "silu",
    "silu_backward",
    "softmax",
    "sum_of_squares",
    "sum_rows",
    "swiglu",
    "swiglu_backward",
    "swiglu_halves",
    "write_rows",
];
