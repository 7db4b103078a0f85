"""Pictures of networks: as a file, and as the artifacts of trials that optuna-dashboard shows."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore

from nas.errors import NasError
from nas.files import write_whole
from nas.weights import kept_folder
from searchspace import Architecture, ArchitectureError, draw
from searchspace.drawing import WIDTH
from searchspace.svg import Svg, fitted
from studies import StudyStore, UnknownTrial

FILE_NAME = "architecture.svg"


def write_picture(file: Path, architecture: Architecture) -> None:
    """Draw to a file; one that exists is replaced whole or not at all.

    Raises:
        NasError: the file cannot be written.
        ArchitectureError: the network cannot be built.
    """
    picture = draw(architecture).encode()
    try:
        if file.exists() and not file.is_file():
            raise NasError(f"cannot write the picture to {str(file)!r}: it is not a regular file")
        write_whole(file, picture)
    except OSError as error:
        raise NasError(f"cannot write the picture to {str(file)!r}: {error.strerror}") from None


def picture_attribute(evaluation_id: str) -> tuple[str, str]:
    """The system attribute by which an Optuna trial has the picture of its network as an artifact: name and value."""
    meta = ArtifactMeta(evaluation_id, filename=FILE_NAME, mimetype="image/svg+xml", encoding=None)
    return f"artifacts:{evaluation_id}", json.dumps(asdict(meta))  # as optuna.artifacts.upload_artifact writes it


class TrialPictures:
    """Optuna's artifact store over a study's database: a trial's picture is drawn when somebody looks at it.

    No file can be lost or fill a disk, a search draws nothing, and the pictures are there wherever the database is.
    What people upload in the dashboard goes to a folder beside the database.
    """

    def __init__(self, store: StudyStore, data_dir: Path) -> None:
        self._store = store
        self._folder = kept_folder(store, data_dir, "artifacts")
        self._uploads = FileSystemArtifactStore(self._folder)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Raises ArtifactNotFound where there is neither such an evaluation nor such an upload."""
        try:
            evaluation = self._store.evaluation_by_id(artifact_id)
        except UnknownTrial:
            return self._uploads.open_reader(artifact_id)
        return BytesIO(_picture(evaluation.architecture_json))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._uploads.write(artifact_id, content_body)

    def remove(self, artifact_id: str) -> None:
        """Delete an upload; a picture goes with its trial."""
        try:
            self._store.evaluation_by_id(artifact_id)
        except UnknownTrial:
            self._uploads.remove(artifact_id)


@lru_cache(maxsize=256)
def _picture(text: str) -> bytes:
    """The picture of an architecture's JSON, or of the reason why there is none."""
    try:
        return draw(Architecture.from_json(text)).encode()
    except ArchitectureError as error:
        svg = Svg(WIDTH, 60, "no picture", str(error))
        svg.text(24, 35, fitted(f"no picture: {error}", WIDTH - 48, 13), "subtitle")
        return svg.document().encode()
