"""Faults at random amid fifty streams a second; what was answered is a row, once, in its order.

The seed decides which part fails, how, when and for how long.  It is printed, and a failure repeats
it: `scripts/chaos SECONDS SEED` does the same again, as far as two clocks allow.
"""

import os
import random
import secrets
import time
from collections.abc import Callable, Mapping

import pytest

from tests.e2e.faults.claim import Excuses, require_kept
from tests.e2e.faults.faulty import Faulty
from tests.e2e.faults.streams import delete_durable
from tests.fakes.load import Load

SECONDS = float(os.environ.get("APPLIANCE_CHAOS_SECONDS", "20"))
SEED = os.environ.get("APPLIANCE_CHAOS_SEED") or secrets.token_hex(4)
DURABLES = ("chat_persist", "flow_lineage", "tool_call")
PARTS = ("gateway", "nats", "postgres", "consumer")
Fault = Callable[[Faulty, random.Random], str]


def kill(appliance: Faulty, rng: random.Random) -> str:
    part = rng.choice(PARTS)
    appliance.wait_running(part)
    appliance.kill(part)
    return f"killed {part}"


def freeze(appliance: Faulty, rng: random.Random) -> str:
    """One part for a while."""
    return _frozen(appliance, rng, (rng.choice(PARTS),))


def freeze_two(appliance: Faulty, rng: random.Random) -> str:
    """Two parts for the same while."""
    return _frozen(appliance, rng, rng.sample(PARTS, 2))


def kill_beside_frozen(appliance: Faulty, rng: random.Random) -> str:
    """One part dies while another does not answer."""
    frozen, killed = rng.sample(PARTS, 2)
    appliance.wait_running(killed)
    told = _frozen(appliance, rng, (frozen,), lambda: appliance.kill(killed))
    return f"{told}, killed {killed} meanwhile"


def forget_durable(appliance: Faulty, rng: random.Random) -> str:
    name = rng.choice(DURABLES)
    appliance.wait_running("nats")
    appliance.wait_whole()  # it takes a NATS that answers
    delete_durable(appliance.nats, name)
    return f"deleted durable {name}"


FAULTS: Mapping[Fault, int] = {  # and how often each, in proportion
    kill: 4,
    freeze: 4,
    freeze_two: 2,
    kill_beside_frozen: 2,
    forget_durable: 1,
}


@pytest.mark.timeout(SECONDS + 300)
def test_random_faults_cost_no_answer_and_no_row(
    appliance: Faulty, traffic: Callable[[], Load]
) -> None:
    rng, done = random.Random(SEED), []
    print(f"\nchaos: {SECONDS:g} s, seed {SEED}", flush=True)
    begun = time.monotonic()
    try:
        with traffic() as load:
            while (at := time.monotonic() - begun) < SECONDS:
                fault = rng.choices(list(FAULTS), list(FAULTS.values()))[0]
                done.append(f"{at:.1f} s: {fault(appliance, rng)}")
                print(f"  {done[-1]}; {len(load.asked)} requests", flush=True)
                time.sleep(rng.uniform(0.1, 1.5))
            appliance.wait_whole()
            load.wait_answered(30)
        require_kept(appliance.dsn, load.asked, Excuses(appliance.kills))
    except AssertionError as exc:
        again = f"scripts/chaos {SECONDS:g} {SEED}"
        raise AssertionError(f"{exc}\nagain: {again}\nbefore:\n" + "\n".join(done)) from exc


def _frozen(
    appliance: Faulty,
    rng: random.Random,
    parts: tuple[str, ...] | list[str],
    meanwhile: Callable[[], object] = lambda: None,
) -> str:
    seconds = rng.uniform(0.1, 4.0)
    for part in parts:
        appliance.wait_running(part)
        appliance.freeze(part)
    meanwhile()
    time.sleep(seconds)
    appliance.thaw_all()
    return f"froze {' and '.join(parts)} for {seconds:.1f} s"
