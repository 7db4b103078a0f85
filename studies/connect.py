"""From a database URL to an engine shaped for durability, and from a driver's error to a sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)

from studies.errors import StoreError, StoreUnavailable

BUSY_TIMEOUT_SECONDS = 60
READ_ONLY = "nas_read_only"
"""Execution option of a connection that only reads, so that SQLite need not take the write lock."""

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}
_INSTALL = {"postgresql+psycopg": "'psycopg[binary]'", "mysql+pymysql": "-e '.[mysql]'"}
_EXAMPLES = "sqlite:///nas.db, postgresql://user:password@host/database or mysql://user:password@host/database"
_SECRET_QUERY_KEYS = ("password", "passwd", "sslpassword", "ssl_key_password")


def parse_url(text: str | URL) -> URL:
    """The database named by `text`, with its driver chosen and an SQLite file's path made absolute.

    Raises StoreError for anything but an SQLite file or a database on a PostgreSQL, MariaDB or MySQL server; the
    message does not repeat the text, which may hold a password in a place where nobody expects one.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StoreError(
            f"the database URL cannot be read; write {_EXAMPLES}, with / and @ in a password written %2F and %40"
        ) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise StoreError(f"databases of the kind {url.drivername!r} are not supported; write {_EXAMPLES}")
    url = url.set(drivername=driver)
    if driver != "sqlite":
        if "@" in (url.database or ""):
            raise StoreError("the database URL cannot be read; / and @ in a password are written %2F and %40")
        if driver == "mysql+pymysql" and not url.database:
            raise StoreError("the URL names a server and no database in it; write mysql://user:password@host/database")
        return url
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise StoreError("a database in memory is lost when the process ends; write sqlite:///nas.db")
    return url if _is_uri(url) else url.set(database=os.path.abspath(url.database))


def display(url: URL) -> str:
    """The URL with every password in it hidden."""
    shown = url.update_query_dict({key: "***" for key in _SECRET_QUERY_KEYS if key in url.query})
    return shown.render_as_string(hide_password=True)


