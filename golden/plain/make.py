"""Full attention, an untied head, a ragged batch."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference import network_case

network_case(__file__, {}, seed=1)
