"""Addresses, branches, when to look, and what git is given."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from homeport.kernel.errors import HomeportError
from homeport.kernel.ids import AppName
from homeport.rollout.sources import commands, polling
from homeport.rollout.sources.model import PUSHED, Source, Work, check_directory, check_url, is_branch

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
SOURCE = Source(AppName("shop"), "https://example.com/shop.git", poll=60.0)
WORK = Work(PUSHED, "main", "a" * 40, key="k")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/you/shop.git",
        "https://example.com:8443/a/b",
        "ssh://git@example.com:22/shop.git",
        "git@github.com:you/shop.git",
        "/srv/git/shop.git",
        "/srv/with space/shop",
        "file:///srv/git/shop.git",
    ],
)
def test_addresses(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-oProxyCommand=touch",
        "--upload-pack=touch /tmp/x",
        "ext::sh -c touch",
        "ssh://-oProxyCommand=touch/x",
        "ssh://git@-host/x",
        "git@-host:x",
        "git@host:-x",
        "host:",
        "http://example.com/x",
        "git://example.com/x",
        "ftp://example.com/x",
        "https://example.com",
        "https://user:token@example.com/x",
        "https://token@example.com/x",
        "https://example.com/x\n-y",
        "relative/path",
        "../path",
        "/x\0y",
        "fd::17/x",
        "/" + "x" * 1000,
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(HomeportError) as e:
        check_url(url)
    assert e.value.code == "sources.bad_url"
    assert "token" not in e.value.sentence


@pytest.mark.parametrize("name", ["main", "feature/x-1", "v1.2", "user@x", "a#1"])
def test_branches(name: str) -> None:
    assert is_branch(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "a..b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a/.b",
        "a.lock",
        "a.",
        "a b",
        "a:b",
        "@",
        "a@{1}",
        "ä",
        "a\n",
    ],
)
def test_what_is_no_branch(name: str) -> None:
    assert not is_branch(name)


def test_directories() -> None:
    assert check_directory("apps/shop/") == "apps/shop"
    assert check_directory("") == ""
    for odd in ("/etc", "../x", "a/../b", "a//b", "-x", "a:b", "a\nb"):
        with pytest.raises(HomeportError):
            check_directory(odd)


def test_when_a_branch_is_looked_at() -> None:
    assert not polling.is_due(replace(SOURCE, poll=None), NOW)
    assert not polling.is_due(replace(SOURCE, url=None), NOW)
    assert polling.is_due(SOURCE, NOW)
    looked = replace(SOURCE, looked_at=NOW)
    assert not polling.is_due(looked, NOW + timedelta(seconds=59))
    assert polling.is_due(looked, NOW + timedelta(seconds=60))
    # What a webhook asks for does not wait; a clock that was set back stops nothing.
    assert polling.is_due(replace(looked, pending=(WORK,), poll=None), NOW)
    assert polling.is_due(looked, NOW - timedelta(hours=1))


def test_pauses_grow_while_it_fails() -> None:
    pauses = [polling.pause(replace(SOURCE, poll=5.0, failures=n)) for n in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 5.0 and pauses[1] == polling.FIRST_RETRY and pauses[-1] == polling.LONGEST_RETRY
    # A watch is never faster for failing.
    assert polling.pause(replace(SOURCE, poll=3600.0, failures=1)) == 3600.0
    assert polling.pause(replace(SOURCE, poll=3600.0, failures=1, pending=(WORK,))) == polling.FIRST_RETRY
    assert polling.pause(replace(SOURCE, failures=10**6)) == polling.LONGEST_RETRY


def test_an_address_stands_where_no_option_is_read() -> None:
    for argv in (commands.fetch(Path("/r"), "URL", "main"), commands.list_branch("URL", "main")):
        assert argv[argv.index("--") + 1] == "URL"


def test_a_token_is_in_the_environment_alone_and_for_its_host() -> None:
    env = commands.environment({"PATH": "/bin", "GIT_DIR": "/x"}, "https://example.com/a/b", "s3cret")
    pairs = {
        env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))
    }
    assert pairs["http.https://example.com/.extraHeader"].startswith("Authorization: Basic ")
    assert pairs["http.followRedirects"] == "false"
    assert "GIT_DIR" not in env
    assert not any("s3cret" in value for value in env.values())
    for url in ("ssh://git@example.com/x", "/srv/x"):
        assert not any("extraHeader" in v for v in commands.environment({}, url, "s3cret").values())
    assert env["GIT_ALLOW_PROTOCOL"] == "https:ssh:file"


def test_the_hook_is_quoted() -> None:
    text = commands.hook(("/usr/bin/python 3", "-P", "it's", "shop"))
    assert "'/usr/bin/python 3' -P 'it'\"'\"'s' shop\n" in text
