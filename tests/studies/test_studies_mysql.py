"""The store on a MariaDB or MySQL server: the contract, and what only such a server can do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text
from study_records import SETTINGS, digest_of, start
from study_store_contract import StoreContract

from studies import StoreError, StoreUnavailable, StudyStore, leaderboard
from studies.ranking import best_at_each_cost, rank_queries
from studies.schema import VERSION_TABLE
from studies.tables import ArchitectureRow, Base, EvaluationRow, table

pytestmark = pytest.mark.database


class TestMySQL(StoreContract):
    @pytest.fixture
    def url(self, mysql_database: Callable[[str], str]) -> str:
        """Where every default is against us: what the store promises must not depend on how the database was made."""
        return mysql_database("CHARACTER SET latin1 COLLATE latin1_swedish_ci")


@pytest.fixture
def admin(mysql_url: str) -> Iterator[Engine]:
    """The database as the server's administrator sees it, without the store's settings."""
    engine = create_engine(mysql_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def stranger(admin: Engine, mysql_url: str) -> Iterator[Callable[[str], str]]:
    """Makes a user with some rights on the database; the URL with which that user comes."""
    names: list[str] = []

    def make(rights: str) -> str:
        names.append(f"nas_{uuid.uuid4().hex[:12]}")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE USER {names[-1]}@'%' IDENTIFIED BY 'hünter2'"))
            if rights:
                connection.execute(text(f"GRANT {rights} ON {admin.url.database}.* TO {names[-1]}@'%'"))
        return make_url(mysql_url).set(username=names[-1], password="hünter2").render_as_string(hide_password=False)

    yield make
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP USER {name}@'%'"))


def test_every_spelling_of_the_url_means_pymysql(mysql_url: str) -> None:
    for drivername in ("mysql", "mysql+pymysql", "mariadb", "mariadb+pymysql"):
        url = make_url(mysql_url).set(drivername=drivername).render_as_string(hide_password=False)
        with StudyStore(url) as store:
            assert (store.engine.dialect.name, store.engine.dialect.driver) == ("mysql", "pymysql")


def test_a_session_does_not_depend_on_the_servers_defaults(mysql_url: str) -> None:
    url = make_url(mysql_url).update_query_dict({"charset": "latin1", "sql_mode": "ANSI"})
    names = ("character_set_connection", "default_storage_engine", "innodb_lock_wait_timeout", "sql_mode")
    with StudyStore(url) as store, store.reading() as connection:
        shown = {name: connection.execute(text(f"SELECT @@SESSION.{name}")).scalar_one() for name in names}
        assert connection.get_isolation_level() == "REPEATABLE READ"
        timeouts = connection.execute(text("SHOW VARIABLES LIKE 'max_statement_time'")).all()
    assert "STRICT_ALL_TABLES" in shown.pop("sql_mode").split(",")
    assert shown == dict(zip(names, ("utf8mb4", "InnoDB", 30), strict=False))
    assert [float(row[1]) for row in timeouts] in ([30.0], [])  # MySQL has no such limit
    with store.engine.connect() as connection:
        assert connection.get_isolation_level() == "READ COMMITTED"


def test_a_lost_connection_is_replaced(mysql_url: str, admin: Engine) -> None:
    with StudyStore(mysql_url) as store:
        store.open_study("s", {})
        ids = text("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        with admin.connect() as connection:
            lost = connection.scalars(ids).all()
            for number in lost:
                connection.execute(text(f"KILL {number}"))
        assert lost
        assert store.study().name == "s"


def test_reading_sees_one_state(mysql_url: str) -> None:
    with StudyStore(mysql_url) as store, StudyStore(mysql_url) as other, store.reading() as connection:
        count = text("SELECT count(*) FROM nas_study")
        assert connection.execute(count).scalar_one() == 0
        other.open_study("later", {})
        assert connection.execute(count).scalar_one() == 0


def test_a_user_who_may_only_read_is_refused(mysql_url: str, stranger: Callable[[str], str]) -> None:
    url = stranger("SELECT")
    with pytest.raises(StoreError, match=r"refuses this user: (CREATE|INSERT) command denied"):
        StudyStore(url)
    StudyStore(mysql_url).close()
    with pytest.raises(StoreError, match="refuses this user: UPDATE command denied") as caught:
        StudyStore(url)
    assert "hünter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_in_which_one_may_not_write_now_is_called_read_only(mysql_url: str) -> None:
    with StudyStore(mysql_url) as store:
        event.listen(
            store.engine, "begin", lambda connection: connection.exec_driver_sql("START TRANSACTION READ ONLY")
        )
        with pytest.raises(StoreError, match="is read-only; ask for the right to write"):
            store.open_study("s", {})


def test_a_password_may_hold_any_character_and_a_wrong_one_is_not_shown(stranger: Callable[[str], str]) -> None:
    url = make_url(stranger("ALL"))
    StudyStore(url).close()
    with pytest.raises(StoreError, match="refuses the user name or the password") as caught:
        StudyStore(url.set(password="hünter3"))
    assert "hünter" not in str(caught.value)


def test_a_missing_database_is_named(mysql_url: str, stranger: Callable[[str], str]) -> None:
    with pytest.raises(StoreError, match=r"Unknown database 'nas_test_none'.*; make it with: CREATE DATABASE"):
        StudyStore(make_url(mysql_url).set(database="nas_test_none"))
    with pytest.raises(StoreError, match=r"refuses this user: Access denied for user .* to database"):
        StudyStore(stranger(""))


def test_rows_that_another_process_holds_are_called_busy(mysql_url: str) -> None:
    def impatient(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")

    with StudyStore(mysql_url) as store, StudyStore(mysql_url) as other:
        study = store.open_study("s", SETTINGS)
        evaluation_id = start(store, study, 0)
        other.close()
        event.listen(other.engine, "connect", impatient)
        with store.engine.begin() as connection:
            connection.execute(text("SELECT id FROM nas_evaluation FOR UPDATE"))
            with pytest.raises(StoreUnavailable, match="is busy: another process has held it for too long"):
                other.finish_evaluation(evaluation_id, "COMPLETE", val_accuracy=0.5)
        assert other.finish_evaluation(evaluation_id, "COMPLETE", val_accuracy=0.5)


# Schema


class Killed(BaseException):
    """Stands for the end of the process."""


def die_after(statements: int) -> Callable[..., None]:
    made: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith(("CREATE", "INSERT")):
            made.append(statement)
            if len(made) == statements:
                raise Killed

    return count


def test_tables_left_by_a_process_that_died_while_it_made_them_are_made_anew(mysql_url: str, admin: Engine) -> None:
    deaths = 0
    while True:  # each life gets one statement further than the one before
        die = die_after(deaths + 1)
        event.listen(Engine, "after_cursor_execute", die)
        try:
            StudyStore(mysql_url).close()
            break
        except Killed:
            deaths += 1
        finally:
            event.remove(Engine, "after_cursor_execute", die)
    assert deaths > len(Base.metadata.tables)
    with StudyStore(mysql_url) as store:
        start(store, store.open_study("s", SETTINGS), 0)
        assert len(store.studies()) == 1


def test_rows_without_a_version_are_not_dropped(mysql_url: str, admin: Engine) -> None:
    with StudyStore(mysql_url) as store:
        study = store.open_study("s", SETTINGS)
        with admin.connect() as connection:
            connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        with pytest.raises(StoreError, match=f"holds rows in nas_study and no {VERSION_TABLE}; restore it from a copy"):
            StudyStore(mysql_url)
        assert store.study() == study


def test_a_schema_that_another_process_makes_is_waited_for(
    mysql_url: str, admin: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.schema.LOCK_SECONDS", 0)
    with admin.connect() as connection:
        assert connection.scalar(text("SELECT GET_LOCK(CONCAT('nas_', MD5(DATABASE())), 0)"))
        with pytest.raises(StoreUnavailable, match="is busy: another process changes its tables"):
            StudyStore(mysql_url)
    admin.dispose()
    StudyStore(mysql_url).close()


def test_the_end_of_the_lock_is_not_left_to_the_pool(mysql_url: str, admin: Engine) -> None:
    with StudyStore(mysql_url), admin.connect() as connection:
        assert connection.scalar(text("SELECT IS_FREE_LOCK(CONCAT('nas_', MD5(DATABASE())))"))


# Ranking


@pytest.fixture
def many(mysql_url: str) -> Iterator[tuple[StudyStore, str]]:
    """A study of 2,000 evaluations and its id."""
    with StudyStore(mysql_url) as store:
        study = store.open_study("many", SETTINGS)
        start(store, study, 0)
        with store.engine.begin() as connection:
            evaluation = dict(connection.execute(table(EvaluationRow).select()).mappings().one())
            architecture = dict(connection.execute(table(ArchitectureRow).select()).mappings().one())
            evaluation |= {"status": "COMPLETE"}
            rows = [
                {"id": str(number), "digest": digest_of(str(number)), "trial_number": number, "params": number % 97 + 1}
                | {"val_accuracy": (number * 7919 % 2000) / 2000}
                for number in range(1, 2000)
            ]
            connection.execute(
                table(ArchitectureRow).insert(), [architecture | only(architecture, row) for row in rows]
            )
            connection.execute(table(EvaluationRow).insert(), [evaluation | only(evaluation, row) for row in rows])
        yield store, study.id


def only(columns: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name in columns}


def rows_read(store: StudyStore) -> int:
    """How many rows the store's session has made the server read so far."""
    with store.reading() as connection:
        return sum(int(row[1]) for row in connection.execute(text("SHOW SESSION STATUS LIKE 'Handler_read%'")))


def test_the_best_are_found_without_reading_the_study(many: tuple[StudyStore, str]) -> None:
    store, study_id = many
    before = rows_read(store)
    assert len(leaderboard(store, study_id, 10)) == 10
    best = store.best(study_id)
    assert best is not None
    assert best.val_accuracy == 1999 / 2000
    assert rows_read(store) - before < 200


def test_a_ranking_does_not_read_the_architectures_text(many: tuple[StudyStore, str]) -> None:
    store, study_id = many
    with store.reading() as connection:
        for query in (best_at_each_cost(study_id, "params"), *(query for query, _ in rank_queries(study_id))):
            sql = str(query.compile(store.engine, compile_kwargs={"literal_binds": True})).replace("%", "%%")
            plan = {row.table: row for row in connection.exec_driver_sql(f"EXPLAIN {sql}")}
            assert plan["nas_architecture"].key == "ix_nas_architecture_cost"
            assert "Using index" in plan["nas_architecture"].Extra
