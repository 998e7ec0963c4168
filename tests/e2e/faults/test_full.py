"""Full: the disk under the spool, the disk under NATS, the spool itself, JetStream's own limit."""

import time
from pathlib import Path

from appliance.infra.nats.streams import STREAMS
from tests.e2e.faults.claim import TABLES, UNSEEN_S, Excuses, require_kept, wait_unkept
from tests.e2e.faults.streams import create_small, purge_consumed
from tests.fakes.load import Asked, Load
from tests.fakes.rig import Gateway, Nats, Rig, SmallDisk
from tests.fakes.scripted_backend import ScriptedBackend

MIB = 1024 * 1024
SMALL_SPOOL = "max_bytes = 131072\n"  # some sixty exchanges
ALL_KEPT = ("stream", "stream", "once")  # kinds that are answered, and nothing else


def test_a_full_disk_under_the_spool_costs_exactly_what_is_counted(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    with Nats(tmp_path) as nats:
        rig = Rig(tmp_path, scripted.base_url, nats.config, dsn)
        with (
            SmallDisk(rig.spool, 8 * MIB) as disk,
            rig.consumer(),
            rig.gateway(prefix=disk.prefix) as gateway,
            gateway.load() as load,
        ):
            load.wait_answered(30)
            filling_at = time.monotonic()
            disk.fill()
            gateway.wait_part("spool", ok=False)
            load.wait_answered(50)
            disk.free()
            gateway.wait_part("spool", ok=True)
            freed_at = time.monotonic()
            load.wait_answered(30)
            load.stop()
            _require_kept_but_counted(dsn, gateway, load, (filling_at, freed_at))


def test_a_full_spool_serves_on_and_counts_what_it_did_not_keep(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    with Nats(tmp_path) as nats:
        rig = Rig(tmp_path, scripted.base_url, nats.config, dsn)
        with rig.consumer(), rig.gateway(SMALL_SPOOL) as gateway, gateway.load() as load:
            load.wait_answered(30)
            killed_at = time.monotonic()
            nats.kill()
            gateway.wait_part("spool", ok=False)
            load.wait_answered(50)
            nats.start()
            gateway.wait_part("spool", ok=True)
            room_at = time.monotonic()
            load.wait_answered(30)
            load.stop()
            _require_kept_but_counted(dsn, gateway, load, (killed_at, room_at))


def test_a_full_spool_refuses_where_it_is_told_to(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    """What is answered is a row, without exception."""
    refusing = f'{SMALL_SPOOL}when_full = "refuse"'
    with Nats(tmp_path) as nats:
        rig = Rig(tmp_path, scripted.base_url, nats.config, dsn)
        with rig.consumer(), rig.gateway(refusing) as gateway, gateway.load(ALL_KEPT) as load:
            load.wait_answered(30)
            nats.kill()
            gateway.wait_part("spool", ok=False)
            load.wait_outcomes("refused", 30)
            nats.start()
            gateway.wait_part("spool", ok=True)
            load.wait_answered(30)
            load.stop()
            require_kept(dsn, load.asked, Excuses(refusing=True))


def test_a_full_disk_under_nats_leaves_everything_in_the_spool_until_nats_is_well(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    """A stream of nats-server 2.15 whose write failed takes nothing more, room or not, until the
    server is started again: it answers no publisher at all."""
    with (
        SmallDisk(tmp_path / "disk", 32 * MIB) as disk,
        Nats(tmp_path, store=tmp_path / "disk", prefix=disk.prefix) as nats,
    ):
        rig = Rig(tmp_path, scripted.base_url, nats.config, dsn)
        with rig.consumer(), rig.gateway() as gateway, gateway.load() as load:
            load.wait_answered(30)
            disk.fill()
            gateway.wait_waiting(50)
            load.wait_answered(30)
            gateway.wait_part("nats", ok=False)
            assert "acknowledges none" in gateway.ready()["parts"]["nats"]
            disk.free()
            nats.kill()
            nats.start()
            load.wait_answered(30)
            load.stop()
            require_kept(dsn, load.asked)


def test_a_full_jetstream_leaves_everything_in_the_spool_until_there_is_room(
    tmp_path: Path, scripted: ScriptedBackend, dsn: str
) -> None:
    """Its own limit, as it sets one for every disk: messages are refused one by one, and taken
    again as soon as there is room."""
    with Nats(tmp_path, jetstream=f"max_file_store: {MIB}") as nats:
        for spec in STREAMS:
            if spec.max_bytes > 0:  # they reserve what they may take
                create_small(nats.url, spec.name, spec.subjects, MIB // 8)
        rig = Rig(tmp_path, scripted.base_url, nats.config, dsn)
        with rig.consumer(), rig.gateway() as gateway:
            asked: list[Asked] = []
            for name in ("first", "second"):
                with gateway.load(name=name) as load:
                    gateway.wait_waiting(50)
                    load.wait_answered(30)
                asked += load.asked
                while gateway.metric("appliance_spool_records"):
                    purge_consumed(nats.url)
            require_kept(dsn, asked)


def _require_kept_but_counted(
    dsn: str, gateway: Gateway, load: Load, within: tuple[float, float]
) -> None:
    """As many exchanges as the gateway counted have no row, all of that time; all others have.
    It keeps an exchange before its answer ends, but one whose client left a moment later."""
    not_kept = round(gateway.metric("appliance_spool_not_kept_total"))
    assert not_kept >= 30
    unkept = wait_unkept(dsn, load.asked, not_kept)
    first, last = within
    outside = [a for a in unkept if a.ended < first - UNSEEN_S or a.began > last]
    assert not outside, f"there was room: {outside[:3]}"
    missing = {a.trace_id for a in unkept}
    require_kept(dsn, load.asked, Excuses(lost=dict.fromkeys(TABLES, missing)))
