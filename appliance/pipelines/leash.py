"""The entry of the run server: `python -m appliance.pipelines.leash PARENT`.

Importing Dagster takes seconds, in which nobody reads standard input.  So a clock comes first that
ends the process when PARENT, the `dagster` process, is gone or has closed our standard input;
run_server.py stops it when it begins to listen.  Not the kernel's parent-death signal: that follows
the thread that started us.
"""

import importlib
import os
import select
import signal
import sys

_EVERY_S = 0.5
_RUN_SERVER = "appliance.pipelines.run_server"


def watch(parent: int) -> None:
    """End this process as soon as `parent` is no longer its parent, or standard input has no
    writer."""
    orders = select.poll()
    orders.register(0, 0)  # POLLHUP is always told

    def look(*_: object) -> None:
        if os.getppid() != parent or orders.poll(0):
            os._exit(1)

    look()
    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _EVERY_S, _EVERY_S)


def main(parent: int) -> None:
    """Become the run server; what it imports is imported under the clock."""
    watch(parent)
    importlib.import_module(_RUN_SERVER).main()


if __name__ == "__main__":
    main(int(sys.argv[1]))
