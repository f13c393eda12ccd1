"""Does what decisions ask for: the one place where effects meet the world."""

import asyncio
from collections.abc import Callable
from typing import Any

from hundredfold.alarm import Alarm

from hundredfold_coordinator.burials import Burials
from hundredfold_coordinator.contexts import Contexts
from hundredfold_coordinator.core import effects
from hundredfold_coordinator.core.events import Event
from hundredfold_coordinator.hosts import Hosts
from hundredfold_coordinator.hub import Hub


class Performer:
    """Performs effects with `hosts`, `hub`, `burials` and `contexts`; `post` takes the events of alarms."""

    def __init__(
        self, hosts: Hosts, hub: Hub, burials: Burials, contexts: Contexts, post: Callable[[Event], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._post = post
        self._hosts, self._contexts = hosts, contexts
        self._alarms: dict[effects.AlarmKey, Alarm] = {}
        self._actions: dict[type[effects.Effect], Callable[[Any], None]] = {
            effects.Reply: _reply,
            effects.Refuse: _refuse,
            effects.Launch: self._launch,
            effects.Kill: hosts.kill,
            effects.Bury: burials.add,
            effects.Acknowledge: hosts.acknowledge,
            effects.Publish: lambda effect: hub.publish(effect.task_id),
            effects.Announce: hub.announce,
            effects.Remind: self._remind,
            effects.Dismiss: self._dismiss,
            effects.EndHost: lambda effect: hosts.end(effect.host),
        }

    def perform(self, effect: effects.Effect) -> None:
        """Do it."""
        self._actions[type(effect)](effect)

    def _launch(self, effect: effects.Launch) -> None:
        self._hosts.launch(effect)
        self._contexts.prepare(effect)

    def _remind(self, effect: effects.Remind) -> None:
        self._dismiss(effect)
        self._alarms[effect.alarm] = Alarm(self._loop, effect.after_seconds, lambda: self._ring(effect))

    def _dismiss(self, effect: effects.Remind | effects.Dismiss) -> None:
        alarm = self._alarms.pop(effect.alarm, None)
        if alarm:
            alarm.cancel()

    def _ring(self, effect: effects.Remind) -> None:
        del self._alarms[effect.alarm]
        self._post(effect.event)


def _reply(effect: effects.Reply) -> None:
    # A caller that has gone away has cancelled its future.
    if isinstance(effect.to, asyncio.Future) and not effect.to.done():
        effect.to.set_result(effect.value)


def _refuse(effect: effects.Refuse) -> None:
    if isinstance(effect.to, asyncio.Future) and not effect.to.done():
        effect.to.set_exception(effect.error)
