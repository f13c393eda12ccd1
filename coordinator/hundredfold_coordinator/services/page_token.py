"""Page tokens: where the next page of a listing begins, as text that a caller hands back."""

import base64
import binascii

from hundredfold.errors import InvalidArgument


def make(after: bytes) -> str:
    """Return the token of the page that begins after this key."""
    return base64.urlsafe_b64encode(after).decode()


def parse(token: str, prefix: bytes) -> bytes:
    """Return the key that the page begins after; of no token, the empty one.

    Raises:
        InvalidArgument: the token is not of a listing of keys with this prefix.

    """
    try:
        after = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        after = b"?"
    if after and not after.startswith(prefix):
        raise InvalidArgument("page_token", "is not one that this call returned")
    return after
