"""A host on a machine without cgroups, whatever this machine has: `python host_by_session.py FD`."""

from hundredfold_host.__main__ import main
from hundredfold_host.containment.session import Session

if __name__ == "__main__":
    main(lambda _host_id: Session())
