"""Settings of the language room.

What a model is asked, and which model, changes content; where it is reached, how often it is retried and what may be
spent does not.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from unihand_data.config import Settings, runtime_field

#: list prices in USD per million tokens: input, output (thinking included), cached input. From the vendor's price page
#: as of ``PRICES_AS_OF``; a job overrides them in its YAML, and the report prints the date beside every sum.
DEFAULT_PRICES: dict[str, tuple[float, float, float]] = {
    "gemini-3.5-flash-lite": (0.30, 2.50, 0.03),
    "gemini-3.8-flash": (0.75, 3.75, 0.075),
    "gemini-3.5-flash": (1.50, 9.00, 0.15),
    "gemini-3.1-pro-preview": (2.00, 12.00, 0.20),
}
PRICES_AS_OF = "2026-10-01"


class Price(Settings):
    """USD per million tokens of one model. ``output`` covers thinking tokens too; ``batch_factor`` is the discount."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)  # None: as input
    batch_factor: float = Field(default=0.5, gt=0, le=1)


class PriceTable(Settings):
    """Prices by model id with the day they were read. A model that is not listed has no known price: that is an error
    where money is to be counted, never zero; a self-hosted model is listed with zeros."""

    as_of: str = PRICES_AS_OF
    currency: str = "USD"
    models: dict[str, Price] = Field(
        default_factory=lambda: {m: Price(input=i, output=o, cached_input=c) for m, (i, o, c) in DEFAULT_PRICES.items()}
    )


class RetrySettings(Settings):
    """Exponential backoff for 408, 429 and 5xx; any other 4xx is final."""

    attempts: int = Field(default=5, ge=1)
    initial_s: float = Field(default=1.0, ge=0)
    max_s: float = Field(default=60.0, ge=0)
    base: float = Field(default=2.0, ge=1)
    jitter: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _short_before_long(self) -> RetrySettings:
        if self.initial_s > self.max_s:
            raise ValueError(f"initial_s {self.initial_s:g} is more than max_s {self.max_s:g}")
        return self


class MotionRulesSettings(Settings):
    """When the motion describer calls a movement a movement. Thresholds are ours; the paper has no such describer."""

    min_move_m: float = Field(default=0.02, gt=0)  # net displacement over a window below this is "still"
    min_path_m: float = Field(default=0.06, gt=0)  # a still hand whose path is longer "moves back and forth"
    axis_share: float = Field(default=0.4, ge=0, le=1)  # of the largest component: axes that are named
    min_roll_deg: float = Field(default=25.0, gt=0, le=360)  # wrist rotation about an axis that is mentioned
    min_closure: float = Field(default=0.1, gt=0, le=1)  # change of closure (0 open .. 1 fist) that is mentioned
    min_gap_m: float = Field(default=0.05, gt=0)  # change of the distance between the wrists that is mentioned
    #: share of a window's frames in which a hand must be valid to be spoken of
    min_valid: float = Field(default=0.6, gt=0, le=1)
    #: windows last a second; a shorter rest is joined to the window before it
    min_window_s: float = Field(default=0.5, ge=0, le=1)
    turn_share: float = Field(default=0.8, ge=0, le=1)  # of the whole rotation that is about the axis mentioned
    # what a track can support (motion_trust.py)
    noise_factor: float = Field(default=3.0, ge=0)  # a change below so many times the hand's frame noise is not stated
    # of hands read out of one camera's pictures, whose systematic errors no jitter shows (docs/language.md)
    min_confidence: float = Field(default=0.45, ge=0, le=1)  # mean of a window below which the hand is not spoken of
    estimate_move_m: float = Field(default=0.03, gt=0)  # net displacement that is mentioned
    estimate_axis_m: float = Field(default=0.025, ge=0)  # component of it that is named
    estimate_turn_deg: float = Field(default=90.0, gt=0, le=360)  # wrist rotation that is mentioned
    estimate_closure: float = Field(default=0.25, gt=0, le=1)  # change of finger closure that is mentioned
    # grip and turn of such a hand are stated only above these: the clip's reliability, the window's tenth percentile of
    # confidence, and the share of the window's frames that show the hand
    min_reliability: float = Field(default=0.5, ge=0, le=1)
    pose_confidence: float = Field(default=0.7, ge=0, le=1)
    pose_valid: float = Field(default=0.9, gt=0, le=1)


