"""Suggestions that a new study begins with, put into Optuna's queue once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import optuna

from nas.one_commit import one_commit

Queued = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Choices, and what their trial's user attributes say of them."""


def enqueue_once(study: optuna.Study, name: str, suggest: Callable[[], Iterable[Queued]]) -> int:
    """Queue what `suggest` returns unless this was done for `name` before; how many were queued.

    The mark that it was done and the queue are written in one transaction, so that a process that dies leaves all or
    nothing. A study that has finished trials is past its beginning.
    """
    mark = f"queued_{name}"
    if mark in study.user_attrs or any(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)):
        return 0
    queued = list(suggest())
    with one_commit(study._storage):
        if mark in study.user_attrs:  # another process was faster
            return 0
        study.set_user_attr(mark, len(queued))
        for choices, attributes in queued:
            study.enqueue_trial(dict(choices), user_attrs=dict(attributes))
    return len(queued)
