"""JSON text that comes from others."""

import json
import math
from typing import Final, NoReturn

from hundredfold.errors import InvalidArgument

_EXACT: Final = float(1 << 53)
"""Up to here every whole number is a float, too."""


def parsed(field: str, text: bytes) -> object:
    """Return what JSON text says.

    Raises:
        InvalidArgument: it is none, or nested too deeply; names the field.

    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise InvalidArgument(field, f"is no JSON: {error}") from error
    except RecursionError:
        raise InvalidArgument(field, "is nested too deeply") from None


def canonical(field: str, text: bytes) -> str:
    """Return JSON text in one way of writing it, so that equal values are equal text: 2020.0 is 2020.

    Raises:
        InvalidArgument: as `parsed`; or a number is too large.

    """
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_refuse)
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except ValueError as error:
        raise InvalidArgument(field, f"is no JSON: {error}") from error
    except RecursionError:
        raise InvalidArgument(field, "is nested too deeply") from None


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        message = f"{text} is too large a number"
        raise ValueError(message)
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _refuse(text: str) -> NoReturn:
    """Refuse what `json` takes for a number and nobody else does."""
    message = f"{text} is no value of it"
    raise ValueError(message)
