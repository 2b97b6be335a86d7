"""A file that pgBackRest cannot unpack is named, though pgBackRest does not say which it is."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from homeport.backup.physical import commands, restore
from homeport.backup.physical.errors import DAMAGED
from homeport.backup.physical.model import OfBackup
from homeport.kernel.errors import HomeportError

SENTENCE = "cannot restore L from repository r1: a file in it cannot be read"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a restore says that gave up with these files in hand."""
    monkeypatch.setattr(commands, "restore", lambda *_, **__: ())
    into = tmp_path / "data"

    def give_up(*late: str, details: tuple[str, ...] = (), manifest: bool = True) -> str:
        def work(*_: Any) -> None:
            for name in (*late, "base/1/whole", "backup_label"):
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                (into / name).touch()
            for name in ("base/1/whole", "backup_label"):
                os.utime(into / name, (1, 1))
            if manifest:
                (into / "backup.manifest").touch()
                os.utime(into / "backup.manifest", (100, 100))
            raise DAMAGED.error(SENTENCE, details=details)

        settings = SimpleNamespace(number=lambda _: 1)
        program: Any = SimpleNamespace(work=work, layout=None, settings=settings)
        backup: Any = SimpleNamespace(label="L", repository="r1")
        with pytest.raises(HomeportError) as caught:
            restore.fetch(program, backup, OfBackup("L"), into, 1, idle=True, on_progress=lambda _: None)
        return caught.value.sentence

    return SimpleNamespace(give_up=give_up, into=into)


def test_what_it_had_in_hand_is_named(told: Any) -> None:
    assert told.give_up("base/5/13391") == f"{SENTENCE}: base/5/13391"


def test_two_are_named_as_one_of_them(told: Any) -> None:
    assert told.give_up("base/5/2", "base/4/1") == f"{SENTENCE}: one of base/4/1, base/5/2"


def test_what_pgbackrest_names_itself_is_not_told_twice(told: Any) -> None:
    details = (f"ERROR: [026]: error restoring '{told.into}/base/5/2': actual checksum",)
    assert told.give_up("base/5/2", details=details) == SENTENCE


@pytest.mark.parametrize("late", [(), ("base/5/2",)])
def test_without_a_beginning_nothing_is_named(told: Any, late: tuple[str, ...]) -> None:
    assert told.give_up(*late, manifest=not late) == SENTENCE
