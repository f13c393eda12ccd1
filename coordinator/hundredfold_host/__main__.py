"""`python -m hundredfold_host FD`: become a host; its `HostConfig` is read from an inherited descriptor."""

import os
import sys
from collections.abc import Callable

import uvloop
from hundredfold.internal.v1 import host_service_pb2

from hundredfold_host.containment.choice import choose
from hundredfold_host.containment.contract import Containment
from hundredfold_host.host import Host


def main(contain: Callable[[str], Containment] = choose) -> None:
    """Run a host in this process until it ends; `contain` makes its containment from its id."""
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        config = host_service_pb2.HostConfig.FromString(file.read())
    uvloop.run(_run(config, contain(config.host_id)))  # about a tenth less CPU than the standard loop


async def _run(config: host_service_pb2.HostConfig, containment: Containment) -> None:
    await Host(config, containment).run()


if __name__ == "__main__":
    main()
