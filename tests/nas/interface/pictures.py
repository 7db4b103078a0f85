"""Small folders of pictures that a network can tell apart: one colour for each class, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 50, 40)}


def picture(colour: tuple[int, int, int], size: tuple[int, int], seed: int) -> Image.Image:
    """A noisy picture of a colour, (width, height) pixels, brighter from left to right."""
    width, height = size
    noise = np.random.default_rng(seed).normal(0, 45, (height, width, 3)) + np.linspace(-40, 40, width)[None, :, None]
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def make_folder(root: Path, *, train: int = 24, test: int = 8, names: dict[str, str] | None = None) -> Path:
    """`root/train/<class>/*.png` and `root/test/<class>/*.png`, of mixed sizes that are not square."""
    sizes = ((20, 26), (31, 20), (22, 22))
    for part, count in (("train", train), ("test", test)):
        for number, (name, colour) in enumerate(COLOURS.items()):
            folder = root / part / (names or {}).get(name, name)
            folder.mkdir(parents=True)
            for index in range(count):
                seed = 1000 * number + index + (500 if part == "test" else 0)
                picture(colour, sizes[index % 3], seed).save(folder / f"{index:03}.png")
    return root


def make_npz(path: Path, *, images: int = 120, side: int = 8) -> Path:
    """`x_train`, `y_train`, `x_test`, `y_test` of the same pictures."""
    arrays = {}
    for part, count in (("train", images), ("test", images // 3)):
        labels = np.arange(count) % 3
        colours = list(COLOURS.values())
        pixels = [np.array(picture(colours[label], (side, side), index)) for index, label in enumerate(labels)]
        arrays |= {f"x_{part}": np.stack(pixels), f"y_{part}": labels}
    np.savez(path, **arrays)
    return path
