"""Which of many children to try: what a surrogate says, or a free score, if either has proven itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from nas.samplers.encoding import Encoding, Floats, Params
from nas.samplers.gate import expected_improvement, proven, winsorised
from nas.samplers.history import Result
from nas.samplers.surrogate import Surrogate

Ranking = Callable[[Sequence[Params]], Floats]  # larger is to be preferred
Scores = Callable[[Params], Mapping[str, float]]


@dataclass(frozen=True)
class Belief:
    """A surrogate that has proven itself: how well it ranked results it had not seen, and the ranking it gives."""

    strength: float
    ranking: Ranking


def by_surrogate(
    surrogate: Surrogate,
    results: Sequence[Result],
    pending: Sequence[Params],
    space: Mapping[str, BaseDistribution],
    scores: Mapping[str, BaseDistribution] | None = None,
) -> Belief | None:
    """Expected improvement; None if the surrogate's leave-one-out predictions don't rank the results well enough.

    Pending parameters count as if they came to what is expected of them, so that the next ones go elsewhere.
    """
    encoding = Encoding(space, scores)
    rows = encoding.rows([result.params for result in results])
    values = winsorised(np.array([result.score for result in results]))
    model = surrogate(encoding, rows, values)
    strength = proven(model.left_out, values)
    if not strength:
        return None
    best = float(model.predict(rows)[0].max())
    if pending:
        waiting = encoding.rows(pending)
        believed = np.concatenate([values, model.predict(waiting)[0]])
        model = surrogate(encoding, np.concatenate([rows, waiting]), believed)
    return Belief(strength, lambda children: expected_improvement(*model.predict(encoding.rows(children)), best))


def by_informed_surrogate(
    surrogate: Surrogate,
    scores: Scores,
    results: Sequence[Result],
    pending: Sequence[Params],
    space: Mapping[str, BaseDistribution],
) -> Belief | None:
    """The same with the scores that all results have as parameters more, each on a logarithmic scale if above zero."""
    ranges = _ranges(scores(results[-1].params), results)
    if not ranges:
        return None

    def informed(params: Params, known: Mapping[str, Any]) -> Params:
        values = {name: _finite(known.get(name)) for name in ranges}
        return {**params, **{_column(name): value for name, value in values.items() if value is not None}}

    def scored(many: Sequence[Params]) -> list[Params]:
        return [informed(params, scores(params)) for params in many]

    told = [result._replace(params=informed(result.params, result.user_attrs)) for result in results]
    columns = {_column(name): found for name, found in ranges.items()}
    belief = by_surrogate(surrogate, told, scored(pending), space, columns)
    return None if belief is None else replace(belief, ranking=lambda children: belief.ranking(scored(children)))


def _column(score: str) -> str:
    """Unlike the name of any parameter."""
    return f"score {score}"


def _ranges(names: Iterable[str], results: Sequence[Result]) -> dict[str, BaseDistribution]:
    """For each score that all results have, not all the same, the range that it takes there."""
    found: dict[str, BaseDistribution] = {}
    for name in names:
        values = [value for value in (_finite(result.user_attrs.get(name)) for result in results) if value is not None]
        if len(values) == len(results) and min(values) < max(values):
            found[name] = FloatDistribution(min(values), max(values), log=min(values) > 0)
    return found


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def by_score(scores: Scores, results: Sequence[Result]) -> Ranking:
    """By the free score that ranks the better half of the results best, either way round; all alike if none does well.

    Only the better half counts: a score that knows bad networks from good ones may still mislead among good ones.
    The first child is scored to learn the names, the others only if one of these has proven itself. A child without
    that score is the last choice.
    """

    def worth(children: Sequence[Params]) -> Floats:
        first = scores(children[0])
        strength, name, sign = max(_proofs(first, results), default=(0.0, "", 1.0))
        if not strength:
            return np.zeros(len(children))
        values = [given.get(name, math.nan) for given in (first, *map(scores, children[1:]))]
        return np.nan_to_num(sign * np.array(values, dtype=float), nan=-np.inf, posinf=np.inf, neginf=-np.inf)

    return worth


def _proofs(names: Iterable[str], results: Sequence[Result]) -> list[tuple[float, str, float]]:
    """How well each score ranks the better half of the results that have it: strength, name, and which way round."""
    proofs: list[tuple[float, str, float]] = []
    middle = float(np.median([result.score for result in results]))
    for name in names:
        known = [(result.user_attrs.get(name), result.score) for result in results if result.score >= middle]
        pairs = [pair for pair in known if isinstance(pair[0], int | float) and math.isfinite(pair[0])]
        scored, values = np.array(pairs, dtype=float).reshape(-1, 2).T
        proofs += [(proven(sign * scored, values), name, sign) for sign in (1.0, -1.0)]
    return proofs
