"""Does what decisions ask for: the one place where effects meet the world."""

import asyncio
from collections.abc import Callable
from typing import Any

from hundredfold.identity import kill_tree

from hundredfold_coordinator.core import effects
from hundredfold_coordinator.core.events import Event
from hundredfold_coordinator.hosts import Hosts
from hundredfold_coordinator.hub import Hub


class Performer:
    """Performs effects with `hosts` and `hub`; `post` takes the events of reminders."""

    def __init__(self, hosts: Hosts, hub: Hub, post: Callable[[Event], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._post = post
        self._actions: dict[type[effects.Effect], Callable[[Any], None]] = {
            effects.Reply: _reply,
            effects.Refuse: _refuse,
            effects.Launch: hosts.launch,
            effects.Kill: hosts.kill,
            effects.Bury: lambda effect: kill_tree(effect.process),
            effects.Acknowledge: hosts.acknowledge,
            effects.Publish: lambda effect: hub.publish(effect.task_id),
            effects.Announce: hub.announce,
            effects.Remind: self._remind,
        }

    def perform(self, effect: effects.Effect) -> None:
        """Do it."""
        self._actions[type(effect)](effect)

    def _remind(self, effect: effects.Remind) -> None:
        self._loop.call_later(effect.after_seconds, self._post, effect.event)


def _reply(effect: effects.Reply) -> None:
    # A caller that has gone away has cancelled its future.
    if isinstance(effect.to, asyncio.Future) and not effect.to.done():
        effect.to.set_result(effect.value)


def _refuse(effect: effects.Refuse) -> None:
    if isinstance(effect.to, asyncio.Future) and not effect.to.done():
        effect.to.set_exception(effect.error)
