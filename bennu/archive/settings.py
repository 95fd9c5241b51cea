"""What the archiver is told."""

from typing import ClassVar

from pydantic import Field

from bennu.archive.limits import SEGMENT_AGE_S, SEGMENT_BYTES
from bennu.ops.settings import ServiceSettings


class ArchiverSettings(ServiceSettings):
    """The shared settings, of which `archive` is where it writes, and when it seals and ends."""

    service: ClassVar[str] = "archiver"
    program: ClassVar[str] = "bennu archive"
    aliases: ClassVar[dict[str, str]] = {"archive": "--to"}

    archive: str = Field(description="folder of the archive: this process writes to it, services read from it")
    segment_bytes: int = Field(
        SEGMENT_BYTES, ge=1, le=1 << 30, description="a segment is sealed once it has so many bytes"
    )
    segment_age_s: int = Field(SEGMENT_AGE_S, ge=1, le=7 * 86_400, description="a segment is sealed once it is so old")
    once: bool = Field(False, description="copy what is there now, say what was copied, and end")
