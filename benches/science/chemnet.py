"""ChemNet's features of molecules, and the distance of Fréchet between two sets of them (FCD, 1803.09518), on numpy alone.

The weights are those of PyPI's fcd 1.2.2 (LGPL), `fcd/ChemNet_v0.13_pretrained.pt`, read from its wheel or as a file: two
convolutions and two LSTMs, whose last state has 512 numbers. Nothing of the package is imported, and no PyTorch is needed.
"""

import collections
import io
import pathlib
import pickle
import re
import zipfile

import numpy as np

WEIGHTS = "fcd/ChemNet_v0.13_pretrained.pt"
SYMBOLS = "C N O H F Cl P B Br S I Si # ( ) + - 1 2 3 4 5 6 7 8 = [ ] @ c n o s X .".split()
"""What ChemNet tells apart, in the order of its inputs; `X` is everything else and `.` ends a molecule."""
INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS)}
PIECE = re.compile("|".join(re.escape(symbol) for symbol in sorted(SYMBOLS, key=len, reverse=True)) + "|.")
LENGTH = 350
"""Symbols to which a molecule is padded; the features depend on it."""
SELU = (1.6732632423543772, 1.0507009873554805)


class Reader(pickle.Unpickler):
    """Reads a file of PyTorch: tensors by their place in the archive, and nothing that could run."""

    def __init__(self, archive, folder):
        super().__init__(io.BytesIO(archive.read(f"{folder}/data.pkl")))
        self.archive, self.folder = archive, folder

    def find_class(self, module, name):
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): tensor,
            ("torch", "FloatStorage"): np.float32,
        }
        return known[module, name]

    def persistent_load(self, place):
        _, kind, key, _, count = place
        return np.frombuffer(self.archive.read(f"{self.folder}/data/{key}"), dtype=kind, count=count)


def tensor(storage, offset, size, stride, *_):
    bytes_of = [step * storage.itemsize for step in stride]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(storage[offset:], size, bytes_of))


def load(path):
    path = pathlib.Path(path)
    file = io.BytesIO(path.read_bytes())
    if WEIGHTS in zipfile.ZipFile(file).namelist():
        file = io.BytesIO(zipfile.ZipFile(file).read(WEIGHTS))
    archive = zipfile.ZipFile(file)
    return Reader(archive, archive.namelist()[0].split("/")[0]).load()


def sigmoid(x):
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def inputs(molecules):
    """One symbol a row, divided by their number as in training: B × 350 × 35."""
    encoded = np.zeros((len(molecules), LENGTH, len(SYMBOLS)), dtype=np.float32)
    for row, molecule in zip(encoded, molecules):
        pieces = PIECE.findall(molecule + ".")
        if len(pieces) > LENGTH:
            raise ValueError(f"a molecule has {len(pieces) - 1} symbols; allowed: at most {LENGTH - 1}")
        for place, piece in enumerate(pieces):
            row[place, INDEX.get(piece, INDEX["X"])] = 1.0 / len(SYMBOLS)
    return encoded


def convolved(x, weight, stride):
    """A convolution along the second axis with as many places as strides, and SELU: B × T × in to B × T′ × out."""
    kernel = weight.shape[2]
    pad = max(kernel - (x.shape[1] % stride or stride), 0)
    before = pad // stride
    after = before if pad % stride == 0 else pad - before
    x = np.pad(x, ((0, 0), (before, after), (0, 0)))
    places = range(0, x.shape[1] - kernel + 1, stride)
    flat = weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])
    out = np.stack([x[:, place : place + kernel].reshape(len(x), -1) @ flat for place in places], axis=1)
    alpha, scale = SELU
    return scale * np.where(out > 0, out, alpha * np.expm1(np.minimum(out, 0)))


def recurrent(x, weights, is_last):
    """An LSTM over the second axis: all its states, or the last."""
    width = weights["weight_hh_l0"].shape[1]
    into = x @ weights["weight_ih_l0"].T + (weights["bias_ih_l0"] + weights["bias_hh_l0"])
    back = np.ascontiguousarray(weights["weight_hh_l0"].T)
    state = cell = np.zeros((len(x), width), dtype=np.float32)
    states = []
    for place in range(x.shape[1]):
        take, keep, new, give = np.split(into[:, place] + state @ back, 4, axis=1)
        cell = sigmoid(keep) * cell + sigmoid(take) * np.tanh(new)
        state = sigmoid(give) * np.tanh(cell)
        if not is_last:
            states.append(state)
    return state if is_last else np.stack(states, axis=1)


def features(layers, molecules, batch=256):
    """The last state for each molecule, as SMILES of at most 349 symbols: N × 512."""
    found = []
    for start in range(0, len(molecules), batch):
        x = inputs(molecules[start : start + batch])
        for kind, (weights, shape, more) in layers:
            if kind == "Conv1d":
                x = convolved(x, weights["weight"], shape["stride"])
            else:
                x = recurrent(x[:, ::-1] if more["reverse"] else x, weights, more["last"])
        found.append(x)
    return np.concatenate(found)


def moments(vectors):
    vectors = vectors.astype(np.float64)
    return vectors.mean(axis=0), np.cov(vectors.T)


def square_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def frechet(one, other):
    """|m − m′|² + tr(C + C′ − 2 (C C′)^½) of two pairs of a mean and a covariance."""
    (mean, covariance), (mean_2, covariance_2) = one, other
    root = square_root(covariance)
    # C C′ has the eigenvalues of C^½ C′ C^½, which is symmetric.
    common = np.linalg.eigvalsh(root @ covariance_2 @ root)
    return float(np.sum((mean - mean_2) ** 2) + np.trace(covariance + covariance_2) - 2 * np.sum(np.sqrt(np.maximum(common, 0))))
