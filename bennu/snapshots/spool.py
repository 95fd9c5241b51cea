"""A snapshot that was made, in a file without a name: its state goes on while it is written to Postgres at leisure."""

from collections.abc import Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import IO

from bennu.replica.slices import SLICE_BYTES
from bennu.snapshots.format import Draft, Header
from bennu.snapshots.limits import CHUNK_BYTES
from bennu.snapshots.pace import Turn, give_way


class Spool:
    """As a `Draft`, but nothing has to stand still for it.  Close it."""

    def __init__(self, topic: str, header: Header, file: IO[bytes]) -> None:
        self.topic = topic
        self._header = header
        self._file = file

    @classmethod
    async def of(cls, draft: Draft, *, turn: Turn = give_way) -> "Spool":
        """All of this draft; its state must stand still until then.  Raises `OSError` when there is no room."""
        with ExitStack() as unless_done:
            file = unless_done.enter_context(TemporaryFile())
            for chunk in draft.chunks():
                if chunk is None:
                    await turn()
                else:
                    file.write(chunk)
            unless_done.pop_all()
        return cls(draft.topic, draft.header(), file)

    def chunks(self) -> Iterator[bytes | None]:
        """The chunks; None wherever others should have a turn."""
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk
            yield from [None] * (1 + len(chunk) // SLICE_BYTES)

    def header(self) -> Header:
        """Of the chunks."""
        return self._header

    def close(self) -> None:
        """The file is gone."""
        self._file.close()
