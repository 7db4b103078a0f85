"""A DataFrame as a CSV file that a spreadsheet shows and never runs."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.errors import StoreError

if TYPE_CHECKING:
    from pandas import DataFrame

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(value: Any) -> Any:
    """The value as a CSV cell: what a spreadsheet would take for a formula gets an apostrophe; no carriage returns."""
    if isinstance(value, dict | list):
        value = json.dumps(value, sort_keys=True)
    if not isinstance(value, str):
        return value
    quoted = "'" + value if value.lstrip(" ").startswith(_FORMULA_STARTS) else value
    return quoted.replace("\r\n", "\n").replace("\r", "\n")  # a lone one is a line's end to some readers


def write_csv(frame: DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the frame as UTF-8 CSV with a header line; an existing file is replaced whole or not at all.

    Raises StoreError where the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    # Renaming a file over a device or a pipe would replace that.
    if os.path.exists(target) and not os.path.isfile(target):
        raise StoreError(f"cannot write {target}: it is not a regular file")
    safe = frame.map(safe_cell).rename(columns=safe_cell)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            safe.to_csv(file, index=False, lineterminator="\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
