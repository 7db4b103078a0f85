"""Weights from a file of somebody else's, read without running anything in it."""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nas.errors import NasError

WRAPPERS = ("state_dict", "model")
PREFIX = "module."  # torch.nn.parallel's


def read_state(file: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str]:
    """The tensors of a .safetensors file, or of a state dict saved by torch, and the SHA-256 of the file.

    A state dict may stand under `state_dict` or `model`, and all its names may begin with `module.`. It is read by
    torch's unpickler for weights alone, which runs nothing that the file names.

    Raises:
        NasError: no such file; a damaged one; one that holds more than tensors by name.
    """
    path = os.fspath(file)
    if not os.path.isfile(path):
        what = "is a folder" if os.path.isdir(path) else "is not there" if not os.path.lexists(path) else "is no file"
        raise NasError(f"{path!r} {what}: --weights takes a .safetensors file or a state dict saved by torch.save")
    try:
        with open(path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise NasError(f"cannot read {path!r}: {error.strerror or error}") from None
    reader = _safetensors if path.lower().endswith(".safetensors") else _unpickled
    return _by_name(path, _unwrapped(reader(path))), digest


def _safetensors(path: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise NasError(f"{path!r} is not a safetensors file, or is damaged: {error}") from None


def _unpickled(path: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was written, which is not the reader's to mend
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise NasError(
                f"{path!r} holds more than tensors, which could run code, so it is not opened: "
                "save the network's state_dict() alone, or a .safetensors file"
            ) from None
    except Exception:  # torch raises whatever a damaged file makes of its reader: RuntimeError, OSError, KeyError, ...
        pass
    raise NasError(f"{path!r} is not a state dict saved by torch.save, or is damaged")


def _unwrapped(found: Any) -> Any:
    if isinstance(found, Mapping):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), found)
        if inner and all(isinstance(name, str) and name.startswith(PREFIX) for name in inner):
            return {name.removeprefix(PREFIX): value for name, value in inner.items()}
        return inner
    return found


def _by_name(path: str, found: Any) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not found:
        what = "nothing" if isinstance(found, Mapping) else f"a {type(found).__name__}"
        raise NasError(f"{path!r} holds {what}, where a state dict is expected: tensors by their names")
    wrong = [name for name, value in found.items() if not (isinstance(name, str) and _is_plain(value))]
    if wrong:
        listed = ", ".join(ascii(name)[:60] for name in wrong[:3])
        raise NasError(f"{path!r} is not a state dict: not every entry is a dense tensor by its name, such as {listed}")
    return {name: value.detach() for name, value in found.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
