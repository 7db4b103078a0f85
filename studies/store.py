"""StudyStore: everything that is known about studies, in one SQL database; it loads no torch and knows no Optuna.

Every method is one transaction and may be repeated after a crash. Errors of the database arrive as StoreError: one
plain line, no password in it.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import URL, Connection, Engine, select

from studies import evaluations, listing, naming, schema, slots
from studies.confirmations import Confirmations
from studies.connect import READ_ONLY, display, make_engine, parse_url, plain_errors, require_file
from studies.errors import StudyMismatch, unknown_study
from studies.records import JSON, Duration, Evaluation, Slot, Study
from studies.tables import ArchitectureRow, StudyRow, table
from studies.upsert import insert_if_absent

if TYPE_CHECKING:
    from pandas import DataFrame


class StudyStore:
    """The study store at a database URL: `sqlite:///file.db` (one machine), `postgresql://` or `mysql://`.

    Opening it creates or upgrades the nas_* tables. `create=False` refuses an SQLite file that does not exist. Raises
    StoreError for a database that is unknown, unreachable, read-only, damaged or newer than this code. A store can be
    pickled to a spawned process, which then opens connections of its own.
    """

    engine: Engine
    url: URL
    """With driver and absolute path filled in; `url.render_as_string(False)` is what Optuna's RDBStorage takes."""
    url_for_display: str

    def __init__(self, url: str | URL, *, create: bool = True) -> None:
        self.url = parse_url(url)
        self.url_for_display = display(self.url)
        require_file(self.url, create)
        self.engine = make_engine(self.url)
        try:
            with plain_errors(self.url):
                schema.upgrade(self.engine)
        except BaseException:
            self.engine.dispose()
            raise
        # At exit the process closes them anyway; a forked one must not close its parent's.
        weakref.finalize(self, self.engine.dispose).atexit = False

    def __reduce__(self) -> tuple[type[StudyStore], tuple[URL]]:
        return type(self), (self.url,)

    def __repr__(self) -> str:
        return f"StudyStore({self.url_for_display!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the store opens new ones when it is used again."""
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one state of the database throughout."""
        options: dict[str, Any] = {READ_ONLY: True}
        if self.engine.dialect.name != "sqlite":  # where a transaction is a snapshot by itself
            options["isolation_level"] = "REPEATABLE READ"
        with plain_errors(self.url), self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with plain_errors(self.url), self.engine.begin() as connection:
            yield connection

    # Studies

    def open_study(self, name: str, settings: Mapping[str, JSON]) -> Study:
        """The study of this name, made now if there is none.

        Raises InvalidName, and StudyMismatch naming each setting in which an existing study differs.
        """
        row = {"id": str(uuid.uuid4()), "name": naming.check_name(name), "settings": settings, "created_at": _now()}
        with self._writing() as connection:
            insert_if_absent(connection, table(StudyRow), [row])
            study = _find_study(connection, name)
        assert study is not None
        return _of_settings(study, settings)

    def require_settings(self, name: str, settings: Mapping[str, JSON]) -> None:
        """What `open_study` would say of these settings, without making the study; raises what that raises."""
        naming.check_name(name)
        with self.reading() as connection:
            study = _find_study(connection, name)
        if study is not None:
            _of_settings(study, settings)

    def study(self, name: str | None = None) -> Study:
        """The study of this name, or the newest; raises UnknownStudy, which lists the existing ones."""
        with self.reading() as connection:
            names = [row.name for row in connection.execute(listing.newest_first())]
            wanted = name if name is not None or not names else names[0]
            study = None if wanted is None else _find_study(connection, wanted)
        if study is None:
            raise unknown_study(name, names, self.url_for_display)
        return study

    def studies(self) -> DataFrame:
        """All studies, the newest first: name, created, evaluations per status, best_val_accuracy."""
        with self.reading() as connection:
            return listing.studies(connection)

    # Architectures and evaluations

    def record_architecture(self, digest: str, json: str, params: int, macs: int, activations: int) -> None:
        """Keep an architecture; one with this digest may exist already and then stays as it is."""
        row = {"digest": digest, "json": json, "params": params, "macs": macs, "activations": activations}
        with self._writing() as connection:
            insert_if_absent(connection, table(ArchitectureRow), [{**row, "created_at": _now()}])

    def start_evaluation(
        self,
        *,
        evaluation_id: str,
        study_id: str,
        trial_number: int,
        digest: str,
        base_digest: str | None,
        choices: Mapping[str, JSON],
        recipe: Mapping[str, JSON],
        seed: int,
        device: str,
        versions: Mapping[str, JSON],
        fingerprint: str,
        batch_size: int,
        latency_ms: float | None = None,
    ) -> None:
        """Begin an evaluation as RUNNING; one with this id may exist already and then stays as it is.

        Both digests must have been recorded; `seed` is below 2**63; `latency_ms` is the architecture's, where it was
        measured. Raises StoreError where the study or an architecture is missing.
        """
        values = {"id": evaluation_id, "study_id": study_id, "trial_number": trial_number, "digest": digest}
        values |= {"base_digest": base_digest, "choices": choices, "recipe": recipe, "seed": seed, "device": device}
        values |= {"versions": versions, "fingerprint": fingerprint, "batch_size": batch_size}
        values |= {"latency_ms": latency_ms}
        with self._writing() as connection:
            evaluations.start(connection, values, _now())

    def record_epoch(
        self,
        evaluation_id: str,
        epoch: int,
        *,
        train_loss: float | None,
        val_accuracy: float | None,
        seconds: float | None,
        learning_rate: float | None = None,
    ) -> bool:
        """Keep one epoch, replacing what was recorded of it; False, and nothing kept, when the evaluation has ended."""
        values = {"train_loss": train_loss, "val_accuracy": val_accuracy, "learning_rate": learning_rate}
        with self._writing() as connection:
            return evaluations.record_epoch(connection, evaluation_id, epoch, {**values, "seconds": seconds})

    def finish_evaluation(
        self,
        evaluation_id: str,
        status: str,
        *,
        val_accuracy: float | None = None,
        reason: str | None = None,
        epochs: int | None = None,
        seconds: float | None = None,
        images_per_second: float | None = None,
        batch_size: int | None = None,
    ) -> bool:
        """End a running evaluation as COMPLETE, PRUNED, FAIL or INTERRUPTED; the first end stands for ever.

        True when this end is now stored, also if it was stored before; False when the evaluation had ended otherwise
        (another status, or another accuracy), and then nothing changes. Epochs and seconds left out are taken from the
        recorded epochs, as is a pruned one's accuracy. Raises UnknownTrial.
        """
        values = {"val_accuracy": val_accuracy, "reason": reason, "epochs": epochs, "seconds": seconds}
        values |= {"images_per_second": images_per_second, "batch_size": batch_size}
        with self._writing() as connection:
            return evaluations.finish(connection, evaluation_id, status, values, _now())

    def evaluation(self, study_id: str, trial_number: int) -> Evaluation:
        """The evaluation of a trial; raises UnknownTrial, which says what numbers there are."""
        with self.reading() as connection:
            return evaluations.by_number(connection, study_id, trial_number)

    def evaluation_by_id(self, evaluation_id: str) -> Evaluation:
        """The evaluation with this id; raises UnknownTrial."""
        with self.reading() as connection:
            return evaluations.by_id(connection, evaluation_id)

    def best(self, study_id: str) -> Evaluation | None:
        """The most accurate COMPLETE evaluation, else the most accurate PRUNED one; ties as in the leaderboard."""
        with self.reading() as connection:
            return evaluations.best(connection, study_id)

    def trained_digests(self, study_id: str) -> set[str]:
        """The architectures that were trained to an end: COMPLETE, PRUNED or FAIL."""
        with self.reading() as connection:
            return evaluations.trained_digests(connection, study_id)

    def mean_seconds(self, study_id: str) -> float | None:
        """The mean duration of the evaluations that were trained to an end; None where none was."""
        with self.reading() as connection:
            return evaluations.mean_seconds(connection, study_id)

    def durations(self, study_id: str, most: int) -> list[Duration]:
        """How long the last `most` evaluations that were COMPLETE or PRUNED took, the earliest first."""
        with self.reading() as connection:
            return evaluations.durations(connection, study_id, most)

    def curve(self, evaluation_id: str) -> DataFrame:
        """The epochs of an evaluation: epoch, train_loss, val_accuracy, learning_rate, seconds."""
        with self.reading() as connection:
            return listing.curve(connection, evaluation_id)

    # Exports

    def record_export(
        self,
        evaluation_id: str,
        path: str,
        *,
        val_accuracy: float | None,
        test_accuracy: float | None,
        architecture_sha256: str,
        weights_sha256: str,
    ) -> str:
        """Keep an export and return its id; the same weights at the same path are the same export."""
        values = {"evaluation_id": evaluation_id, "path": path, "val_accuracy": val_accuracy}
        values |= {"test_accuracy": test_accuracy, "architecture_sha256": architecture_sha256}
        with self._writing() as connection:
            return evaluations.record_export(connection, {**values, "weights_sha256": weights_sha256}, _now())

    def exports(self, study_id: str) -> DataFrame:
        """The exports of a study, the newest first: trial, path, accuracies, hashes, created."""
        with self.reading() as connection:
            return listing.exports(connection, study_id)

    @property
    def confirmations(self) -> Confirmations:
        """The trainings of leaders, and of what they are compared with, by the final recipe."""
        return Confirmations(self.reading, self._writing)

    # Budget slots; what a slot's states mean stands in studies/slots.py

    def ensure_slots(self, study_id: str, budget: int) -> None:
        """Make at least `budget` slots exist, numbered from 1; none is ever removed."""
        with self._writing() as connection:
            slots.ensure(connection, study_id, budget)

    def claim_slot(self, study_id: str, owner: str, budget: int) -> Slot | None:
        """Claim the first open slot numbered up to `budget`; None when there is none."""
        while True:
            with self._writing() as connection:
                slot = slots.first_open(connection, study_id, budget)
                claimed = None if slot is None else slots.claim(connection, slot, owner)
            if slot is None or claimed is not None:
                return claimed

    def attach(self, slot: Slot, evaluation_id: str) -> bool:
        """Name the evaluation that the claim works on, in place of an earlier one; False when fenced.

        Raises StoreError where another slot has this evaluation.
        """
        with self._writing() as connection:
            return slots.attach(connection, slot, evaluation_id)

    def beat(self, slot: Slot) -> bool:
        """Raise the claim's counter, which a reaper watches; False when fenced."""
        with self._writing() as connection:
            return slots.beat(connection, slot)

    def close_slot(self, slot: Slot) -> bool:
        """Spend the claimed slot; may be repeated; False when fenced."""
        with self._writing() as connection:
            return slots.close(connection, slot)

    def release_slot(self, slot: Slot, reason: str | None = None) -> bool:
        """Open the claimed slot again, its evaluation forgotten; may be repeated; False when fenced."""
        with self._writing() as connection:
            return slots.release(connection, slot, reason)

    def claimed_slots(self, study_id: str) -> list[Slot]:
        """The claimed slots, each with its owner, attempt, beat and evaluation: what a reaper watches."""
        with self.reading() as connection:
            return slots.claimed(connection, study_id)

    def slot_counts(self, study_id: str) -> dict[str, int]:
        """The number of slots that are OPEN, CLAIMED and DONE."""
        with self.reading() as connection:
            return slots.counts(connection, study_id)


def _of_settings(study: Study, settings: Mapping[str, JSON]) -> Study:
    if different := naming.differences(study.settings, settings):
        raise StudyMismatch(study.name, different)
    return study


def _find_study(connection: Connection, name: str) -> Study | None:
    row = connection.execute(select(*table(StudyRow).c).where(StudyRow.name == name)).one_or_none()
    if row is None or row.name != name:  # MySQL pads what it compares with blanks
        return None
    return Study(**row._mapping)


def _now() -> datetime:
    return datetime.now(UTC)
