"""Errors of the study store that a user can mend; each message is one or two plain lines and holds no password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class StoreError(Exception):
    """The database cannot be used as asked: the message says what was given, what is allowed and what to do."""


class StoreUnavailable(StoreError):
    """The database cannot be reached now, is busy or full; the same call may succeed later."""


class InvalidName(StoreError):
    """A study name that is empty, too long, or holds characters that no terminal shows."""


class StudyMismatch(StoreError):
    """An existing study was made with other settings; `differences` maps a setting to (stored, given).

    `advice` is what to do about them, where that is not to give the same again.
    """

    def __init__(self, name: str, differences: Mapping[str, tuple[str, str]], advice: str = "") -> None:
        self.name = name
        self.differences = dict(differences)
        self.advice = advice
        stored = ", ".join(f"{key}={was}" for key, (was, _) in differences.items())
        given = ", ".join(f"{key}={now}" for key, (_, now) in differences.items())
        super().__init__(
            f"study {name!r} was made with {stored}, now {given}; use another --study name or "
            f"{advice or 'the same settings'}"
        )

    def __reduce__(self) -> tuple[type[StudyMismatch], tuple[str, dict[str, tuple[str, str]], str]]:
        return type(self), (self.name, self.differences, self.advice)


class UnknownStudy(StoreError):
    """No study of this name; the message lists at most ten that exist, the newest first."""


class UnknownTrial(StoreError):
    """No evaluation of this trial number or id; the message says which numbers exist."""


SHOWN_NAMES = 10


def unknown_study(name: str | None, existing: Sequence[str], database: str) -> UnknownStudy:
    """The error for a study that is not there, given all existing names, the newest first."""
    if not existing:
        return UnknownStudy(f"{database} holds no study yet; make one with: nas search")
    shown = ", ".join(repr(other) for other in existing[:SHOWN_NAMES])
    more = f" and {len(existing) - SHOWN_NAMES} more" if len(existing) > SHOWN_NAMES else ""
    return UnknownStudy(f"no study {name!r} in {database}; there are: {shown}{more}")
