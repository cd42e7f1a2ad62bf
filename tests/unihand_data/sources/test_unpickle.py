"""Foreign pickles give data or a Reject, never code, never a plain exception."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import zlib

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unihand_data.errors import Reason, Reject
from unihand_data.sources.generate.foreign_pickle import Call, Name, chumpy_array, dumps, sparse_matrix, table, tensor
from unihand_data.untrusted.pandas_pickle import read_frame
from unihand_data.untrusted.unpickle import loads_any, safe_load, safe_loads

DATA = {
    "a": np.arange(6).reshape(2, 3).T,
    "f": np.linspace(0, 1, 5, dtype=np.float32),
    "s": np.float64(2.5),
    "text": "ü",
    "bytes": b"\x00\xff",
    "nested": [(1, 2.5), {"x": None, "y": True}, {3}],
    "objects": np.array([1, "two", None], dtype=object),
    "names": np.array(["ab", "c"]),
    "big": np.arange(3, dtype=">i4"),
}


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
    return a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_and_arrays_come_back_in_every_protocol(protocol):
    assert same(DATA, safe_loads(pickle.dumps(DATA, protocol=protocol)))


def test_object_npy_gives_the_object_inside(tmp_path):
    np.save(tmp_path / "a.npy", np.array(DATA, dtype=object), allow_pickle=True)
    assert same(DATA, safe_load(tmp_path / "a.npy"))


def test_npz_gives_its_arrays(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.eye(3), y=np.arange(4))
    assert same({"x": np.eye(3), "y": np.arange(4)}, safe_load(tmp_path / "a.npz"))


@pytest.mark.parametrize("compress", [0, 3])
def test_joblib_lists_come_back(tmp_path, compress):
    value = [np.arange(6.0).reshape(2, 3), np.ones((2, 4), np.float32), {"k": np.asfortranarray(np.eye(3)[:, :2])}]
    joblib.dump(value, tmp_path / "a.pth", compress=compress)
    back = safe_load(tmp_path / "a.pth")
    assert same(dict(enumerate(value)), dict(enumerate(back)))


def test_tensors_become_arrays_without_torch():
    value = np.arange(12, dtype=np.float32).reshape(3, 4)
    back = safe_loads(dumps({"00001": {"hand_pose": tensor(value)}}))
    assert same({"hand_pose": value}, back["00001"])


def test_tensors_written_by_torch_become_arrays(tmp_path):
    torch = pytest.importorskip("torch")
    t = torch.arange(12.0).reshape(3, 4)
    back = safe_loads(pickle.dumps({"t": t.T, "again": [t, t[1:, ::2]]}))
    assert same({"t": t.T.numpy(), "u": t[1:, ::2].numpy()}, {"t": back["t"], "u": back["again"][1]})
    torch.save({"x": t}, tmp_path / "t.pt")
    assert same({"x": t.numpy()}, safe_load(tmp_path / "t.pt"))


def test_chumpy_and_sparse_objects_become_arrays():
    dense = np.array([[0.0, 2, 0], [1, 0, 3]])
    back = safe_loads(dumps({"shapedirs": chumpy_array(np.eye(2)), "J_regressor": sparse_matrix(dense)}))
    assert same({"shapedirs": np.eye(2), "J_regressor": dense}, back)


def test_a_pickled_table_gives_its_rows(tmp_path):
    rows = {"video_id": ["P01", "P02"], "start": [0.5, 1.5], "hands": [["left hand"], []]}
    (tmp_path / "t.pkl").write_bytes(dumps(table(rows)))
    assert read_frame(tmp_path / "t.pkl") == [dict(zip(rows, values)) for values in zip(*rows.values())]


# hostile -----------------------------------------------------------------------------------------------------


class _Runs:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], tuple(self.call[1:])


def _hostile():
    touch = "open('HACKED','w')"
    yield "os.system", pickle.dumps(_Runs(os.system, "touch HACKED"))
    yield "eval", pickle.dumps(_Runs(eval, touch))
    yield "exec", pickle.dumps(_Runs(exec, touch))
    yield "getattr", pickle.dumps(_Runs(getattr, "x", "upper"))
    yield "__import__", pickle.dumps(_Runs(__import__, "os"))
    for module, name in [
        ("subprocess", "Popen"),
        ("builtins", "open"),
        ("functools", "partial"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.f2py", "compile"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("pickle", "loads"),
        ("types", "CodeType"),
        ("operator", "attrgetter"),
        ("unihand_data.untrusted.unpickle", "safe_load"),
        ("collections", "namedtuple"),
        ("importlib", "import_module"),
        ("pathlib", "Path"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy", "memmap"),
        ("joblib.numpy_pickle", "NumpyArrayWrapper"),
        ("pandas.core.frame", "DataFrame"),
    ]:
        yield f"{module}.{name}", dumps(Call(Name(module, name), ("HACKED",)))
    yield "dotted name", b"\x80\x04\x8c\x05numpy\x8c\x0alinalg.inv\x93."
    yield "persistent id", b"\x80\x02U\x01xQ."
    yield "extension code", b"\x80\x02\x82\x01."
    yield "instance op", b"(S'touch HACKED'\nios\nsystem\n."


@pytest.mark.parametrize(("what", "data"), list(_hostile()), ids=[w for w, _ in _hostile()])
def test_hostile_pickles_are_refused_and_run_nothing(what, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Reject) as caught:
        safe_loads(data, "evil.pkl")
    assert caught.value.reason in (Reason.UNSAFE_CONTENT, Reason.UNREADABLE)
    assert "evil.pkl" in caught.value.message
    assert not list(tmp_path.iterdir())


def test_a_refused_callable_is_named():
    with pytest.raises(Reject, match=r"posix\.system|os\.system"):
        safe_loads(pickle.dumps(_Runs(os.system, "true")))


def test_a_dtype_state_cannot_turn_bytes_into_pointers():
    """numpy's own rebuild would take 8 raw bytes as an object pointer if the flags of an object dtype were cleared."""
    flags_off = Call(Name("numpy", "dtype"), ("O", False, True), (3, "|", None, None, None, -1, -1, 0))
    array = Call(
        Name("numpy.core.multiarray", "_reconstruct"),
        (Name("numpy", "ndarray"), (0,), b"b"),
        (1, (1,), flags_off, False, b"\x41" * 8),
    )
    with pytest.raises(Reject):
        safe_loads(dumps(array))


