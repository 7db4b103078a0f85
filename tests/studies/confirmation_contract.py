"""What the store promises of confirmations on every database; `StoreContract` inherits it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text
from study_records import architecture, digest_of

from studies import StoreError, Study, StudyStore, confirmation_id
from studies.schema import VERSION_TABLE
from studies.tables import ConfirmationRow, table

RECIPE = {"epochs": 100, "cutout": 0.25}


def begun(store: StudyStore, study: Study, name: str = "a", **changes: Any) -> str:
    values: dict[str, Any] = {
        "study_id": study.id,
        "digest": architecture(store, name),
        "role": "leader",
        "name": f"trial {name}",
        "trial_number": 3,
        "seed": 2**63 - 1,
        "recipe": RECIPE,
        "fingerprint": "f" * 64,
        "device": "cpu",
        "versions": {"torch": "2.15.0"},
    }
    return store.confirmations.start(**values | changes)


class ConfirmationContract:
    def test_a_training_is_found_by_what_it_trains(self, store: StudyStore, study: Study) -> None:
        training = begun(store, study)
        same: Mapping[str, Any] = dict(reversed(RECIPE.items()))
        assert training == confirmation_id(study.id, digest_of("a"), same, 2**63 - 1, "f" * 64)
        assert begun(store, study) == training
        others = [begun(store, study, **change) for change in ({"seed": 1}, {"recipe": {}}, {"fingerprint": "g"})]
        assert len({training, begun(store, study, "b"), *others}) == 5
        found = store.confirmations.find(training)
        assert found is not None
        assert (found.status, found.role, found.trial_number, found.recipe) == ("RUNNING", "leader", 3, RECIPE)
        assert (found.params, found.architecture_json, found.seed) == (10, '{"name": "a"}', 2**63 - 1)
        assert store.confirmations.find("other") is None

    def test_a_complete_training_is_never_overwritten(self, store: StudyStore, study: Study) -> None:
        training = begun(store, study)
        assert store.confirmations.finish(training, "COMPLETE", val_accuracy=0.75, epochs=100, seconds=9.5)
        store.confirmations.record_test(training, 0.5)
        before = store.confirmations.find(training)
        assert begun(store, study, name="a") == training
        assert not store.confirmations.finish(training, "FAIL", reason="late")
        store.confirmations.record_test(training, 0.9)
        assert store.confirmations.find(training) == before
        assert before is not None
        assert (before.val_accuracy, before.test_accuracy, before.epochs, before.seconds) == (0.75, 0.5, 100, 9.5)

    def test_a_failed_training_may_begin_again(self, store: StudyStore, study: Study) -> None:
        training = begun(store, study)
        store.confirmations.finish(training, "FAIL", val_accuracy=float("nan"), reason="the loss was nan\0")
        failed = store.confirmations.find(training)
        assert failed is not None
        assert (failed.status, failed.val_accuracy, failed.reason) == ("FAIL", None, "the loss was nan?")
        begun(store, study, device="cuda:0")
        again = store.confirmations.find(training)
        assert again is not None
        assert (again.status, again.reason, again.ended_at, again.device) == ("RUNNING", None, None, "cuda:0")

    def test_the_training_chosen_last_is_the_winners(self, store: StudyStore, study: Study) -> None:
        first, second = begun(store, study, "a"), begun(store, study, "b")
        assert store.confirmations.chosen(study.id) is None
        for training in (first, second, first):
            store.confirmations.choose(training, 3)
            chosen = store.confirmations.chosen(study.id)
            assert chosen is not None
            assert chosen.id == training
        assert store.confirmations.chosen(store.open_study("other", {}).id) is None

    def test_confirmations_are_listed_a_line_each(self, store: StudyStore, study: Study) -> None:
        assert store.confirmations.dataframe(study.id).empty
        trainings = [begun(store, study, name, role=role) for name, role in (("b", "leader"), ("a", "baseline"))]
        store.confirmations.finish(trainings[1], "COMPLETE", val_accuracy=0.5, epochs=3, seconds=1.0)
        begun(store, store.open_study("other", {}), "c")
        frame = store.confirmations.dataframe(study.id)
        assert [*frame["name"]] == ["trial b", "trial a"]
        assert [*frame["status"]] == ["RUNNING", "COMPLETE"]
        assert frame["val_accuracy"].dtype == "float64"
        assert [one.id for one in store.confirmations.every(study.id)] == trainings

    def test_what_cannot_be_recorded_is_refused(self, store: StudyStore, study: Study) -> None:
        with pytest.raises(StoreError):
            begun(store, study, digest="0" * 64)
        with pytest.raises(ValueError, match="role is leader, baseline, random"):
            begun(store, study, role="winner")
        with pytest.raises(ValueError, match="ends COMPLETE, FAIL, INTERRUPTED"):
            store.confirmations.finish(begun(store, study), "PRUNED")

    @pytest.mark.parametrize("left", ["nothing", "the table", "both"])
    def test_the_migration_may_begin_again_over_its_remains(self, url: str, left: str) -> None:
        """Where a process died between the change and the writing of the revision."""
        with StudyStore(url) as store, store.engine.begin() as connection:
            [index] = table(ConfirmationRow).indexes
            if left == "nothing":
                table(ConfirmationRow).drop(connection)
            elif left == "the table" and connection.dialect.name != "mysql":  # whose key needs the index
                index.drop(connection)
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0003'"))
        with StudyStore(url) as store:
            assert begun(store, store.open_study("s", {}))
