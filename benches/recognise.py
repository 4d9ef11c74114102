"""Let an independent recogniser hear the sounds of `aquatint eval spans --sounds-out FOLDER`: how many it takes for their word.

Run with:  python benches/recognise.py FOLDER [--json]
Needs PyPI's pocketsphinx and numpy (measured with 5.1.1 and 2.4). pocketsphinx brings an acoustic model of US English at
16 kHz and a pronouncing dictionary; nothing is downloaded.

FOLDER holds WAV files and `sounds.tsv`, which says what each should say. For each source (digits that people spoke, words of
a synthesiser) the recogniser knows the words of that source and no others, as a grammar, and takes each sound for one of
them. What is printed are shares with their 95 % interval (Wilson) of recordings, of what the codec gives back of them, and of
made sounds at each number of steps and guidance scale. Words that the dictionary lacks, and sounds of other languages than
English, are counted and left out. Sounds of other rates are resampled to 16 kHz; above half of their own rate there is nothing.
"""

import argparse
import collections
import csv
import json
import pathlib
import re
import sys
import wave

import numpy
from pocketsphinx import Decoder

from shares import wilson

RATE = 16000
SILENCE = 0.25
"""Seconds of silence before and behind each sound: the recogniser expects some."""


def samples_of(path):
    """The samples of a WAV file of 16 bits and one channel at RATE, as 16-bit integers."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise SystemExit(f"{path} is no WAV file of one channel with 16 bits")
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    samples = numpy.frombuffer(data, "<i2").astype(numpy.float64)
    count = round(len(samples) * RATE / rate)
    if count and count != len(samples):
        # Band-limited: the spectrum stays, and what it lacks is 0.
        spectrum = numpy.fft.rfft(samples)
        wanted = numpy.zeros(count // 2 + 1, complex)
        shared = min(len(spectrum), len(wanted))
        wanted[:shared] = spectrum[:shared]
        samples = numpy.fft.irfft(wanted, count) * (count / len(samples))
    silence = numpy.zeros(int(SILENCE * RATE))
    whole = numpy.concatenate([silence, samples, silence])
    return numpy.clip(numpy.rint(whole), -32768, 32767).astype("<i2")


def spelt(words):
    """Words as the dictionary has them, in lower case and without signs."""
    return " ".join(re.findall(r"[a-z']+", words.lower()))


class Recogniser:
    """Takes a sound for one of some words."""

    def __init__(self, words):
        self.decoder = Decoder(lm=None, loglevel="FATAL")
        known = lambda phrase: all(self.decoder.lookup_word(word) for word in phrase.split())
        self.words = sorted(phrase for phrase in set(words) if phrase and known(phrase))
        if self.words:
            grammar = "#JSGF V1.0; grammar words; public <words> = " + " | ".join(self.words) + ";"
            self.decoder.add_jsgf_string("words", grammar)
            self.decoder.activate_search("words")

    def hears(self, samples):
        self.decoder.start_utt()
        self.decoder.process_raw(samples.tobytes(), no_search=False, full_utt=True)
        self.decoder.end_utt()
        found = self.decoder.hyp()
        return found.hypstr if found else ""


def measure(folder):
    """A line for each source and origin, and how many sounds were left out."""
    with open(folder / "sounds.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    english = [row for row in rows if row["lang"] == "en"]
    sources = collections.defaultdict(list)
    for row in english:
        sources[row["source"] or "en"].append(row)
    lines, left_out = [], len(rows) - len(english)
    for source, rows in sorted(sources.items()):
        recogniser = Recogniser(spelt(row["words"]) for row in rows)
        known, counts = set(recogniser.words), collections.OrderedDict()
        for row in rows:
            words = spelt(row["words"])
            if words not in known:
                left_out += 1
                continue
            key = (row["origin"], row["steps"], row["guidance_scale"])
            count = counts.setdefault(key, [0, 0])
            count[0] += recogniser.hears(samples_of(folder / row["file"])) == words
            count[1] += 1
        for (origin, steps, guidance_scale), (hits, count) in counts.items():
            lines.append(
                dict(
                    source=source,
                    origin=origin,
                    steps=int(steps) if steps else None,
                    guidance_scale=float(guidance_scale) if guidance_scale else None,
                    words=len(known),
                    hits=hits,
                    count=count,
                    rate=hits / count,
                    interval=wilson(hits, count),
                )
            )
    return lines, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args()
    if not (arguments.folder / "sounds.tsv").is_file():
        parser.error(f"`{arguments.folder}` has no sounds.tsv; `aquatint eval spans --sounds-out` writes such folders")
    lines, left_out = measure(arguments.folder)
    if arguments.json:
        print(json.dumps(dict(lines=lines, left_out=left_out)))
        return
    print(f"{'source':<14}{'sounds':<16}{'steps':>6}{'guidance':>10}{'heard right':>28}{'chance':>9}{'count':>7}")
    for line in lines:
        low, high = line["interval"]
        right = f"{100 * line['rate']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        steps, guidance = (("" if line[key] is None else f"{line[key]:g}") for key in ("steps", "guidance_scale"))
        chance = f"{100 / line['words']:.1f} %"
        print(f"{line['source']:<14}{line['origin']:<16}{steps:>6}{guidance:>10}{right:>28}{chance:>9}{line['count']:>7}")
    if left_out:
        print(f"{left_out} sounds left out: not English, or words that the dictionary lacks", file=sys.stderr)


if __name__ == "__main__":
    main()
