"""How many workers fit: decisions about numbers that others measured."""

from __future__ import annotations

import os
from pathlib import Path

from nas.errors import NasError
from nas.quantities import show_count
from nas.workers.cores import Cores
from nas.workers.messages import DeviceMemory

GIB = 2**30
HOST_MEMORY = GIB  # of a worker and a small trial; the data are shared
CONTEXT_MEMORY = 3 * GIB // 4  # what a CUDA context takes on its device beside all tensors
LEAST_TRIAL = GIB // 2  # on a CUDA device: what the smallest trial is taken to need before one was measured
MARGIN = 1.5  # a trial to come may need so many times what the largest measured one did
MOST_A_DEVICE = 16
MPS_PIPE = "CUDA_MPS_PIPE_DIRECTORY"


def workers_for_cpu(cores: Cores, memory: int | None) -> int:
    """`auto`: a worker for each physical core, as far as the memory reaches."""
    return max(1, min(cores.physical, _by_memory(memory, cores.physical)))


def require_host(workers: int, cores: Cores, memory: int | None) -> None:
    """Refuse more workers than the machine has CPUs and memory for.

    Raises:
        NasError: it says how many fit.
    """
    if workers > cores.most_workers:
        raise NasError(
            f"{workers} workers do not fit: {cores.most_workers} fit, one for each CPU that this process may use; "
            f"ask for at most so many, or for --workers auto"
        )
    fit = max(1, _by_memory(memory, workers))
    if workers > fit:
        raise NasError(
            f"{workers} workers do not fit into the {memory_text(memory or 0)} of memory that are free: {fit} fit, "
            f"at an estimated {memory_text(HOST_MEMORY)} each; ask for at most so many, or for --workers auto"
        )


def _by_memory(memory: int | None, otherwise: int) -> int:
    return otherwise if memory is None else memory // HOST_MEMORY


def fit_on_device(memory: DeviceMemory) -> int:
    """How many workers a device holds by estimate, when the first one has started and trained nothing."""
    return 1 + max(0, memory.free - LEAST_TRIAL) // (CONTEXT_MEMORY + LEAST_TRIAL)


def fit_more(free: int, peak: int, unproven: int) -> int:
    """How many workers fit beside those on a device, of which `unproven` have still to take their memory.

    `peak`: the most bytes that any trial's tensors took so far.
    """
    need = CONTEXT_MEMORY + round(MARGIN * peak)
    return max(0, free // need - unproven)


def memory_text(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB // 10 else f"{show_count(count)} bytes"


def mps_runs(environment: dict[str, str] | None = None, default: Path = Path("/tmp/nvidia-mps")) -> bool:
    """Whether NVIDIA's multi-process service listens, so that kernels of several processes share a device at once."""
    given = (os.environ if environment is None else environment).get(MPS_PIPE)
    return (Path(given or default) / "control").exists()
