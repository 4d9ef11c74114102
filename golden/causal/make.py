"""Causal attention, no mask token: every row is asked."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference import network_case

network_case(__file__, {"attention": "causal", "mask_token_id": None}, seed=6)
