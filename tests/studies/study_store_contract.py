"""What a study store promises on every database; a test module inherits the class and gives it a `url` fixture."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from confirmation_contract import ConfirmationContract
from sqlalchemy import inspect, text
from study_records import SETTINGS, architecture, digest_of, evaluated, start
from study_workers import careless_claim, claim_all, honest_claim, open_store, run_together

from studies import (
    InvalidName,
    Scalings,
    ScalingTraining,
    StoreError,
    Study,
    StudyMismatch,
    StudyStore,
    UnknownStudy,
    UnknownTrial,
    all_curves,
    all_trials,
    leaderboard,
    noted_of_trials,
    pareto_front,
)
from studies.schema import HEAD, VERSION_TABLE, include_name
from studies.tables import ArchitectureRow, Base, table

NAN = float("nan")


class StoreContract(ConfirmationContract):
    @pytest.fixture
    def store(self, url: str) -> Iterator[StudyStore]:
        with StudyStore(url) as store:
            yield store

    @pytest.fixture
    def study(self, store: StudyStore) -> Study:
        return store.open_study("digits-tiny", SETTINGS)

    # Studies

    def test_a_study_opened_again_is_the_same_one(self, store: StudyStore) -> None:
        made = store.open_study("s", {"epochs": 10, "limits": (1, 2), "recipe": {"rate": 0.1}})
        again = store.open_study("s", {"recipe": {"rate": 0.1}, "limits": [1, 2], "epochs": 10})
        assert again == made
        assert store.study("s") == made
        assert uuid.UUID(made.id)
        assert abs(made.created_at - datetime.now(UTC)) < timedelta(minutes=1)

    def test_settings_are_compared_without_making_a_study(self, store: StudyStore) -> None:
        store.require_settings("s", {"epochs": 10})
        with pytest.raises(UnknownStudy):
            store.study("s")
        store.open_study("s", {"epochs": 10})
        store.require_settings("s", {"epochs": 10})
        with pytest.raises(StudyMismatch, match="made with epochs=10, now epochs=5"):
            store.require_settings("s", {"epochs": 5})

    def test_other_settings_are_refused_by_name(self, store: StudyStore) -> None:
        store.open_study("s", {"epochs": 10, "space": "tiny", "recipe": {"rate": 0.1}})
        with pytest.raises(StudyMismatch) as caught:
            store.open_study("s", {"epochs": 5, "space": "tiny", "recipe": {"rate": 0.1}})
        assert str(caught.value) == (
            "study 's' was made with epochs=10, now epochs=5; use another --study name or the same settings"
        )
        with pytest.raises(StudyMismatch, match=r"with recipe\.rate=0\.1, sampler=unset, space='tiny', now"):
            store.open_study("s", {"epochs": 10, "sampler": "tpe", "space": None, "recipe": {"rate": 0.2}})

    @pytest.mark.parametrize(
        "name",
        [
            "it's",
            'a "b"',
            "x';-- DROP TABLE nas_study",
            "../../etc",
            "100%s %(a)s :b {c}",
            "🙂👩‍🔬",
            "Ω é",
            "a" * 200,
            "\\",
        ],
    )
    def test_odd_names_are_only_names(self, store: StudyStore, name: str) -> None:
        study = store.open_study(name, {name: name})
        assert store.study(name) == study
        assert list(store.studies()["name"]) == [name]

    @pytest.mark.parametrize(
        "name", ["", " ", "a\nb", "a\0b", "a\tb", "\x1b[31mred", "a" * 201, "a ", "\u2028", "a\u202eb", "\ud800"]
    )
    def test_names_that_no_terminal_shows_are_refused(self, store: StudyStore, name: str) -> None:
        with pytest.raises(InvalidName) as caught:
            store.open_study(name, {})
        assert str(caught.value).isprintable()
        assert store.studies().empty

    def test_names_are_compared_by_code_point(self, store: StudyStore) -> None:
        names = ["digits", "Digits", "dígits", "di\u0301gits", "digıts", "🙂", "🐱", "ß", "ss"]
        assert len({store.open_study(name, {}).id for name in names}) == len(names)
        assert [store.study(name).name for name in names] == names
        for other in ("DIGITS", "digits ", "digits\u00a0"):
            with pytest.raises(UnknownStudy):
                store.study(other)

    def test_without_a_name_the_newest_study_is_meant(self, store: StudyStore) -> None:
        for name in ("a", "c", "b"):  # within a second
            store.open_study(name, {})
        assert store.study().name == "b"

    def test_an_unknown_study_lists_at_most_ten_that_exist(self, store: StudyStore) -> None:
        with pytest.raises(UnknownStudy, match="holds no study yet"):
            store.study()
        for number in range(12):
            store.open_study(f"study{number}", {})
        with pytest.raises(UnknownStudy, match=r"no study 'x'.*'study11', .*'study2' and 2 more$"):
            store.study("x")

    def test_studies_are_counted_by_status(self, store: StudyStore, study: Study) -> None:
        for trial, (status, accuracy) in enumerate(
            [("COMPLETE", 0.5), ("COMPLETE", 0.7), ("PRUNED", 0.9), ("FAIL", None), ("RUNNING", None)]
        ):
            evaluated(store, study, trial, status, accuracy)
        store.open_study("empty", {})
        empty, full = store.studies().to_dict("records")
        assert (full["complete"], full["pruned"], full["fail"], full["running"], full["interrupted"]) == (2, 1, 1, 1, 0)
        assert full["best_val_accuracy"] == 0.7
        assert empty["name"] == "empty"
        assert math.isnan(empty["best_val_accuracy"])

    # Evaluations

    def test_an_evaluation_comes_back_as_it_went_in(self, store: StudyStore, study: Study) -> None:
        base = architecture(store, "base", params=5)
        large = "🙂" * 2**18  # an architecture's JSON is at most 1 MiB
        store.record_architecture(digest_of("large"), large, 10**12, 10**15, 7)
        evaluation_id = start(store, study, 17, digest_of("large"), base_digest=base, recipe={"rate": 0.1, "bad": NAN})
        assert store.record_epoch(evaluation_id, 0, train_loss=2.5, val_accuracy=0.3, seconds=1.5, learning_rate=0.1)
        assert store.finish_evaluation(
            evaluation_id, "COMPLETE", val_accuracy=1 / 3, epochs=9, seconds=2.5, images_per_second=8.0, batch_size=64
        )
        found = store.evaluation(study.id, 17)
        assert found == store.evaluation_by_id(evaluation_id)
        assert (found.params, found.macs, found.activations) == (10**12, 10**15, 7)
        assert (found.architecture_json, found.base_architecture_json) == (large, '{"name": "base"}')
        assert (found.val_accuracy, found.epochs, found.seconds, found.images_per_second) == (1 / 3, 9, 2.5, 8.0)
        assert (found.batch_size, found.seed, found.recipe) == (64, 2**63 - 1, {"rate": 0.1, "bad": None})
        assert found.ended_at is not None
        assert found.started_at.tzinfo is UTC
        assert found.started_at <= found.ended_at

    def test_numbers_that_are_not_finite_become_null(self, store: StudyStore, study: Study) -> None:
        evaluation_id = start(store, study, 0)
        store.record_epoch(evaluation_id, 0, train_loss=NAN, val_accuracy=math.inf, seconds=-math.inf)
        assert store.finish_evaluation(
            evaluation_id, "FAIL", val_accuracy=NAN, seconds=NAN, reason="loss\0 is nan \ud800 🙂"
        )
        found = store.evaluation(study.id, 0)
        assert (found.val_accuracy, found.seconds, found.reason) == (None, None, "loss? is nan ? 🙂")
        assert store.curve(evaluation_id)[["train_loss", "val_accuracy", "seconds"]].isna().all(axis=None)

    def test_everything_may_be_repeated(self, store: StudyStore, study: Study) -> None:
        evaluation_id = start(store, study, 0)
        assert start(store, study, 0, evaluation_id=evaluation_id) == evaluation_id
        for loss in (3.0, 2.0):
            store.record_epoch(evaluation_id, 0, train_loss=loss, val_accuracy=0.5, seconds=1.0)
        assert store.curve(evaluation_id).to_dict("list")["train_loss"] == [2.0]
        hashes = {"architecture_sha256": "0" * 64, "weights_sha256": "1" * 64}
        for accuracy in (0.6, 0.7):
            store.record_export(evaluation_id, "out/é", val_accuracy=0.5, test_accuracy=accuracy, **hashes)
        assert store.exports(study.id)[["trial", "path", "test_accuracy"]].values.tolist() == [[0, "out/é", 0.7]]

    def test_the_first_end_of_an_evaluation_stands(self, store: StudyStore, study: Study) -> None:
        evaluation_id = start(store, study, 0)
        assert store.finish_evaluation(evaluation_id, "COMPLETE", val_accuracy=0.1 + 0.2)
        assert store.finish_evaluation(evaluation_id, "COMPLETE", val_accuracy=0.1 + 0.2)
        assert not store.finish_evaluation(evaluation_id, "COMPLETE", val_accuracy=0.9)
        assert not store.finish_evaluation(evaluation_id, "FAIL", reason="orphan")
        assert not store.record_epoch(evaluation_id, 3, train_loss=1.0, val_accuracy=0.9, seconds=1.0)
        found = store.evaluation(study.id, 0)
        assert (found.status, found.val_accuracy, found.reason) == ("COMPLETE", 0.1 + 0.2, None)
        assert store.curve(evaluation_id).empty
        with pytest.raises(ValueError, match="ends COMPLETE, PRUNED, FAIL, INTERRUPTED, not 'RUNNING'"):
            store.finish_evaluation(evaluation_id, "RUNNING")

    def test_an_end_without_numbers_takes_them_from_the_epochs(self, store: StudyStore, study: Study) -> None:
        evaluation_id = start(store, study, 0)
        for epoch, accuracy in enumerate([0.4, 0.3, NAN]):
            store.record_epoch(evaluation_id, epoch, train_loss=1.0, val_accuracy=accuracy, seconds=2.0)
        assert store.finish_evaluation(evaluation_id, "PRUNED")
        found = store.evaluation(study.id, 0)
        assert (found.epochs, found.seconds, found.val_accuracy) == (3, 6.0, 0.3)

    def test_an_unknown_trial_says_which_there_are(self, store: StudyStore, study: Study) -> None:
        with pytest.raises(UnknownTrial, match="'digits-tiny' has no evaluated trial yet, and no trial 3"):
            store.evaluation(study.id, 3)
        for trial in (2, 41):
            start(store, study, trial)
        with pytest.raises(UnknownTrial, match="has evaluated trials 2 to 41, and no trial 3"):
            store.evaluation(study.id, 3)
        for call in (store.evaluation_by_id, lambda unknown: store.finish_evaluation(unknown, "FAIL")):
            with pytest.raises(UnknownTrial):
                call("unknown")

    def test_an_evaluation_of_an_unrecorded_architecture_is_refused(self, store: StudyStore, study: Study) -> None:
        with pytest.raises(StoreError, match="refused a row"):
            start(store, study, 0, "0" * 64)

    def test_an_architecture_recorded_twice_keeps_its_first_row(self, store: StudyStore, study: Study) -> None:
        store.record_architecture("a" * 64, "first", 1, 2, 3)
        store.record_architecture("a" * 64, "second", 9, 9, 9)
        start(store, study, 0, "a" * 64)
        assert store.evaluation(study.id, 0).architecture_json == "first"

    def test_the_best_is_complete_before_pruned(self, store: StudyStore, study: Study) -> None:
        assert store.best(study.id) is None
        evaluated(store, study, 0, "FAIL", 0.99)
        assert store.best(study.id) is None
        for trial, status, accuracy, found in [
            (1, "PRUNED", 0.9, 1), (2, "COMPLETE", None, 1), (3, "COMPLETE", 0.5, 3), (4, "COMPLETE", 0.6, 4)
        ]:  # fmt: skip
            evaluated(store, study, trial, status, accuracy)
            best = store.best(study.id)
            assert best is not None
            assert best.trial_number == found

    def test_an_interrupted_architecture_is_not_counted_as_trained(self, store: StudyStore, study: Study) -> None:
        for trial, status in enumerate(["COMPLETE", "PRUNED", "FAIL", "INTERRUPTED", "RUNNING"]):
            evaluated(store, study, trial, status, None)
        assert store.trained_digests(study.id) == {digest_of(f"trial {trial}") for trial in (0, 1, 2)}

    # Ranking

    def test_the_leaderboard_orders_by_status_accuracy_size_and_trial(self, store: StudyStore, study: Study) -> None:
        rows = [
            ("RUNNING", None, 1), ("FAIL", None, 1), ("PRUNED", 0.95, 9), ("COMPLETE", 0.5, 1), ("COMPLETE", 0.8, 7),
            ("COMPLETE", 0.8, 3), ("COMPLETE", 0.8, 3), ("COMPLETE", None, 1), ("INTERRUPTED", 0.9, 1),
            ("PRUNED", 0.2, 1),
        ]  # fmt: skip
        for trial, (status, accuracy, params) in enumerate(rows):
            evaluated(store, study, trial, status, accuracy, params=params)
        evaluated(store, store.open_study("other", {}), 50, "COMPLETE", 1.0)
        expected = [5, 6, 4, 3, 7, 2, 9, 1, 0, 8]
        assert list(leaderboard(store, study.id)["trial"]) == expected
        for top in (1, 4, 6, 9, 100):
            assert list(leaderboard(store, study.id, top)["trial"]) == expected[:top]
        with pytest.raises(StoreError, match="top must be 1 or more"):
            leaderboard(store, study.id, 0)

    def test_rankings_of_an_empty_study_have_their_columns(self, store: StudyStore, study: Study) -> None:
        columns = ["trial", "status", "val_accuracy", "params", "macs", "activations", "latency_ms", "epochs"]
        columns += ["seconds", "digest", "reason"]
        assert list(leaderboard(store, study.id).columns) == columns
        assert list(pareto_front(store, study.id, "params").columns) == columns
        assert list(all_trials(store, study.id).columns)[: len(columns)] == columns
        assert store.curve("none").empty
        assert store.exports(study.id).empty

    @pytest.mark.parametrize("cost", ["params", "macs", "activations", "latency_ms"])
    def test_the_pareto_front_is_what_brute_force_finds(self, store: StudyStore, study: Study, cost: Any) -> None:
        points: list[tuple[int, float]] = []
        for trial in range(60):
            price, accuracy = 1 + (trial * 37) % 11, ((trial * 37) % 11 + trial % 5) / 20
            evaluated(store, study, trial, "COMPLETE", accuracy, **{cost: price})
            points.append((price, accuracy))
        evaluated(store, study, 60, "PRUNED", 1.0, **{cost: 0})
        front = {
            trial
            for trial, (price, accuracy) in enumerate(points)
            if not any(p <= price and a >= accuracy and (p, a) != (price, accuracy) for p, a in points)
        }
        found = pareto_front(store, study.id, cost)
        assert set(found["trial"]) == front
        assert found[cost].is_monotonic_increasing
        assert len(front) >= 3

    def test_equal_points_are_all_on_the_pareto_front(self, store: StudyStore, study: Study) -> None:
        for trial in range(3):
            evaluated(store, study, trial, "COMPLETE", 0.5, params=7)
        assert list(pareto_front(store, study.id, "params")["trial"]) == [0, 1, 2]

    def test_an_unknown_cost_is_refused(self, store: StudyStore, study: Study) -> None:
        with pytest.raises(StoreError, match="one of params, macs, activations, latency_ms, not 'json'"):
            pareto_front(store, study.id, "json")  # pyright: ignore[reportArgumentType]

    def test_what_was_not_measured_is_on_no_front_of_latency(self, store: StudyStore, study: Study) -> None:
        evaluated(store, study, 0, "COMPLETE", 0.9)
        evaluated(store, study, 1, "COMPLETE", 0.5, latency_ms=2.5)
        evaluated(store, study, 2, "COMPLETE", 0.4, latency_ms=3.5)
        assert list(pareto_front(store, study.id, "latency_ms")["trial"]) == [1]
        board = leaderboard(store, study.id)
        assert board["latency_ms"].isna().tolist() == [True, False, False]

    def test_durations_are_those_of_the_last_trained(self, store: StudyStore, study: Study) -> None:
        for trial, status in enumerate(["COMPLETE", "PRUNED", "FAIL", "RUNNING", "COMPLETE", "COMPLETE"]):
            evaluation_id = start(store, study, trial, architecture(store, f"trial {trial}", macs=trial))
            for epoch in range(1, 1 + trial % 5):
                store.record_epoch(evaluation_id, epoch, train_loss=1.0, val_accuracy=0.5, seconds=trial + 1 / epoch)
            if status != "RUNNING":
                store.finish_evaluation(evaluation_id, status, seconds=10.0 * trial)
        assert [each.macs for each in store.durations(study.id, 100)] == [1, 4], "of 0 and 5 no epoch was trained"
        assert store.durations(study.id, 1) == store.durations(study.id, 100)[-1:]
        last = store.durations(study.id, 100)[-1]
        assert (last.macs, last.epochs, last.seconds, last.epoch_seconds) == (4, 4, 40.0, 4.25)

    # Budget slots

    def test_slots_are_claimed_in_order_up_to_the_budget(self, store: StudyStore, study: Study) -> None:
        for budget in (3, 2, 5, 5):
            store.ensure_slots(study.id, budget)
        assert store.slot_counts(study.id) == {"OPEN": 5, "CLAIMED": 0, "DONE": 0}
        claims = [store.claim_slot(study.id, "me", 2) for _ in range(3)]
        assert [claim and (claim.slot_no, claim.attempt, claim.owner) for claim in claims] == [
            (1, 1, "me"), (2, 1, "me"), None
        ]  # fmt: skip
        assert [slot.slot_no for slot in store.claimed_slots(study.id)] == [1, 2]
        assert store.slot_counts(study.id) == {"OPEN": 3, "CLAIMED": 2, "DONE": 0}

    def test_a_claim_is_beaten_attached_and_closed(self, store: StudyStore, study: Study) -> None:
        store.ensure_slots(study.id, 1)
        slot = store.claim_slot(study.id, "me", 1)
        assert slot is not None
        assert all([store.attach(slot, "first"), store.attach(slot, "second"), store.beat(slot), store.beat(slot)])
        (seen,) = store.claimed_slots(study.id)
        assert (seen.evaluation_id, seen.beat, seen.attempt, seen.owner) == ("second", 2, 1, "me")
        assert store.close_slot(slot)
        assert store.close_slot(slot)
        assert not any([store.beat(slot), store.attach(slot, "third"), store.release_slot(slot)])
        assert store.slot_counts(study.id) == {"OPEN": 0, "CLAIMED": 0, "DONE": 1}
        assert store.claim_slot(study.id, "me", 1) is None

    def test_a_late_owner_changes_nothing(self, store: StudyStore, study: Study) -> None:
        store.ensure_slots(study.id, 1)
        late = store.claim_slot(study.id, "late", 1)
        assert late is not None
        store.attach(late, "lost")
        assert store.release_slot(late, "no sign of life")
        assert store.release_slot(late, "no sign of life")
        new = store.claim_slot(study.id, "new", 1)
        assert new is not None
        assert (new.slot_no, new.attempt, new.evaluation_id, new.beat) == (1, 2, None, 0)
        assert not any([store.beat(late), store.attach(late, "x"), store.close_slot(late), store.release_slot(late)])
        assert store.claimed_slots(study.id) == [new]

    def test_an_evaluation_has_one_slot(self, store: StudyStore, study: Study) -> None:
        store.ensure_slots(study.id, 2)
        first, second = (store.claim_slot(study.id, "me", 2) for _ in range(2))
        assert first is not None
        assert second is not None
        assert store.attach(first, "evaluation")
        with pytest.raises(StoreError, match="refused a row"):
            store.attach(second, "evaluation")

    def test_four_processes_claim_each_slot_once(self, store: StudyStore, study: Study) -> None:
        store.ensure_slots(study.id, 100)
        claimed = run_together(claim_all, 4, store, study.id, 100, honest_claim)
        assert sorted(number for mine in claimed for number in mine) == list(range(1, 101))
        assert store.slot_counts(study.id) == {"OPEN": 0, "CLAIMED": 0, "DONE": 100}

    def test_a_claim_that_compares_nothing_is_caught_claiming_twice(self, store: StudyStore, study: Study) -> None:
        store.ensure_slots(study.id, 100)
        claimed = run_together(claim_all, 4, store, study.id, 100, careless_claim)
        numbers = [number for mine in claimed for number in mine]
        assert set(numbers) == set(range(1, 101))
        assert len(numbers) > 100, "the planted bug did not show: the test above proves nothing"

    # Scaling

    def test_a_short_training_is_found_again_by_all_that_it_depends_on(self, store: StudyStore) -> None:
        begin, member = architecture(store, "start"), architecture(store, "member", 1, 2, 3)
        training = ScalingTraining(begin, member, {"epochs": 4, "rungs": ()}, 2**63 - 1, "f" * 64)
        scalings = Scalings(store)
        assert scalings.accuracy(training) is None
        facts: dict[str, Any] = {"direction": "width", "epochs": 4, "seconds": NAN, "device": "cpu"}
        for accuracy in (0.75, 0.5):  # the first stands
            scalings.record(training, val_accuracy=accuracy, **facts)
        assert scalings.accuracy(replace(training, recipe={"rungs": [], "epochs": 4})) == 0.75
        for other in (
            {"start_digest": member},
            {"digest": begin},
            {"recipe": {"epochs": 5, "rungs": ()}},
            {"seed": 1},
            {"fingerprint": "g" * 64},
        ):
            assert scalings.accuracy(replace(training, **other)) is None
        [row] = scalings.trainings().to_dict("records")
        assert (row["direction"], row["val_accuracy"], row["macs"], row["seed"]) == ("width", 0.75, 2, 2**63 - 1)
        with pytest.raises(StoreError):
            scalings.record(replace(training, digest="unknown"), val_accuracy=0.5, **facts)

    def test_the_last_fit_of_a_network_on_the_same_images_stands(self, store: StudyStore) -> None:
        begin, scalings = architecture(store, "start"), Scalings(store)
        assert scalings.learnt(begin) is None
        for direction, images, depth in (("width", "a", 0.0), ("fitted", "a", 0.25), ("even", "b", 0.5)):
            exponents = (depth, 1 - depth, 0.0)
            scalings.learn(begin, images, direction=direction, exponents=exponents, trainings=6, why="it won: 2 ±")
        found = scalings.learnt(begin, "a")
        assert found is not None
        assert (found.direction, found.exponents, found.why) == ("fitted", (0.25, 0.75, 0.0), "it won: 2 ±")
        last = scalings.learnt(begin)
        assert last is not None
        assert last.direction == "even"
        assert scalings.learnt(begin, "c") is None

    # What a report reads

    def test_the_curves_of_a_study_are_those_of_its_evaluations(self, store: StudyStore, study: Study) -> None:
        ids = [start(store, study, trial) for trial in range(3)]
        foreign = start(store, store.open_study("other", {}), 0)
        for evaluation_id, epochs in zip([*ids[:2], foreign], (3, 1, 2), strict=True):
            for epoch in range(epochs, 0, -1):
                store.record_epoch(evaluation_id, epoch, train_loss=1.0, val_accuracy=epoch / 10, seconds=1.0)
        curves = all_curves(store, study.id)
        assert list(curves.columns) == ["evaluation_id", "epoch", "val_accuracy"]
        found = {name: list(rows["val_accuracy"]) for name, rows in curves.groupby("evaluation_id")}
        assert found == {ids[0]: [0.1, 0.2, 0.3], ids[1]: [0.1]}

    def test_what_optuna_notes_of_trials_is_read(self, url: str, store: StudyStore) -> None:
        assert noted_of_trials(store, "digits-tiny", "constraints:") == {}  # it has no tables yet
        storage = optuna.storages.RDBStorage(url)
        for name in ("digits-tiny", "other"):
            study = optuna.create_study(storage=storage, study_name=name)
            for number in range(12):
                trial = study.ask()
                trial.set_user_attr("macs", number)
                trial.set_user_attr("key", "Ω")
                trial.storage.set_trial_system_attr(trial._trial_id, "of no concern", 1)
                if number:
                    trial.set_constraint("macs", -0.5)
        storage.engine.dispose()
        noted = noted_of_trials(store, "digits-tiny", "constraints:")
        assert list(noted) == list(range(12))
        assert noted[0] == {"macs": 0, "key": "Ω"}
        assert noted[11] == {"macs": 11, "key": "Ω", "constraints:macs": -0.5}
        assert noted_of_trials(store, "nobody", "constraints:") == {}

    # Schema and processes

    def test_six_processes_may_make_the_schema_at_once(self, url: str) -> None:
        assert run_together(open_store, 6, url) == [None] * 6
        with StudyStore(url) as store:
            assert list(store.studies()["name"]) == ["shared"]

    def test_the_migrations_make_the_tables_and_leave_optunas_alone(self, url: str) -> None:
        storage = optuna.storages.RDBStorage(url)
        optuna.create_study(storage=storage, study_name="digits-tiny").enqueue_trial({"x": 1})
        with StudyStore(url) as store, store.engine.connect() as connection:
            options = {"version_table": VERSION_TABLE, "include_name": include_name, "compare_type": True}
            context = MigrationContext.configure(connection, opts=options)
            assert compare_metadata(context, Base.metadata) == []
            blind = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            dropped = {
                str(change[1]) for change in compare_metadata(blind, Base.metadata) if change[0] == "remove_table"
            }
            assert {"trials", "studies"} <= dropped, "without the filter Optuna's tables would be dropped"
            names = set(inspect(connection).get_table_names())
        assert set(Base.metadata.tables) | {VERSION_TABLE, "studies", "trials"} <= names
        assert len(optuna.load_study(study_name="digits-tiny", storage=storage).trials) == 1
        storage.engine.dispose()

    def test_a_newer_schema_is_refused(self, url: str) -> None:
        with StudyStore(url) as store, store.engine.begin() as connection:
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        with pytest.raises(StoreError, match=r"newer nas \(its schema is 9999, ours \d+\); upgrade nas"):
            StudyStore(url)

    @pytest.mark.parametrize("died", [False, True])
    def test_an_older_schema_is_brought_up_to_date(self, url: str, died: bool) -> None:
        """Also where a process died between the change and the writing of the revision."""
        with StudyStore(url) as store, store.engine.begin() as connection:
            if not died:
                [index] = table(ArchitectureRow).indexes
                index.drop(connection)
                connection.execute(text("ALTER TABLE nas_evaluation DROP COLUMN latency_ms"))
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0001'"))
        with StudyStore(url) as store, store.engine.connect() as connection:
            assert connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")) == HEAD
            found = [index["name"] for index in inspect(connection).get_indexes("nas_architecture")]
            columns = [column["name"] for column in inspect(connection).get_columns("nas_evaluation")]
        assert found == ["ix_nas_architecture_cost"]
        assert columns.count("latency_ms") == 1

    def test_evaluations_older_than_the_latency_stay_and_have_none(self, url: str) -> None:
        with StudyStore(url) as store:
            study = store.open_study("s", SETTINGS)
            evaluated(store, study, 0, "COMPLETE", 0.5)
            with store.engine.begin() as connection:
                connection.execute(text("ALTER TABLE nas_evaluation DROP COLUMN latency_ms"))
                connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0002'"))
        with StudyStore(url) as store:
            evaluated(store, study, 1, "COMPLETE", 0.4, latency_ms=1.25)
            assert [store.evaluation(study.id, trial).latency_ms for trial in (0, 1)] == [None, 1.25]
            assert list(pareto_front(store, study.id, "latency_ms")["trial"]) == [1]

    def test_a_store_travels_to_a_spawned_process(self, store: StudyStore, study: Study) -> None:
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.study() == study

    def test_a_forked_process_does_not_share_a_connection(self, store: StudyStore, study: Study) -> None:
        process = multiprocessing.get_context("fork").Process(target=store.ensure_slots, args=(study.id, 7))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        assert store.slot_counts(study.id)["OPEN"] == 7

    def test_a_failed_write_leaves_nothing(self, store: StudyStore, study: Study) -> None:
        def interrupted() -> None:
            with store._writing() as connection:
                connection.execute(text("DELETE FROM nas_study"))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert store.study() == study
