"""Bundles that are damaged, foreign or hostile, each made from a good one."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

WEIGHTS, CARD, ARCHITECTURE, CONFIG = "model.safetensors", "card.json", "architecture.json", "config.json"


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def sign(bundle: Path) -> None:
    """Make the card's hashes right again, as an attacker would."""
    card = json.loads((bundle / CARD).read_text())
    for file, key in ((ARCHITECTURE, "architecture_sha256"), (WEIGHTS, "weights_sha256")):
        card[key] = hashlib.sha256((bundle / file).read_bytes()).hexdigest()
    (bundle / CARD).write_text(json.dumps(card))


def tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    """Change the tensors and sign anew: nothing but the checks against the architecture can notice."""

    def damage(bundle: Path) -> None:
        state = load_file(bundle / WEIGHTS)
        change(state)
        (bundle / WEIGHTS).write_bytes(save({name: tensor.contiguous() for name, tensor in state.items()}))
        sign(bundle)

    return damage


def header(change: Callable[[dict[str, Any]], Any], *, pad: int = 0) -> Callable[[Path], None]:
    """Change the JSON header of the weights and sign anew."""

    def damage(bundle: Path) -> None:
        data = (bundle / WEIGHTS).read_bytes()
        size = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8 : 8 + size])
        changed = change(entries)
        text = changed if isinstance(changed, bytes) else json.dumps(entries if changed is None else changed).encode()
        text += b" " * pad
        (bundle / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
        sign(bundle)

    return damage


def card(**fields: Any) -> Callable[[Path], None]:
    """Set fields of the card."""

    def damage(bundle: Path) -> None:
        found = json.loads((bundle / CARD).read_text())
        (bundle / CARD).write_text(json.dumps(found | fields))

    return damage


def text(file: str, make: Callable[[str], str | bytes]) -> Callable[[Path], None]:
    """Replace a file's text by what `make` makes of it, and sign anew if that is still possible."""

    def damage(bundle: Path) -> None:
        made = make((bundle / file).read_text())
        (bundle / file).write_bytes(made if isinstance(made, bytes) else made.encode())
        if file != CARD:
            sign(bundle)

    return damage


def _first(state: dict[str, torch.Tensor]) -> str:
    return next(name for name, tensor in state.items() if tensor.ndim == 4)


def _rename(state: dict[str, torch.Tensor]) -> None:
    state["stranger"] = state.pop(_first(state))


def _overlap(entries: dict[str, Any]) -> None:
    """Two tensors of one size on the same bytes."""
    by_size: dict[int, str] = {}
    for name, entry in entries.items():
        begin, end = entry["data_offsets"]
        if (end - begin) in by_size:
            entry["data_offsets"] = entries[by_size[end - begin]]["data_offsets"]
            return
        by_size[end - begin] = name
    raise AssertionError("no two tensors of one size")


def _weights(make: Callable[[Path], bytes]) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        (bundle / WEIGHTS).write_bytes(make(bundle))
        sign(bundle)

    return damage


def _zip(bundle: Path) -> bytes:
    with zipfile.ZipFile(bundle / "zip", "w") as file:
        file.write(bundle / WEIGHTS, "archive/data.pkl")
    return (bundle / "zip").read_bytes()


def _torch_file(bundle: Path) -> bytes:
    torch.save(load_file(bundle / WEIGHTS), bundle / "pt")
    return (bundle / "pt").read_bytes()


def _many_params(content: str) -> str:
    found = json.loads(content)
    conv = {"kind": "conv", "width": 65536, "kernel_size": 31}
    found["stages"] = [{"block": conv, "depth": 1000 - 60}]
    return json.dumps(found)


def _twice(entries: dict[str, Any]) -> bytes:
    name, entry = json.dumps(next(iter(entries))), json.dumps(next(iter(entries.values())))
    return f"{{{name}: {entry}, {json.dumps(entries)[1:]}".encode()


def _first_value(entries: dict[str, Any], **fields: Any) -> None:
    next(iter(entries.values())).update(fields)


def _repeat_key(content: str) -> str:
    return content.replace('"version"', '"version": 1, "version"', 1)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "renamed tensor": tensors(_rename),
    "missing tensor": tensors(lambda state: state.pop(_first(state))),
    "extra tensor": tensors(lambda state: state.update(extra=torch.zeros(3))),
    "other shape": tensors(lambda state: state.update({_first(state): state[_first(state)][:1]})),
    "flattened": tensors(lambda state: state.update({_first(state): state[_first(state)].flatten()})),
    "other dtype": tensors(lambda state: state.update({_first(state): state[_first(state)].double()})),
    "half precision": tensors(lambda state: state.update({_first(state): state[_first(state)].half()})),
    "NaN weight": tensors(lambda state: state[_first(state)].view(-1)[0].fill_(float("nan"))),
    "infinite weight": tensors(lambda state: state[_first(state)].view(-1)[0].fill_(float("inf"))),
    "pickle": _weights(lambda bundle: pickle.dumps(Canary(bundle / "canary"))),
    "pickle from torch": _weights(_torch_file),
    "zip": _weights(_zip),
    "empty weights": _weights(lambda bundle: b""),
    "seven bytes": _weights(lambda bundle: b"\0" * 7),
    "zeros": _weights(lambda bundle: bytes((bundle / WEIGHTS).stat().st_size)),
    "header of 2^63 bytes": _weights(lambda bundle: (2**63).to_bytes(8, "little") + b"{}"),
    "header of 2^64-1 bytes": _weights(lambda bundle: b"\xff" * 8 + b"{}"),
    "header of 100 MB": header(lambda entries: None, pad=100_000_000),
    "header of 10 MB of spaces": header(lambda entries: None, pad=10_000_000),
    "header is a list": header(lambda entries: []),
    "header is null": header(lambda entries: b"null"),
    "header is no UTF-8": header(lambda entries: b"\xff\xfe{}"),
    "header is deep": header(lambda entries: b"[" * 200_000),
    "header is a deep object": header(lambda entries: b'{"a":' * 200_000),
    "header with a huge number": header(lambda entries: b'{"a": {"dtype": "F32", "shape": [' + b"9" * 10**5 + b"]}}"),
    "header with NaN": header(lambda entries: _first_value(entries, shape=[float("nan")])),
    "header with a key twice": header(_twice),
    "header entry is a number": header(lambda entries: {"a": 1}),
    "dtype is a list": header(lambda entries: _first_value(entries, dtype=["F32"])),
    "dtype is unknown": header(lambda entries: _first_value(entries, dtype="F99")),
    "shape is text": header(lambda entries: _first_value(entries, shape="wide")),
    "shape is true": header(lambda entries: _first_value(entries, shape=[True])),
    "no offsets": header(lambda entries: next(iter(entries.values())).pop("data_offsets") and None),
    "offsets beyond the end": header(lambda entries: _first_value(entries, data_offsets=[0, 10**12])),
    "negative offsets": header(lambda entries: _first_value(entries, data_offsets=[-8, 0])),
    "overlapping tensors": header(_overlap),
    "a million tensors": header(
        lambda entries: {str(n): {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(200_000)}
    ),
    "trailing bytes": lambda bundle: (_append(bundle / WEIGHTS, bytes(1000)), sign(bundle))[0],
    "a gigabyte of weights": lambda bundle: _sparse(bundle / WEIGHTS, 1 << 30),
    "a gigabyte of card": lambda bundle: _sparse(bundle / CARD, 1 << 30),
    "a gigabyte of architecture": lambda bundle: _sparse(bundle / ARCHITECTURE, 1 << 30),
    "no weights": lambda bundle: (bundle / WEIGHTS).unlink(),
    "no card": lambda bundle: (bundle / CARD).unlink(),
    "no architecture": lambda bundle: (bundle / ARCHITECTURE).unlink(),
    "weights are a folder": lambda bundle: ((bundle / WEIGHTS).unlink(), (bundle / WEIGHTS).mkdir())[0],
    "weights are a link": lambda bundle: _link(bundle / WEIGHTS),
    "card is a link": lambda bundle: _link(bundle / CARD),
    "architecture is /dev/zero": lambda bundle: _replace_by_link(bundle / ARCHITECTURE, Path("/dev/zero")),
    "weights are /dev/zero": lambda bundle: _replace_by_link(bundle / WEIGHTS, Path("/dev/zero")),
    "card is a pipe": lambda bundle: _pipe(bundle / CARD),
    "card is empty": text(CARD, lambda content: ""),
    "card is no JSON": text(CARD, lambda content: "{" + content),
    "card is a list": text(CARD, lambda content: f"[{content}]"),
    "card is no UTF-8": text(CARD, lambda content: b"\xff" + content.encode()),
    "card is deep": text(CARD, lambda content: "[" * 200_000),
    "card with deep facts": text(CARD, lambda content: content.replace("{", '{"recipe": ' + '{"a":' * 5000 + "1", 1)),
    "card with NaN": text(CARD, lambda content: content.replace('"params": ', '"params": NaN, "x": ', 1)),
    "card with infinite mean": card(mean=[float("inf")]),
    "card with a key twice": text(CARD, _repeat_key),
    "card with an unknown field": card(surprise=1),
    "card with a huge number": text(CARD, lambda content: content.replace('"params": ', '"params": ' + "9" * 10**5, 1)),
    "card of another version": card(version=2),
    "card without classes": card(classes=[]),
    "card with other classes": card(classes=["a", "b", "c"]),
    "card with equal classes": card(classes=["a"] * 10),
    "card with unprintable classes": card(classes=[f"\x1b[31m{n}" for n in range(10)]),
    "card with numbers for classes": card(classes=list(range(10))),
    "card with std of zero": card(std=[0.0]),
    "card with negative std": card(std=[-1.0]),
    "card with tiny std": card(std=[1e-320]),
    "card with mean of three": card(mean=[0.5, 0.5, 0.5]),
    "card with huge mean": card(mean=[1e300]),
    "card with a short hash": card(weights_sha256="0" * 63),
    "card with a hash and a newline": card(weights_sha256="0" * 64 + "\n"),
    "card with another hash": card(weights_sha256="0" * 64),
    "card with another architecture's hash": card(architecture_sha256="0" * 64),
    "card with an accuracy of 2": card(test_accuracy=2.0),
    "card with text for an accuracy": card(test_accuracy="high"),
    "card with images of 10^9 pixels": card(input_size=10**9),
    "card with images of no pixels": card(input_size=0),
    "architecture of 1e12 parameters": text(ARCHITECTURE, _many_params),
    "architecture with a key twice": text(ARCHITECTURE, _repeat_key),
    "architecture with NaN": text(
        ARCHITECTURE, lambda content: content.replace('"drop_path": 0.0', '"drop_path": NaN')
    ),
    "architecture with an unknown field": text(ARCHITECTURE, lambda content: content.replace("{", '{"exec": "x",', 1)),
    "architecture of an unknown kind": text(
        ARCHITECTURE, lambda content: content.replace('"kind": "', '"kind": "os.system', 1)
    ),
    "architecture is deep": text(ARCHITECTURE, lambda content: "[" * 200_000),
    "architecture is a pickle": text(ARCHITECTURE, lambda content: pickle.dumps(Canary(Path("canary")))),
    "architecture of another network": text(ARCHITECTURE, lambda content: content.replace('"depth": 1', '"depth": 2')),
    "config is empty": text(CONFIG, lambda content: ""),
    "config is a list": text(CONFIG, lambda content: f"[{content}]"),
    "config is deep": text(CONFIG, lambda content: "[" * 200_000),
    "config is no UTF-8": text(CONFIG, lambda content: b"\xff" + content.encode()),
    "config is a pickle": text(CONFIG, lambda content: pickle.dumps(Canary(Path("canary")))),
    "config with NaN": text(CONFIG, lambda content: content.replace("{", '{"x": NaN, ', 1)),
    "config with a key twice": text(CONFIG, lambda content: content.replace("{", '{"x": 1, "x": 1, ', 1)),
    "config with a huge number": text(CONFIG, lambda content: content.replace("{", '{"x": ' + "9" * 10**5 + ", ", 1)),
    "config with other labels": text(CONFIG, lambda content: content.replace('"0": "0"', '"0": "cat"')),
    "config without labels": text(CONFIG, lambda content: content.replace('"id2label"', '"labels"')),
    "config with another mean": text(
        CONFIG, lambda content: content.replace('"image_mean": [', '"image_mean": [0.5, ')
    ),
    "config is a link": lambda bundle: _link(bundle / CONFIG),
    "config is a pipe": lambda bundle: _pipe(bundle / CONFIG),
    "a gigabyte of config": lambda bundle: _sparse(bundle / CONFIG, 1 << 30),
}


def _append(path: Path, data: bytes) -> None:
    with open(path, "ab") as file:
        file.write(data)


def _sparse(path: Path, size: int) -> None:
    with open(path, "r+b") as file:
        file.truncate(size)


def _link(path: Path) -> None:
    """The same content, but outside of the folder."""
    outside = path.parent.parent / f"outside {path.name}"
    path.rename(outside)
    path.symlink_to(outside)


def _replace_by_link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)
