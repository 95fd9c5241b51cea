"""The repository judges itself: the budgets and habits of CONTRIBUTING.md, over every file that git would keep."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAX_FILE_LINES = 350
MAX_BODY_LINES = 40
MAX_PARAMETERS = 5
MAX_POSITIONAL = 3
MAX_WRITE_PATH_LINES = 150

GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")
MEASURED = (".py", ".proto", ".sql", ".sh", ".toml", ".yaml", ".conf", "Makefile", "run")

BROAD_EXCEPTS = {
    ("bennu/ops/run.py", "run_service"): "the supervisor: whatever ends a process is said, once",
    ("bennu/replica/fold.py", "apply"): "whatever a domain's rule raises on replay, the record is named",
    ("bennu/replica/fold.py", "decide_all"): "whatever the rules of a domain raise, the other commands go on",
    ("bennu/replica/fold.py", "answer"): "a domain's query must not end the service",
    ("bennu/replica/stored.py", "load"): "an upcaster of states raises: an older snapshot or the journal serves",
    ("services/saga/bennu_saga/definitions.py", "call_rule"): "a saga whose rule raises fails; the others go on",
    ("services/qserver/bennu_qserver/made_up.py", "try_rule"): "a rule may refuse, in its own way, what is made up",
    ("services/qserver/bennu_qserver/manager.py", "_run"): "what is built must not end what people read",
    (
        "services/qserver/bennu_qserver/reconcile/__main__.py",
        "main",
    ): "an error of ours must not look like a difference",
    ("bennu/explore/judge.py", "checked"): "a scenario's check may be as wrong as what it checks",
    ("bennu/log/sqlite_thread.py", "run"): "a thread's failure is whose who waits for it, whatever it is",
    ("bennu/stack/owned.py", "__enter__"): "cleans up and raises again, for Ctrl-C too: no process may be left over",
    ("bennu/stack/owned.py", "__aenter__"): "the same, for `async with`",
}
"""(file, function) → why it may catch everything."""

SIGNATURES_OF_OTHERS = {
    ("examples/bank/demo.py", "demo"): "typer makes a flag of each parameter",
    ("examples/bank/drill_failover.py", "failover"): "typer makes a flag of each parameter",
    ("examples/bank/drill_projections.py", "projections"): "typer makes a flag of each parameter",
    ("examples/bank/drill_restore.py", "restore"): "typer makes a flag of each parameter",
    ("examples/bank/drill_sagas.py", "sagas"): "typer makes a flag of each parameter",
    ("benchmarks/hot_partition.py", "measure"): "typer makes a flag of each parameter",
    ("benchmarks/projections.py", "measure"): "typer makes a flag of each parameter",
    ("benchmarks/replay.py", "measure"): "typer makes a flag of each parameter",
    ("benchmarks/sagas.py", "measure"): "typer makes a flag of each parameter",
    ("benchmarks/snapshot.py", "measure"): "typer makes a flag of each parameter",
    ("bennu/explore/__main__.py", "explore"): "typer makes a flag of each parameter",
    ("services/qserver/bennu_qserver/reconcile/command.py", "reconcile"): "typer makes a flag of each parameter",
    ("bennu/cli/snapshots.py", "snapshot"): "typer makes a flag of each parameter",
    ("bennu/domain/app.py", "__init__"): "a declaration: one keyword for each part of a domain",
}
"""(file, function) → who else decides its parameters."""

HOSTS = tuple(
    f"{name}.{domain}"
    for name, domain in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("maven", "org"),
        ("maven.apache", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("buf", "build/"),
        ("docker", "io"),
        ("ghcr", "io"),
    )
)
"""Registries, assembled here so that this file may be searched too."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """A Python file: its path from the root, and what it says."""

    path: str
    tree: ast.Module

    @property
    def is_test(self) -> bool:
        """Whether it belongs to the tests."""
        return self.path.startswith("tests/")


class Scope(NamedTuple):
    """A function with what must be known to judge it."""

    function: Function
    in_class: bool


def kept_files() -> list[str]:
    """Tracked files, and untracked ones that git would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (ROOT / name).is_file())


