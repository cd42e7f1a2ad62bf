"""Archives are read without leaving the folder, following a link or filling the disk."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from unihand_data.errors import Reason, Reject
from unihand_data.sources import archive
from unihand_data.sources.generate.archive_sets import write_tar

GOOD = {"a/1.mp4": b"x" * 3000, "a/1.json": b"{}", "b.txt": b"hello"}


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in members.items():
            z.writestr(name, data)
    return path


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_members_are_listed_and_read(tmp_path, suffix):
    path = (write_tar if suffix == ".tar" else make_zip)(tmp_path / f"x{suffix}", GOOD)
    assert [m.name for m in archive.members(path)] == list(GOOD)
    assert archive.read_member(path, "b.txt") == b"hello"
    assert archive.read_member(path, "a/1.mp4") == GOOD["a/1.mp4"]
    assert [p.name for p in tmp_path.iterdir()] == [f"x{suffix}"], "nothing is unpacked"


def test_webdataset_samples_share_the_name_up_to_the_first_dot(tmp_path):
    path = write_tar(
        tmp_path / "x.tar", {"a/1.mp4": b"v", "a/1.json": b"{}", "a/2.image_214-1.jpg": b"j", "README": b""}
    )
    found = {key: sorted(members) for key, members in archive.iter_samples(path)}
    assert found == {"a/1": ["json", "mp4"], "a/2": ["image_214-1.jpg"]}


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../evil", "C:\\evil", "a\\..\\evil", "c:/evil", "a/\x01b"]
)
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name, suffix):
    path = (write_tar if suffix == ".tar" else make_zip)(tmp_path / f"x{suffix}", {name: b"x"})
    with pytest.raises(Reject) as caught:
        archive.members(path)
    assert caught.value.reason == Reason.UNSAFE_CONTENT


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "x.tar", "w") as t:
        info = tarfile.TarInfo("a.mp4")
        info.type, info.linkname = kind, "/etc/passwd"
        t.addfile(info)
    with pytest.raises(Reject) as caught:
        archive.members(tmp_path / "x.tar")
    assert caught.value.reason == Reason.UNSAFE_CONTENT


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        info = zipfile.ZipInfo("a.mp4")
        info.external_attr = 0o120777 << 16
        z.writestr(info, "/etc/passwd")
    with pytest.raises(Reject, match="link"):
        archive.members(tmp_path / "x.zip")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_decompression_bomb_is_refused(tmp_path, suffix):
    zeros = b"\0" * (32 << 20)
    if suffix == ".zip":
        make_zip(tmp_path / "x.zip", {"a.mp4": zeros})
    else:
        with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as t:
            info = tarfile.TarInfo("a.mp4")
            info.size = len(zeros)
            t.addfile(info, io.BytesIO(zeros))
    with pytest.raises(Reject, match="bomb") as caught:
        archive.members(tmp_path / f"x{suffix}")
    assert caught.value.reason == Reason.UNSAFE_CONTENT


def test_too_many_members_are_refused(tmp_path):
    path = write_tar(tmp_path / "x.tar", {f"{i}": b"" for i in range(20)})
    with pytest.raises(Reject, match="more than 10"):
        archive.members(path, archive.ArchiveLimits(max_members=10))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_a_truncated_archive_is_rejected(tmp_path, suffix, keep):
    path = (write_tar if suffix == ".tar" else make_zip)(tmp_path / f"x{suffix}", {"a.mp4": bytes(range(256)) * 400})
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * min(len(data), 102400))])
    with pytest.raises(Reject):
        archive.members(path)


def test_a_missing_archive_or_member_is_named(tmp_path):
    with pytest.raises(Reject) as caught:
        archive.members(tmp_path / "no.tar")
    assert caught.value.reason == Reason.MISSING_FILE
    path = write_tar(tmp_path / "x.tar", GOOD)
    with pytest.raises(Reject, match=r"no member 'z\.mp4'"), archive.open_member(path, "z.mp4"):
        pass


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("/d/x.tar!a/b.mp4", ("/d/x.tar", "a/b.mp4")),
        ("/d/wow!.mp4", ("/d/wow!.mp4", "")),
        ("/d/wow!/x.zip!a!b.mp4", ("/d/wow!/x.zip", "a!b.mp4")),
        ("s3://b/k.mp4", ("s3://b/k.mp4", "")),
    ],
)
def test_member_names_are_split_at_the_archive(uri, parts):
    assert archive.split_member(uri) == parts
