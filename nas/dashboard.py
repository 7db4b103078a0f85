"""optuna-dashboard on the study's database, with pictures of the networks and notes that say how to export them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.pictures import TrialPictures, picture_attribute
from nas.plugins import load_plugins
from nas.study import EVALUATION, LINK, optuna_storage
from nas.terminal import say, word
from nas.training.data import default_data_dir
from studies import StudyStore

if TYPE_CHECKING:
    import optuna


def serve(storage: str, port: int, modules: tuple[str, ...] = ()) -> None:
    """Serve until Ctrl-C, on loopback: the dashboard has no login and can delete studies.

    `modules` are imported first: they make known the blocks that pictures of networks need.

    Raises:
        NasError: optuna-dashboard is not installed, or the port is taken.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from optuna_dashboard import run_server
    except ImportError:
        raise NasError("the dashboard is an extra: pip install optuna-dashboard") from None
    load_plugins(modules)
    store = StudyStore(storage, create=False)
    backend = optuna_storage(store)
    annotate(store, backend)
    say(f"dashboard of {store.url_for_display} on http://127.0.0.1:{port}/ (Ctrl-C ends it)")
    try:
        run_server(backend, host="127.0.0.1", port=port, artifact_store=TrialPictures(store, default_data_dir()))
    except OSError as error:
        raise NasError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another --port") from None


def annotate(store: StudyStore, backend: optuna.storages.BaseStorage) -> None:
    """Give every study of nas and each of its trained trials a note: the commands that go on from it, its picture.

    A note that is there stays: it may be a person's.
    """
    import optuna
    from optuna_dashboard import get_note, save_note

    for summary in optuna.get_all_study_summaries(backend):
        if LINK not in summary.user_attrs:
            continue
        name = summary.study_name
        study = optuna.load_study(study_name=name, storage=backend)
        place = f"--storage {word(store.url_for_display)} --study {word(name)}"
        if not get_note(study):
            save_note(
                study,
                f"Made by `nas search`. Rank: `nas rank {place}`. Export: `nas export {place} --out exports/best`.",
            )
        for frozen in study.get_trials(deepcopy=False):
            trial = optuna.trial.Trial(study, frozen._trial_id)
            if EVALUATION not in frozen.user_attrs or get_note(trial):
                continue
            commands = (
                f"Show: `nas show {frozen.number} {place}`. Export: `nas export --trial {frozen.number} {place}`."
            )
            save_note(trial, commands + _picture(trial, frozen.user_attrs[EVALUATION], backend))


def _picture(trial: optuna.Trial, evaluation_id: str, backend: optuna.storages.BaseStorage) -> str:
    """Markdown that shows the trial's picture at its full size; nothing for a trial of an earlier version."""
    from optuna_dashboard.artifact import get_artifact_path

    name, _ = picture_attribute(evaluation_id)
    if name not in backend.get_trial_system_attrs(trial._trial_id):
        return ""
    return f"\n\n![the network, stage by stage]({get_artifact_path(trial, evaluation_id)})"
