"""Peak memory and seconds of everything that walks a whole directory, for directories of different sizes.

    python benchmarks/index_scale.py [--samples 20000 200000 2000000] [--keep FOLDER]

A generated directory has a clip of 40 frames and its mirror twin for every 160 samples, a media row of a few bytes for
each clip (so that no video is in the figures), a rejected clip for each kept one, and a ledger that holds all of them.
Every figure comes from a process of its own: ``peak_mib`` is its greatest resident memory, Python and libraries
included (``imports``), ``s`` its seconds without the imports. The peer of the streaming reader is ``samples_whole``:
the training index as one Arrow table, which is what a reader that loads it pays.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from unihand_data.errors import Reason, Reject
from unihand_data.ids import hash_bytes, make_id
from unihand_data.jobs.losses import state_losses
from unihand_data.report.build import write_report
from unihand_data.runner.ledger import Ledger
from unihand_data.runner.parcel import Parcel
from unihand_data.runner.stage import Unit
from unihand_data.shards import append, schema, staging, writer
from unihand_data.shards import manifest as mf
from unihand_data.shards.catalogue import inspect
from unihand_data.shards.reader import ShardReader
from unihand_data.shards.rows import CameraRow, EpisodeRow, HandRow, LanguageRow, MediaRow, RejectRow
from unihand_data.shards.store import Store
from unihand_data.shards.validate import validate
from unihand_data.space import mirror

FRAMES = 40
PER_EPISODE = 80  # samples, so 160 for a clip and its twin
SLOTS = np.array([*range(6), *range(9, 15)], np.int16)
HASH = "b" * 32
PART = 500  # clips of a staging part


def clip(number: int) -> tuple[list[EpisodeRow], MediaRow]:
    """A clip of random motion with its twin, and its media row."""
    rng, file = np.random.default_rng(number), f"/in/{number // 10}.mp4"
    data = b"picture %d" % number
    media = MediaRow(hash_bytes(data), "image", 64, 48, 1, "jpeg", 1, 0.0, "CC0-1.0", data=data)
    motion = rng.normal(size=(FRAMES, len(SLOTS))).astype(np.float32) * 0.1
    mask = np.ones(motion.shape, bool)
    row = EpisodeRow(
        make_id("clip", number), f"recording {number // 10}", "generated", file, "human_hands", "e",
        "human", "real", "lab", "train", 30.0, np.arange(FRAMES) / 30, "gravity", np.eye(4), SLOTS, SLOTS, motion,
        motion, mask, mask, "CC0-1.0", True,
        cameras=[CameraRow("ego", media.media_id, 64, 48, 30.0)],
        hands=[HandRow(side, "generic_v1", "none", np.ones(FRAMES, np.float32), rng.random(FRAMES) < 0.8,
                       np.zeros(FRAMES, bool)) for side in ("left", "right")],
        language=[LanguageRow("instruction", 0, 1, f"take cup {number}", "right", "narration", paraphrase_id=k)
                  for k in range(3)],
        quality={"jitter_pos": float(rng.random() * 1e-3), "reliability": float(rng.random())},
        provenance={"item": f"recording {number // 10}", "mirror_version": "1"},
    )  # fmt: skip
    state, action = (mirror.mirror_row(motion, SLOTS, mask, kind) for kind in ("state", "action"))
    twin = replace(
        row, episode_id=make_id("twin", number), parent_id=row.episode_id, state=state.values, state_slots=state.slots,
        state_mask=state.mask, action=action.values, action_slots=action.slots, action_mask=action.mask,
        cameras=[replace(row.cameras[0], mirrored=True)],
    )  # fmt: skip
    return [row, twin], media


def sample_tables(episode_ids: list[str], rows: int) -> Iterator[pa.Table]:
    """The training index of these episodes, about ``rows`` at a time."""
    for start in range(0, len(episode_ids), rows // PER_EPISODE):
        owners = episode_ids[start : start + rows // PER_EPISODE]
        n = len(owners) * PER_EPISODE
        begin = np.tile(np.arange(PER_EPISODE) // 2, len(owners))
        columns = {
            "sample_id": [make_id(owner, k) for owner in owners for k in range(PER_EPISODE)],
            "task": np.tile(["motion_generation", "motion_continuation"], n // 2),
            "episode_id": np.repeat(owners, PER_EPISODE),
            "conversation_id": [""] * n,
            "start_frame": begin,
            "frames_available": FRAMES - begin,
            "history_available": begin,
            "language_ref": np.zeros(n, int),
            "question_template_id": ["generation-1"] * n,
            "tokens_text": np.full(n, 9),
            "tokens_answer": np.zeros(n, int),
            "images_per_time": np.ones(n, int),
            "weight": np.ones(n),
            "split": ["train"] * n,
        }
        yield pa.table([pa.array(columns[f.name]).cast(f.type) for f in schema.SAMPLES], schema=schema.SAMPLES)


def build(folder: Path, samples: int) -> None:
    """``out`` with its ledger, and ``more`` with one part that is not committed yet."""
    clips = samples // (2 * PER_EPISODE)
    out, ledger = Store(folder / "out"), Ledger(str(folder / "out"), HASH)
    episode_ids: list[str] = []
    for start in range(0, clips, PART):
        numbers = range(start, min(start + PART, clips))
        found = [clip(n) for n in numbers]
        rejects = [
            RejectRow(f"recording {n // 10}", "clip", "quality", "jitter", f"clip {n} shakes", f"/in/{n // 10}.mp4")
            for n in numbers
        ]
        staging.write_part(
            folder / "st", [e for rows, _ in found for e in rows], [m for _, m in found], rejects=rejects
        )
        episode_ids += [e.episode_id for rows, _ in found for e in rows]
        parcels = []
        for n in numbers:
            kept, lost = (Parcel.of(Unit(f"{kind}{n}", f"recording {n // 10}", f"/in/{n // 10}.mp4")) for kind in "kl")
            kept.parent = lost.parent = f"recording {n // 10}"
            lost.end(Reject(Reason.JITTER, f"clip {n} shakes", level="clip"), "quality", 1, lost.uri)
            parcels += [kept, lost]
        ledger.write_part(f"part{start:09d}", parcels)
    writer.commit(folder / "st", folder / "out", content_hash=HASH, config={}, run_id="first", clean=True)
    ledger.compact()
    manifest = mf.need(out)
    for table in sample_tables(episode_ids, append.SAMPLES_PER_FILE):
        manifest.samples.append(append.write_parquet(out, "samples", "sample", table))
    manifest.counts["samples"] = sum(f.rows for f in manifest.samples)
    mf.write(out, manifest)
    rows, media = clip(10**9)
    staging.write_part(folder / "more", rows, [media])


def take_random(out: Path, batches: int = 20, size: int = 64) -> int:
    """Batches of random samples by number, without their episodes."""
    index = ShardReader(out).index
    rng = np.random.default_rng(0)
    for _ in range(batches):
        index.take(rng.integers(0, len(index), size), ["episode_id", "start_frame", "task"])
    return batches * size


def take_shuffled(out: Path) -> int:
    """Every sample once: row groups in random order, rows within each in random order."""
    index = ShardReader(out).index
    rng, total = np.random.default_rng(0), 0
    for k in rng.permutation(len(groups := list(index.groups()))).tolist():
        table = index.read(groups[k], ["episode_id", "start_frame", "task"])
        total += table.take(rng.permutation(table.num_rows)).num_rows
    return total


def commit_one(folder: Path) -> int:
    """One more clip for the directory, as a daily run adds some."""
    config = {"content_hash": HASH, "config": {}, "run_id": "second", "inputs": {}}
    return writer.commit(folder / "more", folder / "out", **config)["new"]["episodes"]


def sound(out: Path) -> int:
    """Everything but the decoding of media. Raises where a problem is found."""
    problems = validate(out, decode=False)
    if problems:
        raise ValueError(problems[0])
    return 1


def losses(folder: Path) -> int:
    with tempfile.TemporaryDirectory() as staged:
        return state_losses([Ledger(str(folder / "out"), HASH)], staged).inputs["inputs"]


#: in this order: the last one changes the directory
MEASURES: dict[str, Callable[[Path], object]] = {
    "imports": lambda folder: None,
    "open": lambda folder: ShardReader(folder / "out").manifest,
    "one_episode": lambda folder: ShardReader(folder / "out").episode(make_id("clip", 7)),
    "sample_by_number": lambda folder: ShardReader(folder / "out").index.row(12345),
    "sample_by_id": lambda folder: ShardReader(folder / "out").sample(make_id(make_id("clip", 7), 5)),
    "1280_random": lambda folder: take_random(folder / "out"),
    "all_shuffled": lambda folder: take_shuffled(folder / "out"),
    "samples_whole": lambda folder: ShardReader(folder / "out").samples().num_rows,
    "inspect": lambda folder: inspect(folder / "out"),
    "validate": lambda folder: sound(folder / "out"),
    "report": lambda folder: write_report(str(folder / "out"), clips=0),
    "ledger_counts": lambda folder: Ledger(str(folder / "out"), HASH).counts(),
    "losses": losses,
    "commit_one_more": commit_one,
}


def peak_mib() -> int:
    """Greatest resident memory of this process's own image: ``ru_maxrss`` would carry over the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


def measure(name: str, folder: Path) -> dict[str, float]:
    started = time.perf_counter()
    MEASURES[name](folder)
    return {"s": round(time.perf_counter() - started, 2), "peak_mib": peak_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[20_000, 200_000, 2_000_000])
    parser.add_argument("--only", nargs="*", choices=list(MEASURES), help="some of the measures")
    parser.add_argument("--keep", help="folder where the directories are made and kept; made ones are used again")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)  # the child process of one figure
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure[0], Path(given.measure[1]))))
        return
    print(json.dumps({"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}))
    for samples in given.samples:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(given.keep or temporary, str(samples))
            if not (folder / "out").exists():
                build(folder, samples)
            figures = {}
            for name in given.only or MEASURES:
                command = [sys.executable, os.path.abspath(__file__), "--measure", name, str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{name} of {samples} samples failed:\n{done.stderr}")
                figures[name] = json.loads(done.stdout.splitlines()[-1])
        print(json.dumps({"samples": samples, "episodes": samples // PER_EPISODE, **figures}), flush=True)


if __name__ == "__main__":
    main()
