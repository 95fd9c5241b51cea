"""Bring `buf/validate/validate.proto` into the checkout and generate its Python module.

protovalidate's wheel carries the rules as compiled code, not the .proto that our own protos import.  The
file is in the jar of the same project, so it is taken from there: by coordinate, checked against a pinned
hash.  Neither the file nor the module is committed (git ignores `/buf/`); the wheel contains both.
"""

import hashlib
import sys
import time
import zipfile
from pathlib import Path

from jgo import MavenContext  # type: ignore[attr-defined]  # jgo does not list what it exports

from tools.protoc import ROOT, VALIDATE_PROTO, ProtocRefused, run_protoc

GROUP, ARTIFACT, VERSION = "build.buf", "protovalidate", "1.0.0"
JAR_SHA256 = "ab46f3629dd7fcb69981c55924a1c7416ad2c0cf54eb7ab7459923c1c3664632"
RETRY_PAUSES_S = (2, 5, 10)
MEMBER = "buf/validate/validate.proto"
PACKAGES = {
    "buf": "Generated: the namespace of protovalidate's own protos.",
    "buf/validate": "Generated: protovalidate's rules as protobuf options.",
}


class JarWrong(Exception):
    """The jar did not arrive, or is not the one this file names."""


def fetch_jar() -> Path:
    """The jar in the local Maven repository, downloaded only if it is not there.  Raises `JarWrong`."""
    artifact = MavenContext().project(GROUP, ARTIFACT).at_version(VERSION).artifact()
    for pause_s in RETRY_PAUSES_S:
        try:
            return Path(artifact.resolve())
        except OSError as error:  # every error of the HTTP library is one
            print(f"{ARTIFACT} {VERSION} could not be fetched ({error}); again in {pause_s} s", file=sys.stderr)
            time.sleep(pause_s)
    raise JarWrong(
        f"{GROUP}:{ARTIFACT}:{VERSION} could not be fetched, see the lines above: the Maven repository that jgo uses "
        "must be reachable once (behind a proxy with its own certificate, set REQUESTS_CA_BUNDLE).  Then `make setup`."
    )


def check_jar(jar: Path) -> None:
    """Raise `JarWrong` unless `jar` has the pinned hash."""
    found = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found != JAR_SHA256:
        raise JarWrong(
            f"{jar} has SHA-256 {found}, expected {JAR_SHA256}: a broken or foreign download. "
            "Delete the file and run `make setup` again; if it comes back the same, do not use it."
        )


def extract(jar: Path) -> None:
    """Write the .proto, and the `__init__.py` of each package above it, into the checkout."""
    VALIDATE_PROTO.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(jar) as archive:
        VALIDATE_PROTO.write_bytes(archive.read(MEMBER))
    for package, sentence in PACKAGES.items():
        (ROOT / package / "__init__.py").write_text(f'"""{sentence}"""\n')
    (ROOT / "buf" / "py.typed").touch()


def generate() -> None:
    """Generate `buf/validate/validate_pb2.py` and its stub."""
    run_protoc([VALIDATE_PROTO], roots=[ROOT], outputs=[f"--python_out={ROOT}", f"--mypy_out=quiet:{ROOT}"])


def main() -> int:
    """Fetch, check, extract, generate; 0 when all is in place."""
    try:
        jar = fetch_jar()
        check_jar(jar)
        extract(jar)
        generate()
    except (JarWrong, ProtocRefused) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
