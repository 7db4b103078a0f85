"""`predict` takes what people have at hand, and says plainly what it does not take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nas
from nas.errors import DataError
from nas.trained import AT_ONCE, Prediction, TrainedNetwork


@pytest.fixture(scope="module")
def network(exported: Path) -> TrainedNetwork:
    return nas.load(exported)


@pytest.fixture(scope="module")
def digit() -> np.ndarray:
    """One grey picture of 8x8 pixels."""
    from sklearn.datasets import load_digits

    return np.rint(np.asarray(load_digits().images)[3] * 255 / 16).astype(np.uint8)


def test_one_picture_in_every_form_gives_one_prediction(
    network: TrainedNetwork, digit: np.ndarray, tmp_path: Path
) -> None:
    Image.fromarray(digit).save(tmp_path / "digit.png")
    rgb = np.stack([digit] * 3, axis=-1)
    forms = {
        "file name": str(tmp_path / "digit.png"),
        "path": tmp_path / "digit.png",
        "PIL grey": Image.fromarray(digit),
        "array (H, W)": digit,
        "array (H, W, 1)": digit[..., None],
        "tensor (1, H, W)": torch.from_numpy(digit)[None],
        "read-only, strided array": np.broadcast_to(digit, (8, 8))[::1, ::1],
    }
    coloured = {
        "PIL RGB": Image.fromarray(rgb),
        "array (H, W, 3)": rgb,
        "array (H, W, 4)": np.concatenate([rgb, np.full((8, 8, 1), 255, np.uint8)], axis=-1),
        "tensor (3, H, W)": torch.from_numpy(rgb).permute(2, 0, 1),
    }
    expected = network.predict(digit)
    assert isinstance(expected, Prediction)
    assert expected.label == max(expected.probabilities, key=expected.probabilities.__getitem__)
    assert sum(expected.probabilities.values()) == pytest.approx(1)
    assert tuple(expected.probabilities) == network.classes
    for name, form in forms.items():
        assert network.predict(form) == expected, name
    for name, form in coloured.items():  # grey from three equal colours may round by one
        found = network.predict(form)
        assert isinstance(found, Prediction)
        assert found.probability == pytest.approx(expected.probability, abs=0.02), name


def test_lists_batches_and_generators_give_lists(network: TrainedNetwork, digit: np.ndarray) -> None:
    one = network.predict(digit)
    assert network.predict([digit]) == [one]
    batches = {
        "list of several kinds": ([digit, Image.fromarray(digit), torch.from_numpy(digit)[None]], 3),
        "array (N, H, W)": (np.stack([digit] * 5), 5),
        "array (N, H, W, 1)": (np.stack([digit] * 2)[..., None], 2),
        "tensor (N, 1, H, W)": (torch.from_numpy(np.stack([digit] * 2))[:, None], 2),
        "generator": ((digit for _ in range(2)), 2),
        "more than one forward pass takes": ([digit] * (AT_ONCE + 3), AT_ONCE + 3),
    }
    for name, (batch, count) in batches.items():
        found = network.predict(batch)
        assert isinstance(found, list), name
        assert [prediction.label for prediction in found] == [one.label] * count, name
        # Another batch size may take another kernel, which rounds otherwise.
        assert all(abs(prediction.probability - one.probability) < 1e-5 for prediction in found), name


def test_other_sizes_are_cropped_and_resized(network: TrainedNetwork, digit: np.ndarray) -> None:
    large = Image.fromarray(digit).resize((80, 80), Image.Resampling.NEAREST)
    wide = Image.new("L", (160, 80))
    wide.paste(large, (40, 0))
    found, cropped = network.predict([large, wide])
    assert found.probability == pytest.approx(cropped.probability, abs=0.02)
    assert network.preprocess(wide).shape == (1, 1, 8, 8)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((8, 8)), "uint8"),
        (np.zeros((8, 8), np.float32), "uint8"),
        (np.zeros((8, 8, 2, 2), np.uint8), r"\(8, 2, 2\)"),
        (np.zeros((2, 8, 8, 5), np.uint8), r"\(8, 8, 5\)"),
        (np.zeros((0, 8), np.uint8), r"\(0, 8\)"),
        (np.zeros(8, np.uint8), r"\(8,\)"),
        (np.zeros((), np.uint8), r"\(\)"),
        (torch.zeros(1, 8, 8), "uint8"),
        (torch.zeros(8, 8, dtype=torch.uint8), r"\(C, H, W\)"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"\(C, H, W\)"),
        (torch.zeros((), dtype=torch.uint8), r"\(C, H, W\)"),
        ([], "no image"),
        (np.zeros((3, 8, 9), np.uint8), r"given uint8 \(3, 8, 9\); a batch is"),
        (np.zeros((0, 8, 8), np.uint8), "no image"),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), "no image"),
        (None, "NoneType"),
        (7, "int"),
        ([7], "int"),
        (b"bytes", "int"),
        ("absent.png", "absent.png"),
        (Path("absent.png"), "absent.png"),
        (["absent.png"], "absent.png"),
        (".", "cannot be read"),
    ],
)
def test_what_is_no_image_is_refused_plainly(network: TrainedNetwork, images: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        network.predict(images)  # pyright: ignore[reportArgumentType]


def test_a_file_that_is_no_image_is_named(network: TrainedNetwork, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png"):
        network.predict([tmp_path / "text.png"])


def test_predicting_in_training_mode_changes_nothing(exported: Path, digit: np.ndarray) -> None:
    network = nas.load(exported)
    expected = network.predict(digit)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    assert network.predict(digit) == expected
    assert network.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    network.predict(digit)
    with pytest.raises(DataError):
        network.predict([])
    assert network.training
