"""A process that changes the keys of a data directory and is killed on the way, as its arguments say.

``change_of_keys.py DIRECTORY rotate|finish_rotation [KIND:WHICH]``: KIND is ``step``, ``document`` (after that
many files), ``before-rename`` or ``after-rename`` (of the key file, counted from 1).
"""

import os
import signal
import sys
from pathlib import Path

from homeport.guard.vault import Vault
from homeport.journal.store import Store, open_engine
from homeport.system import files
from homeport.system.clock import RealClock

directory = Path(sys.argv[1])
kind, _, which = (sys.argv[3] if len(sys.argv) > 3 else "").partition(":")
renames = 0
rename = os.replace


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def replace(source, target):
    global renames
    mine = str(target).endswith("secrets.key")
    renames += mine
    if mine and kind == "before-rename" and renames == int(which):
        die()
    rename(source, target)
    if mine and kind == "after-rename" and renames == int(which):
        die()


def reseal(seal):
    documents = sorted(directory.glob("*.token"))
    for n, document in enumerate(documents):
        if kind == "document" and n == int(which):
            die()
        files.write_atomic(document, seal(document.read_text()), mode=0o600)
    return len(documents)


def reached(step):
    if kind == "step" and step == which:
        die()


files.os.replace = replace
store = Store(open_engine(directory / "state.db"), RealClock())
vault = Vault(store, directory / "secrets.key")
print(getattr(vault, sys.argv[2])(reseal, reached=reached))
