"""What a drill of sagas found, for people and for programs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from bennu.drill.limits import SHOWN
from bennu.drill.result import Result
from bennu.drill.saga_journals import COMPENSATED, COMPENSATION_FAILED, COMPLETED, Sagas


@dataclass
class SagaResult:
    """Of all sagas, and of the commands that began them."""

    answers: Result = field(default_factory=Result)
    sagas: Sagas = field(default_factory=Sagas)
    stuck: list[str] = field(default_factory=list)
    kills: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    """From the first command to the last end."""

    @property
    def problems(self) -> list[str]:
        """Everything that must not be, in words."""
        return self.answers.problems

    def judge(self, sagas: Sagas, asked: Collection[str]) -> None:
        """Each of those asked for, and each that began, has ended; none twice (I8)."""
        self.sagas, self.stuck = sagas, sagas.stuck(asked)
        for what, names in (("have not ended", self.stuck), ("began or ended more than once", sagas.twice())):
            if names:
                self.problems.append(f"{len(names)} sagas {what}: {', '.join(names[:SHOWN])}")

    def numbers(self) -> dict[str, object]:
        """For a program."""
        started, answers = sum(self.sagas.started.values()), self.answers
        return {
            "started": started,
            "completed": self.sagas.count(COMPLETED),
            "compensated": self.sagas.count(COMPENSATED),
            "compensation_failed": self.sagas.count(COMPENSATION_FAILED),
            "stuck": len(self.stuck),
            "money_conserved": answers.money_conserved,
            "sagas_per_second": round(started / self.seconds, 1) if self.seconds else None,
            "digests_equal": answers.digests_equal,
            **answers.counts(),
            "retried": answers.retried,
            "made_void": answers.made_void,
            "kills": dict(self.kills),
            "problems": self.problems,
        }

    def lines(self) -> list[str]:
        """For a person."""
        told = ((name.replace("_", " "), value) for name, value in self.numbers().items() if name != "problems")
        return [*(f"{name:24} {value}" for name, value in told), *(f"WRONG: {problem}" for problem in self.problems)]
