"""Latency is measured, on the network as it is, and leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nas.errors import NasError
from nas.training import latency
from nas.training.latency import measure_latency


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_median_spread_batch_runs_and_device_are_told(network: nn.Module) -> None:
    measured = measure_latency(network, (3, 8, 8), batch_size=2, runs=5, warmup=1)
    assert measured.median_ms > 0
    assert measured.spread_ms >= 0
    assert (measured.batch_size, measured.runs) == (2, 5)
    assert measured.device.startswith("cpu ")


def test_median_and_spread_are_those_of_the_runs_after_the_warm_up(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = [0.0]  # the run to warm up begins, and is not timed
    for lasts in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0):
        moments += [100.0, 100.0 + lasts]
    clock = iter(moments)
    monkeypatch.setattr(latency, "_now", lambda device: next(clock))
    measured = measure_latency(network, (3, 8, 8), runs=7, warmup=1)
    assert measured.median_ms == pytest.approx(4000)
    assert measured.spread_ms == pytest.approx(4000)


def test_mode_statistics_and_random_numbers_are_left_alone(network: nn.Sequential) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    measure_latency(network.train(), (3, 8, 8), runs=2)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("counts", [{"runs": 1}, {"runs": 0}, {"batch_size": 0}])
def test_too_few_runs_or_images_are_refused(network: nn.Module, counts: dict[str, int]) -> None:
    with pytest.raises(NasError, match="2 runs or more"):
        measure_latency(network, (3, 8, 8), **counts)
