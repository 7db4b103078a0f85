"""`nas.forecast`: what a search would meet and take, without recording anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.asked import Asked
from nas.foresight.forecasting import THOROUGH
from nas.foresight.outlook import Forecast
from nas.objectives import ACCURACY
from nas.plan import Plan
from searchspace.architecture import Architecture
from studies import StudyStore, database_exists


def forecast(
    dataset: str = "cifar10",
    *,
    budget: int = 50,
    time_limit: str | float | None = None,
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
    space: str | None = None,
    start_from: str | Sequence[str | Architecture] = (),
    warm_start: str | None = None,
    force: bool = False,
    objective: str = ACCURACY,
    sampler: str = "evolution",
    pruner: str = "rungs",
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 128,
    optimizer: str = "muon",
    schedule: str = "one_cycle",
    learning_rate: float | None = None,
    label_smoothing: float = 0.1,
    max_params: str | int | None = None,
    max_macs: str | int | None = None,
    max_activations: str | int | None = None,
    max_memory: str | int | None = None,
    max_latency: str | float | None = None,
    limit_train: int | None = None,
    resolution: int | None = None,
    device: str = "auto",
    workers: int | str = 1,
    data_dir: str | Path | None = None,
) -> Forecast:
    """What `nas.search` with the same arguments would meet and take: half a minute at most, and nothing is recorded.

    A few hundred networks are drawn and counted, and some of them trained for a few steps. A study that has trials
    tells the time by them. A database that is not there is not made.

    Raises:
        NasError, StoreError: wrong input, as `nas.search` refuses it.
    """
    asked = Asked.of(locals()).check()
    store = StudyStore(storage, create=False) if database_exists(storage) else None
    plan = Plan.of(asked, store)
    return plan.foresee(plan.data.to(asked.place), timed=True, effort=THOROUGH)
