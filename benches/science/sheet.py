"""Draw the molecules that a model writes with seeds that follow each other, none left out.

Run with:  python benches/science/sheet.py --model FOLDER --out FILE
Needs PyPI's rdkit (measured with 2026.9.1) and the program (`--program`). FILE is a PNG or, by its name, an SVG. Flags behind
`--` go to `aquatint generate`. A text that RDKit reads as no molecule is an empty cell with its text.
"""

import argparse
import json
import pathlib
import re
import subprocess

from rdkit import Chem, RDLogger
from rdkit.Chem import Draw

PROPERTIES = re.compile(r"^(\[[A-Z]+=[^\]]*\])*")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--program", default="target/release/aquatint")
    parser.add_argument("--template", default="[[~60]]")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="flags of `generate`, behind `--`")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    command = [arguments.program, "generate", arguments.template, "-m", arguments.model, "-q", "--format", "jsonl"]
    command += ["--count", str(arguments.count), "--seed", str(arguments.seed), *arguments.flags]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    texts = [PROPERTIES.sub("", json.loads(line)["text"]) for line in lines]
    molecules = [Chem.MolFromSmiles(text) if text else None for text in texts]
    names = [text if molecule is None else Chem.MolToSmiles(molecule) for text, molecule in zip(texts, molecules)]
    cells = [molecule or Chem.MolFromSmiles("") for molecule in molecules]
    is_svg = arguments.out.suffix == ".svg"
    sheet = Draw.MolsToGridImage(cells, molsPerRow=6, subImgSize=(260, 220), legends=names, useSVG=is_svg, returnPNG=False)
    if is_svg:
        arguments.out.write_text(sheet, encoding="utf-8")
    else:
        # Drawings have few colours.
        sheet.quantize(64).save(arguments.out, optimize=True)
    print(f"{arguments.out}: {len(texts)} texts, of which {sum(molecule is not None for molecule in molecules)} are molecules")


if __name__ == "__main__":
    main()
