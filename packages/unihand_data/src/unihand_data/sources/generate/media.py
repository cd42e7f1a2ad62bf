"""Real, tiny videos and pictures of a scene: a moving pattern and two discs where the hands are."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from unihand_data.sources.generate.scene import Scene


def picture(scene: Scene, frame: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    h, w = scene.height, scene.width
    y, x = np.mgrid[0:h, 0:w]
    rng = np.random.default_rng(scene.seed)
    tint = rng.uniform(60, 160, 3)
    stripes = 20 * np.sin((x + 3 * frame) / (9 if scene.family == "wild" else 25))[..., None]
    image = np.clip(tint + stripes + (y / h * 40)[..., None], 0, 255)
    for side, colour in (("left", (224, 172, 140)), ("right", (230, 180, 150))):
        wrist = scene.in_camera(scene.hands[side].keypoints[:, :1])[frame, 0]  # type: ignore[index]
        px = scene.K @ wrist / wrist[2]
        inside = (x - px[0]) ** 2 + (y - px[1]) ** 2 < (0.06 * w) ** 2
        image[inside] = colour
    return image.astype(np.uint8)


def write_video(path: Path, scene: Scene) -> Path:
    """H.264 in MP4, one picture per frame of the scene, presentation times ``i / fps``."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        rate = Fraction(scene.fps).limit_denominator(1001)
        stream: Any = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        stream.gop_size, stream.thread_count = 8, 1
        for i in range(len(scene.times)):
            frame = av.VideoFrame.from_ndarray(picture(scene, i), format="rgb24")
            frame.pts, frame.time_base = i, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def video_bytes(scene: Scene) -> bytes:
    """As :func:`write_video`, in memory."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return write_video(Path(folder) / "v.mp4", scene).read_bytes()


def jpeg(scene: Scene, frame: int) -> bytes:
    """One picture as JPEG."""
    import av

    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = scene.width, scene.height, "yuvj420p", Fraction(1, 30)
    image = av.VideoFrame.from_ndarray(picture(scene, frame), format="rgb24").reformat(format="yuvj420p")
    image.pts = 0
    out = io.BytesIO()
    for packet in [*codec.encode(image), *codec.encode(None)]:
        out.write(bytes(packet))
    return out.getvalue()


def write_pictures(folder: Path, scene: Scene, name: str, first: int = 0, step: int = 1) -> list[str]:
    """JPEG files ``name.format(number)``; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [name.format(first + step * i) for i in range(len(scene.times))]
    for i, file in enumerate(names):
        (folder / file).write_bytes(jpeg(scene, i))
    return names
