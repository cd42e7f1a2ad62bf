"""The real openai client against a fake OpenAI-compatible server on loopback."""

import base64

import pytest

from unihand_data.language.annotator import Annotator
from unihand_data.language.backends import ClipRequest
from unihand_data.language.config import LanguageSettings, Price, PriceTable
from unihand_data.language.openai_compatible import OpenAIClient

FREE = PriceTable(models={"qwen": Price(input=0.0, output=0.0)})


@pytest.fixture
def backend(openai_server):
    made, waits = [], []

    def make(**extra):
        settings = LanguageSettings(
            backend="openai", model="qwen", base_url=f"{openai_server.url}/v1", prices=FREE, concurrency=1,
            retry={"attempts": 3, "initial_s": 1.0, "jitter": 0.0}, **extra,
        )  # fmt: skip
        made.append(Annotator(OpenAIClient(settings, sleep=waits.append), settings))
        made[-1].waits = waits
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"video bytes")
    return ClipRequest("c", "h", ((0.0, 1.0), (1.0, 2.0)), str(path))


def test_a_video_goes_as_a_data_url_with_its_frame_rate(openai_server, backend, clip):
    (answer,) = backend(fps=2.0).annotate([clip])
    assert answer.status == "ok"
    assert answer.cost == 0.0
    assert answer.model_version == "fake-qwen-001"
    (body,) = openai_server.calls("completions")
    url = body["messages"][1]["content"][0]["video_url"]["url"]
    assert base64.b64decode(url.removeprefix("data:video/mp4;base64,")) == b"video bytes"
    assert body["mm_processor_kwargs"] == {"fps": 2.0}
    assert body["response_format"]["json_schema"]["schema"]["properties"]["active_hand"]["maxItems"] == 2


def test_frames_go_as_images_after_their_times(openai_server, backend):
    request = ClipRequest("c", "h", ((0.0, 1.0), (1.0, 2.0)), frames=(b"a", b"b"), frame_times=(0.5, 1.5))
    assert backend(send="frames").annotate([request])[0].status == "ok"
    content = openai_server.calls("completions")[0]["messages"][1]["content"]
    assert [p["type"] for p in content] == ["text", "image_url", "text", "image_url", "text"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_throttling_and_server_errors_are_retried_with_growing_waits(openai_server, backend, clip, status):
    openai_server.script = [(status, {"error": {"message": "later"}})] * 2
    made = backend()
    assert made.annotate([clip])[0].status == "ok"
    assert made.waits == [1.0, 2.0]


def test_the_wait_the_server_asks_for_is_kept(openai_server, backend, clip):
    openai_server.script = [(429, {"error": {"message": "later"}}, {"Retry-After": "7"})]
    made = backend()
    assert made.annotate([clip])[0].status == "ok"
    assert made.waits == [7.0]


def test_a_bad_request_is_final(openai_server, backend, clip):
    openai_server.script = [(400, {"error": {"message": "unknown model"}})]
    (answer,) = backend().annotate([clip])
    assert (answer.status, answer.transient) == ("error", False)
    assert len(openai_server.requests) == 1


def test_a_server_without_json_schema_gets_the_schema_as_text(openai_server, backend, clip):
    openai_server.script = [(400, {"error": {"message": "response_format json_schema is not supported"}})]
    made = backend()
    assert made.annotate([clip])[0].status == "ok"
    body = openai_server.calls("completions")[-1]
    assert "response_format" not in body
    assert '"per_second"' in body["messages"][1]["content"][-1]["text"]


def test_json_inside_a_code_fence_is_read(openai_server, backend, clip, replies, good_annotation):
    import json

    openai_server.script = [(200, replies.openai(f"Here it is:\n```json\n{json.dumps(good_annotation)}\n```"))]
    assert backend().annotate([clip])[0].status == "ok"


@pytest.mark.parametrize("text", ["", "no", '{"is_manipulation": "maybe"}'])
def test_malformed_answers_end_as_bad_answers_after_a_second_try(openai_server, backend, clip, replies, text):
    openai_server.script = [(200, replies.openai(text))] * 2
    assert backend().annotate([clip])[0].status == "bad_answer"
    assert len(openai_server.requests) == 2


def test_a_body_that_is_not_json_is_retried(openai_server, backend, clip):
    openai_server.script = [(200, b"<html>"), (200, b'{"choices": []}')]
    assert backend().annotate([clip])[0].status == "ok"


@pytest.mark.parametrize(
    "reply",
    [lambda r: (200, r.openai("", "content_filter")), lambda r: (200, r.openai("", refusal="I will not")),
     lambda r: (400, {"error": {"message": "filtered", "code": "content_filter"}})],
)  # fmt: skip
def test_refusals_are_blocked(openai_server, backend, clip, replies, reply):
    openai_server.script = [reply(replies)]
    assert backend().annotate([clip])[0].status == "blocked"


def test_an_answer_cut_off_is_a_bad_answer(openai_server, backend, clip, replies):
    openai_server.script = [(200, replies.openai('{"a', "length"))] * 2
    (answer,) = backend().annotate([clip])
    assert answer.status == "bad_answer"
    assert "max_output_tokens" in answer.message


def test_a_server_that_is_not_there_is_an_error_that_may_pass(backend, clip, openai_server):
    made = backend()
    openai_server.stop()
    (answer,) = made.annotate([clip])
    assert (answer.status, answer.transient) == ("error", True)
