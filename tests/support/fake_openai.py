"""An API of OpenAI's form on a socket, which answers as a test says, or as a good model would."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.servers import free_port

Step = Callable[[dict[str, Any]], Response]
NAME = re.compile(r"\b[A-Z][a-z]+\b")
USAGE = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}


class FakeOpenAI:
    """`script` has the next answers; after them all are good. `questions` are the bodies of
    requests in the order of their arrival, at the times of `asked_at`.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._lock = threading.Lock()
        self._server: HTTPServer | None = None
        self.reset()

    def reset(self) -> None:
        """Forgets what a test has asked and scripted."""
        self.script: deque[Step] = deque()
        self.always: Step | None = None
        """Instead of good answers, while it is set."""
        self.questions: list[dict[str, Any]] = []
        self.asked_at: list[float] = []
        self.keys: set[str] = set()
        self.most_at_once = self.open_questions = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        if self._server:
            return
        self._server = HTTPServer(host="127.0.0.1", port=self.port, threaded=True)
        self._server.expect_request(re.compile("/v1/.*")).respond_with_handler(self._respond)
        self._server.start()

    def stop(self) -> None:
        """Connections are refused from now on."""
        if self._server:
            self._server.stop()
            self._server = None

    def _respond(self, request: Request) -> Response:
        question = json.loads(request.get_data())
        with self._lock:
            self.questions.append(question)
            self.asked_at.append(time.monotonic())
            self.keys.add(request.headers.get("Authorization", ""))
            step = self.script.popleft() if self.script else self.always or good
            self.open_questions += 1
            self.most_at_once = max(self.most_at_once, self.open_questions)
        try:
            return step(question)
        finally:
            with self._lock:
                self.open_questions -= 1


@contextmanager
def fake_openai() -> Iterator[FakeOpenAI]:
    fake = FakeOpenAI()
    fake.start()
    try:
        yield fake
    finally:
        fake.stop()


def good(question: dict[str, Any]) -> Response:
    if "input" in question:
        return embeddings(question)
    content = question["messages"][-1]["content"]
    if "response_format" not in question:
        return chat("yes" if isinstance(content, str) else "A red square.")
    names = list(dict.fromkeys(NAME.findall(content)))
    relations = [{"source": a, "type": "meets", "target": b} for a, b in pairwise(names)]
    return chat(json.dumps({"entities": names, "relations": relations}))


def chat(content: str | None, *, finish: str = "stop", refusal: str | None = None) -> Response:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return data(
        {
            "id": "1", "object": "chat.completion", "created": 1, "model": "fake", "usage": USAGE,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
        }
    )  # fmt: skip


def embeddings(question: dict[str, Any]) -> Response:
    """Of three dimensions: the numbers of the letters a, b and c."""
    texts = question["input"]
    return vectors_of([[1.0 + text.lower().count(letter) for letter in "abc"] for text in texts])


def vectors_of(vectors: list[list[float]]) -> Response:
    """The last one first, because their order says nothing."""
    rows = [
        {"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 10 * len(vectors), "total_tokens": 10 * len(vectors)}
    return data({"object": "list", "model": "fake", "data": rows[::-1], "usage": usage})


def data(body: Any) -> Response:
    return Response(json.dumps(body), content_type="application/json")


def answering(content: str | None, **options: Any) -> Step:
    return lambda question: chat(content, **options)


def failing(status: int, *, code: str = "", **headers: str) -> Step:
    error = {"message": "Bees make honey. sk-secret", "code": code or None}
    body = json.dumps({"error": error})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda question: Response(
        body, status=status, headers=named, content_type="application/json"
    )


def broken(question: dict[str, Any]) -> Response:
    return Response("<html>Bees make honey.", content_type="application/json")


def slow(seconds: float, step: Step = good) -> Step:
    def answer(question: dict[str, Any]) -> Response:
        time.sleep(seconds)
        return step(question)

    return answer


def held(until: threading.Event, step: Step = good) -> Step:
    """Answers once the event is set."""

    def answer(question: dict[str, Any]) -> Response:
        until.wait(60)
        return step(question)

    return answer


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
