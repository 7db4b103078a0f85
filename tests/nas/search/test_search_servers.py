"""A search on a database server ends with the same results as one on SQLite, and says so through the same commands."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from small_search import Fake, assert_settled, optuna_study, score, small_search
from test_search_faults import interrupted_by

from nas.cli import main
from nas.errors import NasError
from nas.study import close_storage, optuna_storage
from searchspace import Architecture
from studies import StudyStore

pytestmark = pytest.mark.database


@pytest.fixture(params=["postgresql_url", "mysql_url"])
def server(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="nas")
    assert result.exit_code == 0, result.output
    return result.stdout


def told(storage: str, table: Path) -> dict[str, Any]:
    """What a search that was interrupted and resumed leaves, as the commands tell it."""
    interrupted_by(storage, 3, budget=8, study="Σ 🙂")
    small_search(storage, budget=8, study="Σ 🙂")
    where = ("--storage", storage, "--study", "Σ 🙂")
    printed("rank", *where, "--csv", str(table))
    with table.open(encoding="utf-8", newline="") as file:
        rows = [(row["trial"], row["status"], row["val_accuracy"], row["choices"]) for row in csv.DictReader(file)]
    ranked = json.loads(printed("rank", *where, "--json"))
    front = json.loads(printed("rank", *where, "--pareto", "params", "--json"))
    for document in (ranked, front):
        for trial in document["trials"]:
            trial.pop("seconds")
    return {"csv": rows, "rank": ranked["trials"], "front": front["trials"]}


def test_rank_front_and_csv_are_those_of_sqlite(server: str, storage: str, tmp_path: Path) -> None:
    on_server, on_sqlite = told(server, tmp_path / "server.csv"), told(storage, tmp_path / "sqlite.csv")
    assert on_server == on_sqlite
    assert [len(on_server[name]) for name in ("csv", "rank")] == [9, 9]  # one was interrupted and done again
    assert 1 <= len(on_server["front"]) < 8
    assert_settled(server, 8, "Σ 🙂")


def test_a_loss_that_is_no_number_fails_alike(server: str, storage: str) -> None:
    def diverging(architecture: Architecture, *, seed: int, stop: Any) -> Any:
        yield score(1, 0.5)
        yield score(2, 0.5, train_loss=math.inf) if len(seen) % 2 else score(2, math.nan)
        seen.append(architecture)

    ends = []
    for url in (server, storage):
        seen: list[Architecture] = []
        result = small_search(url, budget=4, evaluate=diverging)
        ends.append(result.dataframe()[["trial", "status", "reason"]].values.tolist())
    assert ends[0] == ends[1]
    assert {status for _, status, _ in ends[0]} == {"FAIL"}


def test_optuna_keeps_numbers_that_are_not_finite(server: str) -> None:
    small_search(server, budget=1, evaluate=Fake())
    with optuna_study(server) as study:
        trial = study.ask()
        for step, value in enumerate((math.nan, math.inf, -math.inf, 1 / 3)):
            trial.report(value, step)
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        kept = study.get_trials()[-1].intermediate_values
    assert math.isnan(kept.pop(0))
    assert kept == {1: math.inf, 2: -math.inf, 3: 1 / 3}


# Optuna's tables follow the defaults of the MySQL database that they stand in.


def names(storage: str) -> list[set[str]]:
    """The names of the studies in both homes."""
    with StudyStore(storage) as store:
        optuna_side = optuna_storage(store)
        found = [set(store.studies()["name"]), set(optuna.get_all_study_names(optuna_side))]
        close_storage(optuna_side)
    return found


@pytest.mark.parametrize(("first", "second"), [("digits", "Digits"), ("resume", "résumé"), ("🙂", "🐱")])
def test_names_that_a_database_takes_for_one_are_refused(
    mysql_database: Callable[[str], str], first: str, second: str
) -> None:
    storage = mysql_database("CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    small_search(storage, budget=1, study=first)
    with pytest.raises(NasError, match=f"takes the study names '{second}' and '{first}' for one; use another"):
        small_search(storage, budget=1, study=second)
    assert names(storage) == [{first}, {first}]
    assert_settled(storage, 1, first)


def test_a_name_that_a_database_cannot_write_is_refused(mysql_database: Callable[[str], str]) -> None:
    storage = mysql_database("CHARACTER SET latin1")
    small_search(storage, budget=1, study="résumé")
    with pytest.raises(NasError, match=r"cannot write all characters of the study name '🙂'; .* CREATE DATABASE"):
        small_search(storage, budget=1, study="🙂")
    assert names(storage) == [{"résumé"}, {"résumé"}]


def test_a_database_made_as_the_guide_tells_takes_them_all(mysql_url: str) -> None:
    taken = {"digits", "Digits", "resume", "résumé", "🙂", "🐱"}
    for name in taken:
        small_search(mysql_url, budget=1, study=name)
    assert names(mysql_url) == [taken, taken]
    for name in taken:
        assert_settled(mysql_url, 1, name)


def test_of_two_names_taken_for_one_at_the_same_time_one_is_refused(
    mysql_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = mysql_database("CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
    create = optuna.create_study

    def late(**settings: Any) -> optuna.Study:
        if settings.get("study_name") == "digits":  # another process is faster by a hair
            monkeypatch.setattr(optuna, "create_study", create)
            small_search(storage, budget=1, study="Digits")
        return create(**settings)

    monkeypatch.setattr(optuna, "create_study", late)
    with pytest.raises(NasError, match="takes the study names 'digits' and 'Digits' for one"):
        small_search(storage, budget=1, study="digits")
    assert_settled(storage, 1, "Digits")
