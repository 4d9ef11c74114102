"""Block diffusion's training pass over [noisy ; clean], in blocks of three."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference import network_case

network_case(__file__, {"attention": "block:3", "qk_norm": True}, seed=5, two_streams=(8, 3))
