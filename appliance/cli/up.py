"""`appliance up`: the whole appliance on this machine, in the foreground, with a first question."""

import argparse
import asyncio
import errno
import os
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from appliance.config.load import default_state, shipped, user_config_file
from appliance.config.parts import Parts
from appliance.domain.errors import ConfigError
from appliance.entrypoints.up import OPTIONAL_PARTS, UpOptions, up
from appliance.infra.supervise.process import tied

HELP = "run the whole appliance on this machine"
QUESTION = "Where does my data stay?"
FIRST = ("--route", "rag", "--temperature", "0", "--max-tokens", "160")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--state, --listen, --ready-file, --config, --backend, --no-discover, --no-ask, --without,
    --insecure."""
    add = parser.add_argument
    add("--state", type=Path, metavar="DIR", help="folder of everything it keeps")
    add("--listen", default="", metavar="HOST:PORT", help="default: the configured one")
    add("--ready-file", type=Path, metavar="FILE", help="written when all is healthy: addresses")
    add("--config", type=Path, metavar="FILE", help="laid over the defaults")
    add("--backend", default="", metavar="URL", help="your own model server, instead of searching")
    add("--no-discover", action="store_true", help="do not look for your own model servers")
    add("--no-ask", action="store_true", help="no first question")
    add(
        "--without",
        action="append",
        default=[],
        choices=OPTIONAL_PARTS,
        metavar="PART",
        help=f"leave a part out: {', '.join(OPTIONAL_PARTS)}",
    )
    add("--insecure", action="store_true", help="no keys needed on addresses beyond loopback")


def run(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM, which stop everything; 0 then."""
    options = UpOptions(
        state=(arguments.state or default_state()).expanduser().absolute(),
        listen=arguments.listen,
        ready_file=arguments.ready_file and arguments.ready_file.absolute(),
        config=arguments.config and arguments.config.absolute(),
        backend=arguments.backend,
        discover=not arguments.no_discover,
        insecure=arguments.insecure,
        without=frozenset(arguments.without),
    )
    welcome = Welcome(options, ask=not arguments.no_ask)
    try:
        return asyncio.run(_until_stopped(lambda: up(options, say, welcome.show)))
    except OSError as exc:
        if exc.errno == errno.ENOSPC:
            raise ConfigError(f"the disk is full: {exc.filename or options.state}") from exc
        raise ConfigError(f"{exc.filename or options.state}: {exc.strerror}") from exc


async def _until_stopped(work: Callable[[], Awaitable[None]]) -> int:
    """Await `work`; the first SIGINT, SIGTERM or SIGHUP cancels it, later ones change nothing."""
    task = asyncio.ensure_future(work())
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop() -> None:
        if not told.is_set():
            told.set()
            say("\nstopping")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Started by nohup: a terminal that closes is not meant to stop it.
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not told.is_set():
            raise
    return 0


def say(line: str) -> None:
    """One line for the person; a terminal or pipe that is gone stops nothing."""
    with suppress(OSError, ValueError):
        print(line, flush=True)


class Welcome:
    """What a person sees once all is ready: a first answer, and where everything is."""

    def __init__(self, options: UpOptions, *, ask: bool) -> None:
        self._options = options
        self._ask = ask

    async def show(self, parts: Parts) -> None:
        """Never raises: a failed question does not stop the appliance."""
        if self._ask:
            document = str(shipped("welcome.md"))
            say(f"\nA first question, with {document} as its context:\n  {QUESTION}\n")
            if not (
                await self._command("ingest", document)
                and await self._command("ask", QUESTION, *FIRST)
            ):
                say("  the first question was not answered; the appliance runs on")
            if parts.llm:
                say("\nThis small model is for trying things out; --backend URL names a better.")
        say(self._addresses(parts))

    async def _command(self, *words: str) -> bool:
        """Run a command of ours against this appliance, its output on the terminal."""
        target = ["--state", str(self._options.state)]
        if self._options.config:
            target += ["--config", str(self._options.config)]
        command = [sys.executable, "-P", "-m", "appliance", *words, *target]
        try:
            process = await asyncio.create_subprocess_exec(*command, **tied(signal.SIGKILL))
        except OSError as exc:
            say(f"  {words[0]} could not be started: {exc}")
            return False
        try:
            return await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _addresses(self, parts: Parts) -> str:
        state, config = self._options.state, self._options.config or user_config_file()
        body = '{"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}'
        key = ' -H "authorization: Bearer $APPLIANCE_API_KEY"'
        return "\n".join(
            (
                "",
                f"OpenAI API     {parts.gateway}/v1",
                f"Anthropic API  {parts.gateway}",
                f"Ollama API     {parts.gateway}",
                f"metrics        {parts.metrics}",
                *([f"pipelines      {parts.dagster}   (starting)"] if parts.dagster else ()),
                f"state          {state}",
                f"logs           {state / 'logs'}",
                f"your config    {config}{'' if config.exists() else '   (none yet)'}",
                "",
                f"curl {parts.gateway}/v1/chat/completions -H 'content-type: application/json'"
                f"{key if os.environ.get('APPLIANCE_API_KEY') else ''} -d {shlex.quote(body)}",
                "",
                "Ctrl-C stops everything.",
            )
        )
