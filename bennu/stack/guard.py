"""The parent of one server process: it ends the server when the owner dies, however the owner dies.

Run by path, with nothing but the standard library, so that it starts in a few milliseconds:

    python -I -S guard.py UID GID PROGRAM ARGUMENT…

The owner holds the other end of standard input.  Each byte read from it is a signal to pass on; its end (the owner
closed it, or died) means SIGKILL.  When the server is gone, so is every process that it started: the guard adopts
them, ends them, and leaves with the server's own exit status.

Why not PR_SET_PDEATHSIG alone: it fires when the *thread* that forked ends, and an owner forks from pool threads.
The guard has one thread, so here it is safe, and it covers the one case left: the guard itself being killed.
"""

import ctypes
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIFELINE = 0
NOT_STARTED = 127
"""The exit status when the program could not be run at all, as in a shell."""


def main(arguments: list[str]) -> int:
    """Start the server, pass signals on, and return its exit status."""
    uid, gid, *command = arguments
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    server = os.fork()
    if server == 0:
        become(command, uid=int(uid), gid=int(gid), guard=os.getppid())
    say(f"pid {server} runs {command[0]}")
    status = watch(server, wake)
    end_orphans()
    return status


def become(command: list[str], *, uid: int, gid: int, guard: int) -> None:
    """Turn this process into the server; never returns."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if os.getuid() != uid:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid: changing the user clears this setting.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(NOT_STARTED)
    os.dup2(os.open(os.devnull, os.O_RDONLY), LIFELINE)
    try:
        os.execv(command[0], command)
    except OSError as problem:
        say(f"cannot run {command[0]}: {problem}")
        os._exit(NOT_STARTED)


def watch(server: int, wake: int) -> int:
    """Wait for the end of the server or of the owner, whichever comes first."""
    while True:
        readable, _, _ = select.select([LIFELINE, wake], [], [])
        ended, status = os.waitpid(server, os.WNOHANG)
        if ended:
            return exit_status(status)
        if LIFELINE not in readable:
            os.read(wake, 64)
            continue
        numbers = os.read(LIFELINE, 64)
        for number in numbers or bytes([signal.SIGKILL]):
            os.kill(server, number)
        if not numbers:
            return exit_status(os.waitpid(server, 0)[1])


def end_orphans() -> None:
    """Kill and collect what the server left: a new server must not meet the old one's sessions."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with suppress(ChildProcessError, FileNotFoundError):
        while True:
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            os.waitpid(-1, 0)


def prctl(option: int, value: int) -> None:
    """Linux's settings of a process; nothing to be done where one is missing."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def say(line: str) -> None:
    """A line in the server's output: `child.py` reads the process id from it."""
    sys.stdout.write(f"bennu: {line}\n")
    sys.stdout.flush()


def exit_status(status: int) -> int:
    """What a shell would show: 128 + the signal, or the exit code."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
