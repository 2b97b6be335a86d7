"""The key is changed by processes that are killed with SIGKILL, and while instances start."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from homeport.guard.rotation import STEPS
from homeport.guard.vault import Vault
from homeport.journal import schema
from homeport.journal.store import Store, open_engine, text_time
from homeport.system import seal
from homeport.system.clock import RealClock

SCRIPT = Path(__file__).with_name("change_of_keys.py")
VALUES = {f"S{n}": f"value-{n}-π\nline" for n in range(4)}
READER = """
import json, sys
from pathlib import Path
from homeport.system import seal
directory, values = Path(sys.argv[1]), json.loads(sys.argv[2])
count = 0
print("reading", flush=True)
while not (directory / "stop").exists():
    found = seal.open_all(
        str(directory / "secrets.key"), lambda: {p.stem: p.read_text() for p in directory.glob("*.token")}
    )
    assert found == values, found
    count += 1
print(count)
"""


class DataDirectory:
    """With secrets in ``state.db``, and a document of an instance for each."""

    def __init__(self, path):
        self.path = path
        self.key_file = path / "secrets.key"
        self.store = Store(open_engine(path / "state.db"), RealClock())
        self.vault = Vault(self.store, self.key_file)
        with self.store.transaction("ann") as tx:
            tx.execute(schema.apps.insert().values(name="shop", created_at=text_time(tx.now)))
            for name, value in VALUES.items():
                self.vault.set(tx, "shop", "production", name, value)
        self.first_tokens = self.vault.tokens("shop", "production", dict.fromkeys(VALUES, 1))
        for name, token in self.first_tokens.items():
            (path / f"{name}.token").write_text(token)
        self.first_key = self.key_lines()[0]

    def key_lines(self):
        return seal.read_keys(str(self.key_file))

    def change(self, call, cut=None):
        argv = [sys.executable, str(SCRIPT), str(self.path), call, *([cut] if cut else [])]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30)

    def check(self):
        """All that is sealed can be opened by a process that starts now."""
        box = seal.Box(self.key_lines())
        for name, value in VALUES.items():
            assert box.open((self.path / f"{name}.token").read_text()) == value
        versions = dict.fromkeys(VALUES, 1)
        assert Vault(self.store, self.key_file).values("shop", "production", versions) == VALUES

    def check_finished(self):
        self.check()
        assert len(self.key_lines()) == 1 and self.first_key not in self.key_lines()
        assert self.vault.check() is None
        assert list(self.path.glob(".secrets.key.*")) == []


@pytest.fixture
def directory(tmp_path):
    directory = DataDirectory(tmp_path)
    yield directory
    directory.store.engine.dispose()


CUTS = [
    *(f"step:{step}" for step in STEPS),
    *(f"document:{n}" for n in (0, 1, 3)),
    *(f"{kind}:{n}" for kind in ("before-rename", "after-rename") for n in (1, 2)),
]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("then", ["finish_rotation", "rotate"])
def test_killed_at_any_point_everything_opens_and_the_next_call_finishes(directory, cut, then):
    killed = directory.change("rotate", cut)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    directory.check()
    begun = directory.first_key not in directory.key_lines() or len(directory.key_lines()) > 1
    ended = directory.change(then)
    assert ended.returncode == 0, ended.stderr
    if begun or then == "rotate":
        directory.check_finished()
    else:
        assert directory.key_lines() == (directory.first_key,)
        assert list(directory.path.glob(".secrets.key.*")) == []


def test_killed_again_and_again_it_still_comes_to_its_end(directory):
    for cut in CUTS:
        killed = directory.change("rotate", cut)
        assert killed.returncode == -signal.SIGKILL, (cut, killed.stderr)
        directory.check()
        assert len(directory.key_lines()) <= 2
    assert directory.change("rotate").returncode == 0
    directory.check_finished()


def test_old_tokens_are_gone_from_the_database(directory):
    directory.vault.rotate(lambda reseal: 0)
    everything = b"".join(p.read_bytes() for p in directory.path.glob("state.db*"))
    for token in directory.first_tokens.values():
        # What follows the version and the time of the token.
        assert token[20:].encode() not in everything


def test_instances_start_at_any_moment_of_it(directory):
    argv = [sys.executable, "-c", READER, str(directory.path), json.dumps(VALUES)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout.readline() == "reading\n"
            for _ in range(3):
                assert directory.change("rotate").returncode == 0
        finally:
            (directory.path / "stop").touch()
            out, err = reader.communicate(timeout=30)
    assert reader.returncode == 0, err
    assert int(out) > 10
    directory.check_finished()
