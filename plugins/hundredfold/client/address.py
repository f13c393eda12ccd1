"""Where a client finds its coordinator, and what it shows there."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hundredfold import paths

CHANNEL_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    # Otherwise a client begins with what another one of this process has met with, such as a refusal a moment ago.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Also the time that a connection attempt may take: a busy coordinator accepts late.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 300),
    # The limits that count are the coordinator's, which name the field.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


StrPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Address:
    """A gRPC target and the token to show there; no token is needed on a Unix socket."""

    target: str
    token: str = ""

    @classmethod
    def find(
        cls, address: str | None = None, *, data_dir: StrPath | None = None, token: str | None = None
    ) -> "Address":
        """Return the address given, else that of `$HUNDREDFOLD_ADDRESS`, else the socket of the data directory.

        The data directory is the one given, else `$HUNDREDFOLD_DATA_DIR`, else the default. The token is the one
        given, else `$HUNDREDFOLD_TOKEN`.
        """
        target = address or os.environ.get("HUNDREDFOLD_ADDRESS")
        if not target:
            directory = Path(data_dir or os.environ.get("HUNDREDFOLD_DATA_DIR") or paths.default_data_dir())
            target = f"unix:{paths.api_socket(paths.runtime_dir(directory))}"
        return cls(target, token or os.environ.get("HUNDREDFOLD_TOKEN", ""))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What is sent with every call."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()
