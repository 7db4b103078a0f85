"""What an earlier study found best, as the first suggestions of a new one, made to fit its space where that changed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from nas.errors import NasError
from nas.training.seeds import derive_seed
from searchspace.space import Choices, Option, SearchSpace
from studies import StudyStore, leaderboard

TAKEN = 10  # of an earlier study's best


@dataclass(frozen=True)
class Suggestion:
    """Choices to try before the sampler's own, and where they come from."""

    choices: Choices
    origin: str


def warm_starts(
    store: StudyStore, earlier: str, space: SearchSpace, study: str, fingerprint: str, *, forced: bool, seed: int
) -> tuple[Suggestion, ...]:
    """The choices of the best `TAKEN` trials of the study `earlier`, the best first, for `study` on these data.

    Where the space changed, each takes the option nearest to its own, and a random one where it has none.

    Raises:
        StoreError: no such study.
        NasError: it is this study, holds no trial to take, or was of other data, unless `forced`.
    """
    if earlier == study:
        raise NasError(f"a study cannot start from itself: {study!r} resumes by the same command without --warm-start")
    row = store.study(earlier)
    if row.settings.get("data_fingerprint") != fingerprint and not forced:
        raise NasError(
            f"study {earlier!r} was of other images ({row.settings.get('dataset')!r}), on which other networks may be "
            "best: add --force to start from it nevertheless"
        )
    found: dict[tuple[tuple[str, Option], ...], str] = {}
    for number in leaderboard(store, row.id, 4 * TAKEN)["trial"]:
        evaluation = store.evaluation(row.id, int(number))
        if evaluation.choices and evaluation.val_accuracy is not None:
            rng = random.Random(derive_seed(seed, "warm start", int(number)))
            fitted = fit(evaluation.choices, space, rng)
            found.setdefault(tuple(fitted.items()), f"trial {number} of study {earlier!r}")
    if not found:
        raise NasError(f"study {earlier!r} has no trial with choices and a score to start from")
    return tuple(Suggestion(dict(choices), origin) for choices, origin in list(found.items())[:TAKEN])


def fit(choices: Mapping[str, Option], space: SearchSpace, rng: random.Random) -> dict[str, Option]:
    """The choices of this space nearest to those of another."""
    return space.choose(_Near(choices, space, rng))


class _Near:
    """A chooser of the option nearest to what is given, or of any where nothing is."""

    def __init__(self, given: Mapping[str, Option], space: SearchSpace, rng: random.Random) -> None:
        self._given, self._rng = given, rng
        self._dimensions = {dimension.name: dimension for dimension in space.dimensions}

    def suggest_categorical(self, name: str, choices: object, /) -> Option:
        return self._option(name)

    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1) -> int:
        return self._option(name)  # type: ignore[return-value]

    def suggest_float(self, name: str, low: float, high: float, /, *, step: float | None = None) -> float:
        return self._option(name)  # type: ignore[return-value]

    def _option(self, name: str) -> Option:
        dimension, given = self._dimensions[name], self._given.get(name)
        if given is not None and dimension.holds(given):
            return given
        if _is_number(given) and all(map(_is_number, dimension.options)):
            return min(dimension.options, key=lambda option: abs(option - given))  # type: ignore[operator]
        return self._rng.choice(dimension.options)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
