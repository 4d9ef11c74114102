#!/usr/bin/env python3
"""Draws the trace of a generation as an animated SVG: docs/draw-trace.py TRACE.jsonl COMMAND > docs/canvas.svg

Each committed token appears at the step that committed it. An open position is drawn as wide as the token that will
stand there, so that the lines do not move.
"""

import html
import json
import sys
import textwrap

COLUMNS, CELL, LINE, MARGIN = 84, 9.0, 26, 24
PER_STEP, LEAD, HOLD = 0.25, 1.2, 5.0
GRAIN = "▒"


def read(path):
    """The text of each position, the step that committed it (None where it was given), and the result."""
    texts, steps, result = {}, {}, None
    number = -1
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            if event["event"] == "started":
                for position, cell in enumerate(event["canvas"]):
                    if cell["state"] == "given":
                        texts[position], steps[position] = cell["text"], None
            elif event["event"] == "step":
                number += 1
                for change in event["changes"]:
                    if change["kind"] == "committed":
                        texts[change["position"]], steps[change["position"]] = change["text"], number
                    elif change["kind"] != "refined":
                        sys.exit(f"a change of kind {change['kind']} cannot be drawn")
            elif event["event"] == "result":
                result = event
    return [(texts[position], steps[position]) for position in sorted(texts)], number + 1, result


def lay_out(pieces):
    """Breaks the text into lines at blanks: (line, column, text, step), a piece for each run of letters."""
    placed, line, column = [], 0, 0
    words, word = [], []
    for text, step in pieces:
        for character in text:
            if character in " \n" and word:
                words.append(word)
                word = []
            word.append((character, step))
    words.append(word)
    for word in words:
        shown = [(character, step) for character, step in word if character not in " \n"]
        if column and column + 1 + len(shown) > COLUMNS:
            line, column = line + 1, 0
        elif column and len(word) > len(shown):
            column += 1
        for character, step in shown:
            last = placed[-1] if placed else None
            if last and last[0] == line and last[1] + len(last[2]) == column and last[3] == step:
                placed[-1] = (line, last[1], last[2] + character, step)
            else:
                placed.append((line, column, character, step))
            column += 1
    return placed, line + 1


def main():
    trace, command = sys.argv[1:]
    pieces, steps, result = read(trace)
    placed, lines = lay_out(pieces)
    total = LEAD + steps * PER_STEP + HOLD
    typed = textwrap.wrap("$ " + command, COLUMNS - 2, break_on_hyphens=False)
    top = len(typed) + 0.5
    width, height = round(COLUMNS * CELL + 2 * MARGIN), round(MARGIN * 2 + LINE * (top + lines + 1.5))

    def percent(seconds):
        return f"{100 * seconds / total:.2f}%"

    rules = []
    for step in range(steps):
        at = LEAD + step * PER_STEP
        rules.append(
            f"@keyframes t{step}{{0%,{percent(at - 0.001)}{{opacity:0;fill:#ffd479}}{percent(at)}{{opacity:1;fill:#ffd479}}"
            f"{percent(at + 3 * PER_STEP)},100%{{opacity:1;fill:#e8e6e3}}}}"
            f"@keyframes g{step}{{0%,{percent(at - 0.001)}{{opacity:1}}{percent(at)},100%{{opacity:0}}}}"
            f"@keyframes n{step}{{0%,{percent(at - 0.001)}{{opacity:0}}"
            f"{percent(at)},{percent(at + PER_STEP - 0.01)}{{opacity:1}}{percent(at + PER_STEP)},100%{{opacity:0}}}}"
            f".t{step}{{animation-name:t{step}}}.g{step}{{animation-name:g{step}}}.n{step}{{animation-name:n{step}}}"
        )
    end = LEAD + steps * PER_STEP
    rules.append(f"@keyframes end{{0%,{percent(end - 0.01)}{{opacity:0}}{percent(end)},100%{{opacity:1}}}}.end{{animation-name:end}}")

    def text(line, column, words, name):
        x, y = MARGIN + column * CELL, MARGIN + LINE * (line + 1)
        return (
            f'<text class="{name}" x="{x:g}" y="{y:g}" textLength="{len(words) * CELL:g}" '
            f'lengthAdjust="spacingAndGlyphs">{html.escape(words, quote=False)}</text>'
        )

    body = [text(number, 2 * min(number, 1), words, "command") for number, words in enumerate(typed)]
    for line, column, words, step in placed:
        if step is None:
            body.append(text(line + top, column, words, "given"))
        else:
            body.append(text(line + top, column, GRAIN * len(words), f"a g g{step}"))
            body.append(text(line + top, column, words, f"a t t{step}"))
    for step in range(steps):
        body.append(text(top + lines + 0.5, 0, f"step {step + 1} of {steps}", f"a n n{step}"))
    figures = f"{result['tokens']} tokens in {result['forward_passes']} forward passes, {result['seconds']:.2f} s on two CPU cores"
    body.append(text(top + lines + 0.5, 0, figures, "a e end"))
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="A canvas while it is filled. {html.escape(result["text"])}">\n<style>'
        "text{font:15px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}"
        ".command{fill:#8fbcbb}.given{fill:#7f8c98}.g{fill:#4c566a}.t{fill:#e8e6e3}.n,.e{fill:#7f8c98}.n{opacity:0}.g{opacity:0}"
        f".a{{animation:{total:g}s step-end infinite}}.t{{animation-timing-function:linear}}"
        + "".join(rules)
        + "@media (prefers-reduced-motion:reduce){.a{animation:none}}</style>\n"
        f'<rect width="{width}" height="{height}" rx="10" fill="#1d2127"/>\n' + "\n".join(body) + "\n</svg>"
    )


main()
