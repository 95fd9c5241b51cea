"""Keeps secrets out of text for people: passwords in URLs, keys by name, and the exact values of settings."""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

MASK = "***"

_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*):\S+@")
_NAMED = re.compile(
    r"((?:password|passwd|passfile|secret|secret[_-]?key|access[_-]?key|token)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+",
    re.IGNORECASE,
)
_SECRET_KEY = re.compile(r"password|passwd|secret|access_key|dsn|postgres_url", re.IGNORECASE)
_SHORTEST = 4


class Redactor:
    """Masks secrets in texts and, as a structlog processor, in whole log lines."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # A secret of a few letters would mask parts of ordinary words and tell more than it hides.
        self._secrets = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The same text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _NAMED.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\1:{MASK}@", text))

    def value(self, value: object) -> object:
        """The same value; what isn't plain data becomes text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(k)): MASK if _SECRET_KEY.search(str(k)) else self.value(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(value if isinstance(value, str) else repr(value))

    def __call__(self, *call: Any) -> MutableMapping[str, Any]:  # noqa: ANN401 - logger, method and event, as structlog has them
        """A structlog processor, the last one before the line is rendered."""
        event: MutableMapping[str, Any] = call[-1]
        for key, value in event.items():
            if not key.startswith("_"):  # structlog's own, taken out by its formatter
                event[key] = MASK if value and _SECRET_KEY.search(key) else self.value(value)
        return event
