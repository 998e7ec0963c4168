"""`appliance dataset export|show`: pairs as training data, and what the last export was."""

import argparse
import asyncio
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.cli.common import add_target, counted, database, target_config
from appliance.cli.instants import instant
from appliance.cli.progress import table_lines
from appliance.config.load import default_state
from appliance.config.schema import Config
from appliance.domain.datasets.manifest import Manifest
from appliance.domain.errors import ConfigError, InvalidRequest, NotFound
from appliance.infra.datasets.folder import MANIFEST, dataset_folder, manifest_of

HELP = "write pairs as training data: JSONL as OpenAI takes it, and Parquet"
_EXPORT = "appliance.infra.datasets.export"  # with numpy and pyarrow: imported when it is used
_TIMEOUT_S = 900.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`export [--since T] [--until T] [--out DIR] [--json]`, `show [--out DIR] [--json]`."""
    add_target(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    exporting = actions.add_parser("export", help="write them; replaces what is there")
    for name, what in (("--since", "pairs made from then on"), ("--until", "before then")):
        exporting.add_argument(
            name,
            type=_instant,
            metavar="T",
            help=f"{what}: 2026-11-21T14:00:00Z or an age (7d, 2h)",
        )
    showing = actions.add_parser("show", help="what the last export wrote")
    for action in (exporting, showing):
        action.add_argument(
            "--out", type=Path, metavar="DIR", help="their folder; default: as [dataset] dir says"
        )
        action.add_argument("--json", action="store_true", help="the manifest, as JSON")
        add_target(action, below=True)


def run(arguments: argparse.Namespace) -> int:
    """Raises ConfigError, InvalidRequest, NotFound and PartUnavailable."""
    config = target_config(arguments)
    state: Path = arguments.state or default_state()
    target: Path = arguments.out or dataset_folder(config.dataset, state)
    if arguments.action == "show":
        return _tell(_last(target), target, as_json=arguments.json)
    since, until = arguments.since, arguments.until
    if since is not None and until is not None and since >= until:
        raise InvalidRequest("--since is not before --until: there is nothing between")
    if not config.postgres.dsn:
        raise ConfigError(
            f"no appliance is running on {state}: start one with `appliance up`, name its folder "
            "with --state DIR, or a file with [postgres] dsn with --config FILE"
        )
    return _tell(asyncio.run(_export(config, target, since, until)), target, as_json=arguments.json)


async def _export(config: Config, target: Path, since: float | None, until: float | None) -> Any:
    export: Callable[..., Any] = importlib.import_module(_EXPORT).export
    store = config.privacy.store
    async with database(config, timeout_s=_TIMEOUT_S) as pool:
        exported = await export(pool, config.dataset, store, target, since=since, until=until)
        return exported.manifest


def _last(target: Path) -> Manifest:
    try:
        return manifest_of(target)
    except FileNotFoundError as exc:
        raise NotFound(
            f"there is no dataset in {target}: `appliance dataset export` writes one"
        ) from exc
    except (OSError, msgspec.DecodeError) as exc:
        raise ConfigError(f"{target / MANIFEST} cannot be read: {exc}") from exc


def _tell(manifest: Manifest, target: Path, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(msgspec.json.encode(manifest).decode() + "\n")
        return 0
    for line in lines(manifest, target):
        print(line)
    return 0


def lines(manifest: Manifest, target: Path) -> list[str]:
    """For people: what was read, what was written where, and why the rest was left out."""
    told = [f"{counted(manifest.read, 'pair')} read"]
    if manifest.oldest is not None:
        told[0] += f"; those written are from {manifest.oldest} to {manifest.newest}"
    told.append("")
    files = manifest.files.items()
    rows = [(str(target / name), str(f.pairs), str(f.bytes)) for name, f in files]
    told += table_lines(("file", "pairs", "bytes"), rows)
    why = [(reason, str(count)) for reason, count in manifest.excluded.items() if count]
    if why:
        told += ["", *table_lines(("left out because of", "pairs"), why)]
    if manifest.privacy_store != "full":
        told += ["", f'[privacy] store is "{manifest.privacy_store}": no text is written']
    return told


def _instant(text: str) -> float:
    return instant(text, time.time())
