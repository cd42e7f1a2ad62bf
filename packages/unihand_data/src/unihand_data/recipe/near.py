"""Pairs of robot episodes that show one recording, by their motion signatures; order-free and without all-to-all.

Two episodes of one embodiment and of different *publications* (another data set, or the same in another container) are

- *exact* copies: the same numbers (end effectors or arms, bit for bit), and every group that both have agrees;
- *near* copies: as long (``duration``), both move at least ``MOVES``, and over every group that both have their paths
  differ (rms over the 16 times) by at most ``distance`` of the shorter one's way.

One of the groups that both have must be an end effector's position or an arm, unless neither episode has any.

Candidates come from locality-sensitive keys of the p-stable kind (Datar et al. 2004): projections of the path over its
own length on fixed random directions, cut into cells, with the logarithms of length and duration. Copies within the
bound share at least one of the bands; a test checks how often. In a bucket of more than ``WINDOW`` rows each is
compared with the next ``WINDOW`` by one more projection, first by eight such numbers (``SKETCH``), then by its path.

Episodes that are *re-drawn* (OXE-AugE) are linked to their original by the path of the recording, which they carry:
frames and tool points differ there, so what is compared are the distances between the path's own points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from unihand_data.curate.robot.signature import STEP, TIMES
from unihand_data.recipe.motions import RECORDED, Motions
from unihand_data.recipe.permutation import key_of, mix

#: m of the signature's metres: shorter ways tell nothing about which recording it is
MOVES = 0.05
BANDS, ROWS = 8, 5
#: cell widths: of a projection (in bounds, so a share of the way), of the logarithms of way and duration
CELL, CELL_LOG = 3.0, 0.25
#: further projections: copies differ in them by less than four times (in squares) what is expected at the bound
SKETCH, SKETCH_LIMIT = 8, 4.0
WINDOW = 64
ROWS_AT_ONCE, PAIRS_AT_ONCE = 1 << 15, 1 << 14
#: groups whose paths find candidates; each kind finds for itself, so that containers may lack the others
KINDS = {
    "eef": ("right_eef_position", "left_eef_position"),
    "joint": ("right_arm", "left_arm"),
    "hand": ("right_hand", "right_hand_extension", "left_hand", "left_hand_extension", "right_gripper", "left_gripper"),
    "base": ("base_position", "base_velocity"),
}
ANCHORS = (0, 5, 10, 15)

Pairs = tuple[np.ndarray, np.ndarray]
NONE: Pairs = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def copies(motions: Motions, distance: float | None, duration: float) -> tuple[Pairs, Pairs]:
    """(exact, near) pairs of row numbers, each once; ``distance`` None: no near ones."""
    exact = [NONE]
    for kind in range(motions.exact.shape[1]):
        have = np.flatnonzero(motions.exact[:, kind])
        key = mix(motions.exact[have, kind] ^ motions.embodiment[have]) + mix(motions.steps[have].astype("u8"))
        for a, b in _neighbours(motions, have, key, np.zeros((len(have), SKETCH)), duration):
            exact.append(_kept(a, b, _alike(motions, a, b)[0]))
    near = [NONE]
    if distance is not None:
        for have, keys, sketch in _near_keys(motions, distance):
            for band in range(BANDS):
                for a, b in _neighbours(motions, have, keys[:, band], sketch, duration):
                    near.append(_kept(a, b, _alike(motions, a, b)[1] <= distance))
    return _rows(motions, exact), _rows(motions, near)


def uploaded_again(motions: Motions, recording: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Entries of ``which`` ((M,) bool) that repeat one of a smaller row: equal ``recording`` ((M,), hash of all raw
    numbers, times and names), embodiment, steps and exact hashes, of which there is one. So only words and pictures
    can differ. An episode that re-draws a recording repeats none."""
    use = np.flatnonzero(which & (motions.group == 0) & motions.exact.any(axis=1))
    keys = [recording[use], motions.embodiment[use], motions.steps[use], *motions.exact[use].T]
    order = np.lexsort((motions.row[use], *keys))
    same = [key[order][1:] == key[order][:-1] for key in keys]
    return use[order[1:][np.logical_and.reduce(same)]]


