"""What was tried: studies, architectures, evaluations, exports and budget, kept in SQL beside Optuna's own tables."""

from studies.confirmations import confirmation_id
from studies.connect import connect_arguments, database_exists
from studies.csv_file import write_csv
from studies.errors import InvalidName, StoreError, StoreUnavailable, StudyMismatch, UnknownStudy, UnknownTrial
from studies.foreign_tables import can_hold, ensure_unique, noted_of_trials
from studies.naming import check_name
from studies.ranking import CostName, all_curves, all_trials, leaderboard, pareto_front
from studies.records import (
    CLAIMED,
    COMPLETE,
    DONE,
    FAIL,
    INTERRUPTED,
    OPEN,
    PRUNED,
    RUNNING,
    STATUSES,
    TERMINAL_STATUSES,
    TRAINED_STATUSES,
    ConfirmedTraining,
    Duration,
    Evaluation,
    Slot,
    Study,
)
from studies.scalings import LearntScaling, Scalings, ScalingTraining
from studies.store import StudyStore

__all__ = [
    "CLAIMED",
    "COMPLETE",
    "DONE",
    "FAIL",
    "INTERRUPTED",
    "OPEN",
    "PRUNED",
    "RUNNING",
    "STATUSES",
    "TERMINAL_STATUSES",
    "TRAINED_STATUSES",
    "ConfirmedTraining",
    "CostName",
    "Duration",
    "Evaluation",
    "InvalidName",
    "LearntScaling",
    "ScalingTraining",
    "Scalings",
    "Slot",
    "StoreError",
    "StoreUnavailable",
    "Study",
    "StudyMismatch",
    "StudyStore",
    "UnknownStudy",
    "UnknownTrial",
    "all_curves",
    "all_trials",
    "can_hold",
    "check_name",
    "confirmation_id",
    "connect_arguments",
    "database_exists",
    "ensure_unique",
    "leaderboard",
    "noted_of_trials",
    "pareto_front",
    "write_csv",
]
