"""`appliance search "…"`: the chunks nearest to a query, as retrieval would rank them."""

import argparse
import asyncio
import json
import sys

from appliance.cli.common import add_target, target_config
from appliance.config.schema import Config
from appliance.domain.vectorstore.ports import FoundChunk
from appliance.entrypoints.knowledge import chosen_workspace, open_embedder, open_store

HELP = "search the ingested documents by meaning"

_EXCERPT_CHARS = 200
_MOST = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """QUERY, --workspace, --limit, --json, --state, --config."""
    parser.add_argument("query", metavar="QUERY")
    parser.add_argument("--workspace", metavar="W", help="default: the configured workspace")
    parser.add_argument("--limit", type=_limit, default=5, metavar="N", help="default: 5")
    parser.add_argument("--json", action="store_true", help="one JSON array, with the whole chunks")
    add_target(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print score, document#chunk and an excerpt, best first; those below `min_score` too."""
    config = target_config(arguments)
    workspace = chosen_workspace(config, arguments.workspace)
    found = asyncio.run(_search(config, arguments.query, workspace, arguments.limit))
    if arguments.json:
        print(json.dumps([_as_json(chunk) for chunk in found], ensure_ascii=False))
        return 0
    for chunk in found:
        print(f"{chunk.score:.3f}  {chunk.document}#{chunk.index}  {_excerpt(chunk.content)}")
    if not found:
        print(f"nothing found in workspace {workspace}", file=sys.stderr)
    return 0


async def _search(config: Config, query: str, workspace: str, limit: int) -> list[FoundChunk]:
    if not query.strip():
        return []
    async with open_embedder(config) as embedder, open_store(config) as store:
        embedded = await embedder.embed([query])
        return await store.search(
            embedded.vectors[0], workspace=workspace, model=embedded.model, limit=limit
        )


def _limit(word: str) -> int:
    if not word.isdigit() or not 1 <= int(word) <= _MOST:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {_MOST}")
    return int(word)


def _excerpt(content: str) -> str:
    line = " ".join(content.split())
    return line if len(line) <= _EXCERPT_CHARS else f"{line[: _EXCERPT_CHARS - 1]}…"


def _as_json(chunk: FoundChunk) -> dict[str, str | int | float]:
    return {
        "document": chunk.document,
        "chunk": chunk.index,
        "score": chunk.score,
        "content": chunk.content,
    }
