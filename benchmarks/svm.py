"""The support vector machines of ESC-50 against scikit-learn's LinearSVC: a whole sweep of C, one thread, in turn.

    python benchmarks/svm.py [--rows FILE.npz] [--values 7]

Both get 16,000 standardised rows of 1,728 features in 50 classes, and C after C; ours starts each from the one before.
FILE.npz holds X (R, D) and y (R,) of a real encoder; without it the rows are drawn around class centres, in directions
of falling weight. Takes about a quarter of an hour, nearly all of it LinearSVC's.
"""

import argparse
import os
import warnings
from pathlib import Path
from time import process_time

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from timing import table

from leveret.probes.scaling import standardisation, standardised
from leveret.probes.squared_hinge import SquaredHinge
from leveret.probes.svm import PAPER_CS

ROWS, FEATURES, CLASSES = 16_000, 1728, 50


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows like an encoder's: a few directions hold most of what varies."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(ROWS) % CLASSES
    weight = torch.arange(1, FEATURES + 1).float() ** -0.7
    axes = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=generator))[0]
    centres = torch.randn(CLASSES, FEATURES, generator=generator) * weight
    noise = 1.6 * weight * torch.randn(ROWS, FEATURES, generator=generator)
    return (centres[labels] + noise) @ axes, labels


def objective(X: np.ndarray, signs: np.ndarray, weight: np.ndarray, bias: np.ndarray, C: float) -> float:
    """LIBLINEAR's, summed over the classes."""
    short = np.maximum(0, 1 - signs * (X @ weight.T + bias))
    return 0.5 * float((weight**2).sum() + (bias**2).sum()) + C * float((short**2).sum())


def main() -> None:
    """Fit both for each C and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--values", type=int, default=len(PAPER_CS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.rows:
        with np.load(options.rows) as file:
            X, labels = torch.from_numpy(file["X"]).float(), torch.from_numpy(file["y"]).long()
    else:
        X, labels = drawn()
    X = standardised(X, *standardisation(X, torch.ones(len(X))))
    classes = torch.unique(labels)
    signs = (labels[:, None] == classes).float() * 2 - 1
    X64, signs64 = X.double().numpy(), signs.double().numpy()

    started = process_time()
    problem, last = SquaredHinge(X, signs), None
    setup = process_time() - started
    rows: list[tuple[object, ...]] = []
    ours_total, theirs_total = setup, 0.0
    for C in PAPER_CS[: options.values]:
        started = process_time()
        last = problem.minimise(C, last)
        ours = process_time() - started
        started = process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            theirs = LinearSVC(C=C, dual=False).fit(X64, labels.numpy())
        taken = process_time() - started
        weight = last.weight.double().numpy()
        of_ours = objective(X64, signs64, weight[:, :-1], weight[:, -1], C)
        of_theirs = objective(X64, signs64, theirs.coef_, theirs.intercept_, C)
        rows.append((f"{C:g}", ours, taken, f"{of_ours / of_theirs - 1:+.1e}"))
        ours_total, theirs_total = ours_total + ours, theirs_total + taken
        print(f"C = {C:g}: {ours:.1f} s, LinearSVC {taken:.1f} s", flush=True)
    print(f"\n{len(X)} x {X.shape[1]}, {len(classes)} classes; principal axes {setup:.1f} s, in the sum")
    print("\n| C | leveret, CPU s | LinearSVC, CPU s | objective against LinearSVC's |")
    table([*rows, ("sum", ours_total, theirs_total, f"{theirs_total / ours_total:.0f} times as fast")])


if __name__ == "__main__":
    main()
