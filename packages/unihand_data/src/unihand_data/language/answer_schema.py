"""The form of an answer: asked of the model as a JSON schema, and validated here whatever the model promised.

Vendors enforce schemas partly (and in batch files sometimes reject them), so nothing downstream trusts the vendor.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Activity = Literal["manipulation", "locomotion", "looking", "communication", "idle", "other_person", "unclear"]
ActiveHand = Literal["left", "right", "both", "none"]


class BadAnswer(ValueError):
    """The model answered, but not in the asked form; the message says which field."""


class Annotation(BaseModel):
    """One clip: relevance, an instruction and the acting hand per second, the intent of the whole (paper 3.1)."""

    model_config = ConfigDict(extra="ignore")

    is_manipulation: bool = Field(description="the wearer's own hands handle something in this clip")
    dominant_activity: Activity = Field(description="what fills most of the clip")
    per_second: list[str] = Field(description="one imperative instruction per listed second; empty if nothing happens")
    active_hand: list[ActiveHand] = Field(description="which of the wearer's hands acts, per listed second")
    intent: str = Field(description="one sentence: what the wearer wants to achieve in the whole clip")
    objects: list[str] = Field(default_factory=list, description="objects the hands touch, short nouns")
    has_readable_text: bool = Field(description="letters or digits can be read in the picture")
    confidence: Literal["low", "medium", "high"] = Field(description="how sure you are of this annotation")


def annotation_schema(seconds: int) -> dict[str, Any]:
    """JSON schema of an annotation with ``seconds`` windows, without references and titles (vendors trip over both)."""
    schema: dict[str, Any] = _plain(Annotation.model_json_schema())
    for name in ("per_second", "active_hand"):
        schema["properties"][name] |= {"minItems": seconds, "maxItems": seconds}
    schema["required"] = list(Annotation.model_fields)
    schema["additionalProperties"] = False
    return schema


def schema_hash() -> str:
    """Changes with the schema; part of the cache key."""
    return hashlib.blake2b(json.dumps(annotation_schema(1), sort_keys=True).encode(), digest_size=8).hexdigest()


def parse_annotation(text: str, seconds: int) -> Annotation:
    """The validated annotation. Raises :class:`BadAnswer` with the field and what is wrong with it."""
    data = parse_json_object(text)
    try:
        annotation = Annotation.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadAnswer(f"field {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for name in ("per_second", "active_hand"):
        count = len(getattr(annotation, name))
        if count != seconds:
            raise BadAnswer(f"field {name}: {count} entries for {seconds} seconds")
    if annotation.is_manipulation and not annotation.intent.strip():
        raise BadAnswer("field intent: empty for a manipulation")
    return annotation


def parse_json_object(text: str) -> dict[str, Any]:
    """The one JSON object in a model's text; code fences and words around it are tolerated, a second object is not."""
    start = text.find("{")
    if start < 0:
        raise BadAnswer(f"no JSON object in the answer (it begins {text[:40]!r})")
    try:
        data, end = json.JSONDecoder().raw_decode(text[start:])
    except json.JSONDecodeError as error:
        raise BadAnswer(f"not valid JSON: {error.msg} at character {error.pos}") from error
    if "{" in text[start + end :]:
        raise BadAnswer("more than one JSON object in the answer")
    if not isinstance(data, dict):
        raise BadAnswer("the answer is not a JSON object")
    return data


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        drop_title = not isinstance(node.get("title"), dict)
        return {k: _plain(v) for k, v in node.items() if k != "default" and not (k == "title" and drop_title)}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    return node
