"""Column types that mean the same on SQLite, PostgreSQL and MySQL, and the cleaning of values on their way in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text, TypeDecorator
from sqlalchemy.dialects import mysql

from studies.records import JSON


def long_text() -> Text:
    """Text without a length limit; MySQL's plain TEXT ends at 64 KiB."""
    return Text().with_variant(mysql.LONGTEXT(), "mysql")


class JsonText(TypeDecorator[Any]):
    """JSON as ASCII text with sorted keys, so that equal values are equal text; non-finite numbers become null."""

    impl = long_text()
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(finite_json(value), sort_keys=True, allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment to the microsecond, stored as UTC without a zone and read back as aware UTC."""

    impl = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def finite(value: float | None) -> float | None:
    """The value as a float, or None where it is NaN or infinite: no database agrees with another on those."""
    return None if value is None or not math.isfinite(value) else float(value)


def finite_json(value: JSON) -> JSON:
    """The value as `json` would read it back: tuples as lists, string keys, non-finite numbers as None."""
    if isinstance(value, float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(key): finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return value


def clean_text(text: str | None, limit: int = 4000) -> str | None:
    """The text in `limit` characters, without NUL and lone surrogates, which PostgreSQL refuses."""
    if text is None:
        return None
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")[:limit]
