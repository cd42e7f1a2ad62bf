"""Pictures, verified and decoded once: what is stored, how large it is, and what it looks like to a duplicate search.

Bytes that are sound and that every reader shows alike are stored as they are. Otherwise the picture is written anew:
orientation of the camera applied, GIF (its first frame), BMP, TIFF and MPO to PNG or JPEG, CMYK, 16-bit, palettes and
transparency to RGB. Every such change is named. Nothing damaged is repaired: a cut file is refused.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from unihand_data.config import Settings
from unihand_data.curate.conversations.looks import content_look_of, look_of
from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_bytes
from unihand_data.shards.rows import MediaRow

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # an MPO opens as JPEG
_STORED = {"JPEG": "mjpeg", "PNG": "png", "WEBP": "webp"}  # FFmpeg's names, as of video media
_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"RIFF", ".webp"), (b"BM", ".bmp"))
_SAME = {".jpeg": ".jpg", ".jpe": ".jpg", ".jfif": ".jpg"}
_ORIENTATION = 0x0112


class ImageSettings(Settings):
    """``max_pixels`` is compared before anything is decoded. ``max_aspect``: longer over shorter side."""

    min_side: int = Field(default=28, ge=1)
    max_aspect: float = Field(default=20.0, ge=1)
    max_pixels: int = Field(default=100_000_000, ge=1)
    jpeg_quality: int = Field(default=95, ge=50, le=100)


@dataclass
class StoredPicture:
    """A picture ready to be stored.

    Attributes:
        pixel_hash: blake2b-128 of the decoded RGB pixels and their size: equal for a PNG copy of the same pixels.
        look: 64-bit perceptual hash as 16 hex digits, of the picture without bars of one colour along its edges.
        whole_look: the same of the whole picture; equal to ``look`` where there are no bars.
        fixes: safe changes that were made.
    """

    media: MediaRow
    pixel_hash: str
    look: str
    whole_look: str
    fixes: list[str] = field(default_factory=list)


def store_picture(
    data: bytes, where: str, settings: ImageSettings, *, licence: str, path: str = "", name: str = "", sha256: str = ""
) -> StoredPicture:
    """Verify, decode, and choose what is stored.

    Args:
        data: encoded bytes. ``path``: local file they came from, which is then referred to instead of copied.
        name: the name the corpus gives; an ending that contradicts the bytes is noted.
        sha256: hex digest the corpus published for the bytes.

    Raises:
        Reject: CONTRADICTION (other bytes than published), UNREADABLE, TRUNCATED, CORRUPT, IMAGE_BOMB,
            IMAGE_TOO_SMALL, IMAGE_ASPECT.
    """
    from PIL import Image, ImageOps

    if sha256 and hashlib.sha256(data).hexdigest() != sha256.lower():
        raise Reject(Reason.CONTRADICTION, f"{where}: the picture's bytes are not the published ones (SHA-256 differs)")
    fixes = ["image_format_mismatch"] if _wrong_ending(data, name) else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of metadata it cannot read; damage of pixels raises
        image = _decoded(data, where, settings)
        turned = image.getexif().get(_ORIENTATION, 1) not in (1, 0, None)
        kind = image.format or ""
        rgb, changed = _rgb(ImageOps.exif_transpose(image) if turned else image)
    width, height = rgb.size
    if min(width, height) < settings.min_side:
        raise Reject(
            Reason.IMAGE_TOO_SMALL, f"{where}: {width}x{height} is under images.min_side = {settings.min_side}"
        )
    if max(width, height) > settings.max_aspect * min(width, height):
        raise Reject(
            Reason.IMAGE_ASPECT, f"{where}: {width}x{height} is longer than images.max_aspect = {settings.max_aspect:g}"
        )
    anew = turned or changed or kind not in _STORED or getattr(image, "n_frames", 1) > 1
    if turned:
        fixes.append("exif_orientation")
    if changed:
        fixes.append("to_rgb")
    if kind not in _STORED or getattr(image, "n_frames", 1) > 1:
        fixes.append("transcoded")
    if anew:
        lossy = kind in ("JPEG", "MPO", "WEBP")
        out = io.BytesIO()
        if lossy:
            rgb.save(out, "JPEG", quality=settings.jpeg_quality, subsampling=0)
        else:
            rgb.save(out, "PNG")
        data, path, codec = out.getvalue(), "", "mjpeg" if lossy else "png"
        if lossy:
            rgb = Image.open(io.BytesIO(data)).convert("RGB")
    else:
        codec = _STORED[kind]
    media = MediaRow(hash_bytes(data), "image", width, height, 1, codec, 1, 0.0, licence, path, None if path else data)
    pixels = np.asarray(rgb)
    whole = look_of(rgb)
    return StoredPicture(media, _pixel_hash(pixels), content_look_of(rgb, whole), whole, fixes)


def _decoded(data: bytes, where: str, settings: ImageSettings) -> Any:
    from PIL import Image, UnidentifiedImageError

    Image.init()  # all plugins: naming a format does not load its own
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if width * height > settings.max_pixels:
            raise Reject(
                Reason.IMAGE_BOMB, f"{where}: announces {width}x{height} pixels, over {settings.max_pixels}; not opened"
            )
        image.load()
        return image
    except Reject:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise Reject(Reason.IMAGE_BOMB, f"{where}: {str(error)[:120]}") from error
    except UnidentifiedImageError as error:
        raise Reject(Reason.UNREADABLE, f"{where}: no picture (starts with {data[:12]!r}); fetch it again") from error
    except (OSError, SyntaxError, EOFError) as error:
        cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
        reason = Reason.TRUNCATED if cut else Reason.CORRUPT
        raise Reject(reason, f"{where}: does not decode ({str(error)[:120]}); fetch it again") from error
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        LookupError,
        AttributeError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise Reject(Reason.CORRUPT, f"{where}: does not decode ({str(error)[:120]}); fetch it again") from error


def _rgb(image: Any) -> tuple[Any, bool]:
    """The picture in RGB, and whether the stored bytes must change for every reader to see the same.

    Transparency is laid on white; 16-bit levels are scaled to 8 bits."""
    from PIL import Image

    if image.mode in ("RGB", "L"):
        return image.convert("RGB"), False
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        levels = np.asarray(image, dtype=np.float64)
        top = 65535.0 if levels.max(initial=0.0) > 255 else 255.0
        return Image.fromarray(np.clip(levels * (255.0 / top), 0, 255).astype(np.uint8)).convert("RGB"), True
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB"), True
    return image.convert("RGB"), True


def _wrong_ending(data: bytes, name: str) -> bool:
    ending = "." + name.rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""
    ending = _SAME.get(ending, ending)
    real = next((e for magic, e in _MAGIC if data.startswith(magic)), "")
    return bool(ending in {e for _, e in _MAGIC} and real and real != ending)


def _pixel_hash(pixels: np.ndarray) -> str:
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()
