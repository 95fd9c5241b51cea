"""A traveller's mailbox: what is full takes nothing more until its owner has read."""

from bennu.domain import Aggregate, Rejection, State, decides, evolves
from travel.v1.travel_pb2 import MailRead, Notified, Notify, ReadMail

LETTERS = 3
"""That it takes."""


class Mailbox(State):
    """Letters that were not read."""

    unread: int = 0


class MailboxRules(Aggregate[Mailbox]):
    """What a mailbox takes, and how it changes."""

    @decides
    def notify(self, state: Mailbox, command: Notify) -> Notified | Rejection:
        if state.unread == LETTERS:
            return Rejection("mailbox_full", f"{LETTERS} letters were not read")
        return Notified(traveller=command.traveller, trip=command.trip)

    @decides
    def read(self, state: Mailbox, command: ReadMail) -> MailRead:
        return MailRead(traveller=command.traveller)

    @evolves
    def notified(self, state: Mailbox, event: Notified) -> None:
        state.unread += 1

    @evolves
    def was_read(self, state: Mailbox, event: MailRead) -> None:
        state.unread = 0
