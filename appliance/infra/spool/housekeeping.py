"""What the spool does on the disk beside the requests.  Every function blocks: call it in a
thread."""

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from appliance.infra.spool.folder import adopt, started_ms
from appliance.infra.spool.journal import Journal

log = logging.getLogger("appliance.spool")


def sync(finished: Iterable[int], active: int) -> None:
    """Sync sealed segments and close them, then the active one (-1: none).  Raises OSError, after
    all were tried."""
    failed: OSError | None = None
    for handle in [*finished, active]:
        try:
            if handle >= 0:
                os.fdatasync(handle)
        except OSError as exc:
            failed = exc
        if handle >= 0 and handle != active:
            os.close(handle)
    if failed is not None:
        raise failed


def adopt_all(directory: Path) -> list[Journal]:
    """Lock and load the directories of dead processes, oldest first."""
    journals = []
    for folder in adopt(directory):
        journal = Journal(folder)
        try:
            journal.load(started_ms(folder.path) / 1000)
        except (OSError, ValueError) as exc:  # what mmap says of a file that is empty by now
            log.error("spool_not_adopted", extra={"directory": folder.path.name, "error": str(exc)})
            folder.release()
            continue
        journals.append(journal)
    return journals


def has_work(journal: Journal) -> bool:
    """Something is to be deleted or written down."""
    return bool(journal.trash) or journal.acked_to != journal.noted_to


def clear(journal: Journal) -> None:
    """Delete acked segments and write down how far everything is acked.  Raises OSError."""
    acked_to = journal.acked_to
    trash, journal.trash = journal.trash, []
    try:
        for path in trash:
            path.unlink(missing_ok=True)
    except OSError:
        journal.trash += trash
        raise
    if acked_to != journal.noted_to:
        journal.folder.write_progress(*acked_to)
        journal.noted_to = acked_to


def leave(journal: Journal) -> None:
    """At the end of the process: remove an emptied directory, leave any other to be adopted."""
    with suppress(OSError):
        clear(journal)
    if journal.segments:
        journal.folder.release()
    else:
        journal.folder.remove()
