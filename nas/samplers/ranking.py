"""Which of many children to try: what a surrogate says, or a free score, if either has proven itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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


def by_score(scores: Scores, results: Sequence[Result]) -> Ranking | None:
    """The free score that ranks the better half of the results best, either way round; None if none does well enough.

    Only the better half counts: a score that knows bad networks from good ones may still mislead among good ones.
    """
    if not results:
        return None
    middle = float(np.median([result.score for result in results]))
    proofs: list[tuple[float, str, float]] = []
    for name in scores(results[-1].params):
        known = [
            (float(result.user_attrs[name]), result.score)
            for result in results
            if result.score >= middle and name in result.user_attrs
        ]
        scored, values = np.array(known, dtype=float).reshape(-1, 2).T
        proofs += [(proven(sign * scored, values), name, sign) for sign in (1.0, -1.0)]
    strength, name, sign = max(proofs, default=(0.0, "", 1.0))
    return (lambda children: sign * np.array([scores(params)[name] for params in children])) if strength else None
