"""Sheets of what a model of words and pictures makes, unselected, with seeds 0 to 9: docs/CANVAS.md shows those of `models/canvas`.

Run with:  python models/sheets.py PROGRAM MODEL PICTURES OUT
Needs PyPI's pillow. PROGRAM is `aquatint`, PICTURES a folder with the pictures of `pictures.tar.zst` (emoji/, clipart/); OUT gets
stories.md, captions.md and three sheets of pictures.
"""

import pathlib
import subprocess
import sys
import tempfile

from PIL import Image

BEGINNINGS = (
    "There was once a king who lived in a castle by the sea.",
    "The cat slept on the mat beside the fire.",
    "A little house stood in the forest under a tall tree.",
    "The moon rose over the sea, and the ship sailed home.",
    "An old woman picked apples in her garden.",
    "The horse ran down the road to the village.",
    "One day a bird sat in the tree and sang.",
    "The dog barked at the boy, who ran away.",
    "A flower grew in the middle of the field.",
    "The bear went into the wood to look for honey.",
)
SHOWN = (
    "emoji/1f431.png", "emoji/1f3f0.png", "emoji/1f34e.png", "emoji/1f40e.png", "emoji/26f5.png",
    "emoji/1f333.png", "emoji/1f436.png", "emoji/1f426.png", "emoji/1f33b.png", "emoji/1f43b.png",
)
SIDE = 128


def sheet(rows, path):
    """Pictures in rows, on white."""
    whole = Image.new("RGB", (SIDE * max(map(len, rows)), SIDE * len(rows)), "white")
    for top, row in enumerate(rows):
        for left, file in enumerate(row):
            picture = Image.open(file).convert("RGBA").resize((SIDE - 8, SIDE - 8), Image.Resampling.LANCZOS)
            whole.paste(picture, (left * SIDE + 4, top * SIDE + 4), picture)
    whole.save(path, quality=90)


def main():
    program, model, pictures, out = sys.argv[1:]
    pictures, out = pathlib.Path(pictures), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp())

    def generate(prompt, seed, *flags):
        command = [program, "generate", prompt, "-m", model, "--seed", str(seed), *flags]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    stories, captions = [], []
    for seed, beginning in enumerate(BEGINNINGS):
        text = generate(f"{beginning}[[~60]] [[picture]]", seed, "--picture-out", str(made / f"story-{seed}.png"))
        stories.append(f"{seed}. {' '.join(text.split('[picture')[0].split())}")
    sheet([[made / f"story-{seed}.png" for seed in range(5)], [made / f"story-{seed}.png" for seed in range(5, 10)]], out / "stories.webp")
    for seed, file in enumerate(SHOWN):
        text = generate(f"[[picture:{pictures / file}]] [[~6]]", seed)
        captions.append(f"{seed}. `{file}`: {' '.join(text.split(']', 1)[-1].split())}")
        generate(f"[[picture:{pictures / file},mask=4x8+4x0]]", seed, "--picture-out", str(made / f"mask-{seed}.png"))
    given = [pictures / file for file in SHOWN]
    sheet([given, [made / f"mask-{seed}.png" for seed in range(10)]], out / "inpainted.webp")
    (out / "stories.md").write_text("\n".join(stories) + "\n", encoding="utf-8")
    (out / "captions.md").write_text("\n".join(captions) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
