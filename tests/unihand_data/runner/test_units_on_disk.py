"""Codec, journal, paths: what the runner leaves on disk."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from enum import StrEnum

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unihand_data.errors import Reason, Reject
from unihand_data.runner import ledger_files, paths
from unihand_data.runner.codec import pack, unpack
from unihand_data.runner.journal import Journal
from unihand_data.runner.stage import Unit
from unihand_data.values.clip import ClipRef

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(-5, 5), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


class Colour(StrEnum):
    RED = "red"


@dataclass
class Body:
    n: int
    colour: Colour = Colour.RED
    nested: dict = field(default_factory=dict)


@given(plain)
def test_plain_values_come_back_as_they_were(value):
    back = unpack(pack(value))
    assert back == value
    assert type(back) is type(value)


def test_a_unit_with_arrays_dataclasses_enums_and_rejects_comes_back():
    clip = ClipRef("v.mp4", np.arange(5.0), 64, 48, extra={"a": (1, {2}), "mask": np.eye(2, dtype=bool)})
    unit = Unit("id", "item", "uri", clip, [Reject(Reason.NO_TEXT, "no words", level="row", frames=3)])
    back = unpack(pack(unit))
    assert isinstance(back.body, ClipRef)
    np.testing.assert_array_equal(back.body.pts, clip.pts)
    assert back.body.extra["a"] == (1, {2})
    assert back.body.extra["mask"].dtype == bool
    back.body.pts[0] = 7.0  # restored arrays are writable, as the originals were
    assert (back.rejects[0].reason, back.rejects[0].frames) == (Reason.NO_TEXT, 3)


def test_only_classes_of_allowed_modules_are_built():
    data = pack(Body(1, nested={"x": Body(2)}))
    assert unpack(data, allow=(Body.__module__,)) == Body(1, nested={"x": Body(2)})
    with pytest.raises(ValueError, match="not a class that may be restored"):
        unpack(data)
    for name in ("os:system", "unihand_data.runner.paths:os.system", "unihand_data.ids:make_id"):
        with pytest.raises((ValueError, AttributeError)):
            unpack(msgpack.packb({"\x00t": "data", "c": name, "v": {}}))


def test_what_cannot_be_stored_is_named_with_its_place():
    with pytest.raises(TypeError, match=r"unit.body\['model'\]: object cannot be stored"):
        pack(Unit("a", "a", "a", {"model": object()}))
    with pytest.raises(TypeError, match="array of objects"):
        pack(np.array([None]))


def test_a_journal_tells_silent_deaths_from_faults_and_forgets_what_finished(tmp_path):
    journal = Journal(str(tmp_path))
    with journal.working_on("fine"), journal.at_stage("s", None):
        pass
    assert list(tmp_path.iterdir()) == []
    script = (
        "import sys, os, signal, ctypes, time\n"
        "from unihand_data.runner.journal import Journal\n"
        "j = Journal(sys.argv[1])\n"
        "with j.working_on('u'), j.at_stage('stage', 0.2):\n"
        "    {'kill': lambda: os.kill(os.getpid(), signal.SIGKILL), 'fault': lambda: ctypes.string_at(0),\n"
        "     'hang': lambda: time.sleep(60)}[sys.argv[2]]()\n"
    )
    for death in ("kill", "fault", "kill", "hang"):
        subprocess.run([sys.executable, "-c", script, str(tmp_path), death], capture_output=True, timeout=240)
    deaths = journal.deaths("u")
    assert (deaths.silent, deaths.faults, deaths.timeouts, deaths.stage) == (2, 1, 1, "stage")
    assert "<string>:6" in deaths.place
    journal.forget("u")
    assert list(tmp_path.iterdir()) == []


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "deep" / "file"
    paths.write_atomic(str(target), b"one")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        paths.write_atomic(str(target), b"two")
    assert [p.name for p in target.parent.iterdir()] == ["file"]
    assert target.read_bytes() == b"one"


def test_a_relative_path_is_an_error_inside_a_ray_job_only(monkeypatch):
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert paths.job_path("out") == os.path.abspath("out")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(ValueError, match=r'--output .*"\$PWD/data/out"'):
        paths.job_path("data/out", "--output")
    assert paths.job_path("/data/out") == "/data/out"
    assert paths.job_path("s3://bucket/out/") == "s3://bucket/out"


def test_figures_of_a_loss_come_back_and_losses_stored_before_there_were_any_too():
    loss = Reject(Reason.JITTER, "shakes", level="clip", frames=9, figures={"jitter_pos": 0.05})
    assert unpack(pack(loss)).figures == pickle.loads(pickle.dumps(loss)).figures == {"jitter_pos": 0.05}
    old = msgpack.packb({"\x00t": "reject", "v": ["jitter", "shakes", "clip", 9, 3, 0.5]})
    assert (unpack(old).frames_with_hand, unpack(old).figures) == (3, {})


def test_a_ledger_written_before_losses_had_figures_is_read(tmp_path):
    fields = [f for f in ledger_files.REJECT_STRUCT if f.name != "figures"]
    row = {f.name: None for f in fields} | {"item": "i", "level": "clip", "reason": "jitter"}
    table = pa.table({"losses": pa.array([[row], []], pa.list_(pa.struct(fields)))})
    pq.write_table(table, tmp_path / "old.parquet")
    (frame,) = ledger_files.frames([str(tmp_path / "old.parquet")], ["losses"])
    (loss,) = ledger_files.losses_of(frame).to_dicts()
    assert (loss["item"], loss["figures"]) == ("i", None)
