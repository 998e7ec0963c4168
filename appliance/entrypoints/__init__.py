"""The roles, by name.  A role is one new file here plus one line in ROLES; it is imported when it
starts."""

from collections.abc import Mapping

ROLES: Mapping[str, str] = {
    "gateway": "appliance.entrypoints.gateway:run",
    "inference": "appliance.entrypoints.inference:run",
    "consumer": "appliance.entrypoints.consumer:run",
    "dagster": "appliance.pipelines.server:run",
    "dagster-code": "appliance.pipelines.code:run",
}
