"""`python -m hundredfold_host FD`: become a host; its `HostConfig` is read from an inherited descriptor.

With `--examine` instead, say what the machine gives.
"""

import os
import sys
from collections.abc import Callable

import uvloop
from hundredfold import oom
from hundredfold.internal.v1 import host_service_pb2

from hundredfold_host import examination
from hundredfold_host.containment.choice import choose
from hundredfold_host.containment.contract import Containment
from hundredfold_host.host import Host


def main(contain: Callable[[str], Containment] = choose) -> None:
    """Run a host in this process until it ends; `contain` makes its containment from its id."""
    if sys.argv[1] == "--examine":
        examination.main()
        return
    with os.fdopen(int(sys.argv[1]), "rb") as file:
        config = host_service_pb2.HostConfig.FromString(file.read())
    oom.protect()
    uvloop.run(_run(config, contain(config.host_id)))  # about a tenth less CPU than the standard loop


async def _run(config: host_service_pb2.HostConfig, containment: Containment) -> None:
    await Host(config, containment).run()


if __name__ == "__main__":
    main()
