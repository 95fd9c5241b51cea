"""`make bench`: everything measured in one run, and written into docs/benchmarks.md with its plots.

What stands in the page between `<!-- run: NAME -->` and `<!-- end -->` is written anew from the run; all other text is
written by hand and stays.  The run itself is kept as docs/benchmarks.json, from which the page can be made again.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from benchmarks import told
from benchmarks.contest.machine import machine
from benchmarks.serving import LOGS
from bennu.cli.programs import ROOT
from bennu.errors import BadSettings, Unavailable

PAGE = ROOT / "docs" / "benchmarks.md"
RUN = ROOT / "docs" / "benchmarks.json"
PLOTS = ROOT / "docs" / "benchmarks"
ONCE = ("commands", "growth")
"""Parts that are measured once: the first takes both logs by turns, the other the embedded one."""
BY_LOG = ("replay", "snapshot", "projections", "sagas", "failover")
BEGIN, END = "<!-- run: {} -->", "<!-- end -->"

Run = dict[str, Any]


def report(
    *,
    again: Annotated[bool, typer.Option("--again", help="Measure nothing: write the page from the last run.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Measure this part alone, and keep the rest of the last run.")
    ] = None,
) -> None:
    """Measure everything, for three quarters of an hour; write docs/benchmarks.md, its plots, and the run as JSON."""
    run: Run = json.loads(RUN.read_text()) if (again or only) and RUN.exists() else {}
    if not again:
        run |= measured(only or [*ONCE, *BY_LOG])
        RUN.write_text(json.dumps(run, indent=1) + "\n")
    PAGE.write_text(written(PAGE.read_text(), told.sections(run)))
    PLOTS.mkdir(exist_ok=True)
    for name, plot in told.plots(run).items():
        (PLOTS / f"{name}.svg").write_text(plot)
    typer.echo(f"written: {PAGE.relative_to(ROOT)}")


def measured(parts: Sequence[str]) -> Run:
    """What each part says, those that run on either log by the log.  Raises `Unavailable` for one that failed."""
    if unknown := set(parts) - {*ONCE, *BY_LOG}:
        raise BadSettings(f"--only {', '.join(sorted(unknown))}: there are {', '.join((*ONCE, *BY_LOG))}")
    found: Run = {"machine": machine()}
    for part in parts:
        if part in ONCE:
            found[part] = _last_line(part)
        else:
            found[part] = {log: _last_line(part, "--log", log) for log in LOGS}
    return found


def _last_line(*flags: str) -> Run:
    """Of `bennu bench FLAGS --json`, each in a process of its own, one after another."""
    typer.echo(f"bennu bench {' '.join(flags)}", err=True)
    command = [sys.executable, "-m", "bennu.cli.main", "bench", *flags, "--json"]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    if ran.returncode:
        raise Unavailable(f"bennu bench {' '.join(flags)} ended with code {ran.returncode}:\n{ran.stdout[-2000:]}")
    found: Run = json.loads(ran.stdout.splitlines()[-1])
    return found


def written(page: str, sections: dict[str, str]) -> str:
    """The page with these sections.  Raises `BadSettings` for one that it has no place for, or that does not end."""
    for name, text in sections.items():
        begin = BEGIN.format(name)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(END)
        if not found or not ended:
            raise BadSettings(
                f"the page has no `{begin}` that ends with `{END}`: put it where the figures are to stand"
            )
        page = f"{before}{begin}\n\n{text.strip()}\n\n{END}{after}"
    return page
