"""Which study names are allowed, and how a resumed study's settings are compared with the stored ones."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from studies.column_types import finite_json
from studies.errors import InvalidName
from studies.records import JSON
from studies.tables import NAME_LENGTH

_INVISIBLE = {"Cc": "a control character", "Cs": "half a surrogate pair", "Zl": "a line break", "Zp": "a line break"}
_BIDIRECTIONAL = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SHOWN_VALUE = 60


def check_name(name: str) -> str:
    """The name itself; raises InvalidName unless it has 1 to 200 characters, all visible, and no blank at its ends."""
    if not name or len(name) > NAME_LENGTH:
        raise InvalidName(f"a study name has 1 to {NAME_LENGTH} characters, not {len(name)}")
    if name != name.strip():
        raise InvalidName(f"study name {name!r} begins or ends with a blank; leave it out")
    for character in name:
        kind = _INVISIBLE.get(unicodedata.category(character))
        if character in _BIDIRECTIONAL:
            kind = "a mark that reverses text"
        if kind is not None:
            raise InvalidName(f"study name {name!r} holds {kind}; use letters, digits and signs that show")
    return name


def differences(stored: Mapping[str, JSON], given: Mapping[str, JSON]) -> dict[str, tuple[str, str]]:
    """The settings that differ, as (stored, given) texts; a nested one is named by its path, such as recipe.epochs."""
    was, now = _flat(stored), _flat(finite_json(given))
    return {
        key: (_shown(was, key), _shown(now, key))
        for key in sorted(was.keys() | now.keys())
        if key not in was or key not in now or was[key] != now[key]
    }


def _flat(settings: Mapping[str, JSON], prefix: str = "") -> dict[str, JSON]:
    flat: dict[str, JSON] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(settings: Mapping[str, JSON], key: str) -> str:
    if key not in settings:
        return "unset"
    text = repr(settings[key])
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 3] + "..."
