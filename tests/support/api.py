"""The URL of the API's jobs, and the shape of its errors."""

from __future__ import annotations

from ingestion_progress.api.errors import ErrorSchema
from ingestion_progress.exceptions import ErrorCode

JOBS = "/api/v1/admin/ingestion/jobs"


def refusal(response, status, code):
    """The error in a response. Checks its status, code and shape."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    error = ErrorSchema.model_validate_json(response.content, extra="forbid")
    assert error.code == code
    assert ErrorCode(code).status == status
    assert error.message
    return error
