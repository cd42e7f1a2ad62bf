"""Stage 4 of section 3.1: the left-right twin of a human row. Numbers are mirrored, the video is shared and its pixels
are flipped when loaded; the twin stays in its parent's split. Mirroring twice gives the parent's values back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unihand_data.ids import make_id
from unihand_data.language.mirror_words import MIRROR_TEXT_VERSION, mirror_flags, swap_left_right
from unihand_data.shards.rows import CameraRow, EpisodeRow, HandRow, LanguageRow
from unihand_data.space import mirror as space_mirror

MIRROR_VERSION = f"horizontal-flip-v1+{MIRROR_TEXT_VERSION}"
_OTHER = {"left": "right", "right": "left"}


def _mirror_camera(camera: CameraRow) -> CameraRow:
    intrinsics = None if camera.intrinsics is None else camera.intrinsics.copy()
    if intrinsics is not None:
        intrinsics = space_mirror.mirror_intrinsics(intrinsics, camera.width)
    distortion = None if camera.distortion is None else camera.distortion.copy()
    if distortion is not None and len(distortion) > 3:
        distortion = space_mirror.mirror_distortion("radtan", distortion)
    poses = None if camera.poses is None else space_mirror.mirror_poses(camera.poses).astype(np.float32)
    return replace(
        camera,
        view=space_mirror.mirror_side(camera.view),
        intrinsics=intrinsics,
        distortion=distortion,
        poses=poses,
        mirrored=not camera.mirrored,
    )


def _mirror_language(row: LanguageRow) -> LanguageRow:
    return replace(row, text=swap_left_right(row.text), hand=_OTHER.get(row.hand, row.hand))


def unmirrored_sentences(row: EpisodeRow) -> list[tuple[str, tuple[str, ...]]]:
    """The sentences whose side words might be left as they are in a twin (another script or language, odd spellings),
    and why."""
    found = []
    for line in row.language:
        why = tuple(flag for flag in mirror_flags(line.text) if flag != "ambiguous")  # an ambiguous word is swapped
        if why:
            found.append((line.text, why))
    return found


def mirror_episode(row: EpisodeRow) -> EpisodeRow:
    """The twin of ``row`` (or the parent of a twin, up to its ids)."""
    order = {"right": 0, "left": 1}
    hands = [
        HandRow(_OTHER[h.side], h.hand_model, h.estimator, h.confidence, h.valid, h.interpolated, h.hand_scale)
        for h in row.hands
    ]
    state, state_slots, state_mask = space_mirror.mirror_row(row.state, row.state_slots, row.state_mask, "state")
    action, action_slots, action_mask = space_mirror.mirror_row(row.action, row.action_slots, row.action_mask, "action")
    m_y = np.diag([1.0, -1.0, 1.0, 1.0])
    m_x = np.diag([-1.0, 1.0, 1.0, 1.0])
    quality = {space_mirror.mirror_side(name): value for name, value in row.quality.items()}
    return replace(
        row,
        episode_id=make_id("mirror", row.episode_id),
        parent_id="" if row.parent_id else row.episode_id,
        state=state.astype(np.float32),
        state_mask=state_mask,
        state_slots=np.asarray(state_slots, np.int16),
        action=action.astype(np.float32),
        action_mask=action_mask,
        action_slots=np.asarray(action_slots, np.int16),
        # the raw world of the twin is the x-mirrored raw world, so that its transform stays a rotation
        raw_to_world=m_y @ row.raw_to_world @ m_x,
        cameras=[_mirror_camera(camera) for camera in row.cameras],
        hands=sorted(hands, key=lambda h: order[h.side]),
        language=[_mirror_language(text) for text in row.language],
        quality=quality,
        provenance={**row.provenance, "mirror_version": MIRROR_VERSION},
    )
