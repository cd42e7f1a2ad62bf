"""Which hand a row's angles belong to: MANO or the generic skeleton, one of them per row.

Both fill the same slots, but the same numbers pose different hands, so a row names its embodiment by the model of the
hands that were found in it. A side without any pose has no model of its own and takes the other's. Where both sides
were found by different models the row keeps the side that was seen in more frames (the right one if equal): a row of
two embodiments would teach the mirror twin, which exchanges the sides, the wrong hand.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from unihand_data.space.embodiment import load_embodiment
from unihand_data.values.estimator import HandResult
from unihand_data.values.hands import HandModel, HandTrack

EMBODIMENTS: dict[HandModel, str] = {"mano": "human_hands", "generic_v1": "human_hands_generic"}


def hand_model(hands: HandResult) -> HandModel:
    """The one model of the hands that have a pose; the right hand's where none has.

    Raises:
        ValueError: the sides differ (:func:`one_hand_model` settles that).
    """
    models = {track.hand_model for track in (hands.right, hands.left) if track.valid.any()}
    if len(models) > 1:
        raise ValueError(
            f"hands of two models in one row: right {hands.right.hand_model}, left {hands.left.hand_model}"
        )
    return models.pop() if models else hands.right.hand_model


def one_hand_model(hands: HandResult) -> tuple[HandResult, str]:
    """Hands of one model, and in a sentence what was left out for it (empty where nothing was)."""
    right, left = hands.right, hands.left
    if right.valid.any() and left.valid.any() and right.hand_model != left.hand_model:
        kept, lost = (right, left) if _seen(right) >= _seen(left) else (left, right)
        empty = HandTrack.empty(lost.side, len(lost), hand_model=kept.hand_model, estimator=lost.estimator)
        why = (
            f"the {lost.side} hand ({lost.hand_model}, {_seen(lost)} frames) is left out: a row has hands of one model "
            f"and the {kept.side} one is {kept.hand_model} ({_seen(kept)} frames)"
        )
        both = {kept.side: kept, lost.side: empty}
        return replace(hands, left=both["left"], right=both["right"]), why
    model = hand_model(hands)
    for track in (right, left):
        track.hand_model = model
    return hands, ""


def _seen(track: HandTrack) -> int:
    return int((track.valid & ~track.interpolated).sum())


@lru_cache(maxsize=2)
def embodiment_of(model: HandModel) -> tuple[str, str]:
    """Name and hash of the embodiment whose hands are of ``model``."""
    name = EMBODIMENTS[model]
    return name, load_embodiment(name).hash
