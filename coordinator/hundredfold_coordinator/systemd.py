"""sd_notify(3): tells systemd, when it asks, that the coordinator is ready or stopping."""

import logging
import os
import socket
from typing import Final

_log: Final = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1` or the like to `$NOTIFY_SOCKET`; do nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # An abstract address is written with an @ in front.
        try:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(state.encode())
        except OSError as error:
            _log.warning("systemd cannot be told %s at %s: %s", state, address, error.strerror)
