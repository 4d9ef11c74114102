"""QK-norm, four query heads over two keys and values, a tied head; canvases of several documents, with padding."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference import PADDING, network_case

network_case(
    __file__,
    {"num_attention_heads": 4, "head_dim": 6, "qk_norm": True, "tie_word_embeddings": True},
    seed=2,
    lengths=(6, 5),
    documents=[[0, 0, 0, 1, 1, PADDING], [2, 3, 3, 3, PADDING]],
)