def make_engine(url: URL) -> Engine:
    """An engine for a URL from `parse_url`; nothing is connected yet. Raises StoreError where the driver is missing."""
    try:
        if url.get_backend_name() == "sqlite":
            engine = create_engine(url, connect_args=connect_arguments(url))
            event.listen(engine, "connect", _shape_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = create_engine(
                url,
                connect_args=connect_arguments(url),
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
                pool_size=1,
                max_overflow=4,
            )
            event.listen(engine, "connect", _SHAPES[url.get_backend_name()])
    except ModuleNotFoundError as error:
        install = _INSTALL[url.drivername]
        raise StoreError(f"{url.drivername} needs the module {error.name}; pip install {install}") from None
    event.listen(engine, "connect", _remember_process)
    event.listen(engine, "checkout", _refuse_other_process)
    return engine


def connect_arguments(url: URL) -> dict[str, Any]:
    """What the driver is to be told besides a URL from `parse_url`, by whoever opens connections to that database."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": BUSY_TIMEOUT_SECONDS}
    if url.get_backend_name() == "mysql":
        return _mysql_arguments(url)
    wanted = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return {key: value for key, value in wanted.items() if key not in url.query}


def require_file(url: URL, create: bool) -> None:
    """Raise StoreError where an SQLite file's folder, or without `create` the file itself, is missing."""
    if url.get_backend_name() != "sqlite" or _is_uri(url):
        return
    path = Path(str(url.database))
    if path.is_dir():
        raise StoreError(f"{path} is a folder; name a database file in it, such as sqlite:///{path}/nas.db")
    if not path.parent.is_dir():
        raise StoreError(f"there is no folder {path.parent} to hold the database {path.name}; make it first")
    if not create and not path.exists():
        raise StoreError(f"there is no database {path}; make one with: nas search, or name another with --storage")


def database_exists(text: str | URL) -> bool:
    """Whether an SQLite file is there; a database on a server is taken to be."""
    url = parse_url(text)
    return url.get_backend_name() != "sqlite" or _is_uri(url) or Path(str(url.database)).exists()


@contextmanager
def plain_errors(url: URL) -> Iterator[None]:
    """Turn the database's errors inside the block into StoreErrors of one line, without the password."""
    try:
        yield
    except RuntimeError as error:  # of pymysql, where MySQL 8 wants a password encrypted and speaks no TLS
        if "cryptography" not in str(error):
            raise
        raise StoreError(f"{display(url)} wants an encrypted password; pip install cryptography") from error
    except IntegrityError as error:
        raise StoreError(f"{display(url)} refused a row: {_first_line(error, url)}") from error
    except DBAPIError as error:
        raise _explain(error, url) from error
    except SQLAlchemyError as error:
        raise StoreUnavailable(f"cannot use {display(url)}: {_first_line(error, url)}") from error


_SENTENCES: tuple[tuple[str, type[StoreError], str], ...] = (
    ("not a database", StoreError, "{0} is not an SQLite database; name another file with --storage"),
    ("malformed", StoreError, "{0} is damaged; restore it from a copy"),
    ("readonly database", StoreError, "{0} is read-only; make the file and its folder writable, or copy it"),
    ("read-only transaction", StoreError, "{0} is read-only; ask for the right to write, or use another database"),
    ("read only transaction", StoreError, "{0} is read-only; ask for the right to write, or use another database"),
    ("read-only option", StoreError, "{0} is read-only; ask for the right to write, or use another database"),
    ("permission denied", StoreError, "{0} refuses this user: {1}"),
    ("command denied", StoreError, "{0} refuses this user: {1}"),
    (
        "unknown database",
        StoreError,
        "{1}; make it with: CREATE DATABASE name CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ),
    ("unable to open", StoreError, "{0} cannot be opened; check that you may read and write the file and its folder"),
    ("is locked", StoreUnavailable, "{0} is busy: another process has held it for too long; try again"),
    ("lock wait timeout", StoreUnavailable, "{0} is busy: another process has held it for too long; try again"),
    ("deadlock", StoreUnavailable, "{0} is busy: another process wrote the same rows; try again"),
    ("password", StoreError, "{0} refuses the user name or the password"),
    ("authentication", StoreError, "{0} refuses the user name or the password"),
    ("access denied", StoreError, "{0} refuses this user: {1}"),
)


def _explain(error: DBAPIError, url: URL) -> StoreError:
    text = str(error.orig).lower()
    for words, kind, sentence in _SENTENCES:
        if words in text:
            return kind(sentence.format(display(url), _first_line(error, url)))
    kind = StoreUnavailable if isinstance(error, InterfaceError | OperationalError) else StoreError
    return kind(f"cannot use {display(url)}: {_first_line(error, url)}")


def _first_line(error: Exception, url: URL) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    match getattr(cause, "args", ()):
        case (int(code), str(said)):  # pymysql's errors
            text = f"{said} ({code})"
        case _:
            text = str(cause).strip() or type(cause).__name__
    secrets = [url.password, *(url.query.get(key) for key in _SECRET_QUERY_KEYS)]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text.splitlines()[0][:300]


def _is_uri(url: URL) -> bool:
    return str(url.database).startswith("file:")


def _shape_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    cursor = connection.cursor()
    for pragma in ("journal_mode=DELETE", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _mysql_arguments(url: URL) -> dict[str, Any]:
    wanted = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
    arguments: dict[str, Any] = {key: value for key, value in wanted.items() if key not in url.query}
    # Whatever the server's defaults: no text is cut or rewritten without a word, and every table has transactions.
    arguments |= {"charset": "utf8mb4", "sql_mode": "TRADITIONAL"}
    arguments["init_command"] = "SET SESSION default_storage_engine = InnoDB, innodb_lock_wait_timeout = 30"
    if url.password:
        arguments["password"] = url.password.encode()  # pymysql would take a text for Latin-1
    return arguments


def _shape_postgresql(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute("SET statement_timeout = '30s'")
        cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
    connection.commit()


def _shape_mysql(connection: Any, _record: Any) -> None:
    if "MariaDB" in connection.get_server_info():  # MySQL has none of these, there the driver's timeouts must do
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION max_statement_time = 30, idle_transaction_timeout = 60")


_SHAPES = {"postgresql": _shape_postgresql, "mysql": _shape_mysql}


def _remember_process(_connection: Any, record: Any) -> None:
    record.info["pid"] = os.getpid()


def _refuse_other_process(_connection: Any, record: Any, proxy: Any) -> None:
    """A connection that came through a fork is dropped unused: two processes must not share one."""
    if record.info["pid"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("this connection belongs to another process")
