"""Directories that outlive releases, on a real file system."""

import os
from pathlib import Path

import pytest

from homeport.kernel.errors import HomeportError
from homeport.rollout import storage
from homeport.spec.parse import parse

SPEC = parse(
    """
[app]
name = "shop"
[processes.web]
command = "x"
[storage.uploads]
path = "var/uploads"
"""
)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A release's own directory."""
    directory = tmp_path / "releases" / "shop" / "r1"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "serve").write_text("#!/bin/sh\n")
    (directory / "link").symlink_to("bin/serve")
    return directory


def prepare(tmp_path: Path, build: Path, environment: str) -> tuple[Path, Path]:
    target = build.with_name(f"r1.{environment}")
    root = tmp_path / "storage" / "shop" / environment
    storage.prepare(build, target, root, SPEC, within=tmp_path)
    return target, root / "uploads"


def test_each_environment_has_its_own_and_the_build_is_shared(tmp_path: Path, build: Path) -> None:
    staging, staged = prepare(tmp_path, build, "staging")
    production, produced = prepare(tmp_path, build, "production")
    (staging / "var" / "uploads" / "a").write_text("staged")
    assert (staged / "a").read_text() == "staged"
    assert list(produced.iterdir()) == []
    assert (staging / "bin" / "serve").stat().st_ino == (build / "bin" / "serve").stat().st_ino
    assert os.readlink(production / "link") == "bin/serve"
    assert not (build / "var").exists()


def test_it_outlives_releases_and_preparing_again_changes_nothing(tmp_path: Path, build: Path) -> None:
    target, stored = prepare(tmp_path, build, "production")
    (target / "var" / "uploads" / "a").write_text("kept")
    again, _ = prepare(tmp_path, build, "production")
    assert again == target and (stored / "a").read_text() == "kept"
    new = build.with_name("r2.production")
    storage.prepare(build, new, stored.parent, SPEC, within=tmp_path)
    assert (new / "var" / "uploads" / "a").read_text() == "kept"


def test_what_the_build_left_there_is_the_first_content_only(tmp_path: Path, build: Path) -> None:
    (build / "var" / "uploads").mkdir(parents=True)
    (build / "var" / "uploads" / "seed").write_text("from the build")
    _, stored = prepare(tmp_path, build, "production")
    assert (stored / "seed").read_text() == "from the build"
    (stored / "seed").write_text("changed")
    assert (build / "var" / "uploads" / "seed").read_text() == "from the build"
    (stored / "other").write_text("x")
    new = build.with_name("r2.production")
    storage.prepare(build, new, stored.parent, SPEC, within=tmp_path)
    assert (stored / "seed").read_text() == "changed"


def test_a_first_content_that_was_cut_off_is_copied_whole_the_next_time(
    tmp_path: Path, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (build / "var" / "uploads").mkdir(parents=True)
    for n in range(5):
        (build / "var" / "uploads" / str(n)).write_text("x")
    whole = storage.shutil.copytree

    def cut_off(source: Path, target: Path, **how: object) -> None:
        target.mkdir()
        (target / "0").write_text("x")
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.shutil, "copytree", cut_off)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, build, "production")
    monkeypatch.setattr(storage.shutil, "copytree", whole)
    _, stored = prepare(tmp_path, build, "production")
    assert len(list(stored.iterdir())) == 5


def test_an_interrupted_preparation_is_begun_anew(tmp_path: Path, build: Path) -> None:
    half = build.with_name("r1.production.new")
    half.mkdir()
    (half / "rubbish").write_text("x")
    target, _ = prepare(tmp_path, build, "production")
    assert not half.exists() and not (target / "rubbish").exists()


@pytest.mark.parametrize("what", ["file", "link", "parent"])
def test_a_file_or_link_in_its_way_is_refused_and_nothing_is_left(
    tmp_path: Path, build: Path, what: str
) -> None:
    (build / "var").mkdir()
    if what == "file":
        (build / "var" / "uploads").write_text("x")
    elif what == "link":
        (build / "var" / "uploads").symlink_to("/etc")
    else:
        (build / "var").rmdir()
        (build / "var").symlink_to("/tmp")
    with pytest.raises(HomeportError) as caught:
        prepare(tmp_path, build, "production")
    assert caught.value.code == "rollout.storage_path"
    assert [p.name for p in build.parent.iterdir()] == ["r1"]
