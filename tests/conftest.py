"""One thread a process, because tests run beside other work; and databases on servers that the environment names."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text

from searchspace import SPACES

# Two torch processes with default threads slow each other fourfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LONG = ("test_readme.py", "test_spaces_properties.py", "test_references.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a CUDA device skip, visibly, where there is none; files that take minutes begin while others run."""
    items.sort(key=lambda item: item.path.name not in LONG)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


def _own_spaces() -> Iterator[None]:
    """Spaces that tests register are forgotten after them."""
    before = dict(SPACES)
    yield
    SPACES.clear()
    SPACES.update(before)


# A module's own fixtures register spaces too, before those of a single test begin.
_spaces_of_a_module = pytest.fixture(scope="module", autouse=True)(_own_spaces)
_spaces_of_a_test = pytest.fixture(autouse=True)(_own_spaces)


@pytest.fixture(scope="session")
def postgresql_database() -> Iterator[str]:
    """A database of this test run's own; a server that is named and cannot be reached is a failure."""
    server = os.environ.get("NAS_TEST_POSTGRES")
    if not server:
        pytest.skip("NAS_TEST_POSTGRES names no PostgreSQL server")
    url = make_url(server).set(drivername="postgresql+psycopg")
    name = f"nas_test_{uuid.uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgresql_url(postgresql_database: str) -> str:
    """An empty schema in that database."""
    schema = f"s{uuid.uuid4().hex}"
    engine = create_engine(postgresql_database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    url = make_url(postgresql_database).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


@contextmanager
def _mysql_database(characters: str) -> Iterator[str]:
    server = os.environ.get("NAS_TEST_MYSQL")
    if not server:
        pytest.skip("NAS_TEST_MYSQL names no MariaDB or MySQL server")
    url = make_url(server).set(drivername="mysql+pymysql")
    name = f"nas_test_{uuid.uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} {characters}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        admin.dispose()


@pytest.fixture
def mysql_database() -> Iterator[Callable[[str], str]]:
    """Makes databases with these default characters; a server that is named and cannot be reached is a failure."""
    with ExitStack() as made:
        yield lambda characters: made.enter_context(_mysql_database(characters))


@pytest.fixture
def mysql_url(mysql_database: Callable[[str], str]) -> str:
    """A database of this test's own, made as docs/studies.md tells."""
    return mysql_database("CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
