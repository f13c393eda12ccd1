"""The end of a coordinator that has lost its store: at once, and without touching it again.

After a failed write or sync nobody knows what is on the disk. The kernel reports such a failure once and may call the
next sync a success, so one more of those, even the one of an orderly close, could make a lie of the log
(https://lwn.net/Articles/752063). What is on the disk is what the next start finds. Agents live on in their hosts.

Whoever has lost the lease touches nothing either: its sockets are another one's by now, and an orderly end of gRPC's
servers would take them away.
"""

import os
from typing import Final, NoReturn

from hundredfold.errors import HundredfoldError

EXIT_CODE: Final = 3


def fail_stop(error: HundredfoldError) -> NoReturn:
    """Say why, and end this process without any of the things that are done at an exit. Any thread may call it."""
    text = (
        f"error: {error} [{error.reason}]\n"
        "error: this coordinator ends here, and its store is left as it is; agents go on, and the next"
        " `hundredfold serve` takes them up\n"
    )
    try:
        os.write(2, text.encode(errors="replace"))
    finally:
        os._exit(EXIT_CODE)
