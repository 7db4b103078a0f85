"""Trained weights kept beside the study, so that the best trials can be exported without training again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from nas.files import write_whole
from studies import StudyStore

KEPT = 5


def kept_folder(store: StudyStore, data_dir: Path, what: str) -> Path:
    """`<database>-<what>` beside an SQLite file; for a server, `<what>` in the data directory."""
    if store.url.get_backend_name() == "sqlite" and store.url.database:
        return Path(f"{Path(store.url.database).with_suffix('')}-{what}")
    return data_dir / what


def weights_folder(store: StudyStore, data_dir: Path, study_id: str) -> Path:
    """Where a study's weights are kept."""
    return kept_folder(store, data_dir, "weights") / study_id


def weights_file(folder: Path, evaluation_id: str) -> Path:
    return folder / f"{evaluation_id}.safetensors"


def plain_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU, contiguous (safetensors refuses channels_last) and without shared memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}


def keep_weights(folder: Path, evaluation_id: str, network: nn.Module) -> None:
    """Write the network's weights, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(weights_file(folder, evaluation_id), save(plain_state(network)))


def kept_weights(folder: Path) -> set[str]:
    """The evaluations whose weights are there."""
    return {file.stem for file in folder.glob("*.safetensors")}


def forget_weights(folder: Path, evaluation_ids: Iterable[str]) -> None:
    for evaluation_id in evaluation_ids:
        weights_file(folder, evaluation_id).unlink(missing_ok=True)
