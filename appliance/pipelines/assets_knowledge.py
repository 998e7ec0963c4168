"""What is made of the rows of chats: `chat_pair_record`, a vector for every pair, and
`knowledge_events`, everything that is known of an exchange.
"""

import time
import warnings

import dagster as dg

from appliance.domain.events.chat import PERSIST
from appliance.infra.postgres.pair_vectors import PairsEmbedded, embed_pairs
from appliance.infra.postgres.pipeline_runs import RunPart, covered, record
from appliance.infra.postgres.table_facts import exchanges
from appliance.pipelines.assets import part_of
from appliance.pipelines.metadata import RECENT_S, Metadata, of_rows, of_table, of_times
from appliance.pipelines.resources import ApplianceResource, EmbeddingResource
from appliance.pipelines.steps import RETRY, done
from appliance.pipelines.table import CHAT_PAIR_RECORD, CHAT_RECORD, KNOWLEDGE_EVENTS, SUBJECTS

GROUP = "knowledge"
BATCH_PAIRS = 64  # two requests to the inference role, and a commit
VIEW = "knowledge_events"


def knowledge_assets() -> list[dg.AssetsDefinition]:
    """Both."""
    with warnings.catch_warnings():
        # Virtual assets are in preview (1.13.27).  Any other would be shown as "Unsynced" after
        # each run of an event asset, and a view is never behind.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [_chat_pair_record(), _knowledge_events()]


def _chat_pair_record() -> dg.AssetsDefinition:
    @dg.asset(
        name=CHAT_PAIR_RECORD,
        deps=[CHAT_RECORD],
        description="The vector of each prompt-response pair in `chat_pairs`, made by the "
        "inference role, with the name of the model that made it.",
        group_name=GROUP,
        kinds={"postgres"},
        retry_policy=RETRY,
    )
    def chat_pair_record(
        context: dg.AssetExecutionContext,
        appliance: dg.ResourceParam[ApplianceResource],
        embedding: dg.ResourceParam[EmbeddingResource],
    ) -> dg.MaterializeResult[None]:
        part = part_of(context, PERSIST, time.time())
        return dg.MaterializeResult(metadata=done(_embed(appliance, embedding, part)))

    return chat_pair_record


def _knowledge_events() -> dg.AssetsDefinition:
    @dg.asset(
        name=KNOWLEDGE_EVENTS,
        deps=[*(subject.asset for subject in SUBJECTS), CHAT_PAIR_RECORD],
        description="All events of an exchange with the vector of its pair, a row an exchange: a "
        "view, so that what comes late or is forgotten shows at once.",
        group_name=GROUP,
        kinds={"postgres"},
        retry_policy=RETRY,
        is_virtual=True,
    )
    def knowledge_events(
        context: dg.AssetExecutionContext, appliance: dg.ResourceParam[ApplianceResource]
    ) -> dg.MaterializeResult[None]:
        part = part_of(context, PERSIST, time.time())
        return dg.MaterializeResult(metadata=done(_gather(appliance, part)))

    return knowledge_events


async def _embed(
    appliance: ApplianceResource, embedding: EmbeddingResource, part: RunPart
) -> Metadata:
    config = appliance.config()
    async with appliance.pool(config) as pool, embedding.open() as embedder:

        async def settled(batch: PairsEmbedded) -> None:
            await record(
                pool,
                part,
                batch.sequences,
                events=len(batch.sequences),
                inserted=batch.embedded,
                offered=batch.embedded + batch.empty + batch.already,
                occurred=batch.occurred,
            )

        most = config.dagster.run_events
        found = await embed_pairs(
            pool, embedder.embed, most=most, batch=BATCH_PAIRS, settled=settled
        )
        metadata = _of_pairs(found) | of_times(*(found.occurred or (None, None)))
        return metadata | await of_table(pool, config, "chat_pairs")


def _of_pairs(found: PairsEmbedded) -> Metadata:
    return {
        **of_rows(found.embedded, found.already),  # of the vectors
        "pairs": found.embedded + found.empty + found.already,
        "without_text": found.empty,
        "waiting": found.waiting,
        "model": found.model,
    }


async def _gather(appliance: ApplianceResource, part: RunPart) -> Metadata:
    config = appliance.config()
    async with appliance.pool(config) as pool:
        handled = await covered(pool, part.run_id, PERSIST, but=KNOWLEDGE_EVENTS)
        found = await exchanges(pool, part.began_at - RECENT_S)
        await record(
            pool,
            part,
            handled.ranges,
            events=handled.events,
            inserted=0,
            offered=0,
            occurred=handled.occurred,
        )
        metadata: Metadata = {
            **of_rows(0, found.count),  # a view: its rows are those of others
            "exchanges": found.count,
            "with_embedding": found.embedded,
            "without_embedding": found.count - found.embedded,
            **{f"with_{kind}": having for kind, having in found.kinds.items()},
        }
        metadata |= of_times(found.oldest, found.newest)
        return metadata | await of_table(pool, config, VIEW)
