"""A batch of commands that came from outside, on its way to replies."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple, cast

from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu_cserver.by_type import by_type
from bennu_cserver.intake import Intake, Refused
from bennu_cserver.origins import NO_ORIGIN, origins_of
from bennu_cserver.routes import Routes
from bennu_cserver.submission import Columns, Prepared, Reply

_id_of = attrgetter("command_id")


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
        columns = _columns(batch, part, self.ids, by=by)
        indexes = batch.type_indexes[part.start : part.stop]
        self._sort(part, by_type(batch.types, indexes, columns=columns, prepare=intake.commands), routes)

    def _sort(self, part: range, found: Sequence[Prepared | Refused], routes: Routes) -> None:
        """Under the partitions that they belong to; what is refused has its reply."""
        commands, places = cast(Sequence[Prepared], found), cast(Sequence[int], part)
        if Refused in set(map(type, found)):
            self.replies[part.start : part.stop] = [each.reply if isinstance(each, Refused) else None for each in found]
            places = [i for i, each in zip(part, found, strict=True) if isinstance(each, Prepared)]
            commands = [each for each in found if isinstance(each, Prepared)]
            for i, command in zip(places, commands, strict=True):
                self.ids[i] = command.command_id
        else:
            self.ids[part.start : part.stop] = map(_id_of, commands)
        numbers = routes.partitions_of(commands)
        groups = {number: self.groups.setdefault(number, ([], [])) for number in dict.fromkeys(numbers)}
        if len(groups) == 1:
            ((indexes, of_partition),) = groups.values()
            indexes.extend(places)
            of_partition.extend(commands)
            return
        for number, place, command in zip(numbers, places, commands, strict=True):
            indexes, of_partition = groups[number]
            indexes.append(place)
            of_partition.append(command)


def _columns(batch: CommandBatch, part: range, ids: Sequence[str], *, by: Origin) -> Columns:
    """Of a part of the batch: slices, for each look at a column of a message takes as long as all of a slice."""
    of_part = slice(part.start, part.stop)
    return Columns(batch.payloads[of_part], ids[of_part], origins_of(batch, part, by=by))
