"""Sends questions to the endpoint of the models, from all threads of a process."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from openai import OpenAI, OpenAIError, Timeout
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_exponential_jitter,
)

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import ModelUnavailable, UnusableAnswer
from ingestion_progress.pipeline.openai.failures import (
    Away,
    Failed,
    RateLimited,
    TemporaryFailure,
    meaning_of,
)
from ingestion_progress.pipeline.openai.pauses import Gate, Waiting
from ingestion_progress.tracker import current_job

Answer = TypeVar("Answer")
Send: TypeAlias = Callable[[OpenAI], Answer]

DEFAULT_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 5.0
# Servers without a login ignore it; the client requires one.
NO_KEY = "none"
# A question at which the server fails this often, although it answers others, is left.
MAX_FAILURES = 3
# A person waits for a search.
URGENT_PATIENCE_SECONDS = 2.0
URGENT_TIMEOUT_SECONDS = 5.0
# A line, with the address, for each request. Versions differ in what they log at DEBUG.
LOGGERS = ("openai", "httpx2", "httpcore2")

_backoff = wait_exponential_jitter(multiplier=0.5, max=30.0, jitter=0.5)


class Endpoint:
    """One client, one limit of concurrent questions, and one pause for all threads."""

    def __init__(
        self, base_url: str, api_key: str, timeout_seconds: float, concurrency: int
    ) -> None:
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        address = urlsplit(base_url)
        self.host = address.hostname or ""
        if address.port:
            self.host += f":{address.port}"
        self._gate = Gate(concurrency)
        self._client = OpenAI(
            base_url=base_url,
            api_key=api_key or NO_KEY,
            timeout=_timeout(timeout_seconds),
            max_retries=0,
        )
        self._urgent = self._client.with_options(
            timeout=_timeout(min(timeout_seconds, URGENT_TIMEOUT_SECONDS))
        )

    def ask(
        self, send: Send[Answer], probe: Send[object], *, stage: str, is_urgent: bool = False
    ) -> Answer:
        """What `send` returns. Waits while the endpoint is away or limits the rate.

        `probe` sends the smallest question to the same model: it shows whether the endpoint works
        if `send` fails again and again. Raises ModelUnavailable after OPENAI_PATIENCE_SECONDS, or
        some seconds if it `is_urgent`; ModelRefused; UnusableAnswer; or what ends a job.
        """
        job = current_job()
        patience = URGENT_PATIENCE_SECONDS if is_urgent else conf.openai_patience_seconds
        with Waiting(job, self.host, stage=stage, patience_seconds=patience) as waiting:
            question = Question(waiting, send, probe, self._urgent if is_urgent else self._client)
            attempts = Retrying(
                retry=retry_if_exception_type(TemporaryFailure),
                stop=stop_before_delay(patience),
                wait=_pause_after,
                sleep=self._gate.close,  # the next attempt waits at the gate
                reraise=True,
            )
            try:
                answer: Answer = attempts(partial(self._attempt, question))
            except TemporaryFailure:
                raise ModelUnavailable(self.host) from None
            return answer

    def _attempt(self, question: Question) -> Any:
        try:
            return self._sent(question, question.send)
        except Failed:
            question.failures += 1
            if question.failures % MAX_FAILURES == 0 and self._answers(question):
                raise UnusableAnswer(
                    StoredSentence(
                        "The server of the model failed %(number)s times at this question, or did "
                        "not answer in time.",
                        number=MAX_FAILURES,
                    )
                ) from None
            raise

    def _answers(self, question: Question) -> bool:
        """Does the endpoint answer another question?"""
        try:
            self._sent(question, question.probe)
        except (Away, Failed):
            return False
        except (RateLimited, UnusableAnswer):
            return True
        return True

    def _sent(self, question: Question, send: Send[Any]) -> Any:
        with self._gate.passed(question.waiting):
            try:
                return send(question.client)
            except (OpenAIError, ValueError) as error:
                raise meaning_of(error, self.host) from None


class Question:
    """One that is asked until it is answered."""

    def __init__(
        self, waiting: Waiting, send: Send[Any], probe: Send[object], client: OpenAI
    ) -> None:
        self.waiting, self.send, self.probe, self.client = waiting, send, probe, client
        self.failures = 0


def _timeout(seconds: float) -> Timeout:
    return Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))


def _pause_after(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, TemporaryFailure) else None
    return _backoff(state) if asked is None else asked


def endpoint() -> Endpoint:
    """The endpoint of the settings: one per process, since a fork must not share connections."""
    with _making:
        return _made(
            os.getpid(),
            conf.openai_base_url or DEFAULT_URL,
            conf.openai_api_key,
            conf.openai_timeout_seconds,
            conf.openai_concurrency,
        )


@lru_cache(maxsize=2)
def _made(_process: int, *settings: Any) -> Endpoint:
    return Endpoint(*settings)


def _forget() -> None:
    global _making  # noqa: PLW0603
    _making = threading.Lock()  # a thread of the parent may hold it


_making = threading.Lock()
os.register_at_fork(after_in_child=_forget)
