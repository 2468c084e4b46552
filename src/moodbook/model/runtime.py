"""The inference runtime, loaded so that it talks to nobody."""

from __future__ import annotations

import importlib
import sys
import threading
from types import ModuleType

_CONVERTER = "openvino.tools.ovc"
_lock = threading.Lock()


def load_openvino() -> ModuleType:
    """Import OpenVINO without its model converter.

    The package imports its converter, which reports every import to a statistics server and keeps a client id in the
    user's home folder. Moodbook builds its graphs itself and needs no converter, so the converter is hidden while
    OpenVINO loads (its own `__init__` allows for its absence) and can be imported as usual afterwards. Where a program
    has imported OpenVINO before, that import stands.

    Returns:
        The module `openvino`.
    """
    with _lock:
        if "openvino" not in sys.modules and _CONVERTER not in sys.modules:
            # None makes `import` raise ImportError; see the import system in the Python reference.
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
            try:
                importlib.import_module("openvino")
            finally:
                del sys.modules[_CONVERTER]
        module: ModuleType = importlib.import_module("openvino")
    return module
