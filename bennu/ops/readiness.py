"""Whether a service can do its work now, as named conditions, each with the reason why not."""

import asyncio
from typing import NamedTuple


class Condition(NamedTuple):
    """One thing that must hold."""

    met: bool
    reason: str


class Readiness:
    """Ready while every declared condition is met.  Used in one event loop."""

    def __init__(self) -> None:
        self._conditions: dict[str, Condition] = {}
        self._details: dict[str, object] = {}
        self._ready = asyncio.Event()
        self._update()

    def declare(self, *names: str) -> None:
        """Conditions that are not met yet; declare all before the work starts, or `ready` says so too early."""
        for name in names:
            self._conditions.setdefault(name, Condition(met=False, reason="starting"))
        self._update()

    def met(self, name: str) -> None:
        """The condition holds."""
        self._set(name, Condition(met=True, reason=""))

    def unmet(self, name: str, reason: str) -> None:
        """It does not, and why; `reason` is shown to operators, so it holds no secret."""
        self._set(name, Condition(met=False, reason=reason))

    def show(self, name: str, details: object) -> None:
        """What `/readyz` shows beside a condition, whether it is met or not; as JSON, and without secrets."""
        self._details[name] = details

    @property
    def ready(self) -> bool:
        return self._ready.is_set()

    async def wait(self) -> None:
        """Return once ready."""
        await self._ready.wait()

    def report(self) -> dict[str, object]:
        """As `/readyz` shows it."""
        conditions = {name: self._told(name, condition) for name, condition in sorted(self._conditions.items())}
        return {"ready": self.ready, "conditions": conditions}

    def _told(self, name: str, condition: Condition) -> dict[str, object]:
        details = {"details": self._details[name]} if name in self._details else {}
        return condition._asdict() | details

    def _set(self, name: str, condition: Condition) -> None:
        if self._conditions.get(name) != condition:
            self._conditions[name] = condition
            self._update()

    def _update(self) -> None:
        if self._conditions and all(condition.met for condition in self._conditions.values()):
            self._ready.set()
        else:
            self._ready.clear()
