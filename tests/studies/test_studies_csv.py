"""CSV files of trials: whole or not there, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from study_records import SETTINGS, evaluated, start

from studies import StoreError, StudyStore, all_trials, write_csv


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1"])
def test_text_that_looks_like_a_formula_is_quoted(tmp_path: Path, text: str) -> None:
    write_csv(pd.DataFrame({text: [text, "plain", None], "number": [-1.5, float("nan"), 2]}), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    text = text.replace("\r", "\n")
    assert rows == [["'" + text, "number"], ["'" + text, "-1.5"], ["plain", ""], ["", "2.0"]]


def test_all_trials_are_written_with_their_choices(sqlite_url: str, tmp_path: Path) -> None:
    with StudyStore(sqlite_url) as store:
        study = store.open_study("s", SETTINGS)
        evaluated(store, study, 1, "COMPLETE", 0.5)
        failed = start(store, study, 0, choices={"kind": "=cmd()"})
        store.finish_evaluation(failed, "FAIL", reason='=HYPERLINK("x"), "quoted"\nsecond line')
        write_csv(all_trials(store, study.id), tmp_path / "trials.csv")
    with (tmp_path / "trials.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["trial"], first["status"], second["val_accuracy"]) == ("0", "FAIL", "0.5")
    assert first["reason"] == '\'=HYPERLINK("x"), "quoted"\nsecond line'
    assert first["choices"] == '{"kind": "=cmd()"}'


def test_a_folder_that_is_missing_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot write .*none/t\.csv: No such file or directory"):
        write_csv(pd.DataFrame(), tmp_path / "none" / "t.csv")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_link_is_followed_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="it is not a regular file"):
        write_csv(pd.DataFrame({"a": [1]}), tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "link.csv").symlink_to(tmp_path / "true.csv")
    write_csv(pd.DataFrame({"a": [1]}), tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "true.csv").read_text() == "a\n1\n"
