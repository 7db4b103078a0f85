"""`nas.confirm`: from a study to a winner that chance did not choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.confirming.contestants import BASELINES, chosen_baselines, leading_trials
from nas.confirming.field import assemble
from nas.confirming.finish import Finish
from nas.confirming.kept import confirmed_folder
from nas.confirming.result import Confirmation
from nas.confirming.run import ConfirmationRun
from nas.confirming.training import FinalTrainer, Trainer
from nas.confirming.watch import Watch
from nas.exporting import data_of
from nas.plugins import load_plugins
from nas.quantities import require_whole
from nas.result import TrialResult, open_study
from nas.training.data import Dataset, default_data_dir
from nas.training.datasets.checks import printable
from nas.training.device import describe_device, pick_device
from nas.training.distributed import refuse_several


def confirm(
    study: str | None = None,
    storage: str = "sqlite:///nas.db",
    *,
    top: int = 5,
    seeds: int = 3,
    epochs: int | None = None,
    baselines: str | Sequence[str] = BASELINES,
    dataset: str | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    watch: Watch | None = None,
    stop: Callable[[], bool] = lambda: False,
    trainer: Callable[[Dataset], Trainer] | None = None,
) -> Confirmation:
    """Train the `top` trials of a study by the final recipe with several seeds; the best mean validation accuracy wins.

    Beside them stand `baselines`: published networks scaled to the first leader's multiply-adds, and `random`, the
    best by the trial recipe of a few networks drawn from the study's space at that cost. All are trained for the same
    epochs with the same seeds on the study's own training split. The test split is measured last, once, on the winner
    and the baselines. Everything is recorded: the same call goes on where it was, and repeats nothing. `trainer`
    replaces the training.

    Raises:
        NasError, StoreError: wrong input, or images that moved or changed.
        RunError: it was interrupted, or no training of a leader completed.
    """
    for name, number in (("top", top), ("seeds", seeds), ("epochs", 1 if epochs is None else epochs)):
        require_whole(name, number)
    refuse_several("nas confirm", "start it once")
    load_plugins()
    names = chosen_baselines(baselines)
    watch = watch or Watch()
    result = open_study(storage, study)
    trials = leading_trials(result, top)
    place = Path(data_dir) if data_dir is not None else default_data_dir()
    target = pick_device(device)
    data = data_of(trials[0], place, dataset).to(target)
    test = data.read_test()  # a damaged image is found before the training; it is measured after all of it
    run = ConfirmationRun(
        store=result.store,
        study_id=result.study.id,
        trainer=FinalTrainer(data, test, place, watch.note, watch.epoch, stop) if trainer is None else trainer(data),
        origin=_origin(trials[0]),
        fingerprint=data.fingerprint,
        device=describe_device(target),
        weights=confirmed_folder(result.store, place, result.study.id),
        watch=watch,
        stop=stop,
    )
    field = assemble(result, trials, data, names, explicit=tuple(names) != BASELINES)
    return Finish(run, field, result, top, seeds, epochs, data, None if test is None else len(test)).confirmation()


def _origin(trial: TrialResult) -> dict[str, Any]:
    """What the data were made from; not where they lie, nor what they are called there, which may change."""
    origin = trial.evaluation.recipe["data"]
    recorded = Path(origin["dataset"])
    name = recorded.stem if recorded.suffix.lower() == ".npz" else recorded.name
    return {**origin, "dataset": printable(name)}
