"""Matrices that compressed-tensors quantised and packed, and what it reads out of them again."""

import json
from pathlib import Path

import compressed_tensors
import torch
from compressed_tensors.compressors import pack_to_int32, unpack_from_int32
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
# Rows, columns and inputs that share a scale; 12 columns do not fill whole words.
CASES = {
    "eight": (8, 6, 24, None),
    "eight_grouped": (8, 4, 32, 16),
    "four": (4, 6, 12, None),
    "four_grouped": (4, 5, 64, 32),
}


def main():
    generator = torch.Generator().manual_seed(1)
    tensors, expected, configs = {}, {}, {}
    for name, (bits, outputs, inputs, group) in CASES.items():
        strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
        args = QuantizationArgs(num_bits=bits, type="int", symmetric=True, **strategy)
        weight = torch.randn(outputs, inputs, generator=generator)
        parts = weight.reshape(outputs, -1, group or inputs)
        scale, zero = calculate_qparams(parts.amin(dim=-1), parts.amax(dim=-1), args)
        # Scales are kept in the type of the model, as they are in its checkpoints.
        scale = scale.to(torch.bfloat16).to(torch.float32)
        integers = quantize(weight, scale, zero, args, dtype=torch.int8)
        if bits == 4:
            packed = pack_to_int32(integers, bits)
            tensors[f"{name}.weight_packed"] = packed
            tensors[f"{name}.weight_shape"] = torch.tensor(weight.shape)
            integers = unpack_from_int32(packed, bits, weight.shape)
        else:
            tensors[f"{name}.weight"] = integers
        tensors[f"{name}.weight_scale"] = scale.to(torch.bfloat16)
        expected[f"{name}.values"] = integers.to(torch.int64)
        expected[f"{name}.weight"] = dequantize(integers, scale, args=args)
        form = "pack-quantized" if bits == 4 else "int-quantized"
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        described = QuantizationConfig(
            config_groups={"group_0": scheme}, format=form, quantization_status="compressed", ignore=["lm_head"]
        )
        configs[name] = json.loads(json.dumps(described.to_dict(), default=str))
    save_file(tensors, HERE / "model.safetensors", metadata={"format": "pt"})
    versions = {"torch": torch.__version__, "compressed-tensors": compressed_tensors.__version__}
    about = {"versions": versions, "quantization_config": configs}
    save_file(expected, HERE / "fixture.safetensors", metadata={"about": json.dumps(about)})


main()
