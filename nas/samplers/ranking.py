"""Which of many children to try: what a surrogate says, or a free score, if either has proven itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution

from nas.samplers.encoding import Encoding, Floats, Params
from nas.samplers.gate import expected_improvement, proven, winsorised
from nas.samplers.history import Result
from nas.samplers.surrogate import Surrogate

Ranking = Callable[[Sequence[Params]], Floats]  # larger is to be preferred
Scores = Callable[[Params], Mapping[str, float]]


def by_surrogate(
    surrogate: Surrogate,
    results: Sequence[Result],
    pending: Sequence[Params],
    space: Mapping[str, BaseDistribution],
) -> Ranking | None:
    """Expected improvement; None if the surrogate's leave-one-out predictions don't rank the results well enough.

    Pending parameters count as if they came to what is expected of them, so that the next ones go elsewhere.
    """
    encoding = Encoding(space)
    rows = encoding.rows([result.params for result in results])
    values = winsorised(np.array([result.score for result in results]))
    model = surrogate(encoding, rows, values)
    if not proven(model.left_out, values):
        return None
    best = float(model.predict(rows)[0].max())
    if pending:
        waiting = encoding.rows(pending)
        believed = np.concatenate([values, model.predict(waiting)[0]])
        model = surrogate(encoding, np.concatenate([rows, waiting]), believed)
    return lambda children: expected_improvement(*model.predict(encoding.rows(children)), best)


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
