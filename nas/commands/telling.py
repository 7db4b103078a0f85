"""What several commands say alike: epochs, costs, trials, tables; and how signals end them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nas.errors import RunError
from nas.quantities import show_count, show_duration
from nas.result import TrialResult
from nas.stop import StopSignal
from nas.terminal import fail, say
from nas.training.score import EpochScore


def epoch_line(score: EpochScore, epochs: int) -> None:
    say(
        f"epoch {score.epoch}/{epochs}: validation accuracy {score.val_accuracy:.2%}, loss {score.train_loss:.3f}, "
        f"{score.images_per_second:.0f} images/s, about {show_duration(score.seconds * (epochs - score.epoch))} left"
    )


@contextmanager
def interruptible() -> Iterator[StopSignal]:
    """A stop that listens for signals; a run that one of them ended exits as the shell expects: 130, 143."""
    with StopSignal() as stop:
        try:
            yield stop
        except RunError as error:
            if stop.signal is not None:
                fail(str(error), 128 + stop.signal)
            raise


def cost_line(cost: Any) -> str:
    return f"{show_count(cost.params)} params, {show_count(cost.macs)} MACs, {show_count(cost.activations)} activations"


def trial_document(trial: TrialResult) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "status": trial.status,
        "val_accuracy": trial.val_accuracy,
        **dataclasses.asdict(trial.cost),
        "latency_ms": trial.evaluation.latency_ms,
        "epochs": trial.evaluation.epochs,
        "seconds": trial.evaluation.seconds,
        "reason": trial.evaluation.reason,
        "digest": trial.evaluation.digest,
        "architecture": trial.architecture.model_dump(mode="json"),
        "base": trial.base.model_dump(mode="json"),
    }


def columns(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[2:-1], widths[2:], strict=True)]
        lines.append("  ".join([*left, *right, row[-1]]).rstrip())
    return "\n".join(lines)
