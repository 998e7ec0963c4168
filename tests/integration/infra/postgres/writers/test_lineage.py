from appliance.domain.events.lineage import LINEAGE, FlowLineage
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import deliveries, rows
from tests.integration.infra.postgres.writers.exchanges import whole


async def test_every_node_is_a_row_with_its_parents(dsn: str, pool: PostgresPool) -> None:
    plain = whole(2, retrieval=None, rerank=None, tool_calls=(), tool_results=())
    exchanges = [whole(1), plain]
    written = await writer_for(LINEAGE, pool).write(deliveries(LINEAGE, *exchanges))
    assert written.inserted == {"flow_lineage": 12}
    for exchange in exchanges:
        (payload,) = FlowLineage.payloads(exchange)
        found = rows(
            dsn,
            "SELECT node_id, kind, name, parents, status, began_s, duration_s, detail "
            "FROM flow_lineage WHERE trace_id = %s ORDER BY node_index",
            exchange.trace_id,
        )
        assert found == [tuple(node.values()) for node in payload["nodes"]]


async def test_nodes_belong_to_their_event(dsn: str, pool: PostgresPool) -> None:
    await writer_for(LINEAGE, pool).write(deliveries(LINEAGE, whole(1), first=70))
    ids = "event_id, trace_id, correlation_id, conversation_id, stream_sequence"
    made = whole(1)
    assert rows(dsn, f"SELECT DISTINCT {ids} FROM flow_lineage") == [
        (
            f"{made.trace_id}:{LINEAGE}",
            made.trace_id,
            made.correlation_id,
            made.conversation_id,
            70,
        )
    ]
