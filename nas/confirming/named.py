"""The winner of a study's last confirmation, as the database knows it."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from nas.errors import NasError
from nas.result import SearchResult
from studies import COMPLETE, ConfirmedTraining


def confirmed_training(result: SearchResult, trial: int | None = None) -> ConfirmedTraining:
    """The winner's training whose weights are kept; a `trial` that is given must be the winner's.

    Raises:
        NasError: the study was not confirmed, or the winner is another trial.
    """
    found = result.store.confirmations.chosen(result.study.id)
    if found is None:
        raise NasError(f"study {result.study.name!r} has no confirmed winner: nas confirm names one")
    if trial not in (None, found.trial_number):
        raise NasError(
            f"the confirmed weights are those of the winner, trial {found.trial_number}, given {trial}: leave out "
            "--trial, or use --weights full"
        )
    return found


def confirmation_facts(result: SearchResult, chosen: ConfirmedTraining) -> dict[str, Any]:
    """What a card says of the winner: how many seeds were trained alike, and their mean validation accuracy."""
    alike = [
        one.val_accuracy
        for one in result.store.confirmations.every(result.study.id)
        if (one.digest, one.recipe, one.fingerprint) == (chosen.digest, chosen.recipe, chosen.fingerprint)
        and one.status == COMPLETE
        and one.val_accuracy is not None
    ]
    return {"seeds": len(alike), "mean_val_accuracy": fmean(alike)}
