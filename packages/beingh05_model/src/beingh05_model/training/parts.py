"""Names of the model's parts: what is frozen or trained together, and where low-rank residuals can go."""

from __future__ import annotations

#: parts by the beginnings of their parameters' names (Tables 6 and 7); the two experts have layers too
PARTS: dict[str, tuple[str, ...]] = {
    "vision": ("vision.",),
    "connector": ("connector.",),
    "understanding": ("backbone.embed.", "backbone.und_norm.", "text_head."),
    "action": ("backbone.act_norm.",),
    "heads": (
        "state_encoder.",
        "action_encoder.",
        "action_decoder.",
        "delimiters.",
        "mpg.",
        "motion_embed.",
        "motion_place.",
        "motion_head.",
    ),
}
STREAMS = {"und": "understanding", "act": "action", "router": "action"}
#: groups of linear layers: expert and kind
LORA_TARGETS: dict[str, tuple[str, str]] = {
    "understanding.attention": ("und", "attention"),
    "understanding.ffn": ("und", "ffn"),
    "action.attention": ("act", "attention"),
    "action.ffn": ("act", "ffn"),
}


def part_of(name: str) -> str:
    """The part that a parameter belongs to; slot adapters are one of their own ("adapters")."""
    words = name.split(".")
    if words[:2] == ["backbone", "layers"]:
        return STREAMS[words[3]]
    return next((part for part, begins in PARTS.items() if name.startswith(begins)), words[0])


def target_of(name: str) -> str | None:
    """The group of :data:`LORA_TARGETS` that a linear layer belongs to, by its name."""
    words = name.split(".")
    if words[:2] != ["backbone", "layers"] or len(words) < 5:
        return None
    kind = "ffn" if words[4] == "ffn" else "attention" if words[4] in ("q", "k", "v", "o") else ""
    return next((group for group, place in LORA_TARGETS.items() if place == (words[3], kind)), None)
