"""Each type at and beyond its bounds."""

import datetime
import tomllib
from dataclasses import MISSING, fields

import pytest

from homeport.spec.key import Key
from homeport.spec.keys import KEYS
from homeport.spec.model import (
    HOOKS,
    Build,
    Cron,
    Health,
    Heartbeat,
    Hook,
    Liveness,
    Maintenance,
    Process,
    ReadOnly,
    Rollout,
    Storage,
)
from homeport.spec.values import (
    Directory,
    Duration,
    Number,
    ShellLine,
    Size,
    Type,
    UrlPath,
    User,
    VariableValue,
    Whole,
    quoted,
    shown,
)

BY_PATH = {key.path: key for key in KEYS}


@pytest.mark.parametrize(
    ("type_", "value", "read"),
    [
        (Whole(1, 100), 1, 1),
        (Whole(1, 100), 100, 100),
        (Number(0.5, 2), 2, 2.0),
        (Duration("1s", "1h"), "1s", 1.0),
        (Duration("1s", "1h"), "1h", 3600.0),
        (Size("1KB", "1MB"), "1KB", 1000),
        (Size("1KB", "1MB"), "1MB", 1_000_000),
        (ShellLine(), "  a && b\t'c' ", "a && b\t'c'"),
        (Directory(), ".", "."),
        (Directory(), "./a//b/.", "a/b"),
        (Directory(), "..a/b..", "..a/b.."),
        (UrlPath(), "/a%20b?c=d&e", "/a%20b?c=d&e"),
        (User(), "www-data", "www-data"),
        (VariableValue(), False, "false"),
        (VariableValue(), -3, "-3"),
        (VariableValue(), "ä\t", "ä\t"),
        (VariableValue(), "", ""),
    ],
)
def test_a_value_that_is_accepted(type_: Type, value: object, read: object) -> None:
    assert type_.read(value) == read


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        *((Whole(1, 100), v) for v in (0, 101, True, 1.0, "1", 10**400, None)),
        *((Number(0.5, 2), v) for v in (0.4, 2.1, True, "1", float("nan"), float("inf"), 10**400)),
        *(
            (Duration("1s", "1h"), v)
            for v in ("999ms", "1h1s", 30, "30", "", "-5s", "9" * 400 + "d", "1 h", [])
        ),
        *((Size("1KB", "1MB"), v) for v in ("999B", "1.1MB", 1000, "1k", "", "9" * 400 + "TB", {})),
        *((ShellLine(), v) for v in ("", "  ", "a\nb", "a\rb", "a\0", "a\x1b", "x" * 10_001, ["a"], 1)),
        *((Directory(), v) for v in ("", "/etc", "~", "a/../b", "..", "a\\b", "a\0", "a\n", 1, "x" * 501)),
        *((UrlPath(), v) for v in ("", "x", "/a b", "/a\nb", "/a\x7f", "/ä", "/a#b", 1, "/" + "x" * 1000)),
        *((User(), v) for v in ("", "0", "a b", "a:b", "root;", "x" * 33, 0)),
        *((VariableValue(), v) for v in (1.5, None, [], "a\nb", "a\0", "a\rb", "ä" * 16_001)),
    ],
)
def test_a_value_that_is_refused(type_: Type, value: object) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        type_.read(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (-1.5, "-1.5"),
        (10**400, "a number beyond 64 bits"),
        ("x" * 60, '"' + "x" * 60 + '"'),
        ("x" * 61, '"' + "x" * 57 + '…"'),
        ({}, "a table"),
        ([], "an array"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (None, "something else"),
    ],
)
def test_a_value_in_a_message(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize("command", ["a\nb", "a\r\nb"])
def test_several_lines_are_told_how_to_be_one(command: str) -> None:
    with pytest.raises(ValueError, match=r'join the steps with "&&"'):
        ShellLine().read(command)


@pytest.mark.parametrize("text", ['a"b\\c', "\x00\x1b\n\r\t\x7f", "\u202e\u2028\U000e0001", "ä ☂ 𝄞"])
def test_quoted_text_is_one_printable_line_of_toml(text: str) -> None:
    assert quoted(text).isprintable()
    assert tomllib.loads(f"k = {quoted(text)}") == {"k": text}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_examples_and_defaults_of_the_table_are_values_of_their_type(key: Key) -> None:
    key.type.read(key.example)
    if key.default is not None:
        key.type.read(key.default)
    assert (key.default is None) == bool(key.absent)


INNER = ("name", "health", "liveness", "heartbeat")


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("build", Build),
        ("processes.NAME", Process),
        ("processes.NAME.health", Health),
        ("processes.NAME.liveness", Liveness),
        ("processes.NAME.heartbeat", Heartbeat),
        ("rollout", Rollout),
        ("cron.NAME", Cron),
        ("hooks.NAME", Hook),
        ("storage.NAME", Storage),
        ("maintenance", Maintenance),
        ("read_only", ReadOnly),
    ],
)
def test_the_table_names_every_field_of_the_model_with_its_default(table: str, model: type) -> None:
    own = [field for field in fields(model) if field.name not in INNER]
    more = {"enabled"} if model is Cron else set()
    assert {field.name for field in own} | more == {key.name for key in KEYS if key.table == table}
    for field in own:
        key = BY_PATH[f"{table}.{field.name}"]
        if key.default is not None:
            assert key.type.read(key.default) == field.default, key.path
        else:
            assert field.default in (None, "", (), MISSING), key.path


def test_the_table_names_every_hook() -> None:
    assert tuple(key.name for key in KEYS if key.table == "hooks") == HOOKS
