"""Database URLs that are wrong, servers that are not there, and passwords that must not show."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Iterator

import pytest

from studies import StoreError, StudyStore
from studies.connect import display, parse_url

SECRET = "hunter2"


@pytest.fixture
def refusing_server() -> Iterator[int]:
    """The port of a server that speaks just enough PostgreSQL to ask for a password and to refuse it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    startup = connection.recv(4096)
                    if startup[4:8] in (struct.pack("!i", 80877103), struct.pack("!i", 80877104)):
                        connection.sendall(b"N")  # no TLS, no GSS
                        connection.recv(4096)
                    connection.sendall(b"R" + struct.pack("!ii", 8, 3))
                    connection.recv(4096)
                    fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "me"\0\0'
                    connection.sendall(b"E" + struct.pack("!i", 4 + len(fields)) + fields)
        except OSError:
            return

    thread = threading.Thread(target=refuse)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def refused(url: str, caplog: pytest.LogCaptureFixture) -> str:
    """The message for a URL, after a look that neither it, its traceback nor the log holds the password."""
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError) as caught:
        StudyStore(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in caplog.text
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_wrong_password_is_said_and_not_shown(refusing_server: int, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("psycopg")
    address = f"127.0.0.1:{refusing_server}/studies"
    message = refused(f"postgresql://me:{SECRET}@{address}", caplog)
    assert message == f"postgresql+psycopg://me:***@{address} refuses the user name or the password"
    assert "refuses" in refused(f"postgresql://me@{address}?password={SECRET}", caplog)


def test_an_unreachable_server_is_named(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("psycopg")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    message = refused(f"postgresql://me:{SECRET}@127.0.0.1:{port}/studies", caplog)
    assert message.startswith(f"cannot use postgresql+psycopg://me:***@127.0.0.1:{port}/studies: ")
    assert "refused" in message


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:1@2/{SECRET}@host/studies",
        f"postgresql://me:{SECRET}@host:port/studies",
        f"postgresql:/me:{SECRET}@host",
        f"me:{SECRET}@host",
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str, caplog: pytest.LogCaptureFixture) -> None:
    assert "the database URL cannot be read" in refused(url, caplog)


@pytest.mark.parametrize(
    "kind", ["oracle", "nosuch", "sqlite+aiosqlite", "postgresql+psycopg2", "mysql+mysqldb", "mariadb+aiomysql"]
)
def test_other_kinds_of_database_are_refused_by_name(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    message = refused(f"{kind}://me:{SECRET}@host/studies", caplog)
    assert f"databases of the kind {kind!r} are not supported; write sqlite:///nas.db, postgresql://" in message


def test_a_missing_driver_says_what_to_install(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = refused(f"postgresql://me:{SECRET}@host/studies", caplog)
    assert message.endswith("needs the module psycopg; pip install 'psycopg[binary]'")


def test_the_shown_url_hides_every_password() -> None:
    url = parse_url(f"postgresql://me:{SECRET}@host/studies?password={SECRET}&sslpassword={SECRET}&sslmode=require")
    assert SECRET not in display(url)
    assert "sslmode=require" in display(url)
