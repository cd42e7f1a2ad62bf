"""A training window in two steps: which frames it needs, and, once they are decoded, the window.

Between the two the reader decodes the frames of many windows together, each file once.

Legend: see ``window.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unihand_data.shards import window as w
from unihand_data.shards.errors import ShardError
from unihand_data.shards.rows import EpisodeRow, MediaRow, SampleRow
from unihand_data.shards.window import Window, dense

#: (template id, sentence, hand=...) -> (question, answer); ``unihand_data.language.templates.render`` is one
Renderer = Callable[..., tuple[str, str]]


@dataclass
class WindowPlan:
    """A window whose frames are still to be decoded.

    Attributes:
        history, length: steps N before the start and T from it on.
        steps: rows of the images. wanted: view -> (media id, frame numbers, flip).
    """

    episode: EpisodeRow
    sample: SampleRow
    history: int
    length: int
    steps: list[int]
    wanted: dict[str, tuple[str, list[int], bool]]

    def window(
        self,
        pictures: dict[str, dict[int, np.ndarray]],
        *,
        sparse: bool,
        render: Renderer | None = None,
        camera_pose: bool = False,
    ) -> Window:
        """The window from decoded frames: media id -> number -> (H, W, 3)."""
        e, s, history = self.episode, self.sample, self.history
        start = s.start_frame
        state, state_mask = w.cut(e.state, e.state_mask, start - history, history + 1)
        action, action_mask = w.cut(e.action, e.action_mask, start, self.length)
        before, before_mask = w.cut(e.action, e.action_mask, start - history, history)
        state_slots, action_slots = e.state_slots, e.action_slots
        if not sparse:
            state, state_mask = dense(state, state_slots), dense(state_mask, state_slots)
            action, action_mask = dense(action, action_slots), dense(action_mask, action_slots)
            before, before_mask = dense(before, action_slots), dense(before_mask, action_slots)
            state_slots = action_slots = np.arange(w.N_SLOTS, dtype=np.int16)
        frames = {}
        for view, (media_id, numbers, flip) in self.wanted.items():
            stack = np.stack([pictures[media_id][n] for n in numbers])
            frames[view] = np.ascontiguousarray(stack[:, :, ::-1]) if flip else stack
        times = np.full(self.length, np.nan)
        inside = e.timestamps[start : start + self.length]
        times[: len(inside)] = inside
        line = e.language[s.language_ref] if 0 <= s.language_ref < len(e.language) else None
        text = line.text if line else ""
        question, answer = text, ""
        if render is not None and s.question_template_id:
            question, answer = render(s.question_template_id, text, hand=line.hand if line else "both")
        return Window(
            e.episode_id, s.sample_id, s.task, start, e.rate_hz, e.embodiment, e.mirrored, frames,
            e.timestamps[self.steps], state, state_mask, action, action_mask, before, before_mask,
            state_slots, action_slots, text, question, answer, line, times,
            w.camera_pose(e, start) if camera_pose else None,
        )  # fmt: skip


def view_names(episode: EpisodeRow, views: Sequence[str] | int | None) -> list[str]:
    """Views that are asked for: all with None, that many first ones with a number."""
    if views is None or isinstance(views, int):
        return [c.view for c in episode.cameras][:views]
    return list(views)


def plan_window(
    episode: EpisodeRow,
    sample: SampleRow,
    horizon: int,
    history: int,
    views: Sequence[str] | int | None,
    offsets: Sequence[int] | None,
    media_of: Callable[[str], MediaRow],
) -> WindowPlan:
    """Which frames of which media a window needs.

    Args:
        views: by name; None takes all, a number the first ones, ``()`` none.
        offsets: rows of the images relative to the start.
        media_of: a media row by id (its frame times).

    Raises:
        ShardError: a start, an image or a view that the episode does not have; a horizon below 1 or a history below 0,
            which no task has.
    """
    if horizon < 1 or history < 0:
        raise ShardError(f"a window of horizon {horizon} and history {history} steps: at least 1 and 0 are needed")
    start, T = sample.start_frame, episode.frames
    if not 0 <= start < T:
        raise ShardError(f"episode {episode.episode_id}: start frame {start} is outside its {T} frames")
    length = w.span_frames(episode, sample) if sample.task == "motion_description" else horizon
    cameras = {c.view: c for c in episode.cameras}
    names = view_names(episode, views)
    steps = w.image_steps(sample.task, start, history, min(length, T - start), offsets) if names else []
    if steps and (min(steps) < 0 or max(steps) >= T):
        raise ShardError(
            f"episode {episode.episode_id}: images at frames {steps} asked for, it has frames 0 to {T - 1}"
        )
    wanted = {}
    for name in names:
        if name not in cameras:
            raise ShardError(f"episode {episode.episode_id} has no view {name!r}; it has {', '.join(cameras)}")
        camera = cameras[name]
        media = media_of(camera.media_id)
        numbers = [w.frame_number(episode, camera, media, float(episode.timestamps[s])) for s in steps]
        wanted[name] = (camera.media_id, numbers, camera.mirrored)
    return WindowPlan(episode, sample, history, length, steps, wanted)
