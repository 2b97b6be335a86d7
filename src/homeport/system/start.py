"""``python -m homeport.system.start MODULE``: runs ``main()`` of a module whose import takes a while.

What is imported stays. A garbage collector that looks through all of it again and again meanwhile took 30 % of the
control plane's start; it begins after, and leaves what was imported alone.
"""

import gc
import sys
from importlib import import_module


def main() -> None:
    gc.disable()
    module = import_module(sys.argv.pop(1))
    gc.freeze()
    gc.enable()
    sys.exit(module.main())


if __name__ == "__main__":
    main()
