"""Fake vendor servers on loopback, spoken to by the vendors' real client libraries.

``server.script`` is a list of replies, used one per request of the model's endpoint; when it is empty the server
answers well. A reply is ``(status, body)`` (body: dict or raw bytes) or a function of the request's JSON.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

GOOD = {
    "is_manipulation": True,
    "dominant_activity": "manipulation",
    "per_second": ["Pick up the cup with the left hand.", "Place the cup on the shelf."],
    "active_hand": ["left", "left"],
    "intent": "Put the cup away.",
    "objects": ["cup", "shelf"],
    "has_readable_text": False,
    "confidence": "high",
}


def gemini_response(text: str | None = None, finish: str = "STOP", usage: dict | None = None) -> dict[str, Any]:
    text = json.dumps(GOOD) if text is None else text
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish}],
        "usageMetadata": usage or {"promptTokenCount": 1000, "candidatesTokenCount": 100, "thoughtsTokenCount": 20},
        "modelVersion": "fake-gemini-001",
    }


def openai_response(text: str | None = None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": json.dumps(GOOD) if text is None else text, "refusal": refusal}
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "fake-qwen-001",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 110, "total_tokens": 1010},
    }  # fmt: skip


class FakeServer:
    """One threaded HTTP server; ``requests`` records (method, path, headers, body)."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with fake.lock:
                    fake.requests.append((self.command, self.path, dict(self.headers), body))
                status, reply, headers = fake.reply(self.command, self.path, dict(self.headers), body)
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_reply(self, body: bytes, default: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        with self.lock:
            reply = self.script.pop(0) if self.script else (200, default)
        if callable(reply):
            reply = reply(json.loads(body))
        return (*reply, {}) if len(reply) == 2 else reply

    def reply(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, Any, dict[str, str]]:
        raise NotImplementedError

    def calls(self, part: str) -> list[dict[str, Any]]:
        return [_camel(json.loads(b)) for m, p, _, b in self.requests if part in p and m == "POST" and b]


def _camel(node: Any) -> Any:
    """Keys in the API's own spelling: the client sends some in snake case, which the real API takes too."""
    if isinstance(node, list):
        return [_camel(v) for v in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, value in node.items():
        head, *rest = key.split("_")
        name = head + "".join(r.capitalize() for r in rest) if key in _SNAKE else key
        out[name] = value if name in ("responseJsonSchema", "schema") else _camel(value)
    return out


_SNAKE = {"thinking_budget", "file_uri", "mime_type", "start_offset", "end_offset", "file_data", "video_metadata"}


class FakeOpenAI(FakeServer):
    def reply(self, method, path, headers, body):
        assert path.endswith("/chat/completions"), path
        return self.next_reply(body, openai_response())


class FakeGemini(FakeServer):
    """generateContent, the resumable upload protocol, files, downloads, and batches that finish as told.

    ``batch_result(requests)`` gives (state, rows): rows are the answer lines; ``batches`` holds what was submitted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.file_states: list[str] = []  # states told one by one, then ACTIVE
        self.expires = "2099-01-01T00:00:00Z"
        self.batches: dict[str, dict[str, Any]] = {}
        self.batch_result = lambda rows: ("BATCH_STATE_SUCCEEDED", [self.good_row(r) for r in rows])
        self.fail_create = False

    @staticmethod
    def good_row(row: dict[str, Any]) -> dict[str, Any]:
        tag = {"key": row["key"]} if "key" in row else {"metadata": row["metadata"]}
        return {**tag, "response": gemini_response()}

    def reply(self, method, path, headers, body):
        path = path.split("?")[0]
        if path.startswith("/upload/"):
            return self._upload(path, headers, body)
        if ":download" in path:
            return 200, self.files[path.split("/")[-1].split(":")[0]], {}
        if "/files/" in path:
            return 200, self._file(path.split("/")[-1]), {}
        if path.endswith(":batchGenerateContent"):
            return self._create_batch(json.loads(body)["batch"])
        if path.endswith("/batches"):
            return 200, {"operations": [self._batch(n) for n in self.batches]}, {}
        if "/batches/" in path:
            return 200, self._batch(path.split("/")[-1]), {}
        assert path.endswith(":generateContent"), path
        return self.next_reply(body, gemini_response())

    def _upload(self, path, headers, body):
        headers = {k.lower(): v for k, v in headers.items()}
        if headers["x-goog-upload-command"] == "start":
            name = f"f{len(self.files)}"
            self.files[name] = b""
            return 200, {}, {"X-Goog-Upload-URL": f"{self.url}/upload/session/{name}", "X-Goog-Upload-Status": "active"}
        name = path.split("/")[-1]
        assert int(headers["x-goog-upload-offset"]) == len(self.files[name])
        self.files[name] += body
        done = "finalize" in headers["x-goog-upload-command"]
        reply = {"file": self._file(name)} if done else {}
        return 200, reply, {"X-Goog-Upload-Status": "final" if done else "active"}

    def _file(self, name):
        state = self.file_states.pop(0) if self.file_states else "ACTIVE"
        return {"name": f"files/{name}", "uri": f"{self.url}/v1beta/files/{name}", "state": state,
                "mimeType": "video/mp4", "expirationTime": self.expires}  # fmt: skip

    def _create_batch(self, batch):
        if self.fail_create:
            return 500, {"error": {"code": 500, "message": "no", "status": "INTERNAL"}}, {}
        source = batch["inputConfig"]
        if "fileName" in source:
            rows = [json.loads(x) for x in self.files[source["fileName"].split("/")[-1]].decode().splitlines()]
        else:
            rows = source["requests"]["requests"]
        name = f"b{len(self.batches)}"
        self.batches[name] = {"rows": rows, "display": batch["displayName"], "file": "fileName" in source, "polls": 0}
        return 200, self._batch(name), {}

    def _batch(self, name):
        batch = self.batches[name]
        batch["polls"] += 1
        meta: dict[str, Any] = {"displayName": batch["display"], "model": "models/fake", "state": "BATCH_STATE_RUNNING"}
        if batch["polls"] > 1:
            meta["state"], rows = self.batch_result(batch["rows"])
            if batch["file"]:
                self.files[f"{name}out"] = "".join(json.dumps(r) + "\n" for r in rows).encode()
                meta["output"] = {"responsesFile": f"files/{name}out"}
            else:
                meta["output"] = {"inlinedResponses": {"inlinedResponses": rows}}
        return {"name": f"batches/{name}", "metadata": meta}


@pytest.fixture
def gemini() -> Iterator[FakeGemini]:
    server = FakeGemini()
    yield server
    server.stop()


@pytest.fixture
def openai_server() -> Iterator[FakeOpenAI]:
    server = FakeOpenAI()
    yield server
    server.stop()


@pytest.fixture
def good_annotation() -> dict[str, Any]:
    return json.loads(json.dumps(GOOD))


@pytest.fixture
def replies():
    """Builders of vendor replies: ``replies.gemini(...)``, ``replies.openai(...)``."""

    class Replies:
        gemini = staticmethod(gemini_response)
        openai = staticmethod(openai_response)

    return Replies
