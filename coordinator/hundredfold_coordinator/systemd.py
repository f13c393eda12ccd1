"""sd_notify(3): tells systemd, when it asks, that the coordinator is ready or stopping."""

import os
import socket


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1` or the like to `$NOTIFY_SOCKET`; do nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # An abstract address is written with an @ in front.
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.send(state.encode())
