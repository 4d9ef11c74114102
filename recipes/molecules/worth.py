"""Say what molecules are worth, for `reward.terms = [{ name = "program:python recipes/molecules/worth.py TERM..." }]`.

Reads one attempt a line from standard input, as JSON with `prompt` and `completion`, and writes its worth, a number from 0 to 1.
The molecule is the prompt and the completion together, without properties in front. Needs PyPI's rdkit (measured with 2026.9.1).

A text is worth 0 where it is no molecule to RDKit, of more than one part, or smaller than any molecule of the training set of
MOSES (eight heavy atoms): short texts are the easiest to get right. All others are worth the product of the terms, 1 without any:

- `qed`: the quantitative estimate of drug-likeness, 0 to 1.
- `sa`: how easily it can be made: (10 - SA) / 9 of the score of Ertl and Schuffenhauer, which is 1 (easy) to 10.
- `filters`: 1 where it has no charge, no atom but C, N, S, O, F, Cl, Br and H, and no ring of eight atoms or more, else 0.
  MOSES asks for these, and for more that its filters of substructures have.

The same text is worth the same at any time, so that a run is a function of its recipe.
"""

import argparse
import json
import os
import re
import sys

from rdkit import Chem, RDConfig, RDLogger
from rdkit.Chem import QED

sys.path.append(os.path.join(RDConfig.RDContribDir, "SA_Score"))
import sascorer  # noqa: E402

PROPERTIES = re.compile(r"^(\[[A-Z]+=-?[0-9]+\])*")
ATOMS = {"C", "N", "S", "O", "F", "Cl", "Br", "H"}
FEWEST_ATOMS = 8


def easily_made(molecule):
    return min(max((10 - sascorer.calculateScore(molecule)) / 9, 0.0), 1.0)


def passes(molecule):
    """1.0 where nothing is in it that the benchmark's set has not."""
    is_usual = all(atom.GetFormalCharge() == 0 and atom.GetSymbol() in ATOMS for atom in molecule.GetAtoms())
    return float(is_usual and all(len(ring) < 8 for ring in molecule.GetRingInfo().AtomRings()))


TERMS = {"qed": QED.qed, "sa": easily_made, "filters": passes}


def worth(text, terms):
    text = PROPERTIES.sub("", text)
    # RDKit takes what follows a blank for a name, and `*` for any atom.
    is_plain = not any(symbol in ".*" or symbol.isspace() for symbol in text)
    molecule = Chem.MolFromSmiles(text) if is_plain else None
    if molecule is None or molecule.GetNumHeavyAtoms() < FEWEST_ATOMS:
        return 0.0
    product = 1.0
    for term in terms:
        product *= TERMS[term](molecule)
    return product


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("terms", nargs="*", metavar="TERM", help="qed, sa, filters")
    arguments = parser.parse_args()
    if unknown := set(arguments.terms) - set(TERMS):
        parser.error(f"{', '.join(sorted(unknown))} is no term; there are {', '.join(TERMS)}")
    RDLogger.DisableLog("rdApp.*")
    for line in sys.stdin:
        attempt = json.loads(line)
        print(worth(attempt["prompt"] + attempt["completion"], arguments.terms))


if __name__ == "__main__":
    main()
