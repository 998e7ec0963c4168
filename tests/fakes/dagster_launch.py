"""Ask Dagster for a run, as the button of its UI does."""

from tests.fakes.dagster_instance import DagsterInstance

_LAUNCH = """mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


def launch(dagster: DagsterInstance, job: str) -> str:
    """A run of `job`; its id."""
    found = dagster.repository()
    selector = {
        "pipelineName": job,
        "repositoryName": found["name"],
        "repositoryLocationName": found["location"]["name"],
    }
    params = {"selector": selector, "mode": "default"}
    told = dagster.query(_LAUNCH, params=params)["launchPipelineExecution"]
    assert told["__typename"] == "LaunchRunSuccess", told
    run_id: str = told["run"]["runId"]
    return run_id
