"""One attention over the tokens of both experts, and the mask that decides who sees whom.

Legend: B batch, N queries, M keys, H heads, K key/value heads, E head width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Backend = Literal["sdpa", "flex", "documents"]


@dataclass
class Layout:
    """What the mask and the positions need to know of every token, [B, N] each.

    Attributes:
        document: Sample the token belongs to; -1 for padding, which sees and is seen by nothing but padding itself.
        segment: Number of the segment, unique within a document.
        full: The segment attends inside itself in both directions.
        target: The segment is an answer that other segments must not see (eq. 9: S_FM and S_MASK).
        position: Rotary position (eq. 10: both targets begin at the same one).
    """

    document: Tensor
    segment: Tensor
    full: Tensor
    target: Tensor
    position: Tensor

    def slice(self, start: int, stop: int) -> Layout:
        cut = slice(start, stop)
        return Layout(*(getattr(self, name)[:, cut] for name in ("document", "segment", "full", "target", "position")))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        names = ("document", "segment", "full", "target", "position")
        return Layout(*(getattr(self, name).to(device, non_blocking=non_blocking) for name in names))


def visible(layout: Layout, b: Any, q: Any, k: Any) -> Tensor:
    """The one predicate: may query token ``q`` of row ``b`` see key token ``k``? Indices may be tensors that broadcast.

    Same document, and (not later, or in the same full segment), and not inside another segment's answer.
    """
    same_segment = layout.segment[b, q] == layout.segment[b, k]
    document = layout.document[b, q] == layout.document[b, k]
    order = (k <= q) | (same_segment & layout.full[b, q])
    return document & order & (same_segment | ~layout.target[b, k])


@dataclass
class Mask:
    """The predicate for the queries ``start..stop`` against the keys ``0..stop`` of a layout, in the form a kernel
    wants."""

    layout: Layout
    start: int = 0
    stop: int | None = None
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """B, N, M."""
        rows, length = self.layout.document.shape
        stop = length if self.stop is None else self.stop
        return rows, stop - self.start, stop

    def dense(self) -> Tensor:
        """bool [B, 1, N, M], True where visible."""
        if "dense" not in self._made:
            rows, queries, keys = self.sizes
            device = self.layout.document.device
            b = torch.arange(rows, device=device)[:, None, None]
            q = torch.arange(self.start, self.start + queries, device=device)[None, :, None]
            k = torch.arange(keys, device=device)[None, None, :]
            self._made["dense"] = visible(self.layout, b, q, k)[:, None]
        return self._made["dense"]

    def block(self) -> Any:
        """FlexAttention's block mask of the same predicate."""
        if "block" not in self._made:
            from torch.nn.attention.flex_attention import create_block_mask

            rows, queries, keys = self.sizes
            layout, start = self.layout, self.start

            def predicate(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
                return visible(layout, b, q + start, k)

            device = layout.document.device
            self._made["block"] = create_block_mask(
                predicate, rows, None, queries, keys, device=device.type, _compile=device.type == "cuda"
            )
        return self._made["block"]

    def documents(self) -> list[tuple[int, int, Tensor | None]] | None:
        """Runs of one document in a single packed row: (start, stop, dense mask of the run), None as the mask of
        padding. None where the queries do not see themselves alone (a cache, several rows)."""
        if "documents" not in self._made:
            self._made["documents"] = self._runs()
        return self._made["documents"]

    def _runs(self) -> list[tuple[int, int, Tensor | None]] | None:
        rows, queries, keys = self.sizes
        if rows != 1 or queries != keys:
            return None
        numbers, counts = torch.unique_consecutive(self.layout.document[0, :keys], return_counts=True)
        if len(numbers.unique()) != len(numbers):
            return None
        runs: list[tuple[int, int, Tensor | None]] = []
        stop = 0
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            start, stop = stop, stop + count
            runs.append((start, stop, None if number < 0 else Mask(self.layout.slice(start, stop)).dense()))
        return runs


@cache
def _flex(on_gpu: bool) -> Any:
    """FlexAttention; on a GPU compiled, or it would hold all scores in memory."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if on_gpu else flex_attention


def attend(q_BHNE: Tensor, k_BKME: Tensor, v_BKME: Tensor, mask: Mask, backend: Backend) -> Tensor:
    """Grouped-query attention with scale 1 / sqrt(E): [B, H, N, E]."""
    if backend == "flex":
        out = _flex(q_BHNE.is_cuda)(q_BHNE, k_BKME, v_BKME, block_mask=mask.block(), enable_gqa=True)
        assert isinstance(out, Tensor)
        return out
    if backend == "documents" and (runs := mask.documents()) is not None:
        return _by_document(q_BHNE, k_BKME, v_BKME, runs)
    return F.scaled_dot_product_attention(q_BHNE, k_BKME, v_BKME, attn_mask=mask.dense(), enable_gqa=True)


def _by_document(q: Tensor, k: Tensor, v: Tensor, runs: list[tuple[int, int, Tensor | None]]) -> Tensor:
    """The same as with the dense mask of the row, at the cost of the documents alone; zeros for padding. For CPUs,
    which have no sparse kernel: work grows with the samples of a row and not with their square."""
    sizes = [stop - start for start, stop, _ in runs]
    parts = [
        torch.zeros_like(a)
        if seen is None
        else F.scaled_dot_product_attention(a, b, c, attn_mask=seen, enable_gqa=True)
        for a, b, c, (_, _, seen) in zip(*(x.split(sizes, dim=2) for x in (q, k, v)), runs, strict=True)
    ]
    return torch.cat(parts, dim=2)
