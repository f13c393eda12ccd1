"""Shows that every error says what happened and what to do, and comes out of the wire as it went in."""

import inspect
import re
from base64 import b64encode
from collections.abc import Callable
from copy import copy
from dataclasses import fields
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hundredfold import errors
from hundredfold.client.rpc_error import from_rpc_error
from hundredfold.errors import (
    ERRORS,
    HundredfoldError,
    InternalError,
    InvalidInput,
    QueueFull,
    UnknownTask,
    Unreachable,
)
from hundredfold.status import from_status, to_status

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, HundredfoldError) and value is not HundredfoldError
]

CURED_BY_ITS_PROBLEM = {
    *(errors.InvalidArgument, errors.InvalidSetting, errors.PermissionDenied),
    *(errors.BrokenEnvironment, errors.StoreUnavailable, errors.TaskFailed),
}
"""Errors of which only the place that raises them knows the cure."""

every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def sample(cls: type[HundredfoldError], text: Callable[[str], str] = "<{}>".format) -> HundredfoldError:
    """Return an error with a value in every field."""
    return cls(**{field.name: 7 if field.type is int else text(field.name) for field in fields(cls)})


# The table ------------------------------------------------------------------------------------------------------------


def test_every_error_is_in_the_table_under_a_reason_of_its_own() -> None:
    assert len(CLASSES) > 20
    assert {cls.reason: cls for cls in CLASSES} == ERRORS
    assert len(ERRORS) == len(CLASSES)


@every_class
def test_the_reason_is_in_capitals_and_the_code_is_one_of_grpc(cls: type[HundredfoldError]) -> None:
    assert re.fullmatch(r"[A-Z][A-Z_]*[A-Z]", cls.reason)
    assert cls.code in grpc.StatusCode.__members__
    assert cls.code not in {"OK", "UNKNOWN"}


@every_class
def test_fields_can_travel(cls: type[HundredfoldError]) -> None:
    assert {field.type for field in fields(cls)} <= {str, int}


# The message ----------------------------------------------------------------------------------------------------------


@every_class
def test_the_docstring_is_the_message_with_all_figures(cls: type[HundredfoldError]) -> None:
    error = sample(cls)
    message = str(error)
    assert [name for name, value in error.figures().items() if str(value) not in message] == []
    assert not set("{}\n") & set(message)
    assert message.endswith((".", ">"))


@every_class
def test_the_message_has_a_cure(cls: type[HundredfoldError]) -> None:
    sentences = re.split(r"[.;] ", str(sample(cls)))
    assert len(sentences) > 1 or cls in CURED_BY_ITS_PROBLEM


@every_class
def test_braces_in_a_figure_are_only_braces(cls: type[HundredfoldError]) -> None:
    error = sample(cls, lambda name: "{" + name + "!r} {} {0}")
    assert all(str(value) in str(error) for value in error.figures().values())


def test_a_problem_that_is_a_sentence_brings_its_own_full_stop() -> None:
    assert str(errors.InvalidSetting("config", "is odd; did you mean even?")) == (
        "Setting `config` is odd; did you mean even?"
    )
    assert str(errors.BrokenEnvironment("e", "Try again.")) == "Environment 'e' cannot run anything: Try again."
    assert str(errors.InvalidArgument("a", "is wrong")) == "`a` is wrong."


def test_an_error_can_be_raised_and_caught() -> None:
    with pytest.raises(HundredfoldError, match="There is no task 'x' here"):
        raise UnknownTask("x")


def test_an_error_can_be_sent_to_another_process() -> None:
    error = QueueFull(limit=10, what="tasks", retry_seconds=3, setting="queue_limit")
    again = copy(error)  # in the way of pickle
    assert (type(again), again.figures()) == (QueueFull, error.figures())


# On the wire ----------------------------------------------------------------------------------------------------------


@every_class
def test_an_error_comes_back_as_it_went(cls: type[HundredfoldError]) -> None:
    error = sample(cls)
    status = status_pb2.Status.FromString(to_status(error).SerializeToString())
    again = from_status(status)
    assert (type(again), again.figures(), str(again)) == (cls, error.figures(), str(error))
    assert status.message == str(error)
    assert status.code == grpc.StatusCode[cls.code].value[0]


def test_the_first_detail_is_the_reason() -> None:
    info = error_details_pb2.ErrorInfo()
    assert to_status(UnknownTask("x")).details[0].Unpack(info)
    assert (info.domain, info.reason, dict(info.metadata)) == ("hundredfold", "TASK_NOT_FOUND", {"task_id": "x"})


def test_a_field_is_named_as_google_does() -> None:
    violation = unpacked(to_status(errors.InvalidArgument("spec.labels", "has too many")), error_details_pb2.BadRequest)
    assert violation.field_violations[0].field == "spec.labels"
    assert "has too many" in violation.field_violations[0].description


def test_a_field_of_the_input_is_named_by_its_path_in_the_request() -> None:
    error = InvalidInput("crawl", "pages[2].url", "is missing")
    violation = unpacked(to_status(error), error_details_pb2.BadRequest).field_violations[0]
    assert violation.field == "spec.input.pages[2].url"
    assert from_status(to_status(error)).figures() == error.figures()