def redrawn(motions: Motions, distance: float, duration: float) -> Pairs:
    """Pairs of row numbers: a re-drawn episode, and the recording it shows (or another one that re-draws it)."""
    drawn = np.array([any(n == RECORDED for n, _ in layout) for layout in motions.layouts] or [False])
    if not drawn.any() or not len(motions):
        return NONE
    has_path = np.array([bool(layout_path(motions, i)) for i in range(len(motions.layouts))])
    of_recording = np.flatnonzero(drawn[motions.layout])
    _, first = np.unique(motions.group[of_recording], return_index=True)  # one robot speaks for all of a recording
    at = np.concatenate([of_recording[first], np.flatnonzero(has_path[motions.layout] & ~drawn[motions.layout])])
    found = [NONE]
    have, keys, sketch = _keys(at, lambda piece: _shape(motions, piece), motions.duration, "shape", None, distance)
    for band in range(BANDS):
        for a, b in _neighbours(motions, have, keys[:, band], sketch, duration, drawn[motions.layout]):
            shape_a, shape_b = _shape(motions, a), _shape(motions, b)
            way = np.minimum(shape_a[1], shape_b[1])
            off = np.sqrt(((shape_a[0] - shape_b[0]) ** 2).sum(axis=2).mean(axis=1))
            found.append(_kept(a, b, off <= distance * way))
    return _rows(motions, found)


def layout_path(motions: Motions, layout: int) -> str:
    """The group whose path shows a recording's shape: that of the re-drawn recording, else the one end effector's."""
    names = {name for name, _ in motions.layouts[layout]}
    if RECORDED in names:
        return RECORDED
    arms = [name for name in KINDS["eef"] if name in names]
    return arms[0] if len(arms) == 1 else ""


