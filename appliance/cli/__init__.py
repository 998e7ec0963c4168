"""The commands, by name.  A command is one new file here plus one line in COMMANDS; it is
imported when used.

Every command module has `HELP`, `add_arguments(parser)` and `run(arguments) -> int` (the exit
code).
"""

from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "up": "appliance.cli.up",
    "stop": "appliance.cli.stop",
    "status": "appliance.cli.status",
    "run": "appliance.cli.run",
    "ask": "appliance.cli.ask",
    "ingest": "appliance.cli.ingest",
    "documents": "appliance.cli.documents",
    "search": "appliance.cli.search",
    "trace": "appliance.cli.trace",
    "replay": "appliance.cli.replay",
    "dead-letters": "appliance.cli.dead_letters",
    "dataset": "appliance.cli.dataset",
    "forget": "appliance.cli.forget",
    "check": "appliance.cli.check",
    "doctor": "appliance.cli.doctor",
    "routes": "appliance.cli.routes",
    "keys": "appliance.cli.keys",
    "migrate": "appliance.cli.migrate",
    "build-model": "appliance.cli.build_model",
}
