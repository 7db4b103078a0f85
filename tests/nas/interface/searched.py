"""A study that the tests of this folder read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEARCH = ("--epochs", "2", "--limit-train", "300", "--dataset", "digits")


@dataclass(frozen=True)
class Searched:
    """A study on digits, and the document that `nas search --json` printed."""

    folder: Path
    storage: str
    document: dict[str, Any]

    @property
    def best(self) -> int:
        return self.document["best"]["trial"]
