"""What the URL of a Redis store says: where the server is, and what of it is this store's.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DB][?OPTIONS]
    rediss://...                                             the same, with TLS
    unix://[[USER]:PASSWORD@]/PATH/TO/SOCKET[?OPTIONS]       also redis+unix://

Options: `namespace`, `durable` and `db`, and for the driver `socket_timeout`, `socket_connect_timeout` (seconds),
`username`, `password` and everything that begins with `ssl_`.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from hundredfold.errors import StoreUnavailable

_NAMESPACE: Final = "hundredfold"
_NAMESPACE_RULE: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_OWN: Final = ("namespace", "durable")
_DRIVERS: Final = ("db", "socket_timeout", "socket_connect_timeout", "username", "password")
_BOOLEANS: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Address:
    """A store on a server.

    Attributes:
        url: where it is, without secrets.
        namespace: what the names of its keys begin with, in braces.
        vouched: the operator says that the server is durable; for servers that do not say so themselves.
        driver_url: what redis-py connects to, secrets included.

    """

    url: str
    namespace: str
    vouched: bool
    driver_url: str = field(repr=False)


def parse_address(url: str) -> Address:
    """Parse a URL.

    Raises:
        StoreUnavailable: it is not valid. The error quotes nothing of it: any part may be one of a password whose
            special characters were not escaped.

    """
    scheme = url.partition(":")[0]
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        _check(parts, options)
        namespace = options.get("namespace", _NAMESPACE)
        vouched = _BOOLEANS[options.get("durable", "false")]
    except (ValueError, KeyError) as error:
        problem = f"its URL is not valid ({_told(error)}); special characters in a password are written as %XX"
        raise StoreUnavailable(f"{scheme}://", problem) from None
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
    shown = [(name, options[name]) for name in ("db", "namespace") if name in options]
    passed = {name: value for name, value in options.items() if name not in _OWN}
    return Address(
        url=f"{scheme}://{place}" + (f"?{urlencode(shown, safe='/:')}" if shown else ""),
        namespace=namespace,
        vouched=vouched,
        driver_url=f"{scheme.removeprefix('redis+')}://{parts.netloc}{parts.path}?{urlencode(passed)}",
    )


class _NotValid(ValueError):
    """What is not valid; unlike the text of other errors, it quotes nothing."""


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, _NotValid) else "see docs/store.md for its form"


def _check(parts: SplitResult, options: dict[str, str]) -> None:
    if "unix" in parts.scheme:
        if parts.netloc.rpartition("@")[2] or not parts.path.startswith("/"):
            raise _NotValid("a socket has an absolute path: unix:///run/redis/redis.sock")
    elif not parts.hostname or parts.port == 0 or not re.fullmatch(r"(/\d*)?", unquote(parts.path)):
        raise _NotValid("it has the form redis://HOST:PORT/DB, and DB is a number")
    if parts.fragment:
        raise _NotValid("it has no part behind a #")
    if not all(name in (*_OWN, *_DRIVERS) or name.startswith("ssl_") for name in options):
        raise _NotValid(f"its options are {', '.join((*_OWN, *_DRIVERS))}, and ssl_... for the driver")
    if not _NAMESPACE_RULE.fullmatch(options.get("namespace", _NAMESPACE)):
        raise _NotValid("a namespace has up to 100 letters, digits and _ . : / -")
    if not options.get("db", "0").isdecimal():
        raise _NotValid("db is a number")
    if options.get("durable", "true") not in _BOOLEANS:
        raise _NotValid("durable is true or false")
