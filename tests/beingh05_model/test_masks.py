"""Who sees whom, and where tokens stand (eqs. 9 and 10)."""

import numpy as np
import pytest
import torch

from beingh05_model.network.attention import Layout, Mask, attend, visible
from beingh05_model.network.model import DELIMITERS
from beingh05_model.sequence.collate import length, pack
from helpers.models import example, talk


def where(tokens, document, kind):
    """Places of a segment of one document, its special tokens included."""
    layout = tokens.layout
    at = tokens.action_at if kind == "action" else tokens.motion_at
    mine = [int(p) for p in at if int(layout.document[0, p]) == document]
    number = layout.segment[0, mine[-1]]
    return ((layout.segment[0] == number) & (layout.document[0] == document)).nonzero()[:, 0]


def test_the_gating_matrix_of_equation_9_is_what_the_mask_does_to_question_and_targets():
    t = pack([example(motion=True)])
    mask = Mask(t.layout).dense()[0, 0]
    fm, z = where(t, 0, "action"), where(t, 0, "motion")
    question = torch.tensor([p for p in range(t.length) if p not in set(fm.tolist()) | set(z.tolist())])
    gate = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 0, 1]], dtype=torch.bool)
    for i, queries in enumerate((question, fm, z)):
        for j, keys in enumerate((question, fm, z)):
            seen = mask[queries][:, keys]
            assert seen.any() == gate[i, j]
            if i and j in (0, i):
                assert seen.all()  # the whole question, and both directions inside the own segment


def test_both_targets_begin_at_the_position_after_the_question():
    t = pack([example(motion=True, history=2)])
    fm, z = where(t, 0, "action"), where(t, 0, "motion")
    question = [p for p in range(t.length) if p not in set(fm.tolist()) | set(z.tolist())]
    position = t.layout.position[0]
    assert position[question].tolist() == list(range(len(question)))
    p0 = int(position[question].max()) + 1
    assert position[fm].tolist() == [p0 + r for r in range(len(fm))]
    assert position[z].tolist() == [p0 + r for r in range(len(z))]


def test_documents_of_a_packed_row_do_not_see_each_other_and_positions_start_anew():
    t = pack([example(seed=1), talk(2), example("human_hands", seed=3, motion=True)], total=160)
    mask, document = Mask(t.layout).dense()[0, 0], t.layout.document[0]
    assert not (mask & (document[:, None] != document[None])).any()
    for number in range(3):
        assert int(t.layout.position[0][document == number][0]) == 0
    assert mask.diagonal().all()


def test_text_is_causal_and_padding_is_seen_by_no_sample():
    t = pack([talk()], total=40)
    mask = Mask(t.layout).dense()[0, 0]
    inside = t.layout.document[0] == 0
    assert not mask[inside][:, ~inside].any()
    assert not mask.triu(1)[inside].any()


def test_causal_action_steps_are_a_switch():
    full, causal = pack([example()]), pack([example()], full_actions=False)
    at = full.action_at
    assert Mask(full.layout).dense()[0, 0][at][:, at].all()
    assert torch.equal(Mask(causal.layout).dense()[0, 0][at][:, at], torch.ones(len(at), len(at)).tril().bool())


def random_layout(draw, tokens, documents=3, segments=6):
    document = np.sort(draw.integers(0, documents, tokens))
    segment = np.sort(draw.integers(0, segments, tokens))
    flags = draw.random((2, segments)) < 0.5
    return Layout(*(torch.from_numpy(x[None]) for x in (document, segment, flags[0][segment], flags[1][segment])),
                  torch.arange(tokens)[None])  # fmt: skip


