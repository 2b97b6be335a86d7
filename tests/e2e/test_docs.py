"""Every command of the task pages, run in order in a Homeport of the page's own; see ``support/pages.py``."""

import shutil

import pytest
from live import ROOT
from pages import (
    BACKUP_PAGES,
    DATA_PAGES,
    DOCS,
    FENCE,
    PAGES,
    PRACTICE,
    READ_ONLY,
    RUNBOOKS,
    Command,
    Reader,
    steps,
)

from homeport.spec.parse import parse

_BASE = {"app": '[app]\nname = "x"\n', "processes": '[processes.web]\ncommand = "x"\n'}


@pytest.fixture
def reader(fresh_homeport):
    reading = Reader(fresh_homeport)
    try:
        yield reading
    finally:
        reading.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_does_what_it_says(reader, name):
    if name == "install.md":
        # The clone that the page speaks of.
        clone = reader.home / "homeport"
        clone.mkdir()
        for part in ("pyproject.toml", "README.md", "LICENSE", "requirements.lock"):
            shutil.copy(ROOT / part, clone)
        shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__"))
    reader.read((DOCS / name).read_text("utf-8"))


def test_the_deploy_in_the_readme_works(reader):
    """Its installation is that of install.md."""
    reader.read((ROOT / "README.md").read_text("utf-8"))


def test_no_page_is_forgotten():
    there = {*DOCS.glob("*.md"), *DOCS.glob("runbooks/*.md")}
    assert {str(p.relative_to(DOCS)) for p in there} == {
        *PAGES,
        *DATA_PAGES,
        *BACKUP_PAGES,
        PRACTICE,
        *RUNBOOKS,
        *READ_ONLY,
    }
    for name in (*PAGES, *DATA_PAGES, *BACKUP_PAGES, PRACTICE, *RUNBOOKS):
        assert any(isinstance(s, Command) for s in steps((DOCS / name).read_text("utf-8"))), name
    for name in READ_ONLY:
        assert not steps((DOCS / name).read_text("utf-8")), name


@pytest.mark.parametrize(
    "path", [*DOCS.glob("*.md"), *DOCS.glob("runbooks/*.md"), ROOT / "README.md"], ids=lambda p: p.name
)
def test_every_piece_of_a_spec_is_one(path):
    for block in FENCE.finditer(path.read_text("utf-8")):
        if block["kind"] == "toml":
            text = block["text"]
            base = "".join(more for table, more in _BASE.items() if f"[{table}" not in text)
            parse(base + text, path=path.name)


def test_the_reader_notices_what_is_wrong(reader):
    reader.read("```console\n$ mkdir a && cd a\n$ export X=1\n$ echo one; echo two 22\none\ntwo …2\n```\n")
    reader.read('Write `f`:\n\n```text\nhello\n```\n\n```console\n$ cat f; test "$X" = 1\nhello\n```\n')
    reader.read("```console\n$ exit 7  # exit status 7\n```\n")
    for wrong in ("$ false", "$ echo one\ntwo", "$ echo 1; echo 2\n2\n1", "$ true # exit status 3"):
        with pytest.raises(AssertionError):
            reader.read(f"```console\n{wrong}\n```\n")
