"""The messages of an app that exists in two builds."""

from bennu.testing.messages import NUMBER, TEXT, described

BOXES, (Fill, GetBox, BoxView, Filled1, Filled2, Filled3) = described(
    "builds.v1.Boxes",
    {
        "Fill": {"box": TEXT, "amount": NUMBER},
        "GetBox": {"box": TEXT},
        "BoxView": {"box": TEXT, "content": NUMBER},
        "Filled1": {"box": TEXT, "amount": NUMBER},
        "Filled2": {"box": TEXT, "amount": NUMBER, "unit": TEXT},
        "Filled3": {"box": TEXT, "grams": NUMBER},
    },
    inputs=("Fill", "GetBox"),
    output="BoxView",
)
