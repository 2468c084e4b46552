"""Two files change names in one step, so that what was written over can still be looked at.

Source: renameat2(2) of Linux with RENAME_EXCHANGE (kernel 3.15, glibc 2.28). Other systems, and some file systems, have
nothing like it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_HERE = -100  # AT_FDCWD: names are as seen from the working folder.
_EXCHANGE = 2  # RENAME_EXCHANGE
_LACKING = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)  # EPERM: forbidden in some containers.


def exchange(first: Path, second: Path) -> bool:
    """Let two files of a folder change names, in one step.

    Returns:
        False where the system or the file system cannot; then nothing has happened.

    Raises:
        OSError: The system refuses.
    """
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_HERE, os.fsencode(first), _HERE, os.fsencode(second), ctypes.c_uint(_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in _LACKING:
        return False
    raise OSError(code, os.strerror(code), str(second))
