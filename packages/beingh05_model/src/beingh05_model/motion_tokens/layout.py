"""What the motion tokens of a chunk are, place by place and id by id, and a chunk's hands as the tokenizers take them.

Places of a chunk: right wrist, right fingers, left wrist, left fingers, ``block`` tokens each; within a block latent
step by latent step, of a step group by group, of a group level by level (the first level is the coarsest). A block
exists if every cell of its slots is known at every step of the chunk; else its places stay empty, because a token of
a guessed step would be a guess that is trained on. Ids are those of (part, group, level) in this order, ``codes``
each: what an id belongs to follows from the id, the hand from its place.

A left hand is tokenised as the right hand that it is in the mirror (docs/contract.md, section 2), so both hands share
codes, and a mirror twin has the ids of its parent with the hands swapped.

Legend: T steps, S 200 slots, W 6 or 45 slots of a part.
"""

from __future__ import annotations

import numpy as np

from beingh05_model.motion_tokens.settings import PARTS, SIDES, TokenizerSettings
from beingh05_model.network.config import MotionTokenConfig
from beingh05_model.sequence.chunks import Chunk, ChunkSettings
from unihand_data.space import GROUPS, N_SLOTS
from unihand_data.space.mirror import mirror_row

#: an empty place
NONE = -1
#: slots of a part, by side
SLOTS: dict[tuple[str, str], np.ndarray] = {
    (side, part): np.array([slot for group in groups for slot in GROUPS[f"{side}_{group}"].slots])
    for side in SIDES
    for part, groups in zip(PARTS, (("eef_position", "eef_rotation"), ("theta",)), strict=True)
}
#: (side, part) in the order of their places
BLOCKS: tuple[tuple[str, str], ...] = tuple(SLOTS)
_BOTH = np.sort(np.concatenate(list(SLOTS.values()))).astype(np.int16)


def motion_config(settings: TokenizerSettings, expert: str = "act") -> MotionTokenConfig:
    """What the network must be told of the tokens of a tokenizer."""
    return MotionTokenConfig.model_validate(
        {"codebook": settings.codebook, "tokens": settings.tokens, "expert": expert}
    )


def offsets(settings: TokenizerSettings, part: str) -> np.ndarray:
    """[groups, levels] first id of each quantiser of a part."""
    each = np.arange(settings.groups * settings.levels).reshape(settings.groups, settings.levels)
    return (PARTS.index(part) * settings.groups * settings.levels + each) * settings.codes


def block_slice(settings: TokenizerSettings, number: int) -> slice:
    """Places of block ``number`` of :data:`BLOCKS`."""
    return slice(number * settings.block, (number + 1) * settings.block)


def blocks(chunk: Chunk, chunks: ChunkSettings) -> list[np.ndarray | None]:
    """[T, W] physical values of every block of :data:`BLOCKS`, left ones mirrored; None where a cell is unknown."""
    mirrored = _mirror(chunk.values, chunk.mask, chunks)
    found: list[np.ndarray | None] = []
    for side, part in BLOCKS:
        known = chunk.mask[:, SLOTS[side, part]].all()
        values = chunk.values if side == "right" else mirrored.values
        found.append(values[:, SLOTS["right", part]].astype(np.float32) if known else None)
    return found


def from_blocks(values: list[np.ndarray | None], chunks: ChunkSettings) -> Chunk:
    """The chunk of such blocks; slots of missing ones are unknown."""
    sides = {side: Chunk(np.zeros((chunks.steps, N_SLOTS), np.float32), np.zeros((chunks.steps, N_SLOTS), bool))
             for side in SIDES}  # fmt: skip
    for (side, part), block in zip(BLOCKS, values, strict=True):
        if block is not None:
            sides[side].values[:, SLOTS["right", part]] = block
            sides[side].mask[:, SLOTS["right", part]] = True
    right, left = sides["right"], _mirror(sides["left"].values, sides["left"].mask, chunks)
    return Chunk(right.values + left.values, right.mask | left.mask)


def _mirror(values: np.ndarray, mask: np.ndarray, chunks: ChunkSettings) -> Chunk:
    """[T, S] wrists and fingers in the mirror, sides swapped; other slots are left out."""
    axes = chunks.human_frame  # "world" or "camera": which way the mirror stands
    row = mirror_row(values[:, _BOTH], _BOTH, mask[:, _BOTH], "action", axes=axes)
    out, on = np.zeros((len(values), N_SLOTS), np.float32), np.zeros((len(values), N_SLOTS), bool)
    out[:, row.slots], on[:, row.slots] = row.values, row.mask
    return Chunk(out, on)
