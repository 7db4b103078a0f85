"""The architectures that a search starts from: its first trials, before the sampler's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.architectures import TRIAL, find_architecture, form_line, form_of, suited
from nas.draws import Proposal
from nas.errors import NasError
from nas.limits import Limits
from nas.training.data import Dataset
from searchspace import Architecture, ArchitectureError, cost
from studies import StudyStore

Given = str | Architecture


@dataclass(frozen=True)
class Start:
    """An architecture to begin with, under the name that a person gave it."""

    name: str
    proposal: Proposal

    @property
    def digest(self) -> str:
        return self.proposal.architecture.digest

    @property
    def note(self) -> str | None:
        """What a person is told of it, if there is something."""
        adapted = form_of(self.name, self.proposal.architecture) == "cifar"
        return form_line(self.proposal.architecture) if adapted else None


def named(start_from: str | Sequence[Given]) -> tuple[tuple[Given, Architecture | None], ...]:
    """What a person gave, names also as one text with commas, each with its architecture; a trial's comes later.

    Raises:
        NasError, ArchitectureError: nothing of this name, or a damaged file.
    """
    if isinstance(start_from, str):
        start_from = [name.strip() for name in start_from.split(",")] if start_from else ()
    return tuple((what, _found(what)) for what in start_from)


def _found(what: Given) -> Architecture | None:
    if isinstance(what, Architecture):
        return what
    if not isinstance(what, str) or not what:
        given = "an empty name" if what == "" else type(what).__name__
        raise NasError(f"a search starts from names and Architectures, given {given}")
    return None if what.startswith(TRIAL) else find_architecture(what)


def starts(
    found: Sequence[tuple[Given, Architecture | None]],
    data: Dataset,
    limits: Limits,
    store: StudyStore | None,
    study: str,
) -> tuple[Start, ...]:
    """The found architectures for these data.

    `trial:17` is a trial of the newest study beside the one that starts, so that the same command resumes it.

    Raises:
        NasError: one is over the limits, does not fit the data, or there is no such trial.
    """
    return tuple(
        _start(what, architecture or _trial(str(what), store, study), data, limits) for what, architecture in found
    )


def _start(what: Given, architecture: Architecture, data: Dataset, limits: Limits) -> Start:
    name = what if isinstance(what, str) else what.name or what.digest[:12]
    try:
        architecture = suited(what, architecture, data)
        counted = cost(architecture)
    except ArchitectureError as error:
        raise NasError(f"cannot start from {name!r}: {error}") from None
    if not limits.allow(counted):
        raise NasError(f"cannot start from {name!r}: {'; '.join(limits.violations(counted))}")
    return Start(name, Proposal({}, architecture, architecture, counted))


def _trial(name: str, store: StudyStore | None, study: str) -> Architecture:
    others = [] if store is None else [other for other in store.studies()["name"] if other != study]
    if store is None or not others:
        raise NasError(f"cannot start from {name!r}: the database has no study beside {study!r}")
    return find_architecture(name, store.url.render_as_string(hide_password=False), others[0])
