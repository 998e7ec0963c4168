import pytest

from appliance.domain import errors as e
from appliance.presentation.errors import ErrorView, status_of, view


def refused(status: int, **fields: object) -> e.BackendRefused:
    return e.BackendRefused("told", backend="local", status=status, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (e.InvalidRequest("x"), 400, "invalid_request_error", None),
        (e.ContextLengthExceeded("x"), 400, "invalid_request_error", "context_length_exceeded"),
        (e.AuthenticationFailed("x"), 401, "authentication_error", "invalid_api_key"),
        (e.PermissionDenied("x"), 403, "permission_error", None),
        (e.NotFound("x"), 404, "not_found_error", "not_found"),
        (e.ModelNotFound("x"), 404, "not_found_error", "model_not_found"),
        (e.MethodNotAllowed("x"), 405, "invalid_request_error", "method_not_allowed"),
        (e.RequestTooLarge("x"), 413, "invalid_request_error", "request_too_large"),
        (e.BackendUnavailable("x", backend="b"), 502, "api_error", "backend_unavailable"),
        (e.BackendTimeout("x", backend="b"), 504, "api_error", "backend_timeout"),
        (e.BackendProtocolError("x", backend="b"), 502, "api_error", "backend_protocol_error"),
        (e.PartUnavailable("x", part="postgres"), 503, "api_error", "postgres_unavailable"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_of_the_tree_has_its_status_type_and_code(
    error: Exception, status: int, kind: str, code: str | None
) -> None:
    shown = view(error)
    assert (shown.status, shown.kind, shown.code, shown.message) == (status, kind, code, "x")
    assert status_of(error) == status


def every(base: type[Exception]) -> list[type[Exception]]:
    return [c for sub in base.__subclasses__() for c in (sub, *every(sub))]


def test_no_request_error_is_a_500() -> None:
    for kind in every(e.RequestError):
        assert 400 <= view(kind("x")).status < 500, kind


def test_a_codes_own_name_and_field_win() -> None:
    shown = view(e.InvalidRequest("x", param="messages[0].role", code="invalid_json"))
    assert (shown.param, shown.code) == ("messages[0].role", "invalid_json")


@pytest.mark.parametrize("error", [RuntimeError("password=hunter2"), KeyError("x"), Exception()])
def test_an_unexpected_error_says_nothing_of_its_inside(error: Exception) -> None:
    shown = view(error)
    assert (shown.status, shown.code, shown.should_retry) == (500, "internal_error", False)
    assert "hunter2" not in shown.message


def test_waiting_helps_where_it_is_said() -> None:
    busy = view(e.BackendBusy("x", backend="b", retry_after_s=1.2))
    assert (busy.status, busy.retry_after_s, busy.should_retry) == (429, 2, True)
    down = view(e.PartUnavailable("x", part="inference"))
    assert (down.retry_after_s, down.should_retry) == (5, True)
    assert view(e.BackendTimeout("x", backend="b")).should_retry is False


@pytest.mark.parametrize("status", [401, 403])
def test_a_backend_that_refuses_our_key_is_not_the_callers_fault(status: int) -> None:
    shown = view(refused(status, code="invalid_api_key"))
    assert (shown.status, shown.code) == (502, "backend_authentication")
    assert shown.should_retry is False


@pytest.mark.parametrize(
    ("status", "shown_status", "kind", "again"),
    [
        (400, 400, "invalid_request_error", False),
        (404, 404, "not_found_error", False),
        (408, 408, "invalid_request_error", True),
        (429, 429, "rate_limit_error", True),
        (500, 500, "api_error", False),
        (503, 503, "api_error", True),
        (302, 502, "api_error", True),
        (700, 502, "api_error", True),
    ],
)
def test_a_backends_own_refusal_passes_with_its_status(
    status: int, shown_status: int, kind: str, again: bool
) -> None:
    shown = view(refused(status))
    assert (shown.status, shown.kind, shown.should_retry) == (shown_status, kind, again)


def test_a_backends_own_words_pass() -> None:
    shown = view(refused(429, code="quota", kind="tokens", retry_after_s=6.1))
    assert shown == ErrorView(429, "told", "tokens", "quota", None, 7, True)


def test_an_exchange_whose_client_left_is_a_499() -> None:
    assert status_of(None) == 499
