"""Write a GGUF file with random weights in the shape of a LLaDA or a Dream, quantised from the start, tensor by tensor.

Run with:  python benches/peers/random_gguf.py llada-8b OUT.gguf --type q4_k_m|q8_0
Needs PyPI's gguf and numpy. The network is a file of benches/networks; Aquatint and llama.cpp open what is written.

The blocks are random bits with scales that give weights the standard deviation of `network.py`, so nothing is ever there
in real numbers. The types of the tensors of q4_k_m are those that llama.cpp's own tool chooses: 6 bits for the head and,
in some of the layers, for the values and the way down, else 4. The tokenizer has the 256 bytes, the special tokens of
the configuration and, since llama.cpp wants some, one merge.
"""

import argparse
import json
import pathlib

import gguf
import numpy

NETWORKS = pathlib.Path(__file__).parent.parent / "networks"
STANDARD_DEVIATION = 0.02
# Blocks that are made at a time.
PIECE = 1 << 16


def half(value):
    return numpy.frombuffer(numpy.float16(value).tobytes(), numpy.uint8)


def q8_0(random, blocks):
    # A scale, then 32 integers.
    made = random.integers(0, 256, (blocks, 34), numpy.uint8)
    made[:, :2] = half(STANDARD_DEVIATION / 73.9)
    return made


def q4_k(random, blocks):
    # A scale and a scale of minima, eight of each in 6 bits, then 256 integers from 0 to 15.
    made = random.integers(0, 256, (blocks, 144), numpy.uint8)
    scale = STANDARD_DEVIATION / (8 * 4.61)
    made[:, 0:2], made[:, 2:4] = half(scale), half(7.5 * scale)
    # All of them 8: whole bytes for the first four, halves of bytes for the others.
    made[:, 4:12], made[:, 12:16] = 8, 0x88
    return made


def q6_k(random, blocks):
    # 256 integers from -32 to 31 in low and high bits, 16 scales, a scale.
    made = random.integers(0, 256, (blocks, 210), numpy.uint8)
    made[:, 192:208], made[:, 208:] = 8, half(STANDARD_DEVIATION / (8 * 18.5))
    return made


TYPES = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, 32, 34, q8_0),
    "q4_k": (gguf.GGMLQuantizationType.Q4_K, 256, 144, q4_k),
    "q6_k": (gguf.GGMLQuantizationType.Q6_K, 256, 210, q6_k),
}


def shape(config):
    """The sizes, whichever of the two families says them."""
    if config["model_type"] == "llada":
        return dict(architecture="llada", width=config["d_model"], layers=config["n_layers"], heads=config["n_heads"],
                    key_value_heads=config["n_kv_heads"], inner=config["mlp_hidden_size"],
                    context=config["max_sequence_length"], rows=config["embedding_size"], bias=False)
    return dict(architecture="dream", width=config["hidden_size"], layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"], key_value_heads=config["num_key_value_heads"],
                inner=config["intermediate_size"], context=config["max_position_embeddings"],
                rows=config["vocab_size"], bias=True)


def tensors(sizes, kind):
    """Name, rows, columns and type of each tensor; vectors have one row and are real numbers."""
    width, inner, layers, head = sizes["width"], sizes["inner"], sizes["layers"], sizes["width"] // sizes["heads"]
    pairs = head * sizes["key_value_heads"]
    common, better = ("q8_0", "q8_0") if kind == "q8_0" else ("q4_k", "q6_k")
    yield "token_embd.weight", sizes["rows"], width, common
    yield "output_norm.weight", 1, width, None
    yield "output.weight", sizes["rows"], width, better
    for layer in range(layers):
        more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
        best = better if more else common
        name = f"blk.{layer}.%s.weight"
        yield name % "attn_norm", 1, width, None
        yield name % "ffn_norm", 1, width, None
        for module, rows, kind_here in (("attn_q", width, common), ("attn_k", pairs, common), ("attn_v", pairs, best)):
            yield name % module, rows, width, kind_here
            if sizes["bias"]:
                yield f"blk.{layer}.{module}.bias", 1, rows, None
        yield name % "attn_output", width, width, common
        yield name % "ffn_gate", inner, width, common
        yield name % "ffn_up", inner, width, common
        yield name % "ffn_down", width, inner, best


def alphabet():
    """The characters that stand for the 256 bytes in byte-level BPE."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def describe(writer, config, sizes):
    writer.add_vocab_size(sizes["rows"])
    writer.add_context_length(sizes["context"])
    writer.add_embedding_length(sizes["width"])
    writer.add_block_count(sizes["layers"])
    writer.add_feed_forward_length(sizes["inner"])
    writer.add_head_count(sizes["heads"])
    writer.add_head_count_kv(sizes["key_value_heads"])
    writer.add_rope_dimension_count(sizes["width"] // sizes["heads"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_causal_attention(False)
    if sizes["architecture"] == "llada":
        writer.add_diffusion_shift_logits(False)
    named = {config[f"{role}_token_id"] for role in ("mask", "eos", "pad", "bos") if f"{role}_token_id" in config}
    words, types = alphabet() + ["th"], [gguf.TokenType.NORMAL] * 257
    for token in range(257, sizes["rows"]):
        words.append(f"<|{token}|>" if token in named else f"[PAD{token}]")
        types.append(gguf.TokenType.CONTROL if token in named else gguf.TokenType.UNUSED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types(types)
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(config.get("bos_token_id", config["eos_token_id"]))
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_mask_token_id(config["mask_token_id"])
    writer.add_add_bos_token(False)


def write(network, out, kind):
    config = json.loads((NETWORKS / f"{network}.json").read_text())
    sizes, random = shape(config), numpy.random.Generator(numpy.random.SFC64(0))
    writer = gguf.GGUFWriter(out, sizes["architecture"])
    describe(writer, config, sizes)
    every = list(tensors(sizes, kind))
    for name, rows, columns, kind_here in every:
        if kind_here is None:
            writer.add_tensor_info(name, [columns], numpy.dtype(numpy.float32), 4 * columns)
            continue
        number, block, size, _ = TYPES[kind_here]
        bytes_of_row = columns // block * size
        writer.add_tensor_info(name, [rows, bytes_of_row], numpy.dtype(numpy.uint8), rows * bytes_of_row, number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    file = writer.fout[0]
    for name, rows, columns, kind_here in every:
        if kind_here is None:
            writer.write_padding(file, file.tell())
            file.write(numpy.full(columns, 1 if "norm" in name else 0, numpy.float32).tobytes())
        else:
            _, block, _, make = TYPES[kind_here]
            writer.write_padding(file, file.tell())
            for start in range(0, blocks := rows * columns // block, PIECE):
                file.write(make(random, min(PIECE, blocks - start)).tobytes())
        writer.write_padding(file, file.tell())
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a file of benches/networks, without its ending")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", choices=("q4_k_m", "q8_0"), default="q4_k_m")
    arguments = parser.parse_args()
    write(arguments.network, arguments.out, arguments.type)


if __name__ == "__main__":
    main()
