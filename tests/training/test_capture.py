"""A step that is recorded once and replayed gives what the same step gives each time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nas.training.capture import WARM_UP, CapturedStep
from nas.training.data import load_dataset
from nas.training.loop import train
from nas.training.recipe import Recipe
from searchspace import Architecture, Stage, build
from searchspace.blocks import Conv, Dense, MBConv, Residual


class Fake:
    """Records as CUDA graphs do: the call is not run, and each replay runs it on the tensors it was recorded with."""

    def __init__(self, error: Exception | None = None) -> None:
        self.warm_ups = self.replays = 0
        self.error = error

    def warm_up(self, call: Callable[[], None]) -> None:
        self.warm_ups += 1
        call()

    def record(self, call: Callable[[], None]) -> Callable[[], None]:
        if self.error is not None:
            raise self.error

        def replay() -> None:
            self.replays += 1
            call()

        return replay


def sums(step: CapturedStep, seen: list[float], calls: int) -> list[float]:
    for number in range(calls):
        step(torch.tensor([float(number)]))
    return seen


def summing(recorder: Fake | None) -> tuple[CapturedStep, list[float]]:
    seen: list[float] = []
    return CapturedStep(lambda given: seen.append(given.item()), recorder), seen


def test_every_call_counts_once_whether_it_warms_up_or_is_replayed() -> None:
    recorder = Fake()
    step, seen = summing(recorder)
    assert sums(step, seen, WARM_UP + 4) == [float(number) for number in range(WARM_UP + 4)]
    assert (recorder.warm_ups, recorder.replays) == (WARM_UP, 4)
    assert str(step) == ", CUDA graph"


def test_a_step_that_cannot_be_recorded_goes_on_and_says_why() -> None:
    recorder = Fake(RuntimeError("operation not permitted when stream is capturing\nat some place"))
    step, seen = summing(recorder)
    assert sums(step, seen, WARM_UP + 4) == [float(number) for number in range(WARM_UP + 4)]
    assert recorder.replays == 0
    assert str(step) == ", step by step: operation not permitted when stream is capturing"


def test_what_a_failed_recording_left_in_gradients_is_not_added_to() -> None:
    weight = torch.ones(1, requires_grad=True)
    seen: list[float] = []

    class Half(Fake):
        """Fails within the step, when its gradients are there and were never computed."""

        def record(self, call: Callable[[], None]) -> Callable[[], None]:
            weight.grad = torch.full((1,), 100.0)
            raise RuntimeError("operation not permitted when stream is capturing")

    def call(given: torch.Tensor) -> None:
        (weight * given).sum().backward()
        assert weight.grad is not None
        seen.append(weight.grad.item())
        weight.grad = None

    def reset() -> None:
        weight.grad = None

    step = CapturedStep(call, Half(), reset)
    for _ in range(WARM_UP + 2):
        step(torch.ones(1))
    assert seen == [1.0] * (WARM_UP + 2)


def test_a_lack_of_memory_is_no_reason_to_go_on() -> None:
    step, seen = summing(Fake(torch.OutOfMemoryError("CUDA out of memory.")))
    sums(step, seen, WARM_UP)
    with pytest.raises(torch.OutOfMemoryError):
        step(torch.zeros(1))


def test_without_a_recorder_the_step_is_called() -> None:
    step, seen = summing(None)
    assert sums(step, seen, 2) == [0.0, 1.0]
    assert str(step) == ""


@pytest.mark.gpu
@pytest.mark.parametrize("block", [Conv(width=8), Residual(width=8), Dense(growth_rate=4), MBConv(width=8)])
def test_a_training_in_a_cuda_graph_gives_what_it_gives_step_by_step(
    block: Conv | Residual | Dense | MBConv, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_dataset("digits").to("cuda")
    architecture = Architecture(channels=1, resolution=8, stages=(Stage(block=block, depth=2),))

    def trained() -> tuple[str, dict[str, Tensor]]:
        torch.manual_seed(0)
        network = build(architecture, device="cuda")
        recipe = Recipe(epochs=2, batch_size=64, bfloat16=False)
        scores = list(train(network, data, recipe, seed=0, resolution=8))
        return scores[-1].execution, network.state_dict()

    execution, captured = trained()
    assert "CUDA graph" in execution
    monkeypatch.setattr("nas.training.loop.recorder_of", lambda device, steps: None)
    execution, eager = trained()
    assert "CUDA graph" not in execution
    for name, value in captured.items():
        torch.testing.assert_close(value, eager[name], rtol=1e-2, atol=1e-2)
