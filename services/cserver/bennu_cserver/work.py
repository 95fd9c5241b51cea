"""A batch of commands that came from outside, on its way to replies."""

from typing import NamedTuple

from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.origins import NO_ORIGIN, origin_at
from bennu_cserver.routes import Routes
from bennu_cserver.submission import Prepared, Reply


class Work(NamedTuple):
    """Element i of each list belongs to command i."""

    ids: list[str]
    replies: list[Reply | None]
    groups: dict[int, tuple[list[int], list[Prepared]]]
    """By partition: the indexes of its commands, and these."""

    @classmethod
    def of(cls, batch: CommandBatch) -> "Work":
        """Nothing is prepared yet."""
        count = len(batch.payloads)
        return cls(list(batch.command_ids) or [""] * count, [None] * count, {})

    def prepare(
        self, batch: CommandBatch, part: range, intake: Intake, *, routes: Routes, by: Origin = NO_ORIGIN
    ) -> None:
        """Some of the commands; what is refused has its reply.  `by`: who asks, where the batch does not say."""
        command, ids, types = intake.command, self.ids, batch.types
        for i in part:
            origin = origin_at(batch, i) if batch.origins else by
            try:
                prepared = command(types[batch.type_indexes[i]], batch.payloads[i], ids[i] or None, origin=origin)
            except Refused as refused:
                self.replies[i] = refused.reply
                continue
            ids[i] = prepared.command_id
            indexes, commands = self.groups.setdefault(routes.partition_of(prepared), ([], []))
            indexes.append(i)
            commands.append(prepared)