FILES = kept_files()
MODULES = [
    Module(name, ast.parse((ROOT / name).read_text(), filename=name))
    for name in FILES
    if name.endswith(".py") and not name.endswith(GENERATED)
]


def functions(tree: ast.AST, *, in_class: bool = False) -> Iterator[Scope]:
    """Every function, nested ones too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield Scope(node, in_class)
        yield from functions(node, in_class=isinstance(node, ast.ClassDef))


def body_lines(function: Function) -> int:
    """Lines of the body, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    last = function.end_lineno
    assert last is not None
    return last - body[0].lineno + 1


def own_positional(scope: Scope) -> list[str]:
    """Positional parameters, `self` and `cls` aside."""
    arguments = scope.function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in scope.function.decorator_list)
    method = (scope.in_class and not static) or names[:1] == ["self"]  # also one that stands in for another's
    return names[1:] if method else names


def called_by_others(module: Module, scope: Scope) -> bool:
    """Whether the signature is not ours to choose: Python's own protocols, what pytest or typer fills, a library's."""
    name = scope.function.name
    dunder = name.startswith("__") and name.endswith("__") and name not in {"__init__", "__new__", "__call__"}
    filled_by_pytest = module.is_test and (name.startswith("test_") or is_fixture(scope.function))
    filled_by_typer = any(".command" in ast.unparse(decorator) for decorator in scope.function.decorator_list)
    return dunder or filled_by_pytest or filled_by_typer or (module.path, name) in SIGNATURES_OF_OTHERS


def is_fixture(function: Function) -> bool:
    """Whether pytest calls it to make a value for tests."""
    return any("fixture" in ast.unparse(decorator) for decorator in function.decorator_list)


def catches_all(node: ast.AST) -> bool:
    """`except:`, `except Exception`, `except BaseException`, alone or in a tuple, and `suppress` of the same."""
    if isinstance(node, ast.ExceptHandler):
        caught = [node.type]
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
        caught = list(node.args)
    else:
        return False
    flat = [part for each in caught for part in (each.elts if isinstance(each, ast.Tuple) else [each])]
    return any(part is None or ast.unparse(part) in {"Exception", "BaseException"} for part in flat)


def broad_excepts(module: Module) -> set[tuple[str, str]]:
    """(file, innermost function) of every place that catches everything."""
    found = set()

    def visit(node: ast.AST, inside: str) -> None:
        if catches_all(node):
            found.add((module.path, inside))
        name = node.name if isinstance(node, Function) else inside
        for child in ast.iter_child_nodes(node):
            visit(child, name)

    visit(module.tree, "")
    return found


def offences(judge: Callable[[Module, Scope], str | None]) -> list[str]:
    """What `judge` finds at fault, as `file:line name: fault`."""
    return [
        f"{module.path}:{scope.function.lineno} {scope.function.name}: {fault}"
        for module in MODULES
        for scope in functions(module.tree)
        if (fault := judge(module, scope))
    ]


def report(faults: list[str], advice: str) -> None:
    """Fail with all faults at once."""
    if faults:
        pytest.fail("\n  ".join([f"{len(faults)} × {advice}", *faults]), pytrace=False)


def text_of(name: str) -> str:
    """A file's text; what is not UTF-8 is not text."""
    try:
        return (ROOT / name).read_text()
    except UnicodeDecodeError:
        return ""


def test_no_file_is_longer_than_its_budget() -> None:
    """A file is read in one sitting."""
    names = [name for name in FILES if name.endswith(MEASURED) and not name.endswith(GENERATED)]
    lengths = {name: len(text_of(name).splitlines()) for name in names}
    faults = [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > MAX_FILE_LINES]
    report(faults, f"over {MAX_FILE_LINES} lines: split it by concept")


def test_no_function_is_longer_than_its_budget() -> None:
    """A function fits on a screen."""

    def judge(_module: Module, scope: Scope) -> str | None:
        lines = body_lines(scope.function)
        return f"{lines} lines" if lines > MAX_BODY_LINES else None

    report(offences(judge), f"over {MAX_BODY_LINES} lines: name a part of it")


