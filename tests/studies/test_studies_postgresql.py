"""The store on a PostgreSQL server: the contract, and what only a server can do."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url, text
from study_store_contract import StoreContract

from studies import StoreError, StudyStore

pytestmark = pytest.mark.database


class TestPostgreSQL(StoreContract):
    @pytest.fixture
    def url(self, postgresql_url: str) -> str:
        return postgresql_url


def test_every_spelling_of_the_url_means_psycopg_3(postgresql_url: str) -> None:
    for drivername in ("postgresql", "postgresql+psycopg", "postgres"):
        url = make_url(postgresql_url).set(drivername=drivername).render_as_string(hide_password=False)
        with StudyStore(url) as store:
            assert store.engine.dialect.driver == "psycopg"


def test_a_session_is_in_utc_and_cannot_hang_for_ever(postgresql_url: str) -> None:
    with StudyStore(postgresql_url) as store, store.reading() as connection:
        names = ("TimeZone", "statement_timeout", "idle_in_transaction_session_timeout", "transaction_isolation")
        shown = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert shown == ["UTC", "30s", "1min", "repeatable read"]


def test_a_lost_connection_is_replaced(postgresql_url: str) -> None:
    with StudyStore(postgresql_url) as store, StudyStore(postgresql_url) as other:
        store.open_study("s", {})
        with other.engine.begin() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                     "WHERE datname = current_database() AND pid <> pg_backend_pid()")
            )  # fmt: skip
        assert store.study().name == "s"


def test_a_read_only_database_is_refused(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    options = f"{url.query['options']} -cdefault_transaction_read_only=on"
    url = url.update_query_dict({"options": options})
    with pytest.raises(StoreError, match="is read-only; ask for the right to write"):
        StudyStore(url.render_as_string(hide_password=False))


def test_a_missing_database_is_named(postgresql_url: str) -> None:
    url = make_url(postgresql_url).set(database="nas_test_none")
    with pytest.raises(StoreError, match='database "nas_test_none" does not exist'):
        StudyStore(url.render_as_string(hide_password=False))


def test_reading_sees_one_state(postgresql_url: str) -> None:
    with StudyStore(postgresql_url) as store, StudyStore(postgresql_url) as other, store.reading() as connection:
        count = text("SELECT count(*) FROM nas_study")
        assert connection.execute(count).scalar_one() == 0
        other.open_study("later", {})
        assert connection.execute(count).scalar_one() == 0
