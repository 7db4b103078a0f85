"""bfloat16 is used where it is fast and right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.training import precision
from nas.training.precision import Precision, bfloat16_serves, choose_precision
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Residual


@pytest.fixture(autouse=True)
def a_device_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: True)


def layers(*arguments: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(*arguments), nn.BatchNorm2d(arguments[1])).train()


@pytest.mark.parametrize(
    ("arguments", "pixels", "serves"),
    [
        ((8, 8, 3, 1, 1), 1, True),
        ((8, 8, 3, 2, 1), 1, False),  # strides beyond a side
        ((8, 8, 5, 2, 2), 1, False),
        ((8, 8, 1, 2), 1, True),
        ((8, 8, 3, 2, 1), 2, True),
        ((3, 8, 11, 4, 5), 3, False),
        ((3, 8, 11, 4, 5), 32, True),
        ((8, 8, 3, 1, 2, 2), 32, True),  # dilated
        ((8, 8, 3, 2, 2, 2), 32, False),
        ((8, 8, 3, 1, 2, 2, 8), 32, False),
        ((8, 8, 1, 1, 0, 2, 8), 32, False),
        ((8, 8, 3, 1, 2, 2, 4), 32, True),
        ((16, 8, 4, 4), 32, False),  # long strides
        ((3, 8, 4, 4), 32, True),
        ((16, 8, 2, 2), 32, True),
        ((16, 8, 1, 4), 32, True),
        ((16, 16, 4, 4, 0, 1, 16), 32, True),
    ],
)
def test_a_convolution_that_torch_computes_wrongly_in_bfloat16_is_trained_in_float32_on_the_cpu(
    arguments: tuple[int, ...], pixels: int, serves: bool
) -> None:
    network = layers(*arguments)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert bfloat16_serves(network, torch.ones(1, arguments[0], pixels, pixels)) is serves
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_device_that_is_slow_at_it_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "fast_bfloat16", lambda device: False)
    assert not bfloat16_serves(layers(1, 2, 3, 1, 1), torch.ones(1, 1, 8, 8))


# The probe


ARCHITECTURE = Architecture(channels=3, resolution=8, stages=(Stage(block=Conv(width=8)), Stage(block=Conv(width=4))))


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float, float], list[Precision]]:
    """Let a step take so many seconds in bfloat16, float32, and float32 without channels_last; what was timed."""

    def install(bfloat16: float, float32: float, contiguous: float) -> list[Precision]:
        asked: list[Precision] = []

        def seconds(network: nn.Module, images: Tensor, precision: Precision) -> float:
            asked.append(precision)
            return bfloat16 if precision.bfloat16 else float32 if precision.channels_last else contiguous

        monkeypatch.setattr(precision, "_seconds_of_a_step", seconds)
        return asked

    return install


def choose(folder: Path, architecture: Architecture = ARCHITECTURE, batch: int = 4, **settings: bool) -> Precision:
    return choose_precision(build(architecture), torch.zeros(batch, 3, 8, 8), folder, **settings)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ((1.0, 2.0, 3.0), "bfloat16, channels_last"),
        ((2.0, 1.0, 3.0), "float32, channels_last"),
        ((3.0, 2.0, 1.0), "float32, contiguous"),
        ((1.0, 0.85, 0.85), "bfloat16, channels_last"),
    ],
)
def test_what_is_clearly_fastest_is_taken(
    timed: Any, seconds: tuple[float, float, float], chosen: str, tmp_path: Path
) -> None:
    timed(*seconds)
    assert str(choose(tmp_path)) == chosen


def test_networks_of_the_same_kinds_of_blocks_are_probed_once(timed: Any, tmp_path: Path) -> None:
    asked = timed(2.0, 1.0, 3.0)
    first = choose(tmp_path)
    timed(1.0, 2.0, 3.0)
    wider = ARCHITECTURE.changed(stages=(Stage(block=Conv(width=16)),))
    assert choose(tmp_path, wider) == first
    assert len(set(asked)) == 3
    asked.clear()
    assert choose(tmp_path) == first
    assert not asked
    assert choose(tmp_path, ARCHITECTURE.changed(stages=(Stage(block=Residual(width=16)),))) != first
    assert choose(tmp_path, batch=64) != first


def test_a_recipe_without_bfloat16_does_not_time_it(timed: Any, tmp_path: Path) -> None:
    asked = timed(1.0, 2.0, 3.0)
    assert not choose(tmp_path, allow_bfloat16=False).bfloat16
    assert {each.bfloat16 for each in asked} == {False}
    assert choose(tmp_path).bfloat16, "the one choice does not stand for the other"


def test_a_damaged_file_counts_as_none_and_a_full_disk_as_a_warning(
    timed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(1.0, 2.0, 3.0)
    choose(tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert choose(tmp_path).bfloat16
    asked = timed(2.0, 1.0, 3.0)
    assert choose(tmp_path).bfloat16
    assert not asked, "it was mended"

    def full(path: Path, data: bytes) -> bool:
        raise OSError(28, "No space left on device")

    timed(1.0, 2.0, 3.0)
    monkeypatch.setattr(precision, "write_new", full)
    with pytest.warns(UserWarning, match="No space left"):
        assert choose(tmp_path / "new").bfloat16


def test_of_two_probes_at_once_the_first_choice_stands(timed: Any, tmp_path: Path) -> None:
    timed(2.0, 1.0, 3.0)
    choose(tmp_path / "other")
    (theirs,) = (tmp_path / "other").iterdir()
    text = theirs.read_bytes()

    def meanwhile(*arguments: Any) -> float:
        (tmp_path / theirs.name).write_bytes(text)
        return 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "_seconds_of_a_step", meanwhile)
        assert not choose(tmp_path).bfloat16


def test_a_real_probe_leaves_the_network_and_the_random_numbers_alone(tmp_path: Path) -> None:
    network = build(ARCHITECTURE.changed(drop_path=0.5))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    choose_precision(network, torch.ones(4, 3, 8, 8), tmp_path)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
