"""What is written as a ``.env`` file, sourced by real shells."""

import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from homeport.guard import dotenv

SHELLS = [shell for shell in ("/bin/dash", "/bin/bash") if Path(shell).exists()]
PRINT = "import os,sys; sys.stdout.buffer.write(b'\\0'.join(os.environb[n.encode()] for n in sys.argv[1:]))"

hard = st.text(st.sampled_from("'\"\\$`#\n\r ab{}()!~*=;&|<>%.\tπ\u00a0\u2028\x01\x7f"), max_size=14)
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
values = st.lists(st.one_of(hard, anything), min_size=1, max_size=6)


def read_by(shell, file, names):
    done = subprocess.run(
        [shell, "-c", 'set -a; . "$0"; exec "$@"', file, sys.executable, "-I", "-S", "-c", PRINT, *names],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode().split("\0")


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values)
@example(["it's $HOME", "`id`'", "'$(touch /tmp/no)\n#\n##\n'", "$x\\", "\n", "a\n\n", "'$\r\n"])
@example(["'\n#\n$(exit 3)\n#", "\\\\$x", "trailing\\", "x" * 65536, "'$" + "π" * 30000])
def test_a_shell_and_python_dotenv_read_what_was_written(tmp_path, shell, values):
    pairs = [(f"N{n}", value) for n, value in enumerate(values)]
    file = tmp_path / "x.env"
    file.write_bytes(dotenv.render(pairs).encode())
    assert read_by(shell, file, [name for name, _ in pairs]) == values
    assert dotenv_values(file, interpolate=False) == dict(pairs)
