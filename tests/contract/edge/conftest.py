import importlib.util
import sys
from pathlib import Path

if "edge_rig" not in sys.modules:
    _path = Path(__file__).parents[2] / "integration" / "edge" / "edge_rig.py"
    _spec = importlib.util.spec_from_file_location("edge_rig", _path)
    assert _spec is not None and _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["edge_rig"] = _module
    _spec.loader.exec_module(_module)
