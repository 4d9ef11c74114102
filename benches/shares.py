"""Shares and their intervals, for the measurements beside it."""

import math

Z = 1.959963984540054


def wilson(hits, count):
    """The 95 % interval of a share (Wilson, 1927), which is not empty at 0 and 1; all of [0, 1] of none."""
    if count == 0:
        return 0.0, 1.0
    p, z = hits / count, Z * Z / count
    middle, half = p + z / 2, Z * math.sqrt(p * (1 - p) / count + z / (4 * count))
    return max(0.0, (middle - half) / (1 + z)), min(1.0, (middle + half) / (1 + z))
