"""The reference page follows the table of keys, and what it shows is true."""

import re
from pathlib import Path

import pytest

from homeport.spec.keys import KEYS, LATER, TABLES
from homeport.spec.parse import parse
from homeport.spec.reference import EXAMPLE, render, toml

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"


def test_the_page_in_docs_is_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "write it anew: .venv/bin/python -m homeport.spec.reference > docs/reference/configuration.md"
    )


def test_the_example_parses_and_uses_every_key() -> None:
    parse(EXAMPLE)
    for key in KEYS:
        pattern = rf"^{key.name} = |[{{,] {key.name} = |^\[{re.escape(key.path)}\]$"
        assert re.search(pattern, EXAMPLE, re.MULTILINE), key.path
    for table in TABLES:
        pattern = re.escape(table.heading).replace("NAME", '([A-Za-z_-]+|"[^"]+")')
        assert re.search(rf"^{pattern}$", EXAMPLE, re.MULTILINE), table.path


def test_every_key_and_table_is_on_the_page() -> None:
    page = render()
    for key in KEYS:
        [heading] = {table.heading for table in TABLES if table.path == key.table}
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        assert f"| `{key.name}` |" in section, key.path
    for path in LATER:
        assert f"`{path}`" in page


@pytest.mark.parametrize("table", [t for t in TABLES if t.example], ids=lambda t: t.path)
def test_the_examples_of_tables_parse(table: object) -> None:
    app = '[app]\nname = "a"\n[processes.web]\ncommand = "x"\n[processes.guide]\nstatic = "g"\n'
    app += "[database.main]\n[database.reports]\n"
    routes = "" if table.path == "routes" else '[routes]\n"*" = "web"\n"*/g" = "guide"\n'
    parse(f"{app}{routes}[{table.path}]\n{table.example}\n")


def test_the_examples_on_the_page_parse_when_they_are_whole_files() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", render(), re.DOTALL)
    whole = [block for block in blocks if block.startswith("[app]")]
    assert len(whole) == 2
    for block in whole:
        parse(block)


def test_values_are_written_as_toml() -> None:
    assert [toml("a"), toml(2), toml(0.5), toml(True)] == ['"a"', "2", "0.5", "true"]
    assert [toml(["a", "b"]), toml({"web": 4})] == ['["a", "b"]', "{ web = 4 }"]
