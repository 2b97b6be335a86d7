"""The extensions that homeport.toml may ask for are those that PostgreSQL trusts the owner of a database with."""

from pathlib import Path

from homeport.spec.values_database import EXTENSIONS

DIRECTORY = Path("/usr/share/postgresql/15/extension")
LANGUAGES = ("plpgsql", "plperl", "pltcl", "bool_pl", "jsonb_pl", "hstore_pl", "ltree_pl")
"""Procedural languages and their transforms, which need packages of their own."""


def test_the_list_is_that_of_the_control_files() -> None:
    trusted = {
        f.stem for f in DIRECTORY.glob("*.control") if "trusted = true" in f.read_text(encoding="utf-8")
    }
    assert set(EXTENSIONS) == {name for name in trusted if not name.startswith(LANGUAGES)}
