"""The real pipeline: frames/s of the Ray job against its own stage functions in one plain loop in one process.

    python benchmarks/pipeline_throughput.py [--recordings 12] [--frames 60] [--cpus 1 2] [--passes fast]

Input: pieces of the shipped sample clip, each re-encoded from another first frame, so that every recording has its own
content. Peer: the same stages in a bare ``for`` loop (no ledger, no staging). Goals: at least 0.95 of the loop with one
CPU and 1.9 with two. Wall time on a machine with other load says little, so CPU seconds are given too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "pipelines")]

from human_video import stages  # type: ignore[import-not-found]  # noqa: E402
from pipeline_overhead import plain_loop, ray_job  # type: ignore[import-not-found]  # noqa: E402
from unihand_data.demo.truth import SHIPPED_VIDEO  # noqa: E402
from unihand_data.jobs.arguments import JobArguments  # noqa: E402
from unihand_data.jobs.human_config import HumanVideoSettings  # noqa: E402
from unihand_data.jobs.items import list_units  # noqa: E402
from unihand_data.runner import submit  # noqa: E402
from unihand_data.runner.settings import RunnerSettings  # noqa: E402
from unihand_data.sources.registry import open_source  # noqa: E402
from unihand_data.video.encode import EncodeSettings, encode_clip  # noqa: E402
from unihand_data.video.probe import probe  # noqa: E402


def pieces(folder: Path, count: int, frames: int) -> None:
    """``count`` recordings of ``frames`` frames with their camera beside them."""
    info = probe(str(SHIPPED_VIDEO))
    step = max(1, (info.frames - frames) // max(1, count - 1))
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        clip = info.clip(i * step, i * step + frames)
        encode_clip(clip, folder / f"piece{i:03d}.mp4", EncodeSettings(longest_side=None, crf=18))
        shutil.copy(SHIPPED_VIDEO.with_suffix(".camera.json"), folder / f"piece{i:03d}.camera.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=12)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--cpus", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--passes", choices=("full", "fast"), default="fast")
    names = parser.parse_args()
    settings = HumanVideoSettings.model_validate({"hands": {"detect": {"passes": names.passes}}})
    with tempfile.TemporaryDirectory() as scratch:
        real, warm = Path(scratch) / "input", Path(scratch) / "warm"
        pieces(real, names.recordings, names.frames)
        pieces(warm, 2, 40)
        source = partial(open_source, str(real))
        chain = stages(settings, source, JobArguments(str(real), str(Path(scratch) / "out")))
        warm_chain = list(list_units(open_source(str(warm))))
        warm_loop = list(list_units(source()))[:1]
        before = plain_loop(chain, list_units(source()), warm_loop)
        frames = before.units * names.frames
        report: dict = {
            "recordings": names.recordings,
            "frames": frames,
            "passes": names.passes,
            "loop_frames_per_s": round(frames / before.wall, 2),
            "loop_ms_cpu_per_frame": round(1e3 * before.cpu / frames, 1),
        }
        for cpus in names.cpus:
            with submit.connected(RunnerSettings(num_cpus=cpus)):
                ray = ray_job(chain, lambda: list_units(source()), warm_chain)
            report[f"cpus_{cpus}"] = {
                "ray_frames_per_s": round(ray.units * names.frames / ray.wall, 2),
                "ratio": round(before.wall / before.units / (ray.wall / ray.units), 3),
                "cpu_ratio": round(before.cpu / ray.cpu, 3),
                "load_average": round(os.getloadavg()[0], 1),
            }
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
