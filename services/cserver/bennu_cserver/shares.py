"""Commands that clients have waiting, of a bounded whole: each may have as much as is still free, as in `inbox.py`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Shares:
    """Counts by client; one that has nothing waiting is not remembered."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._all = 0
        self._by_client: Counter[str] = Counter()

    def full(self, client: str) -> bool:
        """Whether this client must come again later."""
        return self._all + self._by_client[client] >= self._bound

    @contextmanager
    def held(self, client: str, commands: int) -> Iterator[None]:
        """So many wait while the block runs."""
        self._all += commands
        self._by_client[client] += commands
        try:
            yield
        finally:
            self._all -= commands
            self._by_client[client] -= commands
            if not self._by_client[client]:
                del self._by_client[client]
