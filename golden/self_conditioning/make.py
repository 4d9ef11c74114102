"""Self-conditioning, with rows of probabilities in place of tokens; one sequence has no prediction yet."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from reference import network_case, simplex


def inputs(generator, rows, vocabulary):
    prediction = simplex(rows, vocabulary, generator)
    prediction[5:8] = 0
    return {"probabilities": simplex(rows, vocabulary, generator), "self_conditioning": prediction}


network_case(__file__, {"self_conditioning": True, "tie_word_embeddings": True}, seed=4, inputs=inputs)
