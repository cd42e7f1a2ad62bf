"""Foreign pickles, object ``.npy`` files, ``.npz``, joblib and tensor files, read through an allow-list.

A pickle is a program. The programs that data sets publish need a handful of numpy callables and, for a few, a tensor
rebuild; everything else (``os.system``, ``builtins.eval``, any class at all) is refused with ``UNSAFE_CONTENT`` naming
what was asked for. Allowed names map to stand-ins (``pickle_standins.py``); nothing is imported on behalf of the file,
torch and chumpy included. The interpreter is the standard library's one in Python, whose memory grows only with the
file (the C one allocates by announced sizes).
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from unihand_data.config import Settings
from unihand_data.errors import Reason, Reject
from unihand_data.untrusted.pickle_standins import ALLOWED, StorageType, _Call, finish


class PickleLimits(Settings):
    """Bounds on what one file may hold."""

    max_bytes: int = 4 << 30
    max_opcodes: int = 50_000_000
    max_inflation: int = 200  # unpacked over packed, above a floor of 64 MiB


DEFAULT_LIMITS = PickleLimits()


class SafeUnpickler(pickle._Unpickler):  # type: ignore[name-defined]
    """Runs a pickle with the allow-list; ``extra`` adds names for one format (joblib's array wrapper)."""

    def __init__(self, stream: IO[bytes], source: str, extra: dict[tuple[str, str], Any] | None = None):
        super().__init__(stream, encoding="latin1")
        self.stream = stream
        self.source = source
        self.extra = extra or {}

    def find_class(self, module: str, name: str) -> Any:
        for table in (self.extra, ALLOWED):
            if (module, name) in table:
                return table[(module, name)]
        raise Reject(
            Reason.UNSAFE_CONTENT,
            f"{self.source}: the pickle asks for {module}.{name}, which is not on the allow-list; do not open this "
            "file by other means",
        )

    def persistent_load(self, pid: Any) -> Any:
        raise Reject(Reason.UNSAFE_CONTENT, f"{self.source}: the pickle refers to data outside itself")

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    def load(self) -> Any:
        """As the standard loop, with a bound on the number of operations."""
        self._unframer = pickle._Unframer(self._file_read, self._file_readline)  # type: ignore[attr-defined]
        self.read, self.readinto, self.readline = (
            self._unframer.read,
            self._unframer.readinto,
            self._unframer.readline,
        )
        self.metastack: list[Any] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.proto = 0
        dispatch: dict[int, Any] = self.dispatch
        try:
            for _ in range(DEFAULT_LIMITS.max_opcodes):
                key = self.read(1)
                if not key:
                    raise EOFError("pickle ends early")
                if key[0] not in dispatch:
                    raise pickle.UnpicklingError(f"unknown operation {key!r}")
                dispatch[key[0]](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise Reject(Reason.UNSAFE_CONTENT, f"{self.source}: more than {DEFAULT_LIMITS.max_opcodes} operations")


_dispatch: dict[int, Any] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: SafeUnpickler.load_bytearray8}  # type: ignore[attr-defined]
SafeUnpickler.dispatch = _dispatch


#: what a damaged or hostile stream can make the interpreter or numpy raise
_DAMAGE: tuple[type[Exception], ...] = (
    pickle.UnpicklingError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError,
    struct.error, zlib.error, zipfile.BadZipFile, RecursionError, ImportError, NotImplementedError, SyntaxError,
    BufferError, AssertionError, OSError, RuntimeError, tokenize.TokenError,
)  # fmt: skip


def guarded(source: str, action: Callable[[], Any]) -> Any:
    """Run a parser of foreign bytes; whatever damage makes it raise becomes one ``Reject``."""
    try:
        return action()
    except Reject:
        raise
    except EOFError as error:
        raise Reject(Reason.TRUNCATED, f"{source}: ends early ({error}); fetch it again") from error
    except _DAMAGE as error:
        reason = Reason.TRUNCATED if "truncated" in str(error) or "exhausted" in str(error) else Reason.UNREADABLE
        raise Reject(
            reason,
            f"{source}: damaged, or of another format ({type(error).__name__}: {str(error)[:200]}); fetch it again",
        ) from error


def safe_loads(
    data: bytes,
    source: str = "<bytes>",
    limits: PickleLimits = DEFAULT_LIMITS,
    extra: dict[tuple[str, str], Any] | None = None,
) -> Any:
    """A pickle held in memory: numbers, strings, containers, numpy arrays. ``extra`` adds stand-ins for one format.

    Raises:
        Reject: UNSAFE_CONTENT (a callable outside the allow-list, a limit), TRUNCATED, UNREADABLE."""
    if len(data) > limits.max_bytes:
        raise Reject(Reason.UNSAFE_CONTENT, f"{source}: larger than {limits.max_bytes} bytes")
    return guarded(source, lambda: finish(_unpickler(data, source, extra).load()))


def safe_load(path: str | Path, limits: PickleLimits = DEFAULT_LIMITS) -> Any:
    """A ``.pkl``, ``.npy`` (object arrays included), ``.npz``, joblib or tensor file, told apart by content.

    Returns:
        What the file holds; a 0-d object array gives the object inside, an ``.npz`` a dict.

    Raises:
        Reject: MISSING_FILE, EMPTY, UNSAFE_CONTENT, TRUNCATED, UNREADABLE.
    """
    return loads_any(read_bounded(path, limits.max_bytes), str(path), limits)


def loads_any(data: bytes, source: str, limits: PickleLimits = DEFAULT_LIMITS) -> Any:
    """As :func:`safe_load`, from bytes."""
    if data.startswith(b"\x93NUMPY"):
        return guarded(source, lambda: _load_npy(data, source, limits))
    if data.startswith(b"PK\x03\x04"):
        return guarded(source, lambda: _load_npz(data, source, limits))
    if data[:2] in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        packed = data
        data = guarded(source, lambda: _inflate(packed, source, limits))
    from unihand_data.untrusted.joblib_format import looks_like_joblib, safe_loads_joblib

    if looks_like_joblib(data):
        return guarded(source, lambda: safe_loads_joblib(data, source))
    return safe_loads(data, source, limits)


def read_bounded(path: str | Path, max_bytes: int) -> bytes:
    """The bytes of a local file. Raises ``Reject``: MISSING_FILE, EMPTY, UNREADABLE, UNSAFE_CONTENT (too large)."""
    try:
        size = Path(path).stat().st_size
        if size > max_bytes:
            raise Reject(Reason.UNSAFE_CONTENT, f"{path}: {size} bytes, over the limit of {max_bytes}")
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise Reject(Reason.MISSING_FILE, f"{path}: no such file; fetch it") from error
    except OSError as error:
        raise Reject(Reason.UNREADABLE, f"{path}: cannot be read ({error})") from error
    if not data:
        raise Reject(Reason.EMPTY, f"{path}: the file is empty; fetch it again")
    return data


def _inflate(data: bytes, source: str, limits: PickleLimits) -> bytes:
    out = zlib.decompressobj()
    plain = out.decompress(data, min(limits.max_bytes, max(limits.max_inflation * len(data), 64 << 20)))
    if out.unconsumed_tail:
        raise Reject(Reason.UNSAFE_CONTENT, f"{source}: unpacks to more than the limit (a decompression bomb)")
    if not out.eof:
        raise EOFError("compressed stream")
    return plain


def _load_npy(data: bytes, source: str, limits: PickleLimits) -> Any:
    """One ``.npy`` image; its header is checked against the bytes that are there."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f".npy version {version}")
    rest = data[stream.tell() :]
    if dtype.fields:
        raise ValueError("a structured array")
    if dtype.hasobject:
        value = safe_loads(rest, source, limits)
        if isinstance(value, np.ndarray) and value.dtype == object and value.shape == () == shape:
            return value.item()
        return value
    size = math.prod(int(n) for n in shape) * dtype.itemsize
    if size > len(rest):
        raise Reject(Reason.TRUNCATED, f"{source}: {len(rest)} bytes of array data, {size} announced; fetch it again")
    return np.frombuffer(rest[:size], dtype).reshape(shape, order="F" if fortran else "C").copy()


def _load_npz(data: bytes, source: str, limits: PickleLimits) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as z:
        arrays = [i for i in z.infolist() if i.filename.endswith(".npy")]
        if not arrays and any(i.filename.endswith("data.pkl") for i in z.infolist()):
            return finish(_torch_zip(z, source))
        total = sum(i.file_size for i in arrays)
        if total > min(limits.max_bytes, max(limits.max_inflation * len(data), 64 << 20)):
            raise Reject(Reason.UNSAFE_CONTENT, f"{source}: unpacks to {total} bytes, over the limit")
        return {i.filename.removesuffix(".npy"): _load_npy(z.read(i), source, limits) for i in arrays}


# tensors --------------------------------------------------------------------------------------------------------------


class _TensorUnpickler(SafeUnpickler):
    """Resolves storage references through ``storage(kind, key, count)``."""

    def __init__(self, stream: IO[bytes], source: str, storage: Callable[[np.dtype, str, int], np.ndarray]):
        super().__init__(stream, source)
        self.storage = storage

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], StorageType):
            raise ValueError("a persistent reference that is no tensor storage")
        return self.storage(pid[1].dtype, str(pid[2]), int(pid[4]))  # type: ignore[attr-defined]


def _unpickler(data: bytes, source: str, extra: dict[tuple[str, str], Any] | None = None) -> SafeUnpickler:
    """For a plain pickle."""
    return SafeUnpickler(io.BytesIO(data), source, {**tensor_names(source), **(extra or {})})


def tensor_names(source: str) -> dict[tuple[str, str], Any]:
    """What a pickle outside ``torch.save`` asks for: tensors inside it carry their storage as bytes."""
    return {("torch.storage", "_load_from_bytes"): _Call(lambda raw: _tensor_bytes(raw, source))}


def _torch_zip(z: zipfile.ZipFile, source: str) -> Any:
    """``torch.save``: ``<name>/data.pkl`` and one raw storage per ``<name>/data/<key>``."""
    pkl = next(i.filename for i in z.infolist() if i.filename.endswith("data.pkl"))
    prefix = pkl[: -len("data.pkl")]

    def storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
        info = z.getinfo(f"{prefix}data/{key}")
        if count < 0 or info.file_size < count * dtype.itemsize or info.file_size > DEFAULT_LIMITS.max_bytes:
            raise EOFError("tensor storage")
        return np.frombuffer(z.read(info)[: count * dtype.itemsize], dtype)

    return _TensorUnpickler(io.BytesIO(z.read(pkl)), source, storage).load()


_TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def _tensor_bytes(raw: Any, source: str) -> np.ndarray:
    """A storage inside a pickle: five pickles (magic, protocol, type sizes, the reference, the keys), then per key an
    8-byte element count and the numbers."""
    if not isinstance(raw, bytes):
        raise ValueError("tensor bytes that are no bytes")
    if raw.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(raw)) as z:
            return _torch_zip(z, source)
    stream, storages = io.BytesIO(raw), dict[str, np.ndarray]()

    def storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
        if count < 0 or count * dtype.itemsize > len(raw):
            raise EOFError("tensor storage")
        return storages.setdefault(key, np.zeros(count, dtype))

    def part() -> Any:
        return _TensorUnpickler(stream, source, storage).load()

    if part() != _TORCH_MAGIC:
        raise ValueError("bytes that are no tensor storage")
    part(), part()
    value = part()
    for key in part():
        target = storages[str(key)]
        stream.read(8)
        data = stream.read(target.nbytes)
        if len(data) != target.nbytes:
            raise EOFError("tensor storage")
        target[:] = np.frombuffer(data, target.dtype)
    return value
