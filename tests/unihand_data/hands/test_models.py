"""The landmark models: found, checked, bundled, never half written."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile

import pytest

from unihand_data.hands import models


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Two tiny files in place of the networks, a wheel that carries them, and a cache of its own."""
    contents = {name: f"network {name}".encode() for name in models.PARTS}
    parts = {n: (member, hashlib.sha256(contents[n]).hexdigest()) for n, (member, _) in models.PARTS.items()}
    monkeypatch.setattr(models, "PARTS", parts)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(models.ENV, raising=False)
    wheel = tmp_path / "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        for name, (member, _) in parts.items():
            z.writestr(member, contents[name])
    return wheel


def _pip_that(monkeypatch, action):
    calls = []

    def run(command, **_):
        calls.append(command)
        return action(command)

    monkeypatch.setattr(models.subprocess, "run", run)
    return calls


def _deliver(wheel):
    def action(command):
        target = command[command.index("-d") + 1]
        with open(f"{target}/{wheel.name}", "wb") as f:
            f.write(wheel.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    return action


def test_the_models_are_fetched_once_and_stored_unpacked_in_a_bundle(small, monkeypatch):
    calls = _pip_that(monkeypatch, _deliver(small))
    first = models.ensure_hand_models()
    assert models.ensure_hand_models() == first
    assert len(calls) == 1
    assert "--no-deps" in calls[0]
    assert "mediapipe==0.10.21" in calls[0]
    with zipfile.ZipFile(first) as z:
        assert set(z.namelist()) == set(models.PARTS)
        assert {i.compress_type for i in z.infolist()} == {zipfile.ZIP_STORED}
    assert [p.name for p in first.parent.iterdir()] == [first.name]


def test_the_bundle_has_the_same_bytes_every_time(small, tmp_path):
    models.write_bundle(small, tmp_path / "a.task")
    models.write_bundle(small, tmp_path / "b.task")
    assert (tmp_path / "a.task").read_bytes() == (tmp_path / "b.task").read_bytes()


def test_a_file_that_is_not_the_pinned_one_is_refused_and_nothing_is_left(small, monkeypatch, tmp_path):
    bad = tmp_path / "bad.whl"
    with zipfile.ZipFile(bad, "w") as z:
        for member, _ in models.PARTS.values():
            z.writestr(member, b"something else")
    _pip_that(monkeypatch, _deliver(bad))
    with pytest.raises(models.ModelsMissing, match="sha256"):
        models.ensure_hand_models()
    assert list(models.cache_dir().iterdir()) == []


def test_no_network_says_what_to_do(small, monkeypatch):
    _pip_that(monkeypatch, lambda c: subprocess.CompletedProcess(c, 1, "", "no route to host"))
    with pytest.raises(models.ModelsMissing, match=r"no route to host.*UNIHAND_HAND_MODELS"):
        models.ensure_hand_models()
    with pytest.raises(models.ModelsMissing, match=r"hands\.models"):
        models.ensure_hand_models(fetch=False)


def test_a_damaged_bundle_in_the_cache_is_made_anew_and_a_named_one_is_refused(small, monkeypatch, tmp_path):
    calls = _pip_that(monkeypatch, _deliver(small))
    bundle = models.ensure_hand_models()
    bundle.write_bytes(bundle.read_bytes()[:40])
    assert models.ensure_hand_models() == bundle
    assert len(calls) == 2
    monkeypatch.setenv(models.ENV, str(tmp_path / "none.task"))
    with pytest.raises(models.ModelsMissing, match="no such file"):
        models.ensure_hand_models()
    models.write_bundle(small, tmp_path / "none.task")
    assert models.ensure_hand_models() == tmp_path / "none.task"