def _shape(motions: Motions, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances (N, 16, 4) m of the path's points to four of them, halved so that a row's norm is their rms, and the
    path's length (N,) m."""
    out, way = np.zeros((len(at), TIMES, len(ANCHORS)), np.float32), np.zeros(len(at))
    for layout in np.unique(motions.layout[at]):
        here = np.flatnonzero(motions.layout[at] == layout)
        path = motions.paths(at[here], (layout_path(motions, int(layout)),))
        out[here] = np.linalg.norm(path[:, :, None] - path[:, None, ANCHORS], axis=3) / np.sqrt(len(ANCHORS))
        way[here] = _way(path)
    return out, way


def _way(path: np.ndarray) -> np.ndarray:
    """(N,) m of paths (N, 16, k)."""
    return np.linalg.norm(np.diff(path, axis=1), axis=2).sum(axis=1)


def _near_keys(motions: Motions, distance: float) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """:func:`_keys` of each kind and set of groups."""
    for kind, names in KINDS.items():
        groups = [tuple(sorted(g for g in motions.groups_of(i) if g[0] in names)) for i in range(len(motions.layouts))]
        for have in sorted({g for g in groups if g}):
            at = np.flatnonzero(np.array([g == have for g in groups])[motions.layout])

            used = tuple(name for name, _ in have)

            def path(piece: np.ndarray, used: tuple[str, ...] = used) -> tuple[np.ndarray, np.ndarray]:
                whole = np.concatenate(
                    [motions.paths(piece[motions.layout[piece] == i], used) for i in np.unique(motions.layout[piece])]
                )
                return whole, _way(whole)

            by_layout = at[np.argsort(motions.layout[at], kind="stable")]
            yield _keys(by_layout, path, motions.duration, (kind, *have), motions.embodiment, distance)


def _keys(
    at: np.ndarray,
    path: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    duration: np.ndarray,
    name: object,
    embodiment: np.ndarray | None,
    distance: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Entries of ``at`` that move, their keys (N, BANDS), and sketches (N, SKETCH) in units of what is expected of a
    copy at the bound. ``path(piece)`` gives (N, 16, k) and lengths (N,) m."""
    keys, kept, sketch = [np.zeros((0, BANDS), "u8")], [np.zeros(0, np.int64)], [np.zeros((0, SKETCH), np.float32)]
    bound = max(distance, 0.001)
    for start in range(0, len(at), ROWS_AT_ONCE):
        piece = at[start : start + ROWS_AT_ONCE]
        whole, way = path(piece)
        moves = way >= MOVES
        piece, whole, way = piece[moves], whole[moves], way[moves]
        if not len(piece):
            continue
        scaled = whole.reshape(len(piece), -1) / way[:, None]
        directions, shifts = _directions(scaled.shape[1])
        projected = scaled @ directions.T
        cells = np.floor(projected[:, :-SKETCH] / (CELL * bound) + shifts[: BANDS * ROWS])
        cells = cells.astype(np.int64).reshape(-1, BANDS, ROWS)
        logs = np.log(np.stack([way, duration[piece]], axis=1)) / CELL_LOG
        sizes = np.floor(logs[:, None] + shifts[BANDS * ROWS :].reshape(BANDS, 2)).astype(np.int64)
        key = np.full((len(piece), BANDS), key_of("near", name), "u8") + np.arange(BANDS, dtype="u8")
        for part in np.concatenate([cells, sizes], axis=2).astype("u8").transpose(2, 0, 1):
            key = mix(key.ravel() ^ mix(part.ravel())).reshape(key.shape)
        if embodiment is not None:
            key = mix((key ^ embodiment[piece][:, None]).ravel()).reshape(key.shape)
        keys.append(key)
        kept.append(piece)
        expected = bound * np.sqrt(TIMES) / np.sqrt(scaled.shape[1])  # of a unit direction, at the bound
        sketch.append((projected[:, -SKETCH:] / expected).astype(np.float32))
    return np.concatenate(kept), np.concatenate(keys), np.concatenate(sketch)


def _neighbours(
    motions: Motions, at: np.ndarray, key: np.ndarray, sketch: np.ndarray, duration: float,
    drawn: np.ndarray | None = None,
) -> Iterator[Pairs]:  # fmt: skip
    """Pairs of entries of one bucket (up to ``WINDOW`` apart), of different publications and about the same duration,
    whose sketches may be those of copies; with ``drawn``: of which one or both are re-drawn, from two recordings."""
    sort = np.lexsort((sketch[:, 0], key))
    at, key, sketch = at[sort], key[sort], sketch[sort]
    for apart in range(1, WINDOW + 1):
        same = np.flatnonzero(key[apart:] == key[:-apart])
        if not len(same):
            return
        a, b = at[same], at[same + apart]
        ok = np.abs(motions.duration[a] - motions.duration[b]) <= duration * np.maximum(
            motions.duration[a], motions.duration[b]
        )
        if drawn is None:
            ok &= (motions.publication[a] != motions.publication[b]) & (motions.embodiment[a] == motions.embodiment[b])
        else:
            ok &= (drawn[a] | drawn[b]) & ((motions.group[a] != motions.group[b]) | (motions.group[a] == 0))
            ok &= np.abs(motions.steps[a] - motions.steps[b]) <= 1  # every frame of the recording was re-drawn
        a, b, same = a[ok], b[ok], same[ok]
        ok = ((sketch[same] - sketch[same + apart]) ** 2).mean(axis=1) <= SKETCH_LIMIT
        a, b = a[ok], b[ok]
        for start in range(0, len(a), PAIRS_AT_ONCE):
            yield a[start : start + PAIRS_AT_ONCE], b[start : start + PAIRS_AT_ONCE]


def _alike(motions: Motions, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool: all groups that both have agree to a step of the signature; (N,) rms difference over the shorter way,
    infinite where one of the two does not move."""
    same, off = np.zeros(len(a), bool), np.full(len(a), np.inf)
    for pair in np.unique(np.stack([motions.layout[a], motions.layout[b]], axis=1), axis=0).tolist():
        here = np.flatnonzero((motions.layout[a] == pair[0]) & (motions.layout[b] == pair[1]))
        both = motions.groups_of(pair[0]) & motions.groups_of(pair[1])
        either = motions.groups_of(pair[0]) | motions.groups_of(pair[1])
        if _limbs(either) and not _limbs(both):
            continue  # when a gripper closes, or where the base went, does not tell what the arm did
        common = tuple(sorted(name for name, _ in both))
        one, two = motions.paths(a[here], common), motions.paths(b[here], common)
        differ = one - two
        way = np.minimum(_way(one), _way(two))
        same[here] = (np.abs(differ) <= 1.5 * STEP).all(axis=(1, 2))
        rms = np.sqrt((differ.astype(np.float64) ** 2).sum(axis=2).mean(axis=1))
        off[here] = np.where(way >= MOVES, rms / np.maximum(way, MOVES), np.inf)
    return same, off


def _limbs(groups: frozenset[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    return frozenset(g for g in groups if g[0] in (*KINDS["eef"], *KINDS["joint"]))


def _kept(a: np.ndarray, b: np.ndarray, which: np.ndarray) -> Pairs:
    return a[which], b[which]


def _rows(motions: Motions, found: list[Pairs]) -> Pairs:
    """Row numbers, each pair once."""
    a, b = motions.row[np.concatenate([p[0] for p in found])], motions.row[np.concatenate([p[1] for p in found])]
    pairs = np.unique(np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


@lru_cache(maxsize=32)
def _directions(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (BANDS * ROWS + SKETCH, length), the last for sketches, and offsets of all cells, the same on
    every machine."""
    rng = np.random.Generator(np.random.PCG64(length))
    directions = rng.normal(size=(BANDS * ROWS + SKETCH, length))
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return unit.astype(np.float32), rng.uniform(size=BANDS * (ROWS + 2))
