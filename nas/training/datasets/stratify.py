"""Stratified choice: the same share of every class, the same images for a seed on every machine."""

from __future__ import annotations

import hashlib

import numpy as np

from nas.errors import DataError


def stratified_split(labels: np.ndarray, total: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of `total - held_out` images to train on and of `held_out` others, both ascending.

    `total` and `held_out` are met exactly, and every class gives its proportional share of both, rounded up or down
    (largest remainder), as long as that leaves each class one image to train on. Within a class the images are put
    in a fixed shuffled order; the held-out ones come from its front, the training ones from its back, so that a
    smaller `total` with the same seed chooses from the same two sides.
    """
    members = _by_class(labels, seed)
    sizes = np.array([len(positions) for positions in members])
    chosen = apportion(sizes, total, least=np.minimum(2, sizes), most=sizes)
    held = apportion(chosen, held_out, least=np.zeros_like(chosen), most=np.maximum(chosen - 1, 0))
    front = [positions[:count] for positions, count in zip(members, held, strict=True)]
    back = [
        positions[len(positions) - count :] for positions, count in zip(members, (chosen - held).tolist(), strict=True)
    ]
    return np.sort(np.concatenate(back)), np.sort(np.concatenate(front))


def stratified_sample(labels: np.ndarray, total: int, seed: int, least: int) -> np.ndarray:
    """Positions of `total` images, ascending, at least `least` of each class; chosen as `stratified_split` chooses."""
    members = _by_class(labels, seed)
    sizes = np.array([len(positions) for positions in members])
    quotas = apportion(sizes, total, least=np.minimum(least, sizes), most=sizes)
    return np.sort(np.concatenate([positions[:count] for positions, count in zip(members, quotas, strict=True)]))


def apportion(sizes: np.ndarray, total: int, least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Whole shares of `total` in proportion to `sizes` by largest remainder, each between its `least` and `most`."""
    if not least.sum() <= total <= most.sum():
        raise DataError(f"{total} images cannot be shared out: possible are {least.sum()} to {most.sum()}")
    wanted = sizes * total  # in units of 1 / sizes.sum(): integers, so that ties never depend on rounding
    unit = int(sizes.sum())
    shares = np.clip(wanted // unit, least, most)
    while (missing := total - int(shares.sum())) != 0:
        step = 1 if missing > 0 else -1
        room = shares < most if step > 0 else shares > least
        order = np.argsort(-step * (wanted - shares * unit), kind="stable")
        shares[order[room[order]][: abs(missing)]] += step
    return shares


def _by_class(labels: np.ndarray, seed: int) -> list[np.ndarray]:
    # Ordered by SHA-256 of "seed/position": the same for ever, where random generators may change with a release.
    keys = np.array([hashlib.sha256(f"{seed}/{position}".encode()).digest()[:16] for position in range(len(labels))])
    order = np.argsort(keys, kind="stable")
    return [order[labels[order] == label] for label in range(int(labels.max()) + 1)]
