"""Attaching a database that somebody else runs: each thing that can be wrong has its own error."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from database_home import DatabaseHome, connect

from homeport.database import attached
from homeport.database.urls import user_and_password
from homeport.kernel.errors import HomeportError
from homeport.kernel.secret import Secret
from homeport.spec.model_database import Database


@pytest.fixture(scope="module")
def shared() -> Iterator[DatabaseHome]:
    home = DatabaseHome()
    try:
        home.ensure()
        with home.databases.connect_as_admin("shop", "production", "main") as c:
            c.execute("CREATE ROLE them LOGIN PASSWORD 'p%/@ss'")
            c.execute("CREATE DATABASE theirs OWNER them")
        yield home
    finally:
        home.end()


@pytest.fixture
def url(shared: DatabaseHome) -> str:
    return f"postgresql://them:p%25%2F%40ss@127.0.0.1:{shared.databases.state.cluster('main').port}/theirs"


def error(url: str) -> HomeportError:
    with pytest.raises(HomeportError) as e:
        attached.check(Secret(url))
    told = " ".join((e.value.sentence, e.value.hint, *e.value.details))
    assert "p%/@ss" not in told and "p%25" not in told and e.value.sentence.startswith("cannot ")
    return e.value


def test_what_is_found(url):
    found = attached.check(Secret(url))
    assert found.version >= 150000 and (found.database, found.role) == ("theirs", "them")
    assert not found.superuser and not found.tls and found.bytes > 1_000_000


def test_it_is_given_to_the_app(shared, url):
    shared.secrets.set("shop", "production", "THEIRS", url)
    (ready,) = shared.databases.ensure("shop", "production", (Database("main", url="THEIRS"),), 2)
    assert ready.attached and ready.url.reveal() == url and ready.variable == "DATABASE_URL"
    connect(ready.url.reveal()).close()
    with pytest.raises(HomeportError) as e:
        shared.databases.ensure("shop", "production", (Database("main", url="NOT_SET"),), 2)
    assert e.value.code == "database.unknown"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("p%25%2F%40ss", "wrong"), "wrong_password"),
        (("them:", "nobody:"), "wrong_password"),
        (("/theirs", "/nothing"), "no_database"),
        (("/theirs", "/theirs?sslmode=require"), "tls_refused"),
        (("/theirs", "/theirs?nonsense=1"), "bad_url"),
        (("postgresql://", "mysql://"), "bad_url"),
        (("127.0.0.1", ""), "bad_url"),
        (("p%25%2F%40ss", "%zz"), "bad_url"),
        (("127.0.0.1", "no-such-host.invalid"), "unreachable"),
        (("127.0.0.1", "a" * 300), "unreachable"),
    ],
)
def test_what_can_be_wrong_with_a_url(url, change, code):
    assert url.count(change[0]) == 1
    assert error(url.replace(*change)).code == f"database.{code}"


def test_nothing_listens(url):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    assert error(f"postgresql://a:b@127.0.0.1:{port}/c").code == "database.unreachable"


@contextmanager
def answering(text: bytes) -> Iterator[int]:
    """A server that says this to whoever connects, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1000)
                    client.sendall(text)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@pytest.mark.parametrize("text", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100])
def test_what_listens_is_no_postgresql(text):
    with answering(text) as port:
        assert error(f"postgresql://a:b@127.0.0.1:{port}/c").code in (
            "database.unreachable",
            "database.refused",
        )


def test_a_server_that_is_too_old(url, monkeypatch):
    monkeypatch.setattr(attached, "OLDEST", 99)
    assert error(url).code == "database.too_old"


def test_a_server_that_takes_no_writes(shared, url):
    with shared.databases.connect_as_admin("shop", "production", "main") as c:
        c.execute("ALTER ROLE them SET default_transaction_read_only = on")
        try:
            assert error(url).code == "database.read_only"
        finally:
            c.execute("ALTER ROLE them RESET ALL")


def test_a_login_that_may_not_make_tables(shared):
    """The app's own login is one."""
    assert error(shared.ensure()).code == "database.no_rights"


def test_no_more_connections(shared, url):
    with shared.databases.connect_as_admin("shop", "production", "main") as c:
        c.execute("ALTER ROLE them CONNECTION LIMIT 0")
        try:
            assert error(url).code == "database.refused"
        finally:
            c.execute("ALTER ROLE them CONNECTION LIMIT -1")


def test_what_needs_files_is_refused_with_the_reason() -> None:
    refusal: Any = attached.refuse("restart the server", "its files are not here")
    assert refusal.code == "database.not_here" and "somebody else runs" in refusal.sentence


def test_user_and_password_of_odd_urls():
    assert user_and_password("postgresql://[::1") == ("", "")
    assert user_and_password(None) == ("", "")
    assert psycopg.conninfo.conninfo_to_dict("postgresql://a:b@h/d")["password"] == "b"
