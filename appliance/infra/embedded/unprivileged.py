"""Run PostgreSQL, which refuses root and users without a name.  Root runs it in a user namespace.

In a user namespace (`unshare --user`) it sees itself as `nobody` while its files stay ours,
nothing on the system is touched, and the parent-death signal survives.  Where user namespaces are
closed (many containers), setpriv drops root to that user, keeping the one capability needed to
reach a state folder below root's home.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.domain.errors import PartUnavailable


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """A command prefix, and the uid that owns on disk what the program writes."""

    prefix: tuple[str, ...]
    owner: int

    def own(self, folder: Path) -> None:
        """Give `folder` to `owner`, whole, when an earlier run had to choose the other way."""
        if not folder.exists() or folder.stat().st_uid == self.owner:
            return
        for parent, folders, files in os.walk(folder):
            for name in (".", *folders, *files):
                os.chown(Path(parent, name), self.owner, self.owner, follow_symlinks=False)


def unprivileged() -> Unprivileged:
    """How PostgreSQL runs on this machine as this user; PartUnavailable if there is no way."""
    ours = os.geteuid()
    if ours != 0 and _has_a_name(ours):
        return Unprivileged((), ours)
    nobody = pwd.getpwnam("nobody").pw_uid
    if _works(_namespace(nobody)):
        return Unprivileged(_namespace(nobody), ours)
    if ours == 0 and _works(_dropped(nobody)):
        return Unprivileged(_dropped(nobody), nobody)
    raise PartUnavailable(
        "PostgreSQL refuses to run as root or as a user without a name, and neither user "
        "namespaces (`unshare --user`) nor `setpriv` work here: run as another user, or install "
        "util-linux",
        part="postgres",
    )


def _namespace(uid: int) -> tuple[str, ...]:
    return ("unshare", "--user", f"--map-user={uid}", f"--map-group={uid}", "--")


def _dropped(uid: int) -> tuple[str, ...]:
    reach = "-all,+dac_override"
    return (
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"),
        *(f"--bounding-set={reach}", f"--inh-caps={reach}", f"--ambient-caps={reach}"),
        # Changing the uid clears the parent-death signal: setpriv sets it again, to PostgreSQL's.
        *("--pdeathsig=SIGQUIT", "--"),
    )


def _has_a_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _works(prefix: Sequence[str]) -> bool:
    if shutil.which(prefix[0]) is None:
        return False
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
