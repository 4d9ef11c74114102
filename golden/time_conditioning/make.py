"""adaLN: each sequence has its time."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from reference import network_case

network_case(
    __file__,
    {"time_features": 6, "qk_norm": True},
    seed=3,
    inputs=lambda generator, rows, vocabulary: {"times": torch.tensor([0.25, 0.5, 0.875])},
)
