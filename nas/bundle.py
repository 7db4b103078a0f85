"""A trained network as a folder: architecture, weights and card; neither the study nor its database is needed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from nas.errors import BundleError, NasError
from nas.files import flush_folder, write_flushed
from nas.model_card import hub_config
from nas.plugins import load_plugins
from nas.trained import Card, TrainedNetwork
from nas.training.device import pick_device
from searchspace import Architecture, ArchitectureError, build, draw
from searchspace.architecture import MAX_JSON_BYTES
from searchspace.errors import describe_validation
from searchspace.network import outline
from searchspace.strict_json import parse_json

ARCHITECTURE, WEIGHTS, CARD, README = "architecture.json", "model.safetensors", "card.json", "README.md"
CONFIG, PICTURE = "config.json", "architecture.svg"
MAX_CARD_BYTES = 1 << 22
METADATA_BYTES, ENTRY_BYTES = 4096, 256  # the most in a header of weights, for all of it and for one tensor
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64, "I64": torch.int64}


def write_bundle(
    folder: Path,
    architecture: Architecture,
    state: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    measure: Callable[[TrainedNetwork], Mapping[str, Any]] = lambda network: {},
    describe: Callable[[Architecture, Card], str] = lambda architecture, card: "",
) -> Card:
    """Write a bundle that is whole or absent: under a temporary name, read back, measured, flushed, then renamed.

    `state` holds contiguous CPU tensors; `facts` are the card's fields but the hashes; `measure` is given the network
    as it was read back and adds to them; `describe` makes the README.

    Raises:
        NasError: the folder exists, or cannot be written.
    """
    require_absent(folder)
    text = architecture.to_json(indent=2).encode()
    weights = tensor_bytes(dict(state))
    card = Card(architecture_sha256=_sha256(text), weights_sha256=_sha256(weights), **facts)
    temporary = _temporary(folder)
    try:
        temporary.mkdir(parents=True)
        write_flushed(temporary / ARCHITECTURE, text)
        write_flushed(temporary / WEIGHTS, weights)
        card = card.model_copy(update=dict(measure(_open(temporary, card))))
        write_flushed(temporary / CARD, card.model_dump_json(indent=2).encode())
        write_flushed(temporary / CONFIG, json.dumps(hub_config(architecture, card), indent=2).encode())
        write_flushed(temporary / PICTURE, draw(architecture).encode())
        write_flushed(temporary / README, describe(architecture, card).encode())
        flush_folder(temporary)
        os.rename(temporary, folder)
        flush_folder(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return card


def require_absent(folder: Path) -> None:
    """Refuse a folder that exists.

    Raises:
        NasError: it does, whatever it is, or there can be none of this name.
    """
    if "\0" in str(folder):
        raise NasError(f"{str(folder)!r} is no name for a folder")
    if os.path.lexists(folder):
        raise NasError(f"{str(folder)!r} exists: choose another name, or remove it first")


def first_free(folder: Path) -> Path:
    """The folder, or if it exists the first of folder-2, folder-3 and so on that does not."""
    names = (folder, *(folder.with_name(f"{folder.name}-{number}") for number in range(2, 1000)))
    return next((name for name in names if not os.path.lexists(name)), folder)


def require_writable(folder: Path) -> None:
    """Make sure that a bundle can be written, before hours of training: it is absent, its parent takes new folders.

    Raises:
        NasError: it exists, or cannot be made.
    """
    require_absent(folder)
    temporary = _temporary(folder)
    try:
        temporary.mkdir(parents=True)
        temporary.rmdir()
    except OSError as error:
        raise _unwritable(folder, error) from None


def _temporary(folder: Path) -> Path:
    return folder.absolute().with_name(f".{folder.absolute().name}.{uuid.uuid4().hex}.tmp")


def _unwritable(folder: Path, error: OSError) -> NasError:
    return NasError(f"cannot write the export to {str(folder)!r}: {error.strerror or error}")


def load(folder: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> TrainedNetwork:
    """Open an exported network, in evaluation mode.

    Nothing of the folder is executed: JSON and safetensors alone are read, from regular files; of links, only those
    that Hugging Face's cache is made of are followed. Hashes, names, shapes and dtypes are checked against the
    architecture before any weight is allocated. `device` is auto, cpu, cuda or cuda:N, or a torch.device. torch's
    random numbers are left as they were.

    Raises:
        BundleError: a file is missing, damaged, too large, or does not belong to the others.
        NasError: the device is not there.
    """
    target = pick_device(device) if isinstance(device, str) else device
    place = Path(folder)
    if not place.is_dir():
        raise BundleError(f"there is no export folder {str(place)!r}; nas export --out {str(place)!r} makes one")
    if not any(os.path.lexists(place / name) for name in (ARCHITECTURE, WEIGHTS, CARD)):
        raise BundleError(f"{str(place)!r} is no export folder: it has no {CARD}; nas export --out FOLDER makes one")
    load_plugins()
    return _open(place, _read_card(place)).to(target)


def _open(place: Path, card: Card) -> TrainedNetwork:
    """The network of a folder, checked against its card."""
    file = place / ARCHITECTURE
    text = _read(file, MAX_JSON_BYTES)
    _require_hash(file, text, card.architecture_sha256)
    try:
        architecture = Architecture.from_json(text)
        skeleton = outline(architecture)
    except ArchitectureError as error:
        raise BundleError(f"{str(file)!r}: {error}") from None
    if len(card.classes) != architecture.classes or len(card.mean) != architecture.channels:
        raise BundleError(f"{str(place / CARD)!r} does not belong to {ARCHITECTURE}: other classes or channels")
    state = _read_weights(place / WEIGHTS, card.weights_sha256, skeleton.state_dict())
    if os.path.lexists(place / CONFIG):  # the first exports have none
        _require_config(place / CONFIG, hub_config(architecture, card))
    with torch.random.fork_rng(devices=[]):
        network = build(architecture)
    network.load_state_dict(state)
    return TrainedNetwork(network, card).eval()


def _require_config(file: Path, expected: Mapping[str, Any]) -> None:
    """Refuse a config.json that says other things than the files it follows from; keys of other tools may stand in it.

    Raises:
        BundleError: it is damaged, or somebody changed it alone, and the change would not be obeyed.
    """
    text = _read(file, MAX_CARD_BYTES)
    try:
        found = parse_json(text, MAX_CARD_BYTES, "a config")
    except ArchitectureError as error:
        raise BundleError(f"{str(file)!r}: {error}") from None
    if not isinstance(found, dict):
        raise BundleError(f"{str(file)!r} is no JSON object")
    wrong = [key for key, value in expected.items() if key not in found or found[key] != value]
    if wrong:
        raise BundleError(
            f"{str(file)!r} does not follow from {ARCHITECTURE} and {CARD}: {', '.join(wrong[:3])} differ"
        )


def _read(path: Path, limit: int) -> bytes:
    """A regular file of at most `limit` bytes; pipes, devices and most links are refused unread."""
    try:
        with open(_in_hub_cache(path) or path, "rb", opener=_open_no_link) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BundleError(f"{str(path)!r} is not a regular file")
            data = file.read(limit + 1)
    except OSError as error:
        linked = path.is_symlink()
        reason = "it is a link, and an export holds its files themselves" if linked else error.strerror
        raise BundleError(f"cannot read {str(path)!r}: {reason}") from None
    if len(data) > limit:
        raise BundleError(f"{str(path)!r} has more than the {limit:,} bytes that belong there")
    return data


def _in_hub_cache(path: Path) -> Path | None:
    """The file itself, where Hugging Face's cache keeps it: `snapshots/<commit>/<name>` is a link into `blobs`."""
    if not path.is_symlink():
        return None
    snapshots = Path(os.path.realpath(path.parent)).parent
    blobs, target = snapshots.parent / "blobs", Path(os.path.realpath(path))
    return target if snapshots.name == "snapshots" and target.parent == blobs else None


