"""Faults of the machine and not of the unit: a full disk, a folder that may not be written, missing weights.

Every unit would end the same way, and none would with the fault mended, so such a fault is no verdict on a unit: the
unit is left for a later run and the job stops (docs/runner.md).
"""

from __future__ import annotations

import errno
import os

from unihand_data.config import SettingsError
from unihand_data.errors import DatasetRefused, EnvironmentFault

#: of OSErrors that readers did not turn into a reject of their file
ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EMFILE,
        errno.ENFILE,
        errno.ESTALE,
    }
)
_TYPES = (EnvironmentFault, SettingsError, DatasetRefused, ImportError)
#: the same by name, of errors that a helper process reported
_NAMES = frozenset({"EnvironmentFault", "ModelsMissing", "SettingsError", "DatasetRefused", "ImportError"}) | {
    "ModuleNotFoundError"
}
#: object stores: no credentials, no route; a missing object is a FileNotFoundError
_STORE_MODULES = ("botocore.", "aiobotocore.", "google.auth.", "gcsfs.")


def fault_of(error: BaseException) -> str | None:
    """One sentence about the machine's fault that ``error`` is, or that it was raised from; None for any other error.

    An error of a helper process carries ``kind`` and ``errno`` (:class:`unihand_data.video.killable.WorkerError`), one
    of a Ray task its ``cause``.
    """
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        number = getattr(error, "errno", None)
        if isinstance(error, _TYPES) or getattr(error, "kind", "") in _NAMES:
            return _last_line(error)
        if type(error).__module__.startswith(_STORE_MODULES):
            return f"object store: {_last_line(error)}"
        if number in ERRNOS:
            name = getattr(error, "filename", None)
            return f"{name}: {os.strerror(number)}" if name else _last_line(error)
        error = getattr(error, "cause", None) or error.__cause__ or error
    return None


def _last_line(error: BaseException) -> str:
    """An error that carries a helper's traceback says what it is in its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
