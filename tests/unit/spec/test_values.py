"""Each type at and beyond its bounds."""

import datetime
import tomllib
from dataclasses import MISSING, fields

import pytest

from homeport.spec.containers import Array
from homeport.spec.key import Key
from homeport.spec.keys import KEYS
from homeport.spec.keys_pipeline import KINDS_OF
from homeport.spec.model import (
    HOOKS,
    STAGES,
    Build,
    Check,
    Cron,
    Health,
    Heartbeat,
    Hook,
    Liveness,
    Maintenance,
    Pipeline,
    Previews,
    Process,
    ReadOnly,
    Rollout,
    Signal,
    SmokeRequest,
    Stage,
    Storage,
)
from homeport.spec.model_database import Cache, Database, Upkeep
from homeport.spec.routes import Domain
from homeport.spec.values import (
    Directory,
    Duration,
    Number,
    OrFalse,
    Percent,
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
from homeport.spec.values_pipeline import FilePattern

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
        (Percent("0%", "100%"), "0%", 0.0),
        (Percent("0%", "100%"), "100%", 1.0),
        (Percent("0%", "100%"), "33.3%", 0.333),
        (Percent("0%", "100%"), "0.000001 %", 1e-8),
        (OrFalse(Percent("0%", "100%"), "never"), False, None),
        (OrFalse(Percent("0%", "100%"), "never"), "7%", 0.07),
        (Array(Whole(1, 9), "digits", "[1]"), [3, 1], (3, 1)),
        (Domain(), "Preview.Example.com", "preview.example.com"),
        (FilePattern(), "**/*.[jt]s", "**/*.[jt]s"),
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
        *(
            (Percent("1%", "50%"), v)
            for v in (
                "0.9%",
                "51%",
                "5",
                "",
                "%",
                "-5%",
                "5%%",
                "５%",
                "1e1%",
                "+5%",
                "5\n%",
                ".5%",
                5,
                0.05,
                True,
            )
        ),
        *((OrFalse(Percent("1%", "50%"), "never"), v) for v in (True, None, 0, "false")),
        *((Array(Whole(1, 9), "digits", "[1]"), v) for v in ([], [0], [1, 1], "1", 1, {}, [1] * 51)),
        *((Domain(), v) for v in ("", "*", "a.b/c", "a:1", "1.2.3.4", "a." * 90 + "b", 1, [])),
        *((FilePattern(), v) for v in ("", "/a", "~", "a/../b", "a//b", "a\\b", "a**", "a\n", 1, "x" * 501)),
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


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (5, ': write "5%"'),
        ("5", ': write "5%"'),
        (0.05, ': write "5%"'),
        (1.0, ': write "100%"'),
        (1, ': write "1%"'),
        (1e-9, ""),
        (101, ""),
        ("5 percent", ""),
    ],
)
def test_a_number_that_lacks_its_percent_sign(value: object, hint: str) -> None:
    with pytest.raises(ValueError) as caught:
        Percent("0%", "100%").read(value)
    assert str(caught.value).partition("got ")[2] == f"{shown(value)}{hint}"


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


INNER = ("name", "health", "liveness", "heartbeat", "stages", "signals", "maintenance")


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("build", Build),
        ("processes.NAME", Process),
        ("processes.NAME.health", Health),
        ("processes.NAME.liveness", Liveness),
        ("processes.NAME.heartbeat", Heartbeat),
        ("rollout", Rollout),
        ("rollout.signals.NAME", Signal),
        ("pipeline", Pipeline),
        ("pipeline.stage.commands.NAME", Check),
        ("previews", Previews),
        ("cron.NAME", Cron),
        ("hooks.NAME", Hook),
        ("storage.NAME", Storage),
        ("database.NAME", Database),
        ("database.NAME.maintenance.NAME", Upkeep),
        ("cache.NAME", Cache),
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


def test_the_table_names_every_field_of_a_request_with_its_default() -> None:
    keys = {key.name: key for key in KEYS if key.table == "pipeline.stage.requests"}
    keys["expect_json"] = keys.pop("json")
    assert keys.keys() == {field.name for field in fields(SmokeRequest)}
    for field in fields(SmokeRequest):
        default = keys[field.name].default
        wanted = (None, "", (), MISSING) if default is None else (keys[field.name].type.read(default),)
        assert field.default in wanted, field.name


def test_the_table_names_every_field_of_a_stage_with_its_default() -> None:
    keys = {key.name: key for key in KEYS if key.table == "pipeline.stage"}
    inner = {"checks", "budgets", "requests"}
    assert keys.keys() == {field.name for field in fields(Stage)} - inner
    for field in fields(Stage):
        if field.name not in inner and (default := keys[field.name].default) is not None:
            assert keys[field.name].type.read(default) == field.default, field.name
    assert KINDS_OF.keys() == keys.keys() - {"kind", "name"} | {"commands", "budgets", "requests"}
    assert {kind for kinds in KINDS_OF.values() for kind in kinds} == set(STAGES)


def test_the_table_names_every_hook() -> None:
    assert tuple(key.name for key in KEYS if key.table == "hooks") == HOOKS