def runs(kinds, tokens):
    """A sparse kernel's mask written out: which queries see which keys, by the blocks it visits. And the number of
    blocks that it skips, takes whole, and asks about token by token."""
    queries, keys = tokens
    height, width = kinds.BLOCK_SIZE
    seen = torch.zeros(-(-queries // height), height, -(-keys // width), width, dtype=torch.bool)
    zero, counts = torch.tensor(0), [seen.shape[0] * seen.shape[2], 0, 0]
    for number, (have, which) in enumerate(
        ((kinds.full_kv_num_blocks, kinds.full_kv_indices), (kinds.kv_num_blocks, kinds.kv_indices)), start=1
    ):
        for row in range(seen.shape[0]):
            for column in which[0, 0, row, : have[0, 0, row]].tolist():
                assert not seen[row, :, column].any()  # no block is visited twice
                counts[number] += 1
                counts[0] -= 1
                q = (row * height + torch.arange(height)).clamp(max=queries - 1)[:, None]
                k = (column * width + torch.arange(width)).clamp(max=keys - 1)[None]
                seen[row, :, column] = True if number == 1 else kinds.mask_mod(zero, zero, q, k)
    return seen.flatten(2).flatten(0, 1)[:queries, :keys], counts


@pytest.mark.parametrize("start", [0, 300])
def test_the_blocks_that_flex_attention_visits_are_the_dense_mask(start):
    """650 keys in blocks of 128; with a start of 300 the 350 queries of a suffix."""
    every = np.zeros(3, int)
    for seed in range(4):
        mask = Mask(random_layout(np.random.default_rng(seed), 650, 1 + seed % 2, 2 + seed), start)
        seen, counts = runs(mask.block(), mask.sizes[1:])
        assert torch.equal(seen, mask.dense()[0, 0])
        every += counts
    assert (every > 3).all()


@pytest.mark.slow
def test_flex_and_dense_attention_give_the_same_numbers():
    draw = np.random.default_rng(3)
    mask = Mask(random_layout(draw, 160), 40)
    sizes = ((4, 120), (2, 160), (2, 160))
    q, k, v = (torch.from_numpy(draw.normal(size=(1, *size, 16)).astype(np.float32)) for size in sizes)
    torch.testing.assert_close(attend(q, k, v, mask, "flex"), attend(q, k, v, mask, "sdpa"), atol=1e-5, rtol=1e-5)


def test_attention_by_document_gives_the_numbers_and_gradients_of_the_dense_mask():
    t = pack([example(seed=1), talk(2), example("human_hands", seed=3, motion=True)], total=170)
    draw = np.random.default_rng(0)
    kept = t.layout.document[0] >= 0
    found = []
    for backend in ("sdpa", "documents"):
        draw = np.random.default_rng(0)
        q, k, v = (torch.from_numpy(draw.normal(size=(1, h, 170, 16))).requires_grad_() for h in (4, 2, 2))
        out = attend(q, k, v, Mask(t.layout), backend)[:, :, kept]
        out.square().sum().backward()
        found.append((out, q.grad, k.grad, v.grad))
    for dense, split in zip(*found, strict=True):
        torch.testing.assert_close(dense, split)


def test_attention_by_document_is_dense_where_a_cache_lies_before_the_queries():
    t = pack([example(seed=1), talk(2)])
    q, k, v = (torch.randn(1, h, t.length, 16) for h in (4, 2, 2))
    mask = Mask(t.layout, t.length - 5)
    dense, split = (attend(q[:, :, -5:], k, v, mask, backend) for backend in ("sdpa", "documents"))
    assert torch.equal(dense, split)


def test_the_mask_of_a_suffix_is_the_end_of_the_whole_mask():
    t = pack([example(motion=True)])
    whole = Mask(t.layout).dense()
    assert torch.equal(Mask(t.layout, 5, 12).dense(), whole[:, :, 5:12, :12])


def test_the_predicate_takes_indices_of_any_shape():
    t = pack([example()])
    zero = torch.tensor(0)
    assert bool(visible(t.layout, zero, torch.tensor(3), torch.tensor(2)))
    assert not bool(visible(t.layout, zero, torch.tensor(2), torch.tensor(3)))


def test_every_non_text_segment_of_the_action_expert_stands_between_its_two_special_tokens():
    e = example(motion=True, history=2)
    t = pack([e])
    named = {int(p): DELIMITERS[int(n)] for p, n in zip(t.delimiter_at, t.delimiter_ids[0])}
    inner = {"state": t.state_at, "action": t.action_at, "motion": t.motion_at}
    wrapped = 0
    for segment in e.segments:
        kind = type(segment).__name__.lower()
        if kind not in inner:
            continue
        places, inner[kind] = inner[kind].split([segment.length, len(inner[kind]) - segment.length])
        assert places.tolist() == list(range(int(places[0]), int(places[-1]) + 1))
        assert named.pop(int(places[0]) - 1) == f"{kind}_start"
        assert named.pop(int(places[-1]) + 1) == f"{kind}_end"
        wrapped += 1
    assert wrapped == 4  # state, clean steps, predicted steps, motion tokens
    assert not named
    assert t.length == length(e)