class RelevanceSettings(Settings):
    """Manipulation relevance from measured motion (paper 3.1 stage 3; thresholds unpublished there, these are ours)."""

    enabled: bool = True
    camera_speed_mps: float = Field(default=0.5, gt=0)  # camera translation above this is walking ...
    camera_turn_dps: float = Field(default=60.0, gt=0)  # ... and rotation above this is looking around
    wrist_rest_mps: float = Field(default=0.12, gt=0)  # wrists slower than this in the camera frame rest there
    #: wrists faster than this in the world (camera compensated) do something
    wrist_active_mps: float = Field(default=0.04, gt=0)
    #: change of finger closure per second that is manipulation by itself
    closure_active_per_s: float = Field(default=0.15, gt=0)
    min_visible_ratio: float = Field(default=0.2, ge=0, le=1)  # frames with a hand
    min_score: float = Field(default=0.25, ge=0, le=1)  # manipulation score below this is a reject
    smooth_s: float = Field(default=0.3, ge=0, le=10)  # window of the moving average before speeds are taken
    use_model: bool = True  # a model's verdict, where one answered, outweighs the figures
    model_weight: dict[str, float] = Field(default_factory=lambda: {"low": 0.3, "medium": 0.6, "high": 0.9})

    @field_validator("model_weight")
    @classmethod
    def _a_share_for_each_confidence(cls, weight: dict[str, float]) -> dict[str, float]:
        if set(weight) != {"low", "medium", "high"} or not all(0 <= w <= 1 for w in weight.values()):
            raise ValueError(f"{weight}: low, medium and high need one weight of 0 to 1 each")
        return weight


class ParaphraseSettings(Settings):
    """Language augmentation (paper 3.1 stage 1)."""

    enabled: bool = True
    per_text: int = Field(default=2, ge=0, le=32)
    use_model: bool = False  # ask the language backend; else the template grammar
    prompt_version: str = "paraphrase-v1"


class LanguageSettings(Settings):
    """How clips get their words.

    ``backend: none`` uses the data set's narrations and, where there are none, the motion describer. ``model`` has no
    default: a default dies with its model (vendors shut them down within months), so a backend without one is refused.
    """

    backend: Literal["none", "gemini", "openai"] = "none"
    model: str = ""
    prompt_version: str = "annotate-v1"
    send: Literal["video", "frames"] = "video"
    fps: float = Field(default=1.0, gt=0, le=30)
    media_resolution: Literal["low", "medium", "high"] = "low"
    #: None leaves the model's own default; -1 (Gemini's "as many as you like") is refused: a call would have no bound
    thinking_budget: int | None = Field(default=0, ge=0)
    thinking_level: Literal["minimal", "low", "medium", "high"] | None = None  # models that take a level, not a budget
    max_output_tokens: int = Field(default=2048, gt=0)
    temperature: float = Field(default=0.2, ge=0, le=2)
    seed: int | None = Field(default=0, ge=0, lt=2**31)  # the vendors take an int32
    narrations_as_context: bool = True
    motion_rules: bool = True  # describe the motion where a source has no text and no model answered
    max_chunk_s: float = Field(default=10.0, gt=0, le=10)  # the paper's chunk (3.1)
    motion: MotionRulesSettings = Field(default_factory=MotionRulesSettings)
    paraphrase: ParaphraseSettings = Field(default_factory=ParaphraseSettings)

    base_url: str | None = runtime_field(None)
    api_key_env: str | None = runtime_field(None)  # None: GEMINI_API_KEY or OPENAI_API_KEY
    batch: bool = runtime_field(False)
    batch_inline_mb: float = runtime_field(15.0, ge=0)  # a batch above this travels as an uploaded JSONL file
    batch_file_mb: float = runtime_field(1500.0, gt=0)
    batch_rows: int = runtime_field(1000, ge=1)
    batch_attempts: int = runtime_field(3, ge=1)  # a clip that failed in so many batches is given up
    timeout_s: float = runtime_field(300.0, gt=0)
    concurrency: int = runtime_field(4, ge=1)
    inline_limit_mb: float = runtime_field(19.0, ge=0)
    retry: RetrySettings = runtime_field(default_factory=RetrySettings)
    budget: float | None = runtime_field(None, ge=0)  # money for the whole job, in the price table's currency
    prices: PriceTable = runtime_field(default_factory=PriceTable)
    cache_dir: str | None = runtime_field(None)

    @model_validator(mode="after")
    def _model_is_named(self) -> LanguageSettings:
        if self.backend != "none" and not self.model:
            raise ValueError(f"language.model must name a model when language.backend is {self.backend!r}")
        return self

    @model_validator(mode="after")
    def _what_a_batch_can_ask(self) -> LanguageSettings:
        """``batch`` is a runtime field, so whatever it cannot do is refused: one content hash, one text."""
        if not self.batch:
            return self
        if self.backend != "gemini":
            raise ValueError("language.batch: only Gemini batches are supported; set language.backend to gemini")
        if self.paraphrase.enabled and self.paraphrase.use_model:
            raise ValueError(
                "language.batch: a batch asks about clips alone, and language.paraphrase.use_model needs calls one by "
                "one; set one of the two to false"
            )
        if self.send != "video":
            raise ValueError("language.batch: a batch sends the encoded clip; set language.send to video")
        return self
