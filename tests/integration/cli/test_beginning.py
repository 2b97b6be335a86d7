"""What it takes to begin a command."""

import subprocess
import sys


def test_beginning_a_command_imports_no_other_and_no_reader_of_specs() -> None:
    asked = (
        "import sys, homeport.cli.app as app; "
        "print([m for m in sys.modules if m == 'homeport.spec.parse' or m.startswith('homeport.api.routes') "
        "or m in {f'homeport.cli.{module}' for module, _ in app.WHERE.values()}])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
