"""Database URLs that are wrong, servers that are not there, and passwords that must not show."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

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


MYSQL_HELLO = (
    b"\x0a8.4.0\0" + bytes(4) + b"saltsalt\0" + struct.pack("<HBHHB", 0xA200, 45, 2, 0x0008, 21) + bytes(10)
    + b"saltsaltsalt\0caching_sha2_password\0"
)  # fmt: skip
MYSQL_REFUSAL = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied for user 'me'@'host' (using password: YES)"


@pytest.fixture
def mysql_server() -> Iterator[Callable[[Sequence[bytes]], int]]:
    """The port of a server that greets like MySQL 8 and then says these packets, one after each of the client's."""
    listener = socket.create_server(("127.0.0.1", 0))
    said: list[bytes] = []

    def serve() -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    for number, packet in enumerate([MYSQL_HELLO, *said]):
                        connection.sendall(struct.pack("<I", len(packet))[:3] + bytes([2 * number]) + packet)
                        connection.recv(4096)
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    yield lambda packets: said.extend(packets) or listener.getsockname()[1]
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


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql"])
def test_mysql_says_the_same_of_a_wrong_password(
    mysql_server: Callable[[Sequence[bytes]], int], caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    pytest.importorskip("pymysql")
    address = f"127.0.0.1:{mysql_server([MYSQL_REFUSAL])}/studies"
    message = refused(f"{scheme}://me:{SECRET}@{address}", caplog)
    assert message == f"mysql+pymysql://me:***@{address} refuses the user name or the password"
    assert "refuses" in refused(f"{scheme}://me@{address}?password={SECRET}", caplog)


def test_a_mysql_server_that_wants_the_password_encrypted_names_the_package(
    mysql_server: Callable[[Sequence[bytes]], int], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest.importorskip("pymysql")._auth, "_have_cryptography", False)
    address = f"127.0.0.1:{mysql_server([bytes([1, 4]), bytes([1]) + b'a public key'])}/studies"
    message = refused(f"mysql://me:{SECRET}@{address}", caplog)
    assert message == f"mysql+pymysql://me:***@{address} wants an encrypted password; pip install cryptography"


def test_a_mysql_url_names_a_database(caplog: pytest.LogCaptureFixture) -> None:
    for url in (f"mysql://me:{SECRET}@host", f"mysql://me:{SECRET}@host/"):
        assert "names a server and no database in it; write mysql://" in refused(url, caplog)


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


@pytest.mark.parametrize(
    ("scheme", "module", "package"),
    [("postgresql", "psycopg", "'psycopg[binary]'"), ("mysql", "pymysql", "-e '.[mysql]'")],
)
def test_a_missing_driver_says_what_to_install(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, scheme: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = refused(f"{scheme}://me:{SECRET}@host/studies", caplog)
    assert message.endswith(f"needs the module {module}; pip install {package}")


def test_the_shown_url_hides_every_password() -> None:
    url = parse_url(f"postgresql://me:{SECRET}@host/studies?password={SECRET}&sslpassword={SECRET}&sslmode=require")
    assert SECRET not in display(url)
    assert "sslmode=require" in display(url)
    url = parse_url(f"mysql://me:{SECRET}@host/studies?passwd={SECRET}&ssl_key_password={SECRET}&ssl_ca=ca.pem")
    assert SECRET not in display(url)
    assert "ssl_ca=ca.pem" in display(url)
