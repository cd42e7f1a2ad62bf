"""Bytes against random-window latency, for codec x GOP: where the default of ``EncodeSettings`` comes from.

    python benchmarks/video_codec.py [--video PATH] [--windows 60] [--longest-side 640] [--json OUT]

Encodes one clip in every variant at matched quality and measures, in one thread: bytes per frame, PSNR and SSIM against
the scaled source, seconds of CPU to encode a frame, and the CPU time to fetch (a) one random frame, (b) a random window
of 16 consecutive frames, (c) 16 frames at a stride of 5, each from a freshly opened file as a training loader does.
Without ``--video`` it uses the sample clip when there is one, else a generated moving picture.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from unihand_data.values.clip import ClipRef
from unihand_data.video.decode import iter_frames
from unihand_data.video.encode import EncodeSettings, encode_clip, stored_size
from unihand_data.video.probe import probe

log = logging.getLogger("video_codec")
ROOT = Path(__file__).resolve().parents[1]
# crf per codec for about the same SSIM on egocentric video
CODECS = {"h264": 23, "hevc": 25, "av1": 32}
GOPS = (1, 2, 4, 8, 15, 30)


def generated(path: Path) -> Path:
    """Four seconds of noise textures that pan and turn, 1280x720 at 30 fps."""
    rng = np.random.default_rng(0)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(1600), np.fft.fftfreq(1600)))
    f[0, 0] = 1
    planes = [np.fft.ifft2(np.fft.fft2(rng.standard_normal((1600, 1600))) / f).real for _ in range(3)]
    world = np.stack([(p - p.min()) / np.ptp(p) * 255 for p in planes], -1).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for i in range(120):
            x, y = int(150 + 140 * np.sin(i / 17)), int(400 + 300 * np.sin(i / 23))
            picture = np.ascontiguousarray(world[y : y + 720, x : x + 1280])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two gray pictures over 8x8 blocks (Wang et al. 2004 without the window)."""
    h, w = (n // 8 * 8 for n in a.shape)
    x, y = (p[:h, :w].astype(float).reshape(h // 8, 8, w // 8, 8).swapaxes(1, 2).reshape(-1, 64) for p in (a, b))
    mx, my = x.mean(1), y.mean(1)
    vx, vy, c = x.var(1), y.var(1), (x * y).mean(1) - mx * my
    return float((((2 * mx * my + 6.5) * (2 * c + 58.5)) / ((mx**2 + my**2 + 6.5) * (vx + vy + 58.5))).mean())


def fetch_ms(clip: ClipRef, selections: list[np.ndarray]) -> float:
    """Median CPU milliseconds to open the file and return the frames of a selection."""
    out = []
    for chosen in selections:
        part = ClipRef(clip.path, clip.pts[chosen], clip.width, clip.height, extra=clip.extra)
        start = time.process_time()
        count = sum(1 for _ in iter_frames(part))
        out.append((time.process_time() - start) * 1e3)
        assert count == len(chosen)
    return float(np.median(out))


def measure(clip: ClipRef, reference: np.ndarray, s: EncodeSettings, folder: Path, windows: int) -> dict:
    n = len(clip.pts)
    start = time.process_time()
    row = encode_clip(clip, folder / f"{s.codec}_{s.gop}.mp4", s)
    encode = (time.process_time() - start) / n
    stored = probe(row.path).clip()
    pictures = np.stack([p for _, _, p in iter_frames(stored, rgb=False)])
    rng = np.random.default_rng(0)
    singles = [np.array([i]) for i in rng.integers(0, n, windows)]
    runs = [np.arange(i, i + 16) for i in rng.integers(0, n - 16, windows)]
    strided = [np.arange(i, i + 80, 5) for i in rng.integers(0, n - 80, windows)] if n > 80 else runs
    error = ((pictures.astype(float) - reference) ** 2).mean()
    return {
        "codec": s.codec,
        "gop": s.gop,
        "kB_per_frame": round(os.path.getsize(row.path) / n / 1000, 2),
        "psnr": round(float(10 * np.log10(255**2 / error)), 2),
        "ssim": round(float(np.mean([ssim(a, b) for a, b in zip(pictures, reference)])), 4),
        "encode_ms": round(encode * 1e3, 1),
        "one_ms": round(fetch_ms(stored, singles), 1),
        "window16_ms": round(fetch_ms(stored, runs), 1),
        "strided16_ms": round(fetch_ms(stored, strided), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--video", type=Path)
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--longest-side", type=int, default=640)
    parser.add_argument("--codecs", nargs="*", default=list(CODECS))
    parser.add_argument("--gops", nargs="*", type=int, default=list(GOPS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    samples = Path(os.environ.get("UNIHAND_SAMPLES", ROOT.parent / "shared" / "samples"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = args.video or samples / "hawor_video" / "video_0.mp4"
        if not video.is_file():
            video = generated(folder / "generated.mp4")
        clip = probe(video).clip()
        first = EncodeSettings(longest_side=args.longest_side)
        size = stored_size(clip, first)
        reference = np.stack([p for _, _, p in iter_frames(clip, size=size, rgb=False)]).astype(float)
        log.info("%s: %d frames stored at %dx%d", video.name, len(clip.pts), *size)
        rows = []
        for codec in args.codecs:
            for gop in args.gops:
                s = EncodeSettings(codec=codec, gop=gop, crf=CODECS[codec], longest_side=args.longest_side)
                rows.append(measure(clip, reference, s, folder, args.windows))
                if len(rows) == 1:
                    log.info("| %s |", " | ".join(rows[0]))
                    log.info("|%s", "---|" * len(rows[0]))
                log.info("| %s |", " | ".join(str(v) for v in rows[-1].values()))
        if args.json:
            args.json.write_text(json.dumps({"video": video.name, "size": size, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
