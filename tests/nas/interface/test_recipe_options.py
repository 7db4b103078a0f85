"""The recipe on the command line: shared by search and train, stored, and compared when a study is resumed."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from command import done, refused
from searched import SEARCH, Searched

import nas

RECIPE = ("--optimizer", "adam", "--schedule", "plateau", "--learning-rate", "0.02", "--label-smoothing", "0")


def database(study: Searched) -> sqlite3.Connection:
    return sqlite3.connect(study.folder / "nas.db")


def test_train_takes_the_recipe_and_the_card_says_it() -> None:
    done(
        "train",
        "lenet5",
        "--dataset",
        "digits",
        "--resolution",
        "16",
        "--limit-train",
        "60",
        "--epochs",
        "1",
        *RECIPE,
        "--out",
        "net",
    )
    recipe = nas.load("net").card.recipe["training"]
    chosen = {"optimizer": "adam", "schedule": "plateau", "learning_rate": 0.02, "label_smoothing": 0.0}
    assert {name: recipe[name] for name in chosen} == chosen


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--optimizer", "lion"), "optimizer"),
        (("--schedule", "cosine"), "schedule"),
        (("--learning-rate", "0"), "learning_rate"),
        (("--learning-rate", "nan"), "learning_rate"),
        (("--learning-rate", "fast"), "learning-rate"),
        (("--label-smoothing", "1"), "label_smoothing"),
        (("--label-smoothing", "-0.1"), "label_smoothing"),
    ],
)
@pytest.mark.parametrize("command", [("search",), ("train", "lenet5")])
def test_a_wrong_recipe_is_refused_by_the_name_of_the_setting(
    command: tuple[str, ...], arguments: tuple[str, ...], named: str
) -> None:
    assert named in refused(*command, "--dataset", "digits", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--optimizer", "adam"), "now recipe.learning_rate=0.008, recipe.optimizer='adam'"),
        (("--schedule", "plateau"), "now recipe.schedule='plateau'"),
        (("--learning-rate", "0.5"), "recipe.learning_rate=1.0, now recipe.learning_rate=0.5"),
        (("--label-smoothing", "0"), "recipe.label_smoothing=0.1, now recipe.label_smoothing=0.0"),
    ],
)
def test_resuming_with_another_recipe_is_refused(searched: Searched, arguments: tuple[str, ...], words: str) -> None:
    told = refused("search", *SEARCH, "--budget", "4", "--storage", searched.storage, *arguments)
    assert words in told


FIRST = {
    "batch_size", "learning_rate", "momentum", "weight_decay", "label_smoothing", "warmup", "gradient_clip",
    "crop_padding", "cutout", "bfloat16",
}  # fmt: skip


def test_a_study_of_the_first_version_is_resumed_and_exported(study_copy: Searched) -> None:
    """It knows none of the younger settings, neither in its own row nor in its trials' recipes."""
    with database(study_copy) as connection:
        (text,) = connection.execute("SELECT settings FROM nas_study").fetchone()
        settings: dict[str, Any] = json.loads(text)
        assert set(settings["recipe"]) == FIRST | {"optimizer"}, "what is as it was at first is stored as it was"
        del settings["recipe"]["optimizer"]
        connection.execute("UPDATE nas_study SET settings = ?", (json.dumps(settings),))
        for number, text in connection.execute("SELECT id, recipe FROM nas_evaluation").fetchall():
            recipe: dict[str, Any] = json.loads(text)
            recipe["training"] = {name: recipe["training"][name] for name in FIRST | {"epochs"}}
            connection.execute("UPDATE nas_evaluation SET recipe = ? WHERE id = ?", (json.dumps(recipe), number))
    connection.close()
    done("search", *SEARCH, "--budget", "3", "--storage", study_copy.storage, "--optimizer", "sgd")
    assert "optimizer" in refused("search", *SEARCH, "--budget", "4", "--storage", study_copy.storage)
    answer = done("export", "--storage", study_copy.storage, "--epochs", "1", "--out", "net", "--json")
    assert answer.document["recipe"]["training"]["optimizer"] == "sgd"
