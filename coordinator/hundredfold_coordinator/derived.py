"""What others are told of the configuration: the core, the hosts, the default environment."""

from pathlib import Path
from typing import Final

from hundredfold.internal.v1 import host_service_pb2
from hundredfold.v1 import behaviour_pb2, task_pb2

from hundredfold_coordinator.config import Config
from hundredfold_coordinator.core.state import Limits

_SAMPLE_MILLISECONDS: Final = 250


def limits_of(config: Config) -> Limits:
    """Return the figures that decisions are made by."""
    return Limits(
        concurrency=config.concurrency,
        queue_limit=config.queue_limit,
        queue_bytes=config.queue_bytes,
        tenant_queue_limit=config.tenant_queue_limit or config.queue_limit,
        tenant_weights=dict(config.tenant_weights),
        tenant_limits=dict(config.tenant_limits),
        behaviour_limits=dict(config.behaviour_limits),
        priority_ageing_seconds=config.priority_ageing_seconds,
        strategies={name: task_pb2.Strategy.Value(f"STRATEGY_{one.upper()}") for name, one in config.strategies},
        pool_size=config.pool_size,
        pool_tasks=config.pool_tasks,
        pool_bytes=config.pool_bytes,
        pool_seconds=config.pool_seconds,
        pool_idle_seconds=config.pool_idle_seconds,
        event_quota=config.event_quota,
        memory_reserve_bytes=config.memory_reserve_bytes,
        grace_seconds=config.grace_seconds,
        wall_limit_seconds=config.wall_limit_seconds,
        process_limit=config.process_limit,
    )


def host_config_of(config: Config, socket: Path) -> host_service_pb2.HostConfig:
    """Return what a host is told that is to attach at `socket`."""
    reserve = config.memory_reserve_bytes
    told = host_service_pb2.HostConfig(address=f"unix:{socket}", memory_reserve_bytes=reserve)
    told.orphan_time.FromNanoseconds(int(config.orphan_seconds * 1e9))
    told.sample_interval.FromMilliseconds(_SAMPLE_MILLISECONDS)
    return told


def default_environment_of(config: Config) -> behaviour_pb2.EnvironmentSpec:
    """Return what the default environment is made of."""
    return behaviour_pb2.EnvironmentSpec(
        plugin_files=[str(path) for path in config.plugin_files],
        commands=[behaviour_pb2.Command(name=name, argv=argv) for name, argv in config.commands],
    )