def test_stand_ins_cannot_be_changed_by_a_pickle():
    before = safe_loads(pickle.dumps(np.arange(3)))
    for name in ("_reconstruct", "scalar"):
        target = Call(Name("numpy.core.multiarray", name), ())
        evil = dumps(target)[:-3] + b"}(U\x0c__setstate__U\x01xuN\x86b."
        with pytest.raises(Reject):
            safe_loads(evil)
    assert same({"x": before}, {"x": safe_loads(pickle.dumps(np.arange(3)))})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (pickle.dumps(DATA)[:-9], None),
        (zlib.compress(b"\x00" * (300 << 20), 9), Reason.UNSAFE_CONTENT),
        (b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".", None),
        (b"\x93NUMPY\x01\x00", None),
        (b"PK\x03\x04rubbish", None),
    ],
    ids=["empty", "truncated", "bomb", "announces a terabyte", "npy header only", "no zip"],
)
def test_damaged_files_are_rejected(tmp_path, data, reason):
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(Reject) as caught:
        safe_load(tmp_path / "x.pkl")
    assert reason is None or caught.value.reason == reason


def test_an_npy_that_announces_more_than_it_has_is_truncated(tmp_path):
    out = io.BytesIO()
    np.save(out, np.zeros((10, 10)))
    (tmp_path / "x.npy").write_bytes(out.getvalue().replace(b"(10, 10)", b"(99, 99)"))
    with pytest.raises(Reject) as caught:
        safe_load(tmp_path / "x.npy")
    assert caught.value.reason == Reason.TRUNCATED


def test_shared_and_circular_references_end():
    loop: list = [1]
    loop.append(loop)
    back = safe_loads(pickle.dumps(loop))
    assert back[1] is back
    laugh: list = ["ha"]
    for _ in range(100):
        laugh = [laugh, laugh]
    safe_loads(pickle.dumps(laugh))


def test_deep_nesting_is_rejected():
    with pytest.raises(Reject):
        safe_loads(b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".")


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_random_damage_never_raises_anything_but_reject(seed):
    rng = np.random.default_rng(seed)
    data = bytearray(pickle.dumps({"a": np.arange(20.0), "s": np.float32(1), "l": [1, "x"]}, protocol=seed % 6))
    for _ in range(rng.integers(1, 6)):
        data[rng.integers(len(data))] = rng.integers(256)
    with contextlib.suppress(Reject):
        loads_any(bytes(data), "fuzz")


def test_no_foreign_opcode_imports_a_module():
    import sys

    before = set(sys.modules)
    with pytest.raises(Reject):
        safe_loads(dumps(Call(Name("antigravity", "fly"), ())))
    assert "antigravity" not in set(sys.modules) - before
