"""A step of a training, replayed as one CUDA graph where there is CUDA: a launch instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from nas.training.out_of_memory import is_out_of_memory

WARM_UP = 3  # steps before the capture: torch's kernels and the optimizer's moments are made in the first ones

AUTOTUNED = 1000  # steps that are long enough for cudnn to look for its fastest algorithms first; not measured yet

Step = Callable[..., None]


class Recorder(Protocol):
    """What can run a call once to warm up, and record another for replays; `CudaGraphs`, or a test's fake."""

    def warm_up(self, call: Callable[[], None]) -> None: ...

    def record(self, call: Callable[[], None]) -> Callable[[], None]:
        """Record without running it; what is returned runs it."""
        ...


class CapturedStep:
    """Calls `step` with tensors of the same shapes each time; with a recorder all but the first calls are replays.

    The first `WARM_UP` calls run as they are, and count as any other. A step that cannot be recorded, because it waits
    for the device for example, goes on as it is after `reset`; `refused` says why. Recording computes nothing, so what
    it left in gradients before it failed must not be added to.
    """

    def __init__(self, step: Step, recorder: Recorder | None, reset: Callable[[], None] = lambda: None) -> None:
        self.refused: str | None = None
        self.replay: Callable[[], None] | None = None
        self._step = step
        self._reset = reset
        self._recorder = recorder
        self._calls = 0
        self._inputs: tuple[Tensor, ...] = ()

    def __call__(self, *given: Tensor) -> None:
        if self._recorder is None:
            self._step(*given)
        elif self._calls < WARM_UP:
            self._calls += 1
            self._recorder.warm_up(lambda: self._step(*given))
        elif self.replay is None and not self._record(given):
            self._step(*given)
        else:
            for mine, theirs in zip(self._inputs, given, strict=True):
                mine.copy_(theirs, non_blocking=True)
            assert self.replay is not None
            self.replay()

    def __str__(self) -> str:
        """What is to be said of it behind a comma; nothing where nothing could be recorded."""
        if self.refused is not None:
            return f", step by step: {self.refused}"
        return ", CUDA graph" if self.replay else ""

    def _record(self, given: tuple[Tensor, ...]) -> bool:
        """Whether it was recorded; otherwise nobody tries again."""
        assert self._recorder is not None
        self._inputs = tuple(tensor.clone() for tensor in given)
        try:
            self.replay = self._recorder.record(lambda: self._step(*self._inputs))
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self.refused = str(error).strip().splitlines()[0]
            self._recorder, self._inputs = None, ()
            self._reset()
            return False
        return True


class CudaGraphs:
    """Records on a stream of its own, as torch.cuda.CUDAGraph asks for; a replay is one launch (torch's CUDA notes).

    `autotune` lets cudnn time its algorithms for each convolution at the first call.
    """

    def __init__(self, device: torch.device, *, autotune: bool) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._autotune = autotune

    def warm_up(self, call: Callable[[], None]) -> None:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream), self._flags():
            call()
        current.wait_stream(self._stream)

    def record(self, call: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # Other threads of a program may use CUDA meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"), self._flags():
            call()
        return graph.replay

    def _flags(self) -> AbstractContextManager[None]:
        return torch.backends.cudnn.flags(enabled=True, benchmark=self._autotune, allow_tf32=True)


def recorder_of(device: torch.device, steps: int) -> Recorder | None:
    """What records a step that is taken so often; None where steps are not recorded."""
    return CudaGraphs(device, autotune=steps >= AUTOTUNED) if device.type == "cuda" else None
