"""JSON values on a command line."""

import json
import sys
from typing import Any

from hundredfold.errors import InvalidArgument


def value_of(field: str, text: str) -> Any:
    """Return the JSON value of an argument; `-` stands for what comes from stdin.

    Raises:
        InvalidArgument: it is not JSON.

    """
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(field, f"is not JSON: {error}; quote strings as '\"text\"'") from error


def object_of(field: str, text: str) -> dict[str, Any]:
    """Return the JSON object of an argument.

    Raises:
        InvalidArgument: it is none.

    """
    value = value_of(field, text)
    if not isinstance(value, dict):
        raise InvalidArgument(field, f"is {text} and must be a JSON object")
    return value


def vector_of(field: str, text: str) -> list[float]:
    """Return the vector of an argument: a JSON list of numbers.

    Raises:
        InvalidArgument: it is none.

    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(type(figure) in (int, float) for figure in value):
        # A text is like nothing here: embedders run in workers.
        raise InvalidArgument(field, "is no JSON list of numbers; by text, only agents search and write")
    return [float(figure) for figure in value]
