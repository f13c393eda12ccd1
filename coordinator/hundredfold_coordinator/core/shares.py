"""Whose turn it is: tenants share what there is by their weights, however much each of them has waiting.

Who has the fewest attempts alive for its weight comes first; among equals, who has been served least. A tenant that
comes back has no claim to what it did not ask for: start-time fair queueing (Goyal, Vin, Cheng, 1996).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_FORGETTING_FACTOR: Final = 8


@dataclass(slots=True)
class Shares:
    """What each tenant has and has had.

    Attributes:
        weights: of tenants; 1 for those that are not named.
        alive: attempts alive, by tenant.

    """

    weights: Mapping[str, float] = field(default_factory=dict)
    alive: Counter[str] = field(default_factory=Counter)
    _served: dict[str, float] = field(default_factory=dict)
    _now: float = 0.0

    def weight(self, tenant: str) -> float:
        """Return a tenant's weight."""
        return self.weights.get(tenant, 1.0)

    def turn(self, tenant: str) -> tuple[float, float]:
        """Return what to sort tenants by: the lowest is next."""
        return self.alive[tenant] / self.weight(tenant), max(self._served.get(tenant, 0.0), self._now)

    def start(self, tenant: str) -> None:
        """Note that an attempt of a tenant is started."""
        self._now = max(self._served.get(tenant, 0.0), self._now)
        self._served[tenant] = self._now + 1 / self.weight(tenant)
        self.alive[tenant] += 1

    def end(self, tenant: str) -> None:
        """Note that an attempt of a tenant is gone."""
        self.alive[tenant] -= 1
        if not self.alive[tenant]:
            del self.alive[tenant]
        if len(self._served) > _FORGETTING_FACTOR * (len(self.alive) + 1):
            # Who has had no more than others counts as one that nobody has seen.
            self._served = {name: had for name, had in self._served.items() if had > self._now or name in self.alive}