def _open_no_link(path: str, flags: int) -> int:
    # Opening a pipe waits for a writer unless told not to. Windows has neither flag.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _read_card(place: Path) -> Card:
    text = _read(place / CARD, MAX_CARD_BYTES)
    try:
        parse_json(text, MAX_CARD_BYTES, "a card")
        return Card.model_validate_json(text)
    except ArchitectureError as error:
        raise BundleError(f"{str(place / CARD)!r}: {error}") from None
    except ValidationError as error:
        raise BundleError(f"{str(place / CARD)!r}: {describe_validation(error, whole='card')}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _require_hash(path: Path, data: bytes, expected: str) -> None:
    found = _sha256(data)
    if found != expected:
        raise BundleError(
            f"{str(path)!r} is damaged or was changed: SHA-256 {found[:12]}, the card says {expected[:12]}"
        )


def _read_weights(path: Path, expected: str, skeleton: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, after size, header and hash agreed with the architecture."""
    total = sum(tensor.numel() * tensor.element_size() for tensor in skeleton.values())
    longest = METADATA_BYTES + sum(ENTRY_BYTES + 6 * len(name) for name in skeleton)  # 6: as JSON escapes a character
    data = _read(path, 8 + longest + total)
    found = _shapes(path, data, longest)
    wanted = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in skeleton.items()}
    wrong = [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]
    if wrong:
        listed = ", ".join(ascii(name[:60]) for name in wrong[:3])
        raise BundleError(f"{str(path)!r} does not fit {ARCHITECTURE}: {len(wrong)} tensors differ, such as {listed}")
    _require_hash(path, data, expected)
    try:
        state = read_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{str(path)!r} is not a safetensors file: {error}") from None
    if not all(tensor.isfinite().all() for tensor in state.values() if tensor.is_floating_point()):
        raise BundleError(f"{str(path)!r} holds weights that are NaN or infinite")
    return state


def _shapes(path: Path, data: bytes, longest: int) -> dict[str, tuple[torch.dtype | None, tuple[int, ...]]]:
    """Dtype and shape of every tensor that the header of a safetensors file names."""
    size = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or size > min(longest, len(data) - 8):
            raise ValueError("its header is cut off or too long")
        header = parse_json(data[8 : 8 + size], longest, "a header")
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        header.pop("__metadata__", None)
        return {name: _shape(entry) for name, entry in header.items()}
    except ValueError as error:
        raise BundleError(f"{str(path)!r} is not a safetensors file, or is damaged: {error}") from None


def _shape(entry: Any) -> tuple[torch.dtype | None, tuple[int, ...]]:
    if not (isinstance(entry, dict) and isinstance(entry.get("dtype"), str) and isinstance(entry.get("shape"), list)):
        raise ValueError("its header gives a tensor without dtype and shape")
    if not all(type(length) is int for length in entry["shape"]):
        raise ValueError("its header gives a shape that is no list of numbers")
    return DTYPES.get(entry["dtype"]), tuple(entry["shape"])
