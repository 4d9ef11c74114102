"""What answers score by the reference implementations: `squad_metrics` of transformers, and rouge-score.

Run with:  python golden/answers/make.py
Needs PyPI's transformers 4.46.3 (no PyTorch) and rouge-score 0.1.2.
"""

import json
import pathlib

import transformers
from rouge_score import rouge_scorer
from transformers.data.metrics import squad_metrics

PAIRS = [
    ("the sun", "The sun."),
    ("a red red fox", "red fox, red hen"),
    ("It was because he didn't want to go.", "because he did not want to go"),
    ("Walter took his drum, sabre and cap", "took his drum, sabre, cock's feather, clasp-knife and pop-gun"),
    ("he cried", "sad"),
    ("the", "an apple"),
    ("in the wood near the well", "near the well in the wood"),
    ("the old man's daughter-in-law", "the old mans daughter in law"),
    ("“Never!” said she", "never said she"),
    ("he said “the end”", "said the end"),
    ("naïve café", "naive cafe"),
    ("naïve café", "NAÏVE CAFÉ"),
    ("1,000 gold coins", "1000 gold coins"),
    ("she ran and ran and ran", "she ran"),
    ("theatre an antheap", "theatre antheap"),
    ("...", "yes"),
]

scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
answers = []
for answer, reference in PAIRS:
    answers.append({
        "answer": answer,
        "reference": reference,
        "exact_match": squad_metrics.compute_exact(reference, answer),
        "token_f1": squad_metrics.compute_f1(reference, answer),
        "rouge_l": scorer.score(reference, answer)["rougeL"].fmeasure,
    })
about = f"transformers {transformers.__version__}, rouge-score 0.1.2, Python 3.11.7"
lines = ",\n".join("  " + json.dumps(answer, ensure_ascii=False) for answer in answers)
text = f'{{\n "about": "{about}",\n "answers": [\n{lines}\n ]\n}}\n'
pathlib.Path(__file__).with_name("answers.json").write_text(text, encoding="utf-8")