def test_a_full_queue_says_when_to_try_again() -> None:
    retry = unpacked(
        to_status(QueueFull(limit=10, what="tasks", retry_seconds=3, setting="queue_limit")),
        error_details_pb2.RetryInfo,
    )
    assert retry.retry_delay.seconds == 3


def test_a_full_queue_says_which_quota_is_used_up() -> None:
    error = QueueFull(limit=10, what="tasks of tenant 'a'", retry_seconds=3, setting="tenant_queue_limit")
    (violation,) = unpacked(to_status(error), error_details_pb2.QuotaFailure).violations
    assert (violation.subject, violation.description) == ("tenant_queue_limit", "tasks of tenant 'a'")


HUGE = {"ascii": "x" * 100_000, "wide": "🦜" * 100_000, "escaped": "\n" * 100_000}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_huge_texts_still_fit_into_the_metadata(text: str) -> None:
    sizes = {}
    for cls in CLASSES:
        status = to_status(sample(cls, lambda name: name + text))
        details = sum(detail.ByteSize() for detail in status.details)
        headers = len(quote(status.message)) + len(b64encode(status.SerializeToString()))
        if details > 2048 or headers > 6000:
            sizes[cls.__name__] = details, headers
    assert sizes == {}


@every_class
def test_a_huge_text_is_cut_and_the_error_still_known(cls: type[HundredfoldError]) -> None:
    again = from_status(to_status(sample(cls, lambda name: name + "x" * 100_000)))
    assert type(again) is cls
    for field in fields(cls):
        value = getattr(again, field.name)
        assert value == 7 or (value.startswith(field.name) and value.endswith("…"))


def test_half_a_character_can_travel() -> None:
    again = from_status(to_status(InvalidInput("crawl", "\ud800", "is not expected")))
    assert isinstance(again, InvalidInput)


def unpacked(status: status_pb2.Status, kind: type[Any]) -> Any:
    """Return the one detail of this kind."""
    found = [(kind(), detail) for detail in status.details if detail.Is(kind.DESCRIPTOR)]
    assert len(found) == 1
    message, detail = found[0]
    detail.Unpack(message)
    return message


# What others say ------------------------------------------------------------------------------------------------------


def status_of(reason: str, domain: str = "hundredfold", **metadata: str) -> status_pb2.Status:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata))
    return status_pb2.Status(code=5, message="as they say", details=[detail])


@pytest.mark.parametrize(
    "status",
    [
        status_of("TASK_NOT_FOUND", domain="example.com", task_id="x"),
        status_of("A_LATER_ONE"),
        status_pb2.Status(code=5, message="as they say"),
        status_pb2.Status(code=5, message="as they say", details=[any_pb2.Any(type_url="x/unknown", value=b"\xff")]),
    ],
    ids=["foreign", "later", "bare", "unknown"],
)
def test_what_is_not_ours_is_an_internal_error_with_its_message(status: status_pb2.Status) -> None:
    error = from_status(status)
    assert (type(error), error.figures()) == (InternalError, {"problem": "as they say"})


def test_a_status_without_a_message_still_says_something() -> None:
    assert from_status(status_pb2.Status(code=5)).figures() == {"problem": "status 5"}


@pytest.mark.parametrize("metadata", [{}, {"limit": "many", "retry_seconds": "soon"}], ids=["none", "words"])
def test_an_error_of_another_version_is_still_an_error(metadata: dict[str, str]) -> None:
    assert isinstance(from_status(status_of("QUEUE_FULL", **metadata)), HundredfoldError)


class Call(grpc.RpcError):
    """An RPC that failed, as gRPC describes one."""

    def __init__(self, code: grpc.StatusCode, details: str | None, status: status_pb2.Status | None = None) -> None:
        self._code, self._details, self._status = code, details, status

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", self._status.SerializeToString()),) if self._status else ()


def test_a_failed_call_is_the_error_it_carries() -> None:
    status = to_status(UnknownTask("x"))
    error = from_rpc_error(Call(grpc.StatusCode.NOT_FOUND, status.message, status), "unix:api.sock")
    assert (type(error), error.figures()) == (UnknownTask, {"task_id": "x"})


def test_a_call_that_reached_nobody_says_why_in_few_words() -> None:
    layers = "failed to connect to all addresses; last error: UNKNOWN: unix:api.sock: connect: No such file"
    error = from_rpc_error(Call(grpc.StatusCode.UNAVAILABLE, layers), "unix:api.sock")
    assert isinstance(error, Unreachable)
    assert error.figures() == {"address": "unix:api.sock", "problem": "UNKNOWN: unix:api.sock: connect: No such file"}


@pytest.mark.parametrize("details", ["what they say", None, ""])
def test_any_other_failed_call_is_an_internal_error(details: str | None) -> None:
    error = from_rpc_error(Call(grpc.StatusCode.DATA_LOSS, details), "unix:api.sock")
    assert isinstance(error, InternalError)
    assert error.problem == f"DATA_LOSS: {details or ''}"


def test_a_call_whose_status_says_something_else_is_still_an_error() -> None:
    """Happens when the status is larger than gRPC allows, or a proxy has replaced the code."""
    call = Call(grpc.StatusCode.RESOURCE_EXHAUSTED, "metadata too large", to_status(UnknownTask("x")))
    assert isinstance(from_rpc_error(call, "unix:api.sock"), HundredfoldError)
