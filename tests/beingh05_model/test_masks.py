"""Who sees whom, and where tokens stand (eqs. 9 and 10)."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from beingh05_model.network.attention import Layout, Mask, attend, visible
from beingh05_model.network.model import DELIMITERS
from beingh05_model.sequence.collate import length, pack
from beingh05_model.sequence.segments import Action, Motion
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


def random_layout(draw, tokens):
    document = np.sort(draw.integers(0, 3, tokens))
    segment = np.sort(draw.integers(0, 6, tokens))
    flags = draw.random((2, 6)) < 0.5
    return Layout(*(torch.from_numpy(x[None]) for x in (document, segment, flags[0][segment], flags[1][segment])),
                  torch.arange(tokens)[None])  # fmt: skip


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_the_block_mask_and_the_dense_mask_are_the_same_predicate(seed):
    draw = np.random.default_rng(seed)
    layout = random_layout(draw, 40)
    mask = Mask(layout)
    block = mask.block()
    b = torch.zeros((), dtype=torch.long)
    every = torch.tensor(
        [[bool(block.mask_mod(b, b, torch.tensor(q), torch.tensor(k))) for k in range(40)] for q in range(40)]
    )
    assert torch.equal(every, mask.dense()[0, 0])


@pytest.mark.slow
def test_flex_and_dense_attention_give_the_same_numbers():
    draw = np.random.default_rng(3)
    layout = random_layout(draw, 48)
    q, k, v = (torch.from_numpy(draw.normal(size=(1, h, 48, 16)).astype(np.float32)) for h in (4, 2, 2))
    mask = Mask(layout)
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
    first = {"state": int(t.state_at[0]), "motion": int(t.motion_at[0])}
    for kind, place in first.items():
        assert named[place - 1] == f"{kind}_start"
    for segment, places in ((s, None) for s in e.segments if isinstance(s, Action | Motion)):
        del segment, places
    assert sorted(named.values()).count("action_start") == 2
    assert len(named) == 8
    assert t.length == length(e)
