import json
from pathlib import Path

from appliance.config.parts import Parts, read_parts
from appliance.infra.supervise.places import Places

PARTS = Parts(
    gateway="http://127.0.0.1:8080",
    inference="http://127.0.0.1:3001",
    nats="nats://127.0.0.1:4222",
    nats_token="t",
    postgres="host=127.0.0.1",
    metrics="http://127.0.0.1:8080/metrics",
    dagster="http://127.0.0.1:3000",
)


def test_the_ready_file_appears_when_announced_follows_the_pids_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    places = Places(tmp_path, file, PARTS, "nats://t@127.0.0.1:4222")
    places.publish({"gateway": 1}, ["gateway"], [])
    assert read_parts(tmp_path).pids == {"gateway": 1}
    assert not file.exists()

    places.announce({"gateway": 1}, ["gateway"], [])
    ready = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert ready == {
        "gateway": "http://127.0.0.1:8080",
        "inference": "http://127.0.0.1:3001",
        "nats": "nats://t@127.0.0.1:4222",
        "postgres": "host=127.0.0.1",
        "metrics": "http://127.0.0.1:8080/metrics",
        "dagster": None,
        "pids": {"gateway": 1},
    }

    places.publish({"gateway": 2}, ["gateway"], [])
    assert json.loads(file.read_text())["pids"] == {"gateway": 2}
    places.withdraw()
    assert list(tmp_path.iterdir()) == []


def test_dagster_has_an_address_from_its_first_answer_on(tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    places = Places(tmp_path, file, PARTS, "nats://t@127.0.0.1:4222")
    places.announce({"gateway": 1, "dagster": 2}, ["gateway"], [])
    assert read_parts(tmp_path).dagster is None

    places.publish({"gateway": 1, "dagster": 3}, ["gateway", "dagster"], [])
    assert read_parts(tmp_path).dagster == "http://127.0.0.1:3000"
    assert json.loads(file.read_text())["dagster"] == "http://127.0.0.1:3000"
