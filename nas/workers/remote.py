"""A network that lies in a worker's memory."""

from __future__ import annotations

import time

from safetensors.torch import load
from torch import Tensor

from nas.workers.messages import SendWeights, Weights
from nas.workers.process import WorkerLost, WorkerProcess

SECONDS = 60.0


class RemoteNetwork:
    """Stands for a trial's network where its state alone is wanted, as long as its worker has no other trial."""

    def __init__(self, worker: WorkerProcess, trial: int) -> None:
        self._worker = worker
        self._trial = trial

    def state_dict(self) -> dict[str, Tensor]:
        """The state, fetched now, on the CPU.

        Raises:
            ConnectionError: it is not to be had any more.
        """
        self._worker.send(SendWeights(self._trial))
        until = time.monotonic() + SECONDS
        try:
            while time.monotonic() < until:
                self._worker.connection.poll(0.1)
                report = self._worker.read()
                if isinstance(report, Weights) and report.trial == self._trial:
                    if report.data is None:
                        break
                    return load(report.data)
        except (WorkerLost, OSError) as lost:
            raise ConnectionError(f"the worker that had them is lost: {lost}") from None
        raise ConnectionError("the worker that had them did not send them")
