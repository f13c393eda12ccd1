"""Where a database is: what libpq is told, and what people are shown of it."""

from typing import Any, Final
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from hundredfold.errors import StoreUnavailable

_DEFAULTS: Final = {
    "connect_timeout": 3,
    "application_name": "hundredfold",
    # A server whose machine is gone sends nothing: that is noticed within ten seconds, even between two calls.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_UNREADABLE: Final = (
    "the URL cannot be read; write it as postgresql://USER:PASSWORD@HOST/DATABASE, special characters percent-encoded"
)


class Address:
    """A `postgresql://` URL, in every form that libpq takes.

    Attributes:
        parameters: what to connect with, secrets included.
        url: the address for people, built of what is known to be no secret.

    Raises:
        StoreUnavailable: it is no such URL.

    """

    def __init__(self, url: str) -> None:
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:  # whose message may quote a piece of the password
            raise StoreUnavailable(url="postgresql:", problem=_UNREADABLE) from None
        if _is_torn(given):
            raise StoreUnavailable(url="postgresql:", problem=_UNREADABLE)
        self.parameters: dict[str, Any] = _DEFAULTS | given
        self.url = _shown(given)


def _is_torn(given: dict[str, Any]) -> bool:
    """Tell whether the password may have ended at one of its characters, and its rest be taken for something else."""
    ports = str(given.get("port") or "").replace(",", "")
    names = (str(given.get(name) or "") for name in ("host", "dbname"))
    return (ports != "" and not ports.isdecimal()) or any("@" in name for name in names)


def _shown(given: dict[str, Any]) -> str:
    host, user = str(given.get("host") or ""), str(given.get("user") or "")
    port = str(given.get("port") or "")
    plain = host and "/" not in host and "," not in host
    query = {} if plain else {name: text for name, text in (("host", host), ("port", port)) if text}
    place = f"{host}:{port}" if plain and port else host if plain else ""
    who = f"{quote(user)}@" if user else ""
    return f"postgresql://{who}{place}/{quote(str(given.get('dbname') or ''))}" + (
        f"?{urlencode(query, safe='/,')}" if query else ""
    )
