"""`bennu bench`: what is measured of a running Bennu.  The other `benchmarks/*.py` have smaller things."""

import sys

import typer

from benchmarks import commands, failover, growth, hot_partition, projections, replay, report, sagas, snapshot
from bennu.cli.told import run_told


def build() -> typer.Typer:
    """All measurements."""
    app = typer.Typer(help="Measure, on this machine.", add_completion=False, pretty_exceptions_enable=False)

    @app.callback()
    def group() -> None:
        """Figures vary with the machine and what else it does: compare within one run."""

    app.command("commands")(commands.measure)
    app.command("failover")(failover.measure)
    app.command("growth")(growth.measure)
    app.command("hot-partition")(hot_partition.measure)
    app.command("projections")(projections.measure)
    app.command("replay")(replay.measure)
    app.command("report")(report.report)
    app.command("sagas")(sagas.measure)
    app.command("snapshot")(snapshot.measure)
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu bench"))
