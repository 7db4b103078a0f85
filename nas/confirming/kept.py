"""Weights of confirmed networks, kept beside the study until the test split was measured on them."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nas.errors import NasError
from nas.files import write_whole
from nas.weights import kept_folder, weights_file
from searchspace import Architecture
from searchspace.network import outline
from studies import StudyStore


def confirmed_folder(store: StudyStore, data_dir: Path, study_id: str) -> Path:
    """Where the weights of a study's confirmation are."""
    return kept_folder(store, data_dir, "confirmed") / study_id


def keep(folder: Path, training_id: str, weights: dict[str, Tensor]) -> None:
    """Write them, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(weights_file(folder, training_id), save(weights))


def read(folder: Path, training_id: str, architecture: Architecture) -> dict[str, Tensor]:
    """The weights of a training.

    Raises:
        NasError: they are gone or damaged.
    """
    file = weights_file(folder, training_id)
    skeleton = outline(architecture)  # an unknown block is no damage of the weights
    try:
        state = load(file.read_bytes())
        skeleton.load_state_dict(state, assign=True)
    except OSError as error:
        raise NasError(f"no weights are at {str(file)!r}: {error.strerror}") from None
    except (SafetensorError, ValueError, KeyError, RuntimeError):
        raise NasError(f"the weights {str(file)!r} are damaged") from None
    return state


def has(folder: Path, training_id: str) -> bool:
    return weights_file(folder, training_id).exists()


def forget(folder: Path, training_id: str) -> None:
    weights_file(folder, training_id).unlink(missing_ok=True)
