"""The store on SQLite: the contract, and what only a file can do."""

from __future__ import annotations

import os
import pickle
import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from study_records import SETTINGS
from study_store_contract import StoreContract

from studies import StoreError, StudyStore
from studies.ranking import rank_queries


class TestSQLite(StoreContract):
    @pytest.fixture
    def url(self, sqlite_url: str) -> str:
        return sqlite_url


def test_the_file_is_written_for_durability(sqlite_url: str) -> None:
    with StudyStore(sqlite_url) as store, store.reading() as connection:
        pragmas = {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in
                   ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert pragmas == {"journal_mode": "delete", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 60_000}


def test_readers_do_not_shut_each_other_out(sqlite_url: str) -> None:
    with StudyStore(sqlite_url) as store:
        store.open_study("s", SETTINGS)
        with store.reading() as one, store.reading() as two:
            query = text("SELECT count(*) FROM nas_study")
            assert one.execute(query).scalar_one() == two.execute(query).scalar_one() == 1


def test_a_database_held_by_another_process_is_called_busy(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.connect.BUSY_TIMEOUT_SECONDS", 0.05)
    StudyStore(sqlite_url).close()
    other = sqlite3.connect(tmp_path / "nas.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="is busy: another process"):
        StudyStore(sqlite_url)
    other.close()


def test_a_store_in_an_oddly_named_folder_travels_by_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b?c#d%41@é"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with StudyStore("sqlite:///nas.db") as store:
        store.open_study("s", SETTINGS)
        monkeypatch.chdir(tmp_path)
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.study().name == "s"
    assert os.listdir(folder) == ["nas.db"]


def test_a_relative_file_stays_the_same_when_the_process_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with StudyStore("sqlite:///nas.db") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.engine.dispose()
        assert store.studies().empty
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?mode=memory&uri=true"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="in memory is lost"):
        StudyStore(url)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"no folder {re.escape(str(tmp_path))}/none to hold the database nas.db"):
        StudyStore(f"sqlite:///{tmp_path}/none/nas.db")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder; name a database file in it"):
        StudyStore(f"sqlite:///{tmp_path}")


def test_a_reader_does_not_make_a_database(sqlite_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no database"):
        StudyStore(sqlite_url, create=False)
    assert list(tmp_path.iterdir()) == []
    StudyStore(sqlite_url).close()
    StudyStore(sqlite_url, create=False).close()


def test_another_file_is_no_database_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database\n" * 100)
    with pytest.raises(StoreError, match="is not an SQLite database"):
        StudyStore(f"sqlite:///{tmp_path}/notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "not a database\n" * 100


def test_a_database_opened_read_only_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    StudyStore(sqlite_url).close()
    with pytest.raises(StoreError, match="is read-only; make the file and its folder writable"):
        StudyStore(f"sqlite:///file:{tmp_path}/nas.db?mode=ro&uri=true")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write any file")
def test_a_file_without_the_right_to_write_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    StudyStore(sqlite_url).close()
    (tmp_path / "nas.db").chmod(0o444)
    with pytest.raises(StoreError, match="is read-only"):
        StudyStore(sqlite_url)


def test_a_full_disk_is_said_in_one_line(sqlite_url: str) -> None:
    with StudyStore(sqlite_url) as store:
        with store.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreError, match=r"database or disk is full$"):
            store.record_architecture("a" * 64, "x" * 100_000, 1, 1, 1)
        assert store.studies().empty


def test_a_ranking_follows_its_index_and_sorts_only_ties(sqlite_url: str) -> None:
    with StudyStore(sqlite_url) as store, store.reading() as connection:
        for query, _ in rank_queries("study"):
            sql = query.limit(10).compile(store.engine, compile_kwargs={"literal_binds": True})
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
            assert "INDEX ix_nas_evaluation_rank (study_id=? AND status=? AND val_accuracy" in steps[0]
            assert "sqlite_autoindex_nas_architecture" in steps[1]
            assert steps[2:] in ([], ["USE TEMP B-TREE FOR RIGHT PART OF ORDER BY"])
