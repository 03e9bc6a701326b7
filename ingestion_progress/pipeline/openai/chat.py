"""Questions to a chat model, with answers in a form or in plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from openai import (
    ContentFilterFinishReasonError,
    LengthFinishReasonError,
    OpenAI,
    OpenAIError,
)
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from ingestion_progress.exceptions.sentences import StoredSentence
from ingestion_progress.pipeline.conf import conf
from ingestion_progress.pipeline.exceptions import UnusableAnswer
from ingestion_progress.pipeline.openai.answers import key_of, store_answer, stored_answer
from ingestion_progress.pipeline.openai.endpoint import endpoint
from ingestion_progress.tracker import current_job

Form = TypeVar("Form", bound=BaseModel)
Messages = Sequence[ChatCompletionMessageParam]

PROBE: Messages = [{"role": "user", "content": "Answer: yes"}]
PROBE_TOKENS = 16
MALFORMED = StoredSentence("The answer of the model does not have the expected form.")
FILTERED = StoredSentence("The content filter of the model withheld the answer.")
REFUSED = StoredSentence("The model refused to answer.")


def ask(model: str, messages: Messages, form: type[Form], *, stage: str) -> Form:
    """The answer in this form: that of an earlier question with the same words, or a new one.

    Counts `prompt_tokens` and `completion_tokens` of the current job. Raises UnusableAnswer, or as
    `Endpoint.ask` does.
    """
    question = _question(model, messages)
    key = key_of(question | {"form": form.model_json_schema()})
    stored = stored_answer(key)
    if stored is not None:
        return form.model_validate(stored)
    response = _sent(
        model,
        lambda client: client.chat.completions.with_raw_response.parse(
            **question, response_format=form
        ),
        stage,
    )
    answer = _message(response).parsed
    if not isinstance(answer, form):
        raise UnusableAnswer(MALFORMED)
    store_answer(key, answer.model_dump(mode="json"))
    return answer


def ask_for_text(model: str, messages: Messages, *, stage: str) -> str:
    """The same in plain text, which is not empty."""
    question = _question(model, messages)
    key = key_of(question)
    stored = stored_answer(key)
    if stored is not None:
        return str(stored)
    response = _sent(
        model,
        lambda client: client.chat.completions.with_raw_response.create(**question),
        stage,
    )
    text = _message(response).content
    if not isinstance(text, str) or not text.strip():
        raise UnusableAnswer(MALFORMED)
    store_answer(key, text)
    return text


def _question(model: str, messages: Messages) -> dict[str, Any]:
    return {
        "model": model,
        "messages": messages,
        "max_completion_tokens": conf.openai_answer_tokens,
    }


def _sent(model: str, send: Callable[[OpenAI], Any], stage: str) -> Any:
    """The raw response, whose tokens count."""

    def probe(client: OpenAI) -> Any:
        return client.chat.completions.create(
            model=model, messages=PROBE, max_completion_tokens=PROBE_TOKENS
        )

    response = endpoint().ask(send, probe, stage=stage)
    count_tokens(response.text)
    return response


def count_tokens(body: str) -> None:
    """Counts the tokens of an answer, also of an unusable one, because it was paid for."""
    job = current_job()
    try:
        usage = json.loads(body)["usage"]
        counts = {
            name: int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    if job:
        job.count(**{name: count for name, count in counts.items() if count > 0})


def _message(response: Any) -> Any:
    """Raises UnusableAnswer, without words of the question or the answer."""
    try:
        choice = response.parse().choices[0]
        finish, message = choice.finish_reason, choice.message
        refusal = message.refusal
    except LengthFinishReasonError:
        finish, message, refusal = "length", None, None
    except ContentFilterFinishReasonError:
        finish, message, refusal = "content_filter", None, None
    except (OpenAIError, ValueError, LookupError, TypeError, AttributeError):
        raise UnusableAnswer(MALFORMED) from None
    if finish == "length":
        raise UnusableAnswer(
            StoredSentence(
                "The answer of the model is cut off after %(number)s tokens.",
                number=conf.openai_answer_tokens,
            )
        )
    if finish == "content_filter":
        raise UnusableAnswer(FILTERED)
    if refusal:
        raise UnusableAnswer(REFUSED)
    return message
