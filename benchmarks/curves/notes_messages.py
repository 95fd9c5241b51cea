"""The messages of `notes`."""

from bennu.testing.messages import NUMBER, TEXT, described

NOTES, (Write, Written, GetNote, NoteView) = described(
    "notes.v1.Notes",
    {
        "Write": {"note": TEXT, "text": TEXT},
        "Written": {"note": TEXT, "text": TEXT},
        "GetNote": {"note": TEXT},
        "NoteView": {"note": TEXT, "length": NUMBER, "written": NUMBER},
    },
    inputs=("Write", "GetNote"),
    output="NoteView",
)
