"""The code location: everything Dagster is to know, gathered when it is loaded and not before.

Importing this module connects to nothing, reads no file and configures nothing.
"""

import dagster as dg

from appliance.pipelines.assets import event_assets
from appliance.pipelines.assets_dataset import dataset_assets
from appliance.pipelines.assets_knowledge import knowledge_assets
from appliance.pipelines.checks import asset_checks
from appliance.pipelines.housekeeping import housekeeping_job
from appliance.pipelines.jobs import asset_jobs
from appliance.pipelines.resources import (
    APPLIANCE,
    EMBEDDING,
    ApplianceResource,
    EmbeddingResource,
)
from appliance.pipelines.schedules import schedules
from appliance.pipelines.sensors import sensors


def build(appliance: ApplianceResource) -> dg.Definitions:
    """All of it, over the parts of `appliance`."""
    return dg.Definitions(
        assets=[*event_assets(), *knowledge_assets(), *dataset_assets()],
        asset_checks=asset_checks(),
        jobs=[*asset_jobs(), housekeeping_job()],
        sensors=sensors(appliance),
        schedules=schedules(),
        resources={APPLIANCE: appliance, EMBEDDING: EmbeddingResource(appliance)},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: the appliance is the one of the environment."""
    return build(ApplianceResource())