def test_no_function_takes_too_many_parameters() -> None:
    """Five parameters are the most, and from the third on a caller names them."""

    def judge(module: Module, scope: Scope) -> str | None:
        positional, named = own_positional(scope), scope.function.args.kwonlyargs
        if called_by_others(module, scope):
            return None
        if len(positional) + len(named) > MAX_PARAMETERS:
            return f"{len(positional) + len(named)} parameters"
        return f"{len(positional)} positional" if len(positional) > MAX_POSITIONAL else None

    report(offences(judge), f"over {MAX_PARAMETERS} parameters, or over {MAX_POSITIONAL} before the `*`")


def test_every_module_says_what_it_is_for() -> None:
    """A module opens with a docstring."""
    faults = [module.path for module in MODULES if not ast.get_docstring(module.tree)]
    report(faults, "no module docstring: say in a sentence what it is for")


def test_every_test_states_its_rule_in_a_sentence() -> None:
    """A test's docstring is the rule that it holds the code to."""

    def judge(module: Module, scope: Scope) -> str | None:
        if not (module.is_test and scope.function.name.startswith("test_")):
            return None
        said = ast.get_docstring(scope.function) or ""
        return None if said.split("\n\n")[0].rstrip().endswith((".", "!", "?")) else "no sentence"

    report(offences(judge), "state the rule in one sentence, as the docstring")


def test_only_named_places_catch_everything() -> None:
    """A broad `except` hides faults, so each one stands in a list with its reason, and the list has no idle entry."""
    found = {place for module in MODULES for place in broad_excepts(module)}
    report([f"{path} {name}" for path, name in sorted(found - BROAD_EXCEPTS.keys())], "catches everything: name errors")
    idle = sorted(BROAD_EXCEPTS.keys() - found)
    report([f"{path} {name}" for path, name in idle], "listed in BROAD_EXCEPTS and not there: remove the entry")


def test_tests_never_sleep_through_a_thread() -> None:
    """`time.sleep` makes tests slow, or flaky, or both: wait for what is meant to happen."""
    faults = [
        f"{module.path}:{node.lineno}"
        for module in MODULES
        if module.is_test
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep"
    ]
    report(faults, "time.sleep in a test")


def test_nothing_waits_by_wait_for() -> None:
    """Before Python 3.12 it loses a cancellation that comes just as its answer does: `asyncio.timeout` does not."""
    faults = [
        f"{module.path}:{node.lineno}"
        for module in MODULES
        if module.path.startswith(("bennu/", "services/"))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.wait_for"
    ]
    report(faults, "asyncio.wait_for: take asyncio.timeout")


def test_nothing_is_left_to_do_later() -> None:
    """What is unfinished is finished, or is an issue; a note in the code is neither."""
    note = re.compile("TO" + r"DO\b|FIX" + r"ME\b")
    faults = [
        f"{name}:{n}" for name in FILES for n, line in enumerate(text_of(name).splitlines(), 1) if note.search(line)
    ]
    report(faults, "note to finish something later")


def test_no_file_names_a_registry() -> None:
    """Where packages come from is the machine's affair: a host in a file breaks those behind a mirror."""
    faults = [f"{name}: {host}" for name in FILES for host in HOSTS if host in text_of(name)]
    faults += [f"{name}: a URL" for name in FILES if name.startswith("requirements/") and "://" in text_of(name)]
    report(faults, "registry named: use coordinates alone")


def test_generated_code_is_current() -> None:
    """What is committed below `bennu/v1` and the examples is what the protos give."""
    ran = subprocess.run(
        [sys.executable, "-m", "tools.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_write_path_is_one_page_that_the_readme_names() -> None:
    """What happens to a command stands in one file, and the README says which."""
    page = "services/cserver/bennu_cserver/command_loop.py"
    assert len((ROOT / page).read_text().splitlines()) <= MAX_WRITE_PATH_LINES
    assert page in (ROOT / "README.md").read_text()


def test_every_guarantee_names_tests_that_are_there() -> None:
    """The table of the README says which test shows what; a test that was renamed shows nothing."""
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "README.md").read_text())
    assert len(named) > 20
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / "tests" / path).read_text()]
    assert not missing
