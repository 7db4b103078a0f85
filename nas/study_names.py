"""Which study a search may go on with, seen from both homes of one: Optuna's tables and the store's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import RDBStorage
from optuna.study import StudyDirection

from nas.errors import NasError
from studies import StudyMismatch, StudyStore, UnknownStudy, can_hold

LINK = "nas_study"  # Optuna study's user attribute: the id of its twin in the store
FOLLOWING = {
    "data_fingerprint": {"dataset", "limit_train", "resolution", "seed"},
    "space_digest": {"space"},
}
"""Settings that differ wherever one of others does, which tell a person more."""


def require_own_name(storage: RDBStorage, store: StudyStore, name: str) -> None:
    """Refuse a name that Optuna's tables cannot write, or take for that of another study.

    On MySQL they follow the database's defaults, which often ignore case and accents and may lack characters.

    Raises:
        NasError: the name, the other name, and what to do.
    """
    advice = (
        "use another --study name, or a database made with: "
        "CREATE DATABASE name CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    )
    if not can_hold(store, "studies", "study_name", name):
        raise NasError(f"{store.url_for_display} cannot write all characters of the study name {name!r}; {advice}")
    try:
        other = storage.get_study_name_from_id(storage.get_study_id_from_name(name))
    except KeyError:
        return
    if other != name:
        raise NasError(f"{store.url_for_display} takes the study names {name!r} and {other!r} for one; {advice}")


def require_ours(storage: RDBStorage, store: StudyStore, name: str) -> None:
    """Refuse a name that Optuna and the store do not hold both or neither.

    Raises:
        NasError: one twin was deleted, or is somebody else's.
    """
    # Optuna's side first: who opens this study in another process makes the store's row, then Optuna's study, then the
    # link, then trials.
    found = [study for study in storage.get_all_studies() if study.study_name == name]
    begun = bool(found and storage.get_all_trials(found[0]._study_id, deepcopy=False))
    link = storage.get_study_user_attrs(found[0]._study_id).get(LINK) if found else None
    try:
        row = store.study(name)
    except UnknownStudy:
        row = None
    if not found:
        if row is not None and store.slot_counts(row.id)["DONE"]:
            raise NasError(
                f"the Optuna study {name!r} was deleted, its results are still there (nas rank --study {name}); "
                "search on under another --study name"
            )
        return
    foreign = begun or found[0].directions != [StudyDirection.MAXIMIZE]
    if (link is None and (foreign or row is None)) or (link is not None and (row is None or link != row.id)):
        made = "that nas did not make" if link is None else "of another nas study"
        raise NasError(f"an Optuna study named {name!r} {made} is in this database; use another --study name")


@contextmanager
def advising() -> Iterator[None]:
    """Within, that a study was made with other settings is said in a person's words.

    Rungs are set by naming a pruner, so the pruner is named; what differs because another setting does is left out.
    """
    try:
        yield
    except StudyMismatch as error:
        different = {
            name: values
            for name, values in error.differences.items()
            if FOLLOWING.get(name, set()).isdisjoint(error.differences)
        }
        advice = ""
        if different.keys() == {"recipe.rungs"}:
            stored, _ = different["recipe.rungs"]
            pruner = "another --pruner than rungs, such as asha" if stored == "unset" else "--pruner rungs"
            advice = f"{pruner}, as the study was made with"
        raise StudyMismatch(error.name, different, advice) from None
