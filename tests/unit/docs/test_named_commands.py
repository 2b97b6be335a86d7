"""Commands that hints name are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click

from homeport.cli.app import cli

SOURCE = Path(__file__).parents[3] / "src" / "homeport"
NAMED = re.compile(r"(?<!push )\bhomeport((?: [a-z][a-z-]*)+)")
OF_ITS_OWN = {"serve"}
"""The control plane: it is no command of the CLI."""


def hints(path: Path) -> Iterator[str]:
    """Of all errors of a module; what is put in only where it is said is ``{}``."""
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(call, ast.keyword) and call.arg == "hint":
            yield from texts(call.value)


def texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def unknown(words: list[str]) -> str:
    """Which word is no command; "" where all are, and for what follows a command."""
    found: click.Command = cli
    for word in words:
        if not isinstance(found, click.Group) or word in OF_ITS_OWN:
            return ""
        inside = found.get_command(click.Context(found), word)
        if inside is None:
            return "" if found.invoke_without_command and found is not cli else word
        found = inside
    return ""


def test_a_command_that_is_not_there_is_found() -> None:
    assert unknown(["backup", "repositories"]) == "repositories"
    assert unknown(["history"]) == "history"
    assert unknown(["backup", "repository", "list"]) == ""
    assert unknown(["restore", "without"]) == "", "it does something by itself"


def test_every_command_that_a_hint_names_is_there() -> None:
    found = [(path, text) for path in sorted(SOURCE.rglob("*.py")) for text in hints(path)]
    assert len(found) > 300
    wrong = [
        f"{path.relative_to(SOURCE)}: homeport{match[1]}"
        for path, text in found
        for match in NAMED.finditer(text)
        if unknown(match[1].split())
    ]
    assert wrong == []
