"""Text for people: one JSON object a line, and never a secret."""

import io
import json
import logging

import pytest
import structlog

from bennu.ops.logging import configure
from bennu.ops.redact import MASK, Redactor

SECRET = "s3cret-value"
DSN = f"postgresql://bank:{SECRET}@db.example:5432/bank"


def logged(secrets: tuple[str, ...] = (), /, **fields: object) -> str:
    """What one log line with these fields looks like."""
    stream = io.StringIO()
    configure("info", secrets=secrets, stream=stream)
    structlog.get_logger().info("happened", **fields)
    return stream.getvalue()


def test_a_line_is_one_json_object() -> None:
    """With what happened, when, and how bad; values stay what they are."""
    line = json.loads(logged(topic="bank-events-0", offset=17))
    assert (line["event"], line["level"], line["topic"], line["offset"]) == ("happened", "info", "bank-events-0", 17)
    assert line["at"].endswith("Z")


@pytest.mark.parametrize(
    "fields",
    [
        {"problem": f"can't reach {DSN}"},
        {"problem": RuntimeError(f"can't reach {DSN}")},
        {"problem": {"tried": [DSN, {"again": DSN}]}},
        {"postgres_dsn": SECRET},
        {"log_secret_key": SECRET},
        {"problem": f"secret_key={SECRET}&x=1"},
        {"problem": f'{{"password": "{SECRET}"}}'},
        {"problem": {"access_key": SECRET}},
    ],
)
def test_what_looks_like_a_secret_is_masked(fields: dict[str, object]) -> None:
    """Passwords in URLs and values under telling names, at any depth."""
    line = logged(**fields)
    assert SECRET not in line
    assert MASK in line


def test_a_secret_of_the_settings_is_masked_anywhere() -> None:
    """Whatever sentence it stands in, and in tracebacks."""
    stream = io.StringIO()
    configure("info", secrets=(SECRET,), stream=stream)
    try:
        raise RuntimeError(f"the peer did not like {SECRET}")
    except RuntimeError as error:
        structlog.get_logger().error("crashed", exc_info=error)
    assert SECRET not in stream.getvalue()
    assert "the peer did not like" in stream.getvalue()


def test_libraries_log_the_same_way() -> None:
    """The standard library's loggers come out as JSON too, through the same redaction."""
    stream = io.StringIO()
    configure("info", secrets=(SECRET,), stream=stream)
    logging.getLogger("some.library").warning("connected with %s", SECRET)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == (f"connected with {MASK}", "warning")


def test_a_level_hides_what_is_below() -> None:
    """`warning` shows no `info`."""
    stream = io.StringIO()
    configure("warning", stream=stream)
    structlog.get_logger().info("quiet")
    assert stream.getvalue() == ""


def test_short_values_do_not_mask_ordinary_words() -> None:
    """A secret of three letters would black out half of every line, and so tell what it is."""
    assert Redactor(["abc"]).text("abcdef") == "abcdef"
