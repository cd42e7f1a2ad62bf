"""Settings of the motion tokenizers and of their training; unknown keys are errors, and every key is used."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from beingh05_model.sequence.chunks import ChunkSettings
from unihand_data.config import Settings

#: what is tokenised of a hand, in the order of its tokens: wrist displacements, finger angles
PARTS = ("wrist", "fingers")
SIDES = ("right", "left")


class TokenizerSettings(Settings):
    """Grouped residual VQ auto-encoders, one for wrists and one for fingers, of the same form.

    The form is that of Being-H0's public code, whose trained sizes are unknown (its defaults: width 512, depth 3,
    dilation 3, two halvings of time, 2 groups, 8 levels, 512 codes). With 4 levels both hands of a chunk become 128
    tokens out of 8,192 ids, the sizes of ``presets.everything``.

    Attributes:
        chunk: steps that are tokenised; a run must cut its chunks alike. The human preset is one second at 15 Hz.
        width, code_width: channels of the convolutions, and of the latent steps.
        halvings: each halves the number of latent steps and has ``depth`` residual blocks, dilated ``dilation ** i``.
        groups: pieces of a latent step that are quantised each for itself; ``levels`` residual quantisers a group of
            ``codes`` codes each.
        decay: of the moving averages that codes are. dead_share: a code used less than this share of an equal one is
            put on a random vector of the batch.
        commitment, path: weights of the commitment loss, and of the error of the path that displacements add up to.
    """

    chunk: ChunkSettings = ChunkSettings(steps=15, rate_hz=15.0)
    width: int = Field(default=512, ge=8)
    code_width: int = Field(default=512, ge=2)
    depth: int = Field(default=3, ge=0)
    dilation: int = Field(default=3, ge=1)
    halvings: int = Field(default=2, ge=0, le=5)
    groups: int = Field(default=2, ge=1)
    levels: int = Field(default=4, ge=1)
    codes: int = Field(default=512, ge=2)
    decay: float = Field(default=0.99, gt=0, lt=1)
    dead_share: float = Field(default=0.05, ge=0, lt=1)
    commitment: float = Field(default=0.02, ge=0)
    path: float = Field(default=0.5, ge=0)

    @model_validator(mode="after")
    def _divides(self) -> TokenizerSettings:
        if self.code_width % self.groups:
            raise ValueError(f"code_width ({self.code_width}) must be a multiple of groups ({self.groups})")
        return self

    @property
    def latent_steps(self) -> int:
        """Latent steps of a chunk; its last step is repeated until they are whole."""
        return -(-self.chunk.steps // 2**self.halvings)

    @property
    def block(self) -> int:
        """Tokens of one part of one hand."""
        return self.latent_steps * self.groups * self.levels

    @property
    def tokens(self) -> int:
        """T_z: places of a chunk, both hands."""
        return self.block * len(PARTS) * len(SIDES)

    @property
    def codebook(self) -> int:
        """|C|: ids of all parts, groups and levels. Both hands share them (a left hand is mirrored)."""
        return len(PARTS) * self.groups * self.levels * self.codes


class TokenTrainSettings(Settings):
    """Training of the tokenizers from the human windows of a recipe.

    Attributes:
        output: directory of the tokenizer and of the state to resume from.
        batch: hands of a step (a window has one or two). read: positions of the recipe read at once.
        held_out: what the figures are measured on: rows that the shards put outside the training split, or, where a
            recipe has too few recordings for that, ``held_out_share`` of its recordings by hash, which are then not
            trained on. At most ``held_out_windows`` windows, one after the other without overlap.
    """

    recipe: str
    output: str
    tokenizer: TokenizerSettings = TokenizerSettings()
    steps: int = Field(default=50_000, ge=1)
    batch: int = Field(default=512, ge=1)
    read: int = Field(default=512, ge=1)
    rate: float = Field(default=2e-4, gt=0)
    warmup: int = Field(default=500, ge=0)
    decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, gt=0)
    fastest_source_hz: float = Field(default=100.0, gt=0)
    held_out: Literal["split", "hash"] = "split"
    held_out_share: float = Field(default=0.05, gt=0, lt=1)
    held_out_windows: int = Field(default=2000, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    log_every: int = Field(default=100, ge=1)
    save_every: int = Field(default=5000, ge=1)
