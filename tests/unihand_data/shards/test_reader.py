"""The reader returns the frame of that moment and nothing else: every test video shows its frame numbers."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest

from unihand_data.ids import hash_bytes
from unihand_data.shards import staging, writer
from unihand_data.shards.errors import MediaDamaged, ShardError
from unihand_data.shards.reader import ShardReader, dense
from unihand_data.shards.rows import CameraRow, LanguageRow, SampleRow


@pytest.fixture
def shard(tmp_path):
    """Commits episodes and media; returns an open reader."""

    def build(episodes, media, samples=(), **options):
        staging.write_part(tmp_path / "st", episodes, media, samples)
        writer.commit(tmp_path / "st", tmp_path / "out", content_hash="h", config={}, run_id="r")
        return ShardReader(tmp_path / "out", **options)

    return build


def uneven(n: int) -> np.ndarray:
    """Variable frame rate: gaps of 20 to 50 ms."""
    return np.concatenate([[0.0], np.cumsum(np.random.default_rng(3).uniform(0.02, 0.05, n - 1))])


@pytest.mark.parametrize(
    "variant", [{"gop": 2}, {"gop": 10}, {"gop": 10, "bframes": 2}, {"gop": 250}, {"codec": "libsvtav1"}]
)
@pytest.mark.parametrize("times", [np.arange(40) / 30, np.arange(40) / 59.94, uneven(40)], ids=["30", "59.94", "vfr"])
def test_any_order_of_requests_gives_the_frame_of_that_time(shard, make, variant, times):
    media = make.media(times, **variant)
    episode = make.episode("e", media.media_id, frames=40, timestamps=times - times[0])
    reader = shard([episode], [media])
    for start in [0, 39, 7, 8, 6, 20, 21, 3, 39, 0]:
        got = reader.window((episode.episode_id, start), horizon=4).frames["ego"]
        assert got.shape == (1, 64, 96, 3)
        assert make.number(got[0]) == start


def test_preroll_is_decoded_but_never_returned(shard, make):
    times = np.arange(-5, 20) / 30  # five frames before the cut
    media = make.media(times, gop=250)
    episode = make.episode("e", media.media_id, frames=20)
    reader = shard([episode], [media])
    assert [make.number(reader.window((episode.episode_id, s)).frames["ego"][0]) for s in (0, 1, 19)] == [5, 6, 24]


def test_clips_of_one_file_share_it_through_their_time_offset(shard, make):
    media = make.media(np.arange(60) / 30)
    clips = [
        make.episode(f"c{k}", frames=30, cameras=[CameraRow("ego", media.media_id, 96, 64, 30.0, t_offset=-k * 1.0)])
        for k in (0, 1)
    ]
    reader = shard(clips, [media])
    windows = reader.windows([(c.episode_id, 4) for c in clips])
    assert [make.number(w.frames["ego"][0]) for w in windows] == [4, 34]


def test_a_slower_camera_gives_its_nearest_frame(shard, make):
    media = make.media(np.arange(10) / 10)
    episode = make.episode("e", media.media_id, frames=50, rate=50.0)
    reader = shard([episode], [media])
    assert make.number(reader.window((episode.episode_id, 12)).frames["ego"][0]) == 2  # 0.24 s, frames at 0.2 and 0.3
    assert make.number(reader.window((episode.episode_id, 13)).frames["ego"][0]) == 3  # 0.26 s


def test_a_time_without_a_stored_frame_is_an_error_and_not_the_last_frame(shard, make):
    media = make.media(np.arange(20) / 30)
    episode = make.episode("e", media.media_id, frames=30)
    reader = shard([episode], [media])
    with pytest.raises(ShardError, match=r"no frame is stored for t = 0\.9667"):
        reader.window((episode.episode_id, 29))


def test_mirrored_rows_flip_pixels_on_load(shard, make, clip):
    parent = make.episode("e", clip.media_id)
    twin = make.episode("t", clip.media_id, parent_id=parent.episode_id)
    twin.cameras[0] = replace(twin.cameras[0], mirrored=True)
    reader = shard([parent, twin], [clip])
    a, b = reader.windows([(parent.episode_id, 11), (twin.episode_id, 11)])
    assert not a.mirrored
    assert b.mirrored
    np.testing.assert_array_equal(b.frames["ego"], a.frames["ego"][:, :, ::-1])
    assert b.frames["ego"].flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("asked", [{"horizon": 0}, {"horizon": -4}, {"history": -1}])
def test_a_window_without_a_step_to_predict_is_refused(shard, make, clip, asked):
    episode = make.episode("e", clip.media_id, frames=30)
    with pytest.raises(ShardError, match="at least 1"):
        shard([episode], [clip]).window((episode.episode_id, 3), views=(), **asked)


def test_numbers_of_a_window_are_the_rows_own_with_zeros_where_masked(shard, make, clip):
    e = make.episode("e", clip.media_id)
    reader = shard([e], [clip])
    got = reader.window((e.episode_id, 25), horizon=8, history=3, views=())
    assert got.state.shape == (4, 200)
    assert got.action.shape == (8, 200)
    assert got.history.shape == (3, 200)
    want = np.where(e.state_mask[22:26], e.state[22:26], 0)
    np.testing.assert_array_equal(got.state, dense(want, e.state_slots))
    np.testing.assert_array_equal(got.state_mask, dense(e.state_mask[22:26], e.state_slots))
    np.testing.assert_array_equal(got.action[:5], dense(np.where(e.action_mask[25:], e.action[25:], 0), e.action_slots))
    assert not got.action_mask[5:].any()
    assert not got.action[5:].any()
    assert np.isnan(got.timestamps[5:]).all()
    early = reader.window((e.episode_id, 1), history=3, views=())
    assert not early.history_mask[:2].any()
    assert early.history_mask[2].any()


def test_sparse_windows_keep_the_rows_slots(shard, make, clip):
    e = make.episode("e", clip.media_id)
    got = shard([e], [clip]).window((e.episode_id, 0), horizon=5, views=(), sparse=True)
    np.testing.assert_array_equal(got.action_slots, e.action_slots)
    assert got.action.shape == (5, len(e.action_slots))


def test_each_task_sees_the_images_of_the_contract(shard, make, clip):
    e = make.episode("e", clip.media_id)
    e.language = [LanguageRow("instruction", 10 / 30, 20 / 30, "turn the lid", "left")]
    samples = [
        SampleRow("g", "motion_generation", episode_id=e.episode_id, start_frame=9),
        SampleRow("c", "motion_continuation", episode_id=e.episode_id, start_frame=9),
        SampleRow("d", "motion_description", e.episode_id, "", 10, language_ref=0, question_template_id="q"),
    ]  # fmt: skip
    reader = shard([e], [clip], samples, render=lambda i, text, hand: (f"{i}? {hand}", text))
    g, c, d = reader.windows(["g", "c", "d"], horizon=6, history=6)
    numbers = [[make.number(f) for f in x.frames["ego"]] for x in (g, c, d)]
    assert numbers == [[9], [3, 9], [10, 19]]
    assert len(d.action) == 10
    assert (d.text, d.question, d.answer) == ("turn the lid", "q? left", "turn the lid")
    np.testing.assert_allclose(d.frame_times, [10 / 30, 19 / 30])


def test_a_continuation_is_given_the_horizon_before_its_start_and_other_tasks_nothing(shard, make, clip):
    e = make.episode("e", clip.media_id)
    samples = [
        SampleRow(task[7], task, episode_id=e.episode_id, start_frame=start)
        for task, start in (("motion_generation", 9), ("motion_continuation", 9))
    ]
    early = SampleRow("early", "motion_continuation", episode_id=e.episode_id, start_frame=4, history_available=4)
    reader = shard([e], [clip], [*samples, early])
    g, c, short = reader.windows(["g", "c", "early"], horizon=6)
    assert g.history.shape == (0, 200)
    assert len(g.state) == 1
    np.testing.assert_array_equal(c.history, dense(np.where(e.action_mask[3:9], e.action[3:9], 0), e.action_slots))
    assert len(c.state) == 7
    assert short.history.shape == (6, 200)
    assert not short.history_mask[:2].any(), "steps before the episode are masked"
    assert short.history_mask[2:].any(axis=1).all()
    assert [make.number(f) for f in short.frames["ego"]] == [0, 4], "the first frame stands for those before it"
    np.testing.assert_allclose(short.frame_times, [0, 4 / 30])


def test_images_outside_the_episode_are_refused(shard, make, clip):
    e = make.episode("e", clip.media_id)
    with pytest.raises(ShardError, match=r"images at frames \[-3\]"):
        shard([e], [clip]).window((e.episode_id, 2), image_offsets=[-5])


def test_frames_are_scaled_to_the_asked_size(shard, make, clip):
    e = make.episode("e", clip.media_id)
    got = shard([e], [clip]).window((e.episode_id, 5), size=(32, 48)).frames["ego"]
    assert got.shape == (1, 32, 48, 3)
    assert make.number(got[0]) == 5


def test_batches_threads_and_single_windows_agree(shard, make):
    media = [make.media(np.arange(30) / 30, numbers=range(100 * k, 100 * k + 30)) for k in range(4)]
    episodes = [make.episode(f"e{k}", m.media_id) for k, m in enumerate(media)]
    reader = shard(episodes, media, open_media=2)
    rng = np.random.default_rng(0)
    asked = [(episodes[k].episode_id, int(s)) for k, s in zip(rng.integers(0, 4, 30), rng.integers(0, 30, 30))]
    batch = reader.windows(asked)
    threaded = ShardReader(reader.store.url, threads=3).windows(asked)
    for one, window, other in zip(asked, batch, threaded):
        single = reader.window(one)
        np.testing.assert_array_equal(window.frames["ego"], single.frames["ego"])
        np.testing.assert_array_equal(window.frames["ego"], other.frames["ego"])
        np.testing.assert_array_equal(window.action, single.action)
    k = [e.episode_id for e in episodes].index(asked[0][0])
    assert make.number(batch[0].frames["ego"][0]) == 100 * k + asked[0][1]


def test_a_still_image_serves_every_time(shard, make):
    import io

    import av

    from unihand_data.shards.rows import MediaRow

    out = io.BytesIO()
    with av.open(out, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(make.frame(77), format="rgb24")))
        container.mux(stream.encode())
    data = out.getvalue()
    media = MediaRow(hash_bytes(data), "image", 96, 64, 1, "png", 1, 0.0, "CC0-1.0", data=data)
    e = make.episode("e", media.media_id)
    reader = shard([e], [media])
    assert [make.number(reader.window((e.episode_id, s)).frames["ego"][0]) for s in (0, 17)] == [77, 77]


def test_damage_is_an_error_that_names_the_media(shard, make):
    good = make.media(np.arange(60) / 30, gop=30)
    data = bytearray(good.data)
    start = data.find(b"mdat") + 4
    rng = np.random.default_rng(1)
    for at in rng.integers(start + (len(data) - start) // 3, len(data) * 2 // 3, 60):
        data[at] ^= 0xFF
    hurt = replace(good, data=bytes(data), media_id=hash_bytes(bytes(data)))
    e = make.episode("e", hurt.media_id, frames=60)
    reader = shard([e], [hurt])
    with pytest.raises(MediaDamaged, match=hurt.media_id):
        reader.windows([(e.episode_id, s) for s in range(60)])


def test_a_video_shorter_than_its_row_says_is_damage(shard, make):
    short = make.media(np.arange(10) / 30)
    lied = replace(short, frames=30, pts=np.arange(30) / 30)
    e = make.episode("e", lied.media_id)
    with pytest.raises(MediaDamaged, match=f"{lied.media_id}.*announces 30 frames"):
        shard([e], [lied]).window((e.episode_id, 20))


def test_unknown_names_are_named(shard, make, clip):
    e = make.episode("e", clip.media_id)
    reader = shard([e], [clip])
    with pytest.raises(ShardError, match="episode nobody is not in"):
        reader.window(("nobody", 0))
    with pytest.raises(ShardError, match="no view 'top'; it has ego"):
        reader.window((e.episode_id, 0), views=["top"])
    with pytest.raises(ShardError, match="no tag 'x'; it has run-r"):
        ShardReader(reader.store.url, tag="x")


def test_a_tag_pins_rows_and_samples(tmp_path, make, clip):
    for name in ("a", "b"):
        e = make.episode(name, clip.media_id)
        staging.write_part(tmp_path / "st", [e], [clip], make.samples(e))
        writer.commit(tmp_path / "st", tmp_path / "out", content_hash="h", config={}, run_id=name, clean=True)
    pinned, now = ShardReader(tmp_path / "out", tag="run-a"), ShardReader(tmp_path / "out")
    assert (len(pinned.episode_ids), len(now.episode_ids)) == (1, 2)
    assert (pinned.samples().num_rows, now.samples().num_rows) == (18, 36)


def _in_child(reader, episode_id, out):
    try:
        out.put(reader.window((episode_id, 3)).frames["ego"].shape)
    except ShardError as error:
        out.put(str(error))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_spawned_worker_reads_and_a_forked_one_is_refused_instead_of_hanging(shard, make, clip, method):
    e = make.episode("e", clip.media_id)
    reader = shard([e], [clip])
    assert pickle.loads(pickle.dumps(reader)).episode_ids == [e.episode_id]
    context = multiprocessing.get_context(method)
    out = context.Queue()
    child = context.Process(target=_in_child, args=(reader, e.episode_id, out))
    child.start()
    answer = out.get(timeout=60)
    child.join(timeout=60)
    assert answer == (1, 64, 96, 3) if method == "spawn" else "forked from" in answer
