"""What embedding costs: through the role over HTTP, and in the model alone.

    python -m tests.bench.embed [http://127.0.0.1:3001]

Prints one line per figure: name median p99 n machine.  With an address it asks the role there, else
it starts none and measures the model in this process only.  CPU figures are of this process.
"""

import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable

import uvloop

from appliance.config.schema import InferenceConfig
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.client import InferenceClient
from appliance.infra.onnx.encoder import Encoder
from appliance.infra.onnx.runtime import model_dir
from appliance.infra.onnx.spec import GRAPHS

SENTENCE = "The quick brown fox jumps over the lazy dog and runs into the dark forest. "
SHAPES = ((1, 16), (1, 256), (8, 128), (32, 32), (16, 256))  # texts, tokens of each


def line(name: str, values_ms: list[float]) -> None:
    ordered = sorted(values_ms)
    median, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    machine = f"{platform.machine()}x{os.cpu_count()}"
    print(f"{name} {median:.2f}ms {p99:.2f}ms n={len(ordered)} {machine}", flush=True)


def timed(work: Callable[[], object], times: int) -> tuple[list[float], list[float]]:
    """Wall and CPU milliseconds of each of `times` runs."""
    wall, cpu = [], []
    for _ in range(times):
        begun, spent = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - begun) * 1e3)
        cpu.append((time.process_time() - spent) * 1e3)
    return wall, cpu


def model_alone() -> None:
    for precision in GRAPHS:
        encoder = Encoder.load(model_dir(""), precision, threads=0)
        tokens = encoder.tokenize([SENTENCE * 30])[0]
        for texts, length in SHAPES:
            batch = [tokens[:length]] * texts
            encoder.encode(batch)
            wall, cpu = timed(
                lambda e=encoder, b=batch: e.encode(b), max(10, 2000 // (texts * length))
            )
            line(f"embed_{precision}_{texts}x{length}_wall", wall)
            line(f"embed_{precision}_{texts}x{length}_cpu", cpu)


async def through_the_role(url: str) -> None:
    http = HttpClient()
    client = InferenceClient(InferenceConfig(url=url, timeout_s=60.0), http)
    query, passage = SENTENCE, SENTENCE * 12

    async def one(texts: list[str]) -> float:
        begun = time.perf_counter()
        await client.embed(texts)
        return (time.perf_counter() - begun) * 1e3

    await one([query])
    line("role_query", [await one([query]) for _ in range(200)])
    line("role_32_passages", [await one([passage] * 32) for _ in range(5)])
    mixed = [SENTENCE * (1 + n % 12) for n in range(256)]
    line("role_256_mixed", [await one(mixed) for _ in range(3)])
    rounds = [await asyncio.gather(*(one([query]) for _ in range(16))) for _ in range(20)]
    line("role_16_queries_at_once", [figure for some in rounds for figure in some])
    folder = asyncio.ensure_future(one([passage] * 256))
    await asyncio.sleep(0.2)
    line("role_query_during_ingest", [await one([query]) for _ in range(10)])
    await folder
    await http.aclose()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        uvloop.run(through_the_role(sys.argv[1]))
    else:
        model_alone()
