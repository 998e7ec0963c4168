"""The same code on a NATS cluster of three."""

import asyncio
import os
from contextlib import suppress

import nats.errors
from nats.js import JetStreamContext

from appliance.infra.nats.connection import connect
from appliance.infra.nats.objects import Payloads, ReferenceMessage
from appliance.infra.nats.streams import STREAMS, ensure_streams, request
from tests.fixtures_nats import NatsCluster

SUBJECT = "pipeline.knowledge.chat.persist"
BODY = dict.fromkeys(ReferenceMessage.__struct_fields__, "its")


async def _publish(js: JetStreamContext, identifier: str) -> int:
    """As the shipper does: again under the same id until it is acked; its sequence."""
    async with asyncio.timeout(60):
        while True:
            with suppress(nats.errors.Error):
                ack = await js.publish(
                    SUBJECT, identifier.encode(), timeout=1, headers={"Nats-Msg-Id": identifier}
                )
                return ack.seq
            await asyncio.sleep(0.1)


async def test_a_killed_server_of_three_loses_nothing_and_stops_nobody(
    nats_cluster: NatsCluster,
) -> None:
    async with connect(nats_cluster.config, name="test") as client:
        js = client.jetstream(timeout=10)
        await ensure_streams(js, nats_cluster.config.replicas)
        infos = [await request(js, f"STREAM.INFO.{spec.name}", {}) for spec in STREAMS]
        assert [info["config"]["num_replicas"] for info in infos] == [3] * len(STREAMS)
        payloads, data = Payloads(js, 3), os.urandom(300_000)
        reference = await payloads.put(BODY, data)
        acked = {f"e{n}": await _publish(js, f"e{n}") for n in range(20)}

        leader = infos[0]["cluster"]["leader"]
        nats_cluster.servers[int(leader.removeprefix("n"))].kill()
        acked |= {f"e{n}": await _publish(js, f"e{n}") for n in range(20, 40)}

        state = (await js.stream_info("PIPELINE")).state
        assert state.messages == len(acked) == 40
        for identifier, sequence in acked.items():
            message = await js.get_msg("PIPELINE", sequence)
            assert message.data == identifier.encode()
        assert await payloads.resolve(reference) == data


async def test_replicas_are_added_to_streams_that_exist_and_never_taken_away(
    nats_cluster: NatsCluster,
) -> None:
    async with connect(nats_cluster.config, name="test") as client:
        js = client.jetstream(timeout=10)
        for replicas, there in ((1, 1), (3, 3), (1, 3)):
            await ensure_streams(js, replicas)
            for spec in STREAMS:
                info = await request(js, f"STREAM.INFO.{spec.name}", {})
                assert info["config"]["num_replicas"] == there
