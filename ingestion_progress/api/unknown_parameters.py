"""Refuses parameters of a URL that an operation does not have, which may be misspelt filters."""

from django.http import HttpRequest
from pydantic import BaseModel

from ingestion_progress.api.errors import ApiError, FieldErrorSchema
from ingestion_progress.exceptions import ErrorCode

MAX_NAME_LENGTH = 50


def refuse_unknown(request: HttpRequest, query: type[BaseModel]) -> None:
    """Raises ApiError (422) with a sentence that names the parameters which there are."""
    known = ", ".join(sorted(query.model_fields))
    unknown = sorted(set(request.GET) - set(query.model_fields))
    if unknown:
        shown = unknown[0][:MAX_NAME_LENGTH]
        text = f"There is no parameter “{shown}”. There are: {known}."
        errors = [FieldErrorSchema(field=name[:MAX_NAME_LENGTH], message=text) for name in unknown]
        raise ApiError(ErrorCode.INVALID_REQUEST, text, errors=errors[:10])
