"""Write a random network in LLaDA's shape for llama.cpp: a Hugging Face folder, converted by llama.cpp's own converter.

Run with:  python benches/peers/llada_to_gguf.py LLAMA_CPP_SOURCE OUT.gguf --type f32|q8_0 --network llada-31m
Needs PyPI's torch, numpy, safetensors, tokenizers, sentencepiece and transformers==4.57.6, and llama.cpp's source, which
`llama_cpp.sh` brings. The network has to be one that LLaDA could be: no QK-norm, a head of its own.

The tokenizer has the 256 bytes, three special tokens and, since llama.cpp wants some, one merge; the other ids stand
for nothing. The converter knows tokenizers by a checksum, so it is told the name of the pre-tokenizer here.
"""

import argparse
import json
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from network import NETWORKS, STANDARD_DEVIATION


def tokenizer(config):
    mask = config["mask_token_id"]
    special = {"<|startoftext|>": mask - 2, "<|endoftext|>": mask - 1, "<|mdm_mask|>": mask}
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([*symbols, "th"])}
    result = Tokenizer(models.BPE(vocab=vocabulary | special, merges=[("t", "h")]))
    result.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.decoder = decoders.ByteLevel()
    result.add_special_tokens(list(special))
    return result, dict(zip(("bos_token", "eos_token", "mask_token"), special))


def llada_config(config, special):
    width, heads, mask = config["hidden_size"], config["num_attention_heads"], config["mask_token_id"]
    return dict(
        architectures=["LLaDAModelLM"], model_type="llada", block_type="llama", activation_type="silu", d_model=width,
        hidden_size=width, n_layers=config["num_hidden_layers"], num_hidden_layers=config["num_hidden_layers"],
        n_heads=heads, num_attention_heads=heads, n_kv_heads=heads, num_key_value_heads=heads,
        mlp_hidden_size=config["intermediate_size"], intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"], embedding_size=config["vocab_size"], weight_tying=False,
        max_sequence_length=config["max_position_embeddings"], rms_norm_eps=config["rms_norm_eps"],
        rope_theta=config["rope_theta"], mask_token_id=mask, bos_token_id=mask - 2, eos_token_id=mask - 1,
        pad_token_id=mask - 1, **special)


def weights(config):
    width, feed_forward = config["hidden_size"], config["intermediate_size"]
    vocabulary, one = config["vocab_size"], torch.ones(width)

    def normal(rows, columns):
        return STANDARD_DEVIATION * torch.randn(rows, columns)

    tensors = {"model.transformer.wte.weight": normal(vocabulary, width), "model.transformer.ln_f.weight": one,
               "model.transformer.ff_out.weight": normal(vocabulary, width)}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.transformer.blocks.{layer}.%s.weight"
        tensors |= {name % norm: one.clone() for norm in ("attn_norm", "ff_norm")}
        tensors |= {name % matrix: normal(width, width) for matrix in ("q_proj", "k_proj", "v_proj", "attn_out")}
        # LLaDA calls the gate `ff_proj` and the way down `ff_out`.
        tensors |= {name % matrix: normal(feed_forward, width) for matrix in ("ff_proj", "up_proj")}
        tensors[name % "ff_out"] = normal(width, feed_forward)
    return tensors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--type", choices=("f32", "q8_0"), default="f32")
    parser.add_argument("--network", default="llada-31m")
    arguments = parser.parse_args()
    config = json.loads((NETWORKS / f"{arguments.network}.json").read_text())
    if config["qk_norm"] or config["tie_word_embeddings"]:
        parser.error(f"{arguments.network} has QK-norm or a tied head, and LLaDA has neither")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        words, special = tokenizer(config)
        words.save(str(folder / "tokenizer.json"))
        description = special | {"tokenizer_class": "PreTrainedTokenizerFast"}
        (folder / "tokenizer_config.json").write_text(json.dumps(description))
        (folder / "config.json").write_text(json.dumps(llada_config(config, special)))
        save_file(weights(config), folder / "model.safetensors", metadata={"format": "pt"})
        convert(arguments, folder)


def convert(arguments, folder):
    sys.path.insert(0, str(arguments.source))
    import convert_hf_to_gguf
    from conversion.base import TextModel
    TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    sys.argv = ["convert_hf_to_gguf.py", str(folder), "--outfile", str(arguments.out), "--outtype", arguments.type]
    convert_hf_to_gguf.main()


if __name__ == "__main__":
    main()
