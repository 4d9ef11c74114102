"""An adapter of PEFT beside the weights of golden/a2d_qwen3: its folder, logits, and the gradients of its tensors.

Run with:  python golden/peft/make.py
Needs PyPI's torch 2.15.0, transformers 5.24.0, peft 0.21.2, numpy and safetensors; all in f64, on one thread.

The base is Transformers' Qwen3 with every position visible to every other. Both halves of each addition are random, so
that no gradient is zero. The folder holds what `save_pretrained` writes, and golden.safetensors the tokens, the targets
and the weights of a sum of cross-entropies, the logits, and the gradient of that sum by each tensor of the adapter.
"""

import json
import pathlib

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).resolve().parent
BASE = HERE.parent / "a2d_qwen3"


def base():
    given = json.loads((BASE / "config.json").read_text())
    given = {key: value for key, value in given.items() if key not in ("architectures", "model_type", "torch_dtype")}
    config = transformers.Qwen3Config(**given, attn_implementation="eager")
    model = transformers.Qwen3ForCausalLM(config).double()
    weights = {name: value.double() for name, value in load_file(BASE / "model.safetensors").items()}
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys and missing.missing_keys in ([], ["lm_head.weight"]), missing
    model.tie_weights()
    return model.eval()


def main():
    torch.manual_seed(20)
    torch.set_num_threads(1)
    config = peft.LoraConfig(r=4, lora_alpha=10, target_modules=["q_proj", "v_proj", "down_proj"], lora_dropout=0.0,
                             alpha_pattern={"layers.1.mlp.down_proj": 3}, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base(), config)
    for name, value in model.named_parameters():
        if "lora_" in name:
            # As f32 has them, since the folder does.
            value.data = (0.2 * torch.randn(value.shape)).double()
    length = 14
    tokens = torch.randint(0, 320, (1, length))
    targets, weights = torch.randint(0, 320, (length,)), torch.rand(length).double()
    everything = torch.zeros((1, 1, length, length)).double()
    logits = model(input_ids=tokens, attention_mask=everything).logits[0]
    costs = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (costs * weights).sum().backward()
    found = dict(tokens=tokens[0], targets=targets, weights=weights, logits=logits.detach(), costs=costs.detach())
    for name, value in model.named_parameters():
        if "lora_" in name:
            place = name.removeprefix("base_model.model.").replace(".default.", ".")
            found[f"gradient.{place}"] = value.grad.clone()
    model.float().save_pretrained(HERE, safe_serialization=True)
    # Where it lay when it was made says nothing to others.
    path = HERE / "adapter_config.json"
    written = json.loads(path.read_text())
    written["base_model_name_or_path"] = "golden/a2d_qwen3"
    written["target_modules"] = sorted(written["target_modules"])
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
    (HERE / "README.md").unlink(missing_ok=True)
    about = dict(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)
    tensors = {name: value.contiguous() for name, value in found.items()}
    save_file(tensors, HERE / "golden.safetensors", metadata=dict(about=json.dumps(about)))
    for name, value in found.items():
        print(name, tuple(value.shape), value.dtype)


if __name__ == "__main__":
    main()
