"""JSON text that comes from others."""

import json

from hundredfold.errors import InvalidArgument


def parsed(field: str, text: bytes) -> object:
    """Return what JSON text says.

    Raises:
        InvalidArgument: it is none, or nested too deeply; names the field.

    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidArgument(field, f"is no JSON: {error}") from error
    except RecursionError:
        raise InvalidArgument(field, "is nested too deeply") from None
