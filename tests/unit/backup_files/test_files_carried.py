"""Records of backups that came with a repository: nothing else is written, and nowhere else."""

import json
from pathlib import Path

import pytest

from homeport.backup.files import carried


@pytest.mark.parametrize(
    "text",
    [
        "cut off",
        "[]",
        json.dumps({"format": 2, "files": {}}),
        json.dumps({"format": 1, "files": {"secrets.key": "x"}}),
        json.dumps({"format": 1, "files": {"backups/main/records/../../../state.db": "x"}}),
        json.dumps({"format": 1, "files": {"/backups/main/records/a": "x"}}),
        json.dumps({"format": 1, "files": {"backups/main/records/a": "x", "backups/main/work/b": "x"}}),
        json.dumps({"format": 1, "files": {"backups/main/records/a": 1}}),
    ],
)
def test_what_is_none_of_ours_is_refused_before_anything_is_written(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carried.files, "write_atomic", lambda *_, **__: pytest.fail("it was written"))
    with pytest.raises(ValueError):
        carried.place(text, Path("/nowhere"))
