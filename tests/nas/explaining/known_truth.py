"""Studies whose truth is known: what the first stage's family is decides the accuracy, all else is noise."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from nas.explaining.evidence import Evidence, Scored
from nas.explaining.levels import adjusted
from studies import COMPLETE, PRUNED, Study

WORTH = {"residual": 0.10, "conv": 0.0, "dense": -0.10}
ENDS = (3, 10)  # of a rung after 3 epochs and of all 10


def choices(rng: random.Random) -> dict[str, Any]:
    drawn: dict[str, Any] = {
        "stage1/family": rng.choice(list(WORTH)),
        "stage1/width": rng.choice([8, 16, 32]),
        "stage2/family": rng.choice(list(WORTH)),
        "stage2/width": rng.choice([16, 32, 48]),
        "activation": rng.choice(["relu", "silu"]),
        "scaling/phi": rng.choice([0.0, 0.5]),
    }
    if drawn["scaling/phi"]:
        drawn["scaling/law"] = rng.choice(["depth", "width"])
    return drawn


def known_study(count: int = 90, *, noise: float = 0.01, luck: float = 0.01, seed: int = 0) -> Evidence:
    """`count` trials; those above the middle after the rung went on. `jacov` is the truth, `zen` is noise."""
    rng = random.Random(seed)
    drawn = [choices(rng) for _ in range(count)]
    truth = [0.5 + WORTH[each["stage1/family"]] + rng.gauss(0, noise) for each in drawn]
    early = [value + rng.gauss(0, luck) for value in truth]
    middle = sorted(early)[count // 2]
    scores = [
        {3: first} | ({10: value + 0.25 + rng.gauss(0, luck)} if first >= middle else {})
        for value, first in zip(truth, early, strict=True)
    ]
    measures = [{"params": rng.uniform(1e4, 1e5), "macs": rng.uniform(1e6, 1e7), "activations": 1e5} for _ in drawn]
    measures = [
        each | {"jacov": 1000 * value, "zen": rng.random()} for each, value in zip(measures, truth, strict=True)
    ]
    trials = tuple(
        Scored(number, COMPLETE if 10 in of_trial else PRUNED, drawn[number], measures[number], of_trial, quality)
        for number, (of_trial, quality) in enumerate(zip(scores, adjusted(scores), strict=True))
    )
    study = Study("id", "known", {"space": "test"}, datetime(2026, 1, 2, tzinfo=UTC))
    return Evidence(study, trials, ENDS, True, {}, {}, pd.DataFrame())
