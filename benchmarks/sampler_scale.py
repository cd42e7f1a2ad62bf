"""The training order at 400 million samples: start time, memory, draws per second, exact resume.

    python benchmarks/sampler_scale.py [--samples 400000000] [--draws 500000] [--index 2000000] [--build 100000]
                                       [--copies 100000]

The catalogue has the true counts of a build of that size (134 M human samples, 30 M of 30 robots, the rest vision-text;
99 strata) and no rows: the order computes which sample stands at a position and holds no list. ``--index`` also writes
an index of that many records, and reads random ones from it through the memory map, as training does. ``--build`` also
builds a recipe of a generated shard directory with about that many samples. ``--copies`` finds the copies among that
many motion signatures of one robot, half of them of another data set and each a copy of one of the first, with noise;
then, as if they were one data set uploaded twice, the second uploads.

The peer is what data loaders do by default: a permutation of all indices held in memory, drawn from per stratum. Each
case is a fresh process, so that start time and peak memory are its own. One JSON line per case, the machine first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SEED = 7


def catalogue(samples: int) -> list[tuple[str, int]]:
    """(stratum, samples) that sum to ``samples``, in the proportions of the paper."""
    from unihand_data.space import tables

    human, robot = round(samples * 0.335), round(samples * 0.075)
    parts = [(f"human/{s}/{t}", n * human // 300) for s, n in (("a", 62), ("b", 23), ("c", 15)) for t in "gcd"]
    hours = sum(r.hours for r in tables.table1())
    parts += [(f"{r.embodiment}/{t}", int(robot * r.hours / hours / 2)) for r in tables.table1() for t in "gc"]
    rest = samples - sum(n for _, n in parts)
    return parts + [(f"text/{i}", rest // 30 + (rest % 30 if not i else 0)) for i in range(30)]


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def resident_mb() -> float:
    """Resident memory now."""
    with open("/proc/self/statm") as file:
        return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def order_case(samples: int, draws: int) -> dict[str, Any]:
    import numpy as np

    from unihand_data.recipe.order import Order, Part

    parts = [Part(name, n, float(n)) for name, n in catalogue(samples)]
    before, started = resident_mb(), time.perf_counter()
    order = Order(parts, SEED)
    order.at([0])
    first = time.perf_counter() - started
    grown = resident_mb() - before
    started = time.perf_counter()
    for start in range(0, draws, 4096):
        order.at(np.arange(start, start + 4096))
    rate = draws / (time.perf_counter() - started)
    middle = np.arange(samples // 2, samples // 2 + 4096)  # half a pass in, as if it had run until there
    started = time.perf_counter()
    resumed = Order(parts, SEED)
    there = resumed.at(middle)
    resume = time.perf_counter() - started
    ranks = [next(Order(parts, SEED).shard(r, 24, samples // 2, batch=4)) for r in range(24)]
    exact = np.array_equal(order.at(middle).sample, there.sample)
    exact &= np.array_equal(np.sort(np.concatenate(ranks)), samples // 2 + np.arange(96))
    one_by_one = time.perf_counter()
    for position in range(2000):
        order.at([position])
    single = (time.perf_counter() - one_by_one) / 2000
    return {
        "case": "order", "samples": samples, "strata": len(parts), "start_to_first_draw_s": round(first, 4),
        "memory_grown_mb": round(grown, 1), "peak_mb": peak_mb(), "draws_per_s": round(rate),
        "one_draw_us": round(single * 1e6), "resume_in_the_middle_s": round(resume, 4), "exact_resume": bool(exact),
        "state": {"recipe": "<hash>", "position": samples // 2},
    }  # fmt: skip


def pass_case(samples: int) -> dict[str, Any]:
    """A whole pass over one stratum: every sample once. Ends only when it is true."""
    import numpy as np

    from unihand_data.recipe.permutation import permute

    seen = np.zeros(samples, bool)
    started = time.perf_counter()
    for start in range(0, samples, 1 << 18):
        seen[permute(np.arange(start, min(samples, start + (1 << 18))), samples, np.uint64(SEED))] = True
    return {"case": "one whole pass", "samples": samples, "each_once": bool(seen.all()),
            "permuted_per_s": round(samples / (time.perf_counter() - started))}  # fmt: skip


def peer_case(samples: int, draws: int) -> dict[str, Any]:
    import numpy as np

    parts = catalogue(samples)
    before, started = resident_mb(), time.perf_counter()
    rng = np.random.default_rng(SEED)
    lists = [rng.permutation(n).astype(np.int64) for _, n in parts]
    share = np.array([n for _, n in parts]) / samples
    at = np.zeros(len(parts), np.int64)
    first = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(0, draws, 4096):
        for stratum, many in zip(*np.unique(rng.choice(len(parts), 4096, p=share), return_counts=True)):
            lists[stratum].take(np.arange(at[stratum], at[stratum] + many) % len(lists[stratum]))
            at[stratum] += many
    rate = draws / (time.perf_counter() - started)
    return {
        "case": "peer: permutations in memory", "samples": samples, "start_to_first_draw_s": round(first, 2),
        "memory_grown_mb": round(resident_mb() - before, 1), "peak_mb": peak_mb(), "draws_per_s": round(rate),
    }  # fmt: skip


def index_case(records: int) -> dict[str, Any]:
    """Write an index of one stratum, then read random records of it."""
    import numpy as np

    from unihand_data.recipe.index import RECORD, IndexWriter, open_index, sample_row
    from unihand_data.recipe.permutation import permute

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with IndexWriter(folder) as writer:
            for start in range(0, records, 1 << 16):
                piece = np.zeros(min(1 << 16, records - start), RECORD)
                piece["start_frame"] = np.arange(start, start + len(piece))
                writer.append("bench", piece)
        written = time.perf_counter() - started
        size = sum(p.stat().st_size for p in Path(folder).iterdir())
        started = time.perf_counter()
        index = open_index(folder, "bench", records)
        opened = time.perf_counter() - started
        where = permute(np.arange(20_000), records, np.uint64(SEED))
        started = time.perf_counter()
        right = all(sample_row(index[i], "motion_generation", [""]).start_frame == i for i in where)
        rate = len(where) / (time.perf_counter() - started)
    return {
        "case": "index", "records": records, "bytes_per_record": size // records, "open_s": round(opened, 4),
        "written_per_s": round(records / written), "random_rows_per_s": round(rate), "right": bool(right),
    }  # fmt: skip


def build_case(samples: int) -> dict[str, Any]:
    """CPU time of a recipe build per sample of its inputs, on rows of robots that are thinned to 30 %."""
    import numpy as np

    from unihand_data.ids import make_id
    from unihand_data.recipe.build import build
    from unihand_data.recipe.settings import RecipeSettings
    from unihand_data.shards.rows import EpisodeRow, SampleRow
    from unihand_data.shards.writer import ShardWriter

    frames, slots = 2500, np.array([50], np.int16)
    values, mask = np.zeros((frames, 1), np.float32), np.ones((frames, 1), bool)
    with tempfile.TemporaryDirectory() as folder:
        writer = ShardWriter(f"{folder}/shards", content_hash="b", config={})
        for i in range(max(1, samples // frames)):
            row = EpisodeRow(
                make_id(i), f"rec{i}", "bench", "", "widowx", "0", "robot", "real", "lab", "train", 30.0,
                np.arange(frames) / 30, "base", np.eye(4), slots, slots, values, values, mask, mask, "CC0-1.0", True,
            )  # fmt: skip
            listed = [
                SampleRow(
                    make_id(i, t), "motion_generation", row.episode_id, start_frame=t, frames_available=frames - t
                )
                for t in range(frames)
            ]
            writer.add(episodes=[row], samples=listed)
        writer.commit(run_id="b")
        before = time.process_time()
        recipe = build([f"{folder}/shards"], f"{folder}/recipe", RecipeSettings())
        taken = time.process_time() - before
    found, kept = (recipe["totals"][k]["samples"] for k in ("found", "taken"))
    return {"case": "build", "samples": found, "taken": kept, "samples_per_cpu_s": round(found / taken)}


def copies_case(episodes: int) -> dict[str, Any]:
    """Random combinations of six motions in 14 numbers, so that buckets are as full as those of one task."""
    import numpy as np

    from unihand_data.curate.robot.signature import STEP, TIMES, VERSION
    from unihand_data.recipe.motions import MotionReader
    from unihand_data.recipe.near import copies, uploaded_again

    rng, reader, reading = np.random.default_rng(SEED), MotionReader(), 0.0
    basis = rng.normal(size=(6, TIMES, 14))
    groups = {"right_eef_position": slice(0, 3), "right_eef_rotation": slice(3, 7), "right_arm": slice(7, 14)}
    for row in range(episodes):
        if row % 2 == 0:
            path = np.cumsum(np.tensordot(rng.normal(size=6), basis, 1), axis=0) * 0.02
        noisy = np.rint((path - path[0] + rng.normal(size=path.shape) * 1e-4) / STEP).astype(int)
        paths = {name: noisy[:, at].ravel().tolist() for name, at in groups.items()}
        signature = {"version": VERSION, "steps": 100, "duration": 5 + row // 2 % 40 * 0.3, "paths": paths, "exact": {}}
        text = json.dumps({"motion_signature": signature})
        started = time.perf_counter()
        reader.add(row, "franka", "ab"[row % 2], text, "bench")
        reading += time.perf_counter() - started
    motions = reader.result()
    started = time.perf_counter()
    _, (a, b) = copies(motions, 0.02, 0.05)
    found = len(np.unique(b[(b == a + 1) & (a % 2 == 0)]))
    compared, started = time.perf_counter() - started, time.perf_counter()
    pair = (motions.row // 2).astype("u8") + np.uint64(1)  # now as if each pair were one recording, uploaded twice
    motions.exact[:] = pair[:, None]
    again = len(uploaded_again(motions, pair, np.ones(episodes, bool)))
    return {
        "case": "copies", "episodes": episodes, "copies_found": found, "of": episodes // 2, "read_s": round(reading, 1),
        "compared_s": round(compared, 1), "uploaded_again": again,
        "uploaded_again_s": round(time.perf_counter() - started, 2), "peak_mb": peak_mb(),
    }  # fmt: skip


def main() -> int:
    p = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    p.add_argument("--samples", type=int, default=400_000_000)
    p.add_argument("--draws", type=int, default=500_000)
    p.add_argument("--index", type=int, default=0)
    p.add_argument("--build", type=int, default=0)
    p.add_argument("--copies", type=int, default=0)
    p.add_argument("--whole-pass", type=int, default=5_000_000)
    p.add_argument("--case", choices=["order", "pass", "peer", "index", "build", "copies"], help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.case:
        cases = {
            "order": lambda: order_case(a.samples, a.draws), "pass": lambda: pass_case(a.whole_pass),
            "peer": lambda: peer_case(a.samples, a.draws), "index": lambda: index_case(a.index),
            "build": lambda: build_case(a.build), "copies": lambda: copies_case(a.copies),
        }  # fmt: skip
        print(json.dumps(cases[a.case]()), flush=True)
        return 0
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps(machine | {"python": platform.python_version()}), flush=True)
    wanted = [name for name in ("index", "build", "copies") if getattr(a, name)]
    for case in ("order", "pass", *wanted, "peer"):
        started = time.perf_counter()
        ran = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--case", case], check=False)
        if ran.returncode:
            return 1
        print(json.dumps({"case": case, "process_s": round(time.perf_counter() - started, 2)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
