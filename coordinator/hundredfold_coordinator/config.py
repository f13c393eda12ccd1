"""The settings of a coordinator: frozen, checked once at start.

The command line gives each a flag, a configuration key and an environment variable.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from hundredfold.errors import InvalidSetting

DONE: Final = b"."
"""What an owner writes to `owner_fd` when it is done: the coordinator stops with the last task of others."""

_LAST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Config:
    """What a coordinator is told.

    Attributes:
        data_dir: everything that outlives it; made with mode 0700.
        runtime_dir: its sockets; made with mode 0700.
        store: URL of the store; `sqlite:PATH`, `postgresql://HOST`, `redis://HOST` or `memory:`, see store.md.
        store_patience_seconds: how long a store that is a server may not answer before the coordinator ends, from 0,
            which means for ever.
        lease_seconds: how long a coordinator on a shared store may not be heard of before another one takes over, 0.3
            to 3600.
        ballast_bytes: room kept on the disk for finishing what runs when it is full; 0 means none.
        standby: wait while another coordinator has the data directory, or the lease of a shared store, instead of
            ending.
        volatile: accept a store that is not durable.
        concurrency: largest number of attempts alive at once, 1 to 100,000.
        queue_limit: largest number of queued tasks, 1 to 10,000,000.
        queue_bytes: most bytes of input that may be queued, 1 to 1,099,511,627,776 (1 TiB).
        tenant_queue_limit: largest number of queued tasks of one tenant, from 0, which means `queue_limit`.
        tenant_weights: shares of tenants, above 0; 1 for those that are not named.
        tenant_limits: most attempts alive at once, of tenants that are named, from 0, which blocks them; the empty name
            is the tenant of tasks that name none.
        behaviour_limits: most attempts alive at once, of behaviours that are named, from 0, which blocks them.
        priority_ageing_seconds: how long a task must have waited to pass one with a priority that is higher by 1, from
            0, which means that it never does.
        strategies: which processes the attempts of behaviours that are named run in: `fresh`, `pool`, `stateful` or
            `sequential`, see strategies.md; `fresh` for all others.
        pool_size: most workers of a behaviour in a `pool`, and the number of its agents if it is `stateful`, 1 to
            1000.
        pool_tasks: attempts after which a worker of a pool is replaced, 1 to 1,000,000.
        pool_bytes: memory after which it is replaced, from 0, which means any.
        pool_seconds: age at which it is replaced, above 0.
        pool_idle_seconds: how long it waits for its next attempt before it ends, from 0.
        max_payload_bytes: largest input, result, checkpoint or event, 1 to 64 MiB.
        event_quota: events an attempt may emit, from 0.
        memory_reserve_bytes: memory that is left alone at least; 0 means that memory is not looked at.
        hosts: number of host processes kept, 1 to 16.
        wall_limit_seconds: longest time an attempt may run whose task and behaviour do not say; 0 means any time.
        process_limit: most processes and threads of such an attempt, from 0, which means any number.
        retention_tasks: most tasks kept that have ended, from 0; dead letters are counted apart, with the same limit.
        retention_seconds: how long they are kept, from 0.
        dead_letter_retention_seconds: how long dead letters are kept, from 0.
        grace_seconds: time from SIGTERM to SIGKILL, from 0, which means SIGKILL at once.
        drain_seconds: how long running tasks may go on when the coordinator stops, from 0.
        environment_idle_seconds: how long a temporary environment is kept warm while nothing of it runs, from 0.
        orphan_seconds: how long hosts and agents live without a coordinator, above 0.
        plugin_files: Python files to load as plugins into the default environment.
        commands: programs to offer as behaviours: argv by name.
        listen: loopback TCP address `HOST:PORT` to serve the API on as well; empty for none.
        owner_fd: descriptor whose end of file means that the owner is gone and the coordinator shall stop: at once, or
            when nothing is left to do if the owner has written `DONE`; -1 for none. Embedded coordinators have one.

    """

    data_dir: Path
    runtime_dir: Path
    store: str
    store_patience_seconds: float = 0
    lease_seconds: float = 10
    ballast_bytes: int = 16 << 20
    standby: bool = False
    volatile: bool = False
    concurrency: int = 100
    queue_limit: int = 100_000
    queue_bytes: int = 1 << 30
    tenant_queue_limit: int = 0
    tenant_weights: tuple[tuple[str, float], ...] = ()
    tenant_limits: tuple[tuple[str, int], ...] = ()
    behaviour_limits: tuple[tuple[str, int], ...] = ()
    priority_ageing_seconds: float = 300
    strategies: tuple[tuple[str, str], ...] = ()
    pool_size: int = 8
    pool_tasks: int = 1000
    pool_bytes: int = 0
    pool_seconds: float = 3600
    pool_idle_seconds: float = 30
    max_payload_bytes: int = 4 << 20
    event_quota: int = 10_000
    memory_reserve_bytes: int = 256 << 20
    hosts: int = 1
    wall_limit_seconds: float = 3600
    process_limit: int = 1000
    retention_tasks: int = 100_000
    retention_seconds: float = 7 * 86_400
    dead_letter_retention_seconds: float = 30 * 86_400
    grace_seconds: float = 5
    drain_seconds: float = 30
    environment_idle_seconds: float = 60
    orphan_seconds: float = 60
    plugin_files: tuple[Path, ...] = ()
    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()
    listen: str = ""
    owner_fd: int = -1

    def __post_init__(self) -> None:
        """Check every range.

        Raises:
            InvalidSetting: names the first setting that is out of its range.

        """
        ranges = {
            "store_patience_seconds": (0, 366 * 86_400),
            "lease_seconds": (0.3, 3600),
            "ballast_bytes": (0, 1 << 40),
            "concurrency": (1, 100_000),
            "queue_limit": (1, 10_000_000),
            "queue_bytes": (1, 1 << 40),
            "tenant_queue_limit": (0, 10_000_000),
            "priority_ageing_seconds": (0, 366 * 86_400),
            "pool_size": (1, 1000),
            "pool_tasks": (1, 1_000_000),
            "pool_bytes": (0, 1 << 50),
            "pool_seconds": (0.1, 366 * 86_400),
            "pool_idle_seconds": (0, 366 * 86_400),
            "max_payload_bytes": (1, 64 << 20),
            "event_quota": (0, 10_000_000),
            "memory_reserve_bytes": (0, 1 << 50),
            "hosts": (1, 16),
            "wall_limit_seconds": (0, 366 * 86_400),
            "process_limit": (0, 1_000_000),
            "retention_tasks": (0, 1_000_000_000),
            "retention_seconds": (0, 100 * 366 * 86_400),
            "dead_letter_retention_seconds": (0, 100 * 366 * 86_400),
            "grace_seconds": (0, 3600),
            "drain_seconds": (0, 86_400),
            "environment_idle_seconds": (0, 86_400),
            "orphan_seconds": (0.1, 86_400),
        }
        for field in fields(self):
            low, high = ranges.get(field.name, (None, None))
            value = getattr(self, field.name)
            if low is not None and not low <= value <= high:
                raise InvalidSetting(field.name, f"is {value} and must be from {low} to {high}")
        self._check_listen()

    def _check_listen(self) -> None:
        host, _, port = self.listen.rpartition(":")
        possible = port.isascii() and port.isdigit() and int(port) <= _LAST_PORT
        if self.listen and (host not in ("127.0.0.1", "localhost", "[::1]") or not possible):
            raise InvalidSetting("listen", f"is {self.listen!r} and must be a loopback address such as 127.0.0.1:7717")
