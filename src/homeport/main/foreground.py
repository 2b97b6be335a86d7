"""``python -m homeport.main.foreground``: what the systemd unit runs."""

import sys

from homeport.cli import screen
from homeport.kernel.errors import HomeportError
from homeport.main.entry import data_dir
from homeport.main.lifecycle import run_in_foreground


def main() -> None:
    try:
        run_in_foreground(data_dir())
    except HomeportError as e:
        screen.error(e)
        sys.exit(e.kind.exit_status)


if __name__ == "__main__":
    main()
