"""Draw a sheet of the molecules that a model writes, unselected: the first ones of one command, with seeds that follow on.

Run with:  python benches/science/sheet.py --model FOLDER --out FILE.png [--count 24] [--seed 0]
Needs PyPI's rdkit (measured with 2026.9.1) and the program (`--program`). They are written as the model's folder advises, held to
the grammar with `--molecule`. A text that RDKit does not read stands as an empty place with the words "no molecule".
"""

import argparse
import json
import pathlib
import subprocess

from rdkit import Chem, RDLogger
from rdkit.Chem import Draw


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--template", default="[[~58]]")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--molecule", action="store_true", help="hold them to the grammar")
    parser.add_argument("--program", default="target/release/aquatint")
    arguments = parser.parse_args()
    command = [arguments.program, "generate", arguments.template, "-m", arguments.model, "--count", str(arguments.count)]
    command += ["--seed", str(arguments.seed), "--format", "jsonl", "-q"] + ["--molecule"] * arguments.molecule
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    RDLogger.DisableLog("rdApp.*")
    molecules = [Chem.MolFromSmiles(text) for text in texts]
    seeds = range(arguments.seed, arguments.seed + len(texts))
    legends = [str(seed) if molecule else f"{seed}: no molecule" for seed, molecule in zip(seeds, molecules)]
    shown = [molecule or Chem.Mol() for molecule in molecules]
    Draw.MolsToGridImage(shown, molsPerRow=6, subImgSize=(220, 180), legends=legends).save(arguments.out)
    print(f"{arguments.out}: {sum(molecule is not None for molecule in molecules)} of {len(texts)} are molecules")


if __name__ == "__main__":
    main()
