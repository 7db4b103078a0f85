"""The store's tables, all named nas_*; Optuna's own tables stand beside them and nothing here refers to those.

Narrow columns stand before the long text of a row: SQLite reads a row from the left and needs no overflow page then.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias, cast

from sqlalchemy import BigInteger, Double, ForeignKey, Index, MetaData, Select, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from studies.column_types import JsonText, UtcDateTime, long_text
from studies.records import JSON

NAME_LENGTH = 200
OWNER_LENGTH = 255
UUID_LENGTH = 36
SHA256_LENGTH = 64
MYSQL_TABLE = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
"""Any character in every text, compared by code point, whatever the server's defaults are; and transactions."""


class Base(DeclarativeBase):
    """The tables of the store; constraints are named so that a migration can name them."""

    __table_args__: Any = MYSQL_TABLE
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StudyRow(Base):
    """One search under one name."""

    __tablename__ = "nas_study"

    id: Mapped[str] = mapped_column(String(UUID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    settings: Mapped[JSON] = mapped_column(JsonText, nullable=False)


class ArchitectureRow(Base):
    """One architecture and its cost, shared by all studies; the digest is the SHA-256 of its normal form."""

    __tablename__ = "nas_architecture"

    digest: Mapped[str] = mapped_column(String(SHA256_LENGTH), primary_key=True)
    params: Mapped[int] = mapped_column(BigInteger)
    macs: Mapped[int] = mapped_column(BigInteger)
    activations: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    json: Mapped[str] = mapped_column(long_text())

    __table_args__ = (Index("ix_nas_architecture_cost", "digest", "params", "macs", "activations"), MYSQL_TABLE)


class EvaluationRow(Base):
    """One training of one architecture; trial_number is Optuna's, informative and not unique by contract."""

    __tablename__ = "nas_evaluation"

    id: Mapped[str] = mapped_column(String(UUID_LENGTH), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("nas_study.id"))
    trial_number: Mapped[int]
    digest: Mapped[str] = mapped_column(ForeignKey("nas_architecture.digest"))
    base_digest: Mapped[str | None] = mapped_column(ForeignKey("nas_architecture.digest"))
    status: Mapped[str] = mapped_column(String(16))
    val_accuracy: Mapped[float | None] = mapped_column(Double)
    epochs: Mapped[int]
    batch_size: Mapped[int]
    seconds: Mapped[float | None] = mapped_column(Double)
    images_per_second: Mapped[float | None] = mapped_column(Double)
    latency_ms: Mapped[float | None] = mapped_column(Double)
    seed: Mapped[int] = mapped_column(BigInteger)
    device: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str | None] = mapped_column(long_text())
    choices: Mapped[JSON] = mapped_column(JsonText, nullable=False)
    recipe: Mapped[JSON] = mapped_column(JsonText, nullable=False)
    versions: Mapped[JSON] = mapped_column(JsonText, nullable=False)

    __table_args__ = (
        Index("ix_nas_evaluation_rank", "study_id", "status", "val_accuracy", "trial_number", "digest"),
        Index("ix_nas_evaluation_trial", "study_id", "trial_number"),
        MYSQL_TABLE,
    )


class EpochRow(Base):
    """One epoch of an evaluation; `seconds` is the epoch's own time."""

    __tablename__ = "nas_epoch"

    evaluation_id: Mapped[str] = mapped_column(ForeignKey("nas_evaluation.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_loss: Mapped[float | None] = mapped_column(Double)
    val_accuracy: Mapped[float | None] = mapped_column(Double)
    learning_rate: Mapped[float | None] = mapped_column(Double)
    seconds: Mapped[float | None] = mapped_column(Double)


class ExportRow(Base):
    """One exported network."""

    __tablename__ = "nas_export"

    id: Mapped[str] = mapped_column(String(UUID_LENGTH), primary_key=True)
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("nas_evaluation.id"), index=True)
    val_accuracy: Mapped[float | None] = mapped_column(Double)
    test_accuracy: Mapped[float | None] = mapped_column(Double)
    architecture_sha256: Mapped[str] = mapped_column(String(SHA256_LENGTH))
    weights_sha256: Mapped[str] = mapped_column(String(SHA256_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    path: Mapped[str] = mapped_column(long_text())


class ConfirmationRow(Base):
    """One training by the final recipe of a study's leader, or of what the leaders are compared with."""

    __tablename__ = "nas_confirmation"

    id: Mapped[str] = mapped_column(String(UUID_LENGTH), primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("nas_study.id"), index=True)
    digest: Mapped[str] = mapped_column(ForeignKey("nas_architecture.digest"))
    role: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(255))
    trial_number: Mapped[int | None]
    seed: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(16))
    epochs: Mapped[int]
    val_accuracy: Mapped[float | None] = mapped_column(Double)
    test_accuracy: Mapped[float | None] = mapped_column(Double)
    seconds: Mapped[float | None] = mapped_column(Double)
    device: Mapped[str] = mapped_column(String(255))
    fingerprint: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    chosen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reason: Mapped[str | None] = mapped_column(long_text())
    recipe: Mapped[JSON] = mapped_column(JsonText, nullable=False)
    versions: Mapped[JSON] = mapped_column(JsonText, nullable=False)


class SlotRow(Base):
    """One unit of a study's budget; evaluation_id may be attached before the evaluation starts, so it is no key."""

    __tablename__ = "nas_slot"

    study_id: Mapped[str] = mapped_column(ForeignKey("nas_study.id"), primary_key=True)
    slot_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int]
    owner: Mapped[str | None] = mapped_column(String(OWNER_LENGTH))
    evaluation_id: Mapped[str | None] = mapped_column(String(UUID_LENGTH), unique=True)
    beat: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str | None] = mapped_column(long_text())

    __table_args__ = (Index("ix_nas_slot_state", "study_id", "state", "slot_no"), MYSQL_TABLE)


