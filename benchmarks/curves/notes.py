"""An app for payloads of any size, which no field of the bank may have: a note that is written over again and again."""

from benchmarks.curves.notes_messages import NOTES, GetNote, NoteView, Write, Written
from bennu.domain import Accepted, Aggregate, App, State, answers, decides, evolves


class Note(State):
    """Its text as it is now, and how often it was written."""

    text: str = ""
    written: int = 0


class NoteRules(Aggregate[Note]):
    """A note keeps what was written last.  The answer is short whatever the text, so that what is sent counts alone."""

    @decides
    def write(self, state: Note, command: Write) -> Accepted:
        view = NoteView(note=command.note, length=len(command.text), written=state.written + 1)
        return Accepted([Written(note=command.note, text=command.text)], view)

    @evolves
    def was_written(self, state: Note, event: Written) -> None:
        state.text = event.text
        state.written += 1

    @answers
    def get(self, state: Note, query: GetNote) -> NoteView:
        return NoteView(note=query.note, length=len(state.text), written=state.written)


app = App("notes", service=NOTES, aggregates=(NoteRules,))
