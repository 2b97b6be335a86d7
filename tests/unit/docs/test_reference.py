"""The generated references say what the code says."""

import re
from pathlib import Path

import pytest

from homeport.kernel.errors import Kind, catalogue
from homeport.main import reference

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


@pytest.mark.parametrize("name", ["cli.md", "errors.md", "api.md", "openapi.json", "configuration.md"])
def test_the_page_on_disk_is_the_generated_one(pages, name):
    assert (DOCS / "reference" / name).read_text("utf-8") == pages[name], f"{name}: run script/docs"


def test_no_generated_page_is_forgotten(pages):
    assert {p.name for p in (DOCS / "reference").iterdir()} == set(pages)


def test_a_page_that_differs_or_is_missing_is_told(tmp_path, pages):
    for name, text in pages.items():
        (tmp_path / name).write_text(text, "utf-8")
    assert reference.drifted(tmp_path) == ()
    (tmp_path / "cli.md").write_text(pages["cli.md"] + "more", "utf-8")
    (tmp_path / "errors.md").unlink()
    assert reference.drifted(tmp_path) == ("cli.md", "errors.md")


def test_every_error_and_exit_status_is_described(pages):
    assert set(reference.KINDS) == set(Kind)
    assert {status for status, _ in reference.EXITS} >= {kind.exit_status for kind in Kind}
    for type_ in catalogue():
        assert f"`{type_.code}`" in pages["errors.md"]
    assert all(kind.exit_status == 1 or f"| {kind.exit_status} |" in pages["cli.md"] for kind in Kind)


def test_a_command_that_is_a_group_too_is_described_with_its_options(pages):
    section = pages["cli.md"].partition("## homeport restore\n")[2].partition("\n## ")[0]
    assert "homeport restore [OPTIONS] [COMMAND]" in section
    for option in ("--at TIME", "--before-deploy RELEASE", "--plan", "--table TABLE"):
        assert f"`{option}`" in section
    assert "## homeport drill\n" in pages["cli.md"]
    assert "## homeport backup\n" not in pages["cli.md"]  # does nothing by itself


def test_links_between_pages_lead_somewhere():
    broken = []
    root = DOCS.parent
    for page in [*root.glob("*.md"), *DOCS.rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            other = (page.parent / path).resolve() if path else page
            if not other.exists() or (anchor and anchor not in _anchors(other)):
                broken.append(f"{page.relative_to(root)}: {target}")
    assert broken == []


def _anchors(page):
    """Of headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short():
    assert len((DOCS.parent / "README.md").read_text("utf-8").splitlines()) <= 100