class ScalingRow(Base):
    """One short training of a scaled network; `id` is the SHA-256 of all that its accuracy depends on."""

    __tablename__ = "nas_scaling"

    id: Mapped[str] = mapped_column(String(SHA256_LENGTH), primary_key=True)
    start_digest: Mapped[str] = mapped_column(ForeignKey("nas_architecture.digest"), index=True)
    digest: Mapped[str] = mapped_column(ForeignKey("nas_architecture.digest"))
    fingerprint: Mapped[str] = mapped_column(String(255))
    seed: Mapped[int] = mapped_column(BigInteger)
    direction: Mapped[str] = mapped_column(String(NAME_LENGTH))
    epochs: Mapped[int]
    val_accuracy: Mapped[float] = mapped_column(Double)
    seconds: Mapped[float | None] = mapped_column(Double)
    device: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    recipe: Mapped[JSON] = mapped_column(JsonText, nullable=False)


class ScalingFitRow(Base):
    """The exponents learnt for one network on one set of images; a later fit of the same takes its place."""

    __tablename__ = "nas_scaling_fit"

    start_digest: Mapped[str] = mapped_column(ForeignKey("nas_architecture.digest"), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(SHA256_LENGTH), primary_key=True)
    direction: Mapped[str] = mapped_column(String(NAME_LENGTH))
    depth: Mapped[float] = mapped_column(Double)
    width: Mapped[float] = mapped_column(Double)
    resolution: Mapped[float] = mapped_column(Double)
    trainings: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    why: Mapped[str] = mapped_column(long_text())


def table(row: type[Base]) -> Table:
    """The table behind a row class, for statements that write."""
    return cast(Table, row.__table__)


AnySelect: TypeAlias = "Select[*tuple[Any, ...]]"

# The order of a ranking: accuracy, then fewer parameters, then the earlier trial; the index follows it.
BEST_FIRST = (EvaluationRow.val_accuracy.desc(), ArchitectureRow.params, EvaluationRow.trial_number)
