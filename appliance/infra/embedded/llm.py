"""The embedded llama.cpp server: a small real model, in a process of its own.

`python -m appliance.infra.embedded.llm --model FILE --port P --alias NAME`, its key in the
environment; never in argv, where every user of the machine could read it.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import xllamacpp

from appliance.infra.embedded.language_model import ALIAS, CONTEXT_TOKENS, KEY_VARIABLE, SLOTS


def serve(model: Path, port: int, alias: str, key: str) -> None:
    """Load the model and serve it until a signal ends the process: there is nothing to save."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server = xllamacpp.Server(_parameters(model, port, alias, key))
    while server:  # its threads serve; dropping it would end them
        signal.pause()


def _parameters(model: Path, port: int, alias: str, key: str) -> xllamacpp.CommonParams:
    cores = len(os.sched_getaffinity(0))
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {alias}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.api_keys = [key]
    parameters.n_ctx = CONTEXT_TOKENS * SLOTS
    parameters.n_parallel = SLOTS
    # Threads meet at a barrier per layer and token: with every core taken, any other work on the
    # machine halts them all (2 cores, one busy elsewhere: 1-9 tokens/s with two threads, 17-40 with
    # one).
    parameters.cpuparams.n_threads = max(1, cores - 1)
    parameters.cpuparams_batch.n_threads = cores
    # As on the model card of SmolLM2-135M-Instruct, for requests that do not say.
    parameters.sampling.temp = 0.2
    parameters.sampling.top_p = 0.9
    parameters.ui = False
    parameters.endpoint_metrics = True
    return parameters


def main() -> None:
    """Read the arguments and the key, and serve."""
    parser = argparse.ArgumentParser(description="serve one GGUF file on loopback")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", default=ALIAS)
    arguments = parser.parse_args()
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        sys.exit(f"{KEY_VARIABLE} is not set: this server does not run without a key")
    serve(arguments.model, arguments.port, arguments.alias, key)


if __name__ == "__main__":
    main()
