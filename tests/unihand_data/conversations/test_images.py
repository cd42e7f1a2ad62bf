"""Pictures: what is stored as it is, what is written anew and said, what is refused."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from unihand_data.curate.conversations.images import ImageSettings, store_picture
from unihand_data.curate.conversations.looks import look_of
from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_bytes
from unihand_data.shards.media_reader import MediaDecoder
from unihand_data.sources.conversations.generate.still import still

S = ImageSettings()


def stored(data: bytes, **more):
    return store_picture(data, "row", S, licence="x", **more)


@pytest.mark.parametrize(("kind", "codec"), [("JPEG", "mjpeg"), ("PNG", "png"), ("WEBP", "webp")])
def test_sound_pictures_are_stored_as_they_are(kind, codec):
    data = still(1).encoded(kind)
    found = stored(data)
    assert (found.media.data, found.media.codec, found.fixes) == (data, codec, [])
    assert found.media.media_id == hash_bytes(data)


def test_a_file_on_disk_is_referred_to_and_not_copied():
    found = stored(still(1).encoded(), path="/somewhere/a.jpg")
    assert (found.media.path, found.media.data) == ("/somewhere/a.jpg", None)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_orientation_of_a_camera_is_applied_before_anything_else(orientation):
    upright = still(0, (96, 64))
    found = stored(upright.encoded(orientation=orientation))
    assert (found.media.width, found.media.height) == (96, 64)
    assert "exif_orientation" in found.fixes
    decoded = np.asarray(Image.open(io.BytesIO(found.media.data)), float)
    assert np.abs(decoded - upright.pixels()).mean() < 8
    assert Image.open(io.BytesIO(found.media.data)).getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("kind", "mode", "fix"),
    [
        ("GIF", "P", "transcoded"), ("BMP", "RGB", "transcoded"), ("TIFF", "RGB", "transcoded"),
        ("JPEG", "CMYK", "to_rgb"), ("PNG", "P", "to_rgb"), ("PNG", "RGBA", "to_rgb"), ("PNG", "LA", "to_rgb"),
        ("PNG", "1", "to_rgb"),
    ],
)  # fmt: skip
def test_other_kinds_of_pictures_become_rgb_and_it_is_said(kind, mode, fix):
    found = stored(still(2).encoded(kind, mode=mode))
    assert fix in found.fixes
    again = Image.open(io.BytesIO(found.media.data))
    assert again.mode == "RGB"
    assert again.format in ("PNG", "JPEG")


def test_sixteen_bit_levels_are_scaled_and_not_cut_off():
    ramp = (np.linspace(0, 65535, 64 * 64).reshape(64, 64)).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, "PNG")
    pixels = np.asarray(Image.open(io.BytesIO(stored(out.getvalue()).media.data)))
    assert pixels.min() == 0
    assert pixels.max() == 255
    assert abs(float(pixels.mean()) - 127.5) < 1


def test_bytes_of_another_kind_than_the_ending_are_noted():
    assert "image_format_mismatch" in stored(still(1).encoded("GIF"), name="a/b.jpg").fixes
    assert stored(still(1).encoded(), name="a/b.jpeg").fixes == []


def test_a_lossless_copy_has_the_same_pixels_and_another_id():
    pixels = still(3).pixels()
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    a, b = stored(still(3).encoded("PNG")), stored(out.getvalue())
    assert a.pixel_hash == b.pixel_hash
    assert a.media.media_id != b.media.media_id


def test_looks_stay_close_when_encoded_anew_and_differ_between_pictures():
    looks = [int(stored(still(k).encoded("PNG")).look, 16) for k in range(30)]
    again = [int(stored(still(k).encoded(quality=70)).look, 16) for k in range(30)]
    assert max((a ^ b).bit_count() for a, b in zip(looks, again)) <= 4
    others = [(looks[i] ^ looks[j]).bit_count() for i in range(30) for j in range(i)]
    assert min(others) > 4


def test_a_look_is_sixteen_hex_digits_of_a_plain_picture_too():
    assert len(look_of(Image.new("RGB", (40, 40), (9, 9, 9)))) == 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_the_shard_reader_decodes_what_is_stored(kind):
    found = stored(still(1).encoded(kind))
    decoder = MediaDecoder(found.media, io.BytesIO(found.media.data))
    (picture,) = decoder.read([0]).values()
    assert picture.shape == (found.media.height, found.media.width, 3)
    assert np.abs(picture.astype(float) - still(1).pixels()).mean() < 12


def _png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>not found</html>", Reason.UNREADABLE),
        (b"\x00" * 64, Reason.UNREADABLE),
        (still(1).encoded()[:-400], Reason.TRUNCATED),
        (still(1).encoded("PNG")[:-200], Reason.TRUNCATED),
        (_png_of(50_000, 50_000), Reason.IMAGE_BOMB),
        (_png_of(400, 10), Reason.CORRUPT),
        (still(1, (60, 24)).encoded(), Reason.IMAGE_TOO_SMALL),
        (still(1, (1200, 40)).encoded(), Reason.IMAGE_ASPECT),
    ],
)
def test_damage_and_bombs_are_refused(data, reason):
    with pytest.raises(Reject) as found:
        stored(data)
    assert found.value.reason in (reason, Reason.TRUNCATED if reason == Reason.CORRUPT else reason)


def test_bytes_that_are_not_the_published_ones_are_refused():
    data = still(1).encoded()
    stored(data, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(Reject) as found:
        stored(data, sha256="0" * 64)
    assert found.value.reason == Reason.CONTRADICTION
