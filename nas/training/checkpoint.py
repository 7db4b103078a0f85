"""Where a long training stands, kept on the disk: the same command goes on from there, whatever ended it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nas.files import write_whole
from nas.training.optimizer import Optimizer
from nas.training.precision import Precision
from nas.training.score import EpochScore
from nas.weights import plain_state

FORMAT = 1  # of the file; part of its name
SECONDS = 30.0  # of training between two writings
NETWORK, OPTIMIZER = "network.", "optimizer."

State = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Point:
    """A training after one of its epochs: all scores so far, and on the CPU the network's and the optimizer's state.

    Random numbers have no part in it: their seeds are derived for every epoch. `place` says what the numbers depend on
    beside what was asked for (see `here`).
    """

    scores: tuple[EpochScore, ...]
    network: State
    optimizer: State
    precision: Precision
    place: Mapping[str, Any]

    @property
    def epoch(self) -> int:
        return self.scores[-1].epoch


class Checkpoint:
    """The checkpoint of one training, in a file of its own that is replaced when a new one is whole on the disk.

    `point` is where the training stood when it was last ended, None where there is nothing to go on from; a damaged
    file counts as none, which `say` is told. A file that cannot be written is told once, and the training goes on.
    `writes` is whether this process writes: of several that train together, one does.
    """

    def __init__(
        self, file: Path, place: Mapping[str, Any], say: Callable[[str], None], *, writes: bool = True
    ) -> None:
        self.file = file
        self.writes = writes
        self.place = dict(place)
        self.say = say
        if writes:
            self._sweep()
        self.point = self._read()
        self.written = 0 if self.point is None else self.point.epoch
        self._latest = self.point
        self._tried = time.monotonic()
        self._warned = False

    @property
    def epoch(self) -> int:
        """The last epoch that is remembered; 0 before the first."""
        return 0 if self._latest is None else self._latest.epoch

    @property
    def changes(self) -> str:
        """What is not here as it was where the point was reached: `torch 2.14.0, now 2.15.0`; empty if all is."""
        before = self.place if self.point is None else self.point.place
        names = [name for name, now in self.place.items() if before.get(name) != now]
        return "; ".join(f"{name} {before.get(name)}, now {self.place[name]}" for name in names)

    def keep(self, score: EpochScore, optimizer: Optimizer, precision: Precision) -> None:
        """Remember the state after an epoch, and write it if the last writing is long enough ago."""
        assert score.network is not None
        before = () if self._latest is None else self._latest.scores
        scores = (*before, dataclasses.replace(score, network=None))
        self._latest = Point(scores, plain_state(score.network), optimizer.state(), precision, self.place)
        if time.monotonic() - self._tried >= SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered last, unless it is written."""
        latest = self._latest
        if not self.writes or latest is None or latest.epoch == self.written:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, _to_bytes(latest))
        except OSError as error:
            self._warn(error)
        else:
            self.written, self._warned = latest.epoch, False
        self._tried = time.monotonic()

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            last = f"the last one is of epoch {self.written}" if self.written else "there is none yet"
            reason = error.strerror or error
            self.say(f"cannot write the checkpoint {str(self.file)!r}: {reason}; the training goes on, {last}")
        self._warned = True

    def remove(self) -> None:
        """Forget everything, on the disk too: the training's result is written, or it has none."""
        self.point, self._latest, self.written = None, None, 0
        if self.writes:
            with contextlib.suppress(OSError):  # what stays is a file too many, and no reason to fail
                self.file.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Delete what a killed writer left half written."""
        for leftover in self.file.parent.glob(f".{self.file.name}.*.tmp"):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)

    def _read(self) -> Point | None:
        try:
            return _from_file(self.file)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "is damaged"
            self.say(f"the checkpoint {str(self.file)!r} {reason}, so the training starts over")
            return None


def checkpoint_file(data_dir: Path, **asked: Any) -> Path:
    """Where the checkpoint of a training lies: under the digest of all that was asked for.

    `asked` is plain data. What the training is done with, such as the number of threads or GPUs, is no part of it: a
    training goes on elsewhere too, with other last bits, and says so.
    """
    text = json.dumps({"format": FORMAT, **asked}, sort_keys=True)
    return data_dir / "checkpoints" / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"


def digest_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hexadecimal) over names, kinds, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _to_bytes(point: Point) -> bytes:
    tensors = {NETWORK + name: tensor for name, tensor in point.network.items()}
    tensors |= {OPTIMIZER + name: tensor for name, tensor in point.optimizer.items()}
    scores = [dataclasses.asdict(score) for score in point.scores]
    facts = json.dumps({"scores": scores, "precision": point.precision.model_dump(), "place": dict(point.place)})
    return save(tensors, {"facts": facts, "sha256": _checksum(facts, tensors)})


def _from_file(file: Path) -> Point:
    from nas.training.score import EpochScore

    with safe_open(file, framework="pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118  # it is no mapping
        metadata = content.metadata() or {}
    if _checksum(metadata["facts"], tensors) != metadata["sha256"]:
        raise ValueError("another checksum")
    facts = json.loads(metadata["facts"])
    scores = tuple(EpochScore(**score) for score in facts["scores"])
    precision = Precision.model_validate(facts["precision"])
    return Point(scores, _part(tensors, NETWORK), _part(tensors, OPTIMIZER), precision, facts["place"])


def _part(tensors: State, prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _checksum(facts: str, tensors: State) -> str:
    return hashlib.sha256(f"{digest_of(tensors)} {facts}".encode()).hexdigest()
