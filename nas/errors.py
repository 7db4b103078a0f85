"""Errors a user can mend; the command line prints them in one or two lines and exits with 2."""

from __future__ import annotations


class NasError(Exception):
    """Wrong input: the message says what was given, what is allowed and what to do."""


class DataError(NasError):
    """A dataset that cannot be read, or that cannot be trained on."""


class BundleError(NasError):
    """An exported network that is damaged, foreign or does not fit its architecture."""


class RunError(Exception):
    """A run that started and failed: the command line exits with 1."""


class Unfinished(RunError):
    """A training that ended early for what may pass; the same command goes on from its checkpoint."""
