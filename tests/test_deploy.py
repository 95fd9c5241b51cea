"""What we ship holds together: the files under `deploy/`, checked without an engine, and the wheel."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from bennu.ops import names

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "bennu"}

WHILE_THE_COMMAND_LINE_IS_AWAY = pytest.mark.skipif(
    find_spec("bennu.cli") is None or find_spec("bennu.cli.main") is None, reason="bennu.cli.main is not written yet"
)


def copied() -> Iterator[str]:
    """What the Dockerfile takes from the repository."""
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        yield from line.split()[:-1]


def commands() -> Iterator[tuple[str, ...]]:
    """The `bennu` commands that the compose file and the Makefile give."""
    yield from (tuple(service["command"]) for service in OURS.values() if "command" in service)
    for line in re.findall(r"^\t\$\(BIN\)/bennu (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE):
        yield tuple(re.match(r"[a-z ]+", line)[0].split())  # type: ignore[index]  # the target's name matches


def allowed_into_the_build(path: str) -> bool:
    """Whether `.dockerignore`, which excludes everything first, lets the path in again."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return any(path == kept or path.startswith(f"{kept}/") for kept in (line[1:] for line in lines if line[:1] == "!"))


@pytest.mark.parametrize("path", sorted(set(copied())))
def test_the_image_is_built_from_files_that_exist(path: str) -> None:
    """Each source of a COPY is in the repository and in the build's context."""
    assert (ROOT / path).exists()
    assert allowed_into_the_build(path)


def test_the_image_installs_by_hash_and_runs_without_rights() -> None:
    """Every package of the image is pinned by its hash, and its process isn't root."""
    installs = [line for line in DOCKERFILE.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["bennu"]' in DOCKERFILE


@WHILE_THE_COMMAND_LINE_IS_AWAY
@pytest.mark.parametrize("command", sorted(set(commands())), ids=" ".join)
def test_every_command_given_is_one_that_bennu_has(command: tuple[str, ...]) -> None:
    """What the compose file and the Makefile call has a help page."""
    call = [sys.executable, "-c", "from bennu.cli.main import main; main()", *command, "--help"]
    ran = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", sorted(name for name, service in OURS.items() if "entrypoint" in service))
def test_every_service_started_is_a_package_of_ours(name: str) -> None:
    """A service runs the module of its own name."""
    assert OURS[name]["entrypoint"] == ["python", "-m", f"bennu_{name}"]
    assert (ROOT / "services" / name / f"bennu_{name}").is_dir()


def test_every_variable_is_a_setting() -> None:
    """Services refuse variables that nobody knows, so the compose file gives none."""
    given = {variable for service in OURS.values() for variable in service["environment"]}
    known = {f"BENNU_{name.upper()}" for name in names.known()}
    assert {variable for variable in given if variable.startswith("BENNU_")} <= known


def test_ports_are_published_on_loopback_alone() -> None:
    """Nothing here is encrypted, so nobody else on the network may reach it."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.rpartition(":")[0] for port in published}) == len(published)


def test_rocketmq_cannot_be_administered_from_outside() -> None:
    """RocketMQ's ports let anybody administer it, so they stay inside the network."""
    assert not [name for name, service in SERVICES.items() if "rocketmq" in service["image"] and "ports" in service]


def test_everything_waited_for_says_when_it_is_ready() -> None:
    """A service that another waits for has a healthcheck, or is one that ends."""
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            ends = wait["condition"] == "service_completed_successfully"
            assert ends or "healthcheck" in SERVICES[other], other


def test_every_file_mounted_exists() -> None:
    """A mount of a missing file makes an empty folder in its place."""
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())]
    assert all((DEPLOY / mount).exists() if mount[0] == "." else mount in COMPOSE["volumes"] for mount in mounts)


def test_the_broker_keeps_what_it_acknowledged() -> None:
    """The broker's settings are those on which Bennu's promises rest, and agree with the ports used."""
    lines = (line for line in (DEPLOY / "broker.conf").read_text().splitlines() if line and line[0] != "#")
    settings = dict(line.split("=", 1) for line in lines)
    assert settings["flushDiskType"] == "SYNC_FLUSH"
    assert settings["cleanFileForciblyEnable"] == "false"
    assert settings["autoCreateTopicEnable"] == "false"
    assert int(settings["fileReservedTime"]) >= 168
    proxy = json.loads((DEPLOY / "rmq-proxy.json").read_text())
    assert OURS["cserver"]["environment"]["BENNU_LOG"] == (
        f"rocketmq://proxy:{proxy['remotingListenPort']}?namesrv={proxy['namesrvAddr']}"
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_every_package(wheel: set[str]) -> None:
    """Locks, migrations and markers of types are installed with the code that reads them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "bennu", "services"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    there = [name for name in listed if (ROOT / name).is_file()]
    assert {re.sub(r"^services/\w+/", "", name) for name in there} <= wheel
    assert "bennu/stack/jars.lock" in wheel


def test_the_wheel_holds_what_the_repository_does_not(wheel: set[str]) -> None:
    """Our protos import protovalidate's, so the module generated from it comes with us."""
    assert {"buf/validate/validate.proto", "buf/validate/validate_pb2.py", "buf/validate/validate_pb2.pyi"} <= wheel
    assert not [name for name in wheel if name.startswith(("tests/", "tools/", "bank/"))]


def test_services_are_not_the_first_process_of_their_container() -> None:
    """The kernel keeps SIGTERM from a first process that does not handle it yet: it would start, and be killed."""
    assert all(service["init"] for service in OURS.values() if service["restart"] == "unless-stopped")
