"""Prometheus metrics with a registry that is passed around, never the library's global one.

    lag = metrics.gauge("bennu_lag_events", "Events not yet projected.", projection="ledger", partition="0")
    lag.set(3)

Each call returns the child for those label values: bind it once at start, so that the hot path does no look-up.
"""

from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics import MetricWrapperBase

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)

M = TypeVar("M", bound=MetricWrapperBase)


class Metrics:
    """One process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._families: dict[str, MetricWrapperBase] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def counter(self, name: str, text: str, **labels: str) -> Counter:
        """What only grows."""
        return self._child(Counter(name, text, tuple(labels), registry=None), name, labels)

    def gauge(self, name: str, text: str, **labels: str) -> Gauge:
        """What goes up and down."""
        return self._child(Gauge(name, text, tuple(labels), registry=None), name, labels)

    def histogram(self, name: str, text: str, *, buckets: tuple[float, ...] = SECONDS, **labels: str) -> Histogram:
        """How often a value lay in which range; `SECONDS` and `SIZES` are ready buckets."""
        return self._child(Histogram(name, text, tuple(labels), buckets=buckets, registry=None), name, labels)

    def _child(self, fresh: M, name: str, labels: dict[str, str]) -> M:
        family = self._families.get(name)
        if family is None:
            self.registry.register(fresh)
            family = self._families[name] = fresh
        assert isinstance(family, type(fresh)), f"{name} is a {type(family).__name__}"
        return family.labels(**labels) if labels else family

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
