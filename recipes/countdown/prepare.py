"""Countdown with three numbers: make a target of them by arithmetic, each used once.

A row is a text of 25 characters: three numbers from 1 to 25, the target from 1 to 999, and one expression that has it,
followed by blanks: ` 7 25  3 =  54` and a line end, then `(25-7)*3  `. No puzzle stands in both files, in whatever order
its numbers are; among those to learn from one may come again, with another expression.

    python recipes/countdown/prepare.py runs/countdown
"""

import argparse
import json
import os
import random
from fractions import Fraction

WIDTH = 10


def apply(left, operator, right):
    """The value of two numbers under an operator; None where it is no fraction."""
    if left is None or right is None or (operator == "/" and right == 0):
        return None
    return left / right if operator == "/" else {"+": left + right, "-": left - right, "*": left * right}[operator]


def expression(a, first, b, second, c, right):
    """`(a first b) second c`, or with the last two together: its text without needless parentheses, and its value."""
    a, b, c = Fraction(a), Fraction(b), Fraction(c)
    if right:
        needless = first == "+" or first in "+-" and second in "*/" or first == "*" and second in "*/"
        inner = f"{b}{second}{c}" if needless else f"({b}{second}{c})"
        return f"{a}{first}{inner}", apply(a, first, apply(b, second, c))
    needless = first in "*/" or second in "+-"
    inner = f"{a}{first}{b}" if needless else f"({a}{first}{b})"
    return f"{inner}{second}{c}", apply(apply(a, first, b), second, c)


def row(draws, operators):
    while True:
        numbers = [draws.randint(1, 25) for _ in range(3)]
        a, b, c = draws.sample(numbers, 3)
        text, value = expression(a, draws.choice(operators), b, draws.choice(operators), c, draws.random() < 0.5)
        if value is not None and value.denominator == 1 and 1 <= value <= 999:
            a, b, c = numbers
            puzzle = (*sorted(numbers), int(value))
            return puzzle, f"{a:2} {b:2} {c:2} = {int(value):3}\n", text.ljust(WIDTH)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder")
    arguments.add_argument("--count", type=int, default=200_000, help="puzzles to learn from")
    arguments.add_argument("--unseen", type=int, default=500, help="puzzles held out")
    arguments.add_argument("--operators", default="+-*/", help="those of the expressions; +- are learned within minutes")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    draws = random.Random(given.seed)
    os.makedirs(given.folder, exist_ok=True)
    held_out = set()
    for name, count in (("unseen", given.unseen), ("puzzles", given.count)):
        with open(os.path.join(given.folder, f"{name}.jsonl"), "w", encoding="utf-8") as out:
            written = 0
            while written < count:
                puzzle, prompt, completion = row(draws, given.operators)
                if puzzle in held_out:
                    continue
                if name == "unseen":
                    held_out.add(puzzle)
                out.write(json.dumps({"text": prompt + completion}) + "\n")
                written += 1


if __name__ == "__main__":
    main()
