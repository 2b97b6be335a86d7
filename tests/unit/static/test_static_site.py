"""Which names are cached for good, what is hidden, which encoding is taken, and the command."""

import shlex
import sys

import pytest

from homeport.runtime.commands import shell_line
from homeport.runtime.static_site import (
    IMMUTABLE,
    REVALIDATE,
    accepted_encodings,
    cache_control,
    command,
    is_hashed,
    is_hidden,
)


@pytest.mark.parametrize(
    "name",
    [
        "app.3f9a1c2b.css",
        "app-3f9a1c2b.js",
        "app.3f9a1c2b.js.map",
        "app.3f9a1c2b.min.js",
        "main.3f9a1c2b.chunk.js",
        "logo.0123456789abcdef0123456789abcdef.svg",
        "index-B4xK9s2Q.js",
        "chunk-3XK7QWER.js",
        "inter-latin.k3j9x0qz2m.woff2",
    ],
)
def test_a_hash_in_a_name_is_seen(name: str) -> None:
    assert is_hashed(name)
    assert cache_control(name) == IMMUTABLE


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "app.css",
        "3f9a1c2b.css",
        ".3f9a1c2b.css",
        "app.3f9a1c2.css",
        "app.3f9a1c2b",
        "jquery.validate.js",
        "config.production.js",
        "app.deadbeef.js",
        "report-20260101.pdf",
        "dump.20260101a.css",
        "theme-version12.css",
        "photo.panorama2.jpg",
        "case-iPhone15Pro.jpg",
        "backup-20240115T1030Z.js",
        "app.3f9a1c2b.css\n",
    ],
)
def test_words_dates_and_numbers_are_no_hashes(name: str) -> None:
    assert not is_hashed(name)
    assert cache_control(name) == REVALIDATE


@pytest.mark.parametrize(
    "path", [".env", "a/.git/config", ".git", "a/.well-known/x", ".well-known/.x", "../x"]
)
def test_hidden(path: str) -> None:
    assert is_hidden(path)


@pytest.mark.parametrize("path", [".", "", "a", "a/b.c", "./a", ".well-known/acme-challenge/x"])
def test_not_hidden(path: str) -> None:
    assert not is_hidden(path)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", ()),
        ("gzip", ("gzip",)),
        ("gzip, deflate, br, zstd", ("br", "gzip")),
        ("br;q=0.1, gzip;q=0.9", ("gzip", "br")),
        ("br;q=0, gzip", ("gzip",)),
        ("GZIP;Q=0.5", ("gzip",)),
        ("*", ("br", "gzip")),
        ("*;q=0, gzip", ("gzip",)),
        ("identity", ()),
        ("br;q=x", ()),
        (";,;q=,", ()),
    ],
)
def test_accepted_encodings(header: str, wanted: tuple[str, ...]) -> None:
    assert accepted_encodings(header) == wanted


def test_the_command_is_one_shell_line_whatever_the_directory_is_called() -> None:
    line = command("my site; rm -rf $HOME")
    assert shlex.split(line) == [
        sys.executable, "-I", "-m", "homeport.runtime.static_site_app", "my site; rm -rf $HOME", "$PORT",
    ]  # fmt: skip
    assert line.endswith(" $PORT"), "the shell puts the port in"
    assert shell_line(command("public")) == f"exec {command('public')}", (
        "SIGTERM must reach the server itself"
    )
