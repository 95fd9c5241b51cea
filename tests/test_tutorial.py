"""The tutorial, done as a reader does it: its files in an empty folder, its commands in a shell."""

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PENNY = (ROOT / "docs/tutorial/1-bank.md").read_text()
SHOP = (ROOT / "docs/tutorial/2-travel.md").read_text()
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def block(chapter: str, words: str, *, kind: str = "") -> str:
    """The one block of this kind with these words."""
    (found,) = (text for language, text in BLOCK.findall(chapter) if language == kind and words in text)
    return str(found)


def shell(folder: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """What a reader types, with Bennu on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHONPATH": ""}
    return subprocess.run(
        ["bash", "-ec", commands], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def followed(chapter: str, folder: Path) -> Path:
    """All of a chapter's files, and its code made from protos."""
    done = shell(folder, block(chapter, "mkdir", kind="sh"))
    assert done.returncode == 0, done.stderr
    (app,) = folder.iterdir()
    for name, content in FILE.findall(chapter):
        (app / name).write_text(content)
    done = shell(app, block(chapter, "grpc_tools.protoc", kind="sh"))
    assert done.returncode == 0, done.stderr
    return app


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that leave it as it is."""
    return followed(SHOP, tmp_path_factory.mktemp("chapter-two"))


@pytest.fixture
def mistaken(shop: Path) -> Iterator[Callable[[str, str], None]]:
    """Changes what the saga says, until the test is over."""
    saga = shop / "shop" / "saga.py"
    text = saga.read_text()

    def change(right: str, wrong: str) -> None:
        assert right in text
        saga.write_text(text.replace(right, wrong).replace("import Retry", "import NOTHING, Retry"))

    yield change
    saga.write_text(text)


def test_chapter_one(tmp_path: Path) -> None:
    """From an empty folder to an app whose tests pass."""
    app = followed(PENNY, tmp_path)
    done = shell(app, block(PENNY, "pytest", kind="sh"))
    assert "3 passed" in done.stdout, done.stdout


def test_the_tests_of_the_shop_pass(shop: Path) -> None:
    """As the chapter has them."""
    done = shell(shop, block(SHOP, "pytest", kind="sh"))
    assert "3 passed" in done.stdout, done.stdout


def test_the_shop_is_explored(shop: Path) -> None:
    """Nothing is wrong with the saga of three steps on any path with a fault."""
    done = shell(shop, "bennu explore shop.app:app Order --faults 1 --samples 100 --json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["complete"], found["failures"]) == (True, [])
    assert found["ends"].keys() == {"completed", "compensated"}


def test_the_planted_mistake_is_found(shop: Path, mistaken: Callable[[str, str], None]) -> None:
    """What the chapter shows is what explore prints."""
    wrong = block(SHOP, "compensation=NOTHING", kind="python").strip()
    mistaken(wrong.replace("NOTHING", "refund"), wrong)
    done = shell(shop, "bennu explore shop.app:app Order --faults 1 --samples 0")
    assert done.returncode == 1, done.stdout
    assert block(SHOP, "WRONG: check") in done.stdout


def test_a_forgotten_compensation_does_not_load(shop: Path, mistaken: Callable[[str, str], None]) -> None:
    """With the words that the chapter quotes."""
    mistaken(", compensation=release", "")
    (quoted,) = re.findall(r"^> (.*)$", SHOP, re.MULTILINE)
    assert quoted in shell(shop, "bennu explore shop.app:app Order").stderr


def test_a_failing_test_reads_as_shown(shop: Path) -> None:
    """The chapter's example of a message is the kit's."""
    program = """
        from tests.test_order import *
        story = order(accepted("reserve")).when(refused("charge", "insufficient_funds"))
        story.then(CancelOrder(order="o", reason="insufficient_funds"))
    """
    (shop / "failing.py").write_text(textwrap.dedent(program))
    assert block(SHOP, "expected: [CancelOrder") in shell(shop, "python failing.py").stderr


def test_the_trip_is_the_example_s(tmp_path: Path) -> None:
    """Its steps in the chapter are those that run."""
    saga = textwrap.dedent((ROOT / "examples/travel/saga.py").read_text())
    assert textwrap.indent(block(SHOP, "ANSWER_WITHIN_MS", kind="python"), "    ") in saga
