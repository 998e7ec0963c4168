import asyncio
from pathlib import Path

import pytest

from appliance.config.keys import KeyFile, KeyRow, write_keys
from appliance.domain.access.keys import digest_of
from appliance.domain.errors import AuthenticationFailed, ConfigError
from appliance.entrypoints.lifespan import KeyWatch

EVERY_S = 0.02


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def keep(path: Path, *tokens: str) -> None:
    write_keys(path, KeyFile(keys=tuple(KeyRow(name=t, sha256=digest_of(t)) for t in tokens)))


async def changed() -> None:
    """Long enough for a change to count, also for a loop that was halted."""
    for _ in range(5):
        await asyncio.sleep(EVERY_S)


def test_no_file_is_no_keys_and_a_broken_one_is_refused(file: Path) -> None:
    assert not KeyWatch(None).ring()
    assert not KeyWatch(file).ring()
    file.write_text("[[keys")
    with pytest.raises(ConfigError):
        KeyWatch(file)


async def test_keys_added_and_removed_count_while_it_runs(file: Path) -> None:
    keep(file, "one")
    watch = KeyWatch(file, every_s=EVERY_S)
    async with watch.watching():
        keep(file, "one", "two")
        await changed()
        assert watch.ring().authenticate("two").name == "two"
        keep(file, "two")
        await changed()
        with pytest.raises(AuthenticationFailed):
            watch.ring().authenticate("one")


@pytest.mark.parametrize("what", ["emptied", "deleted"])
async def test_a_gateway_that_lost_its_keys_is_open_to_nobody_the_removed_ones_least(
    file: Path, what: str
) -> None:
    keep(file, "one")
    watch = KeyWatch(file, every_s=EVERY_S)
    async with watch.watching():
        file.unlink() if what == "deleted" else keep(file)
        await changed()
        assert watch.ring()
        with pytest.raises(AuthenticationFailed):
            watch.ring().authenticate("one")
        keep(file, "two")
        await changed()
        assert watch.ring().authenticate("two").name == "two"


async def test_a_file_that_cannot_be_read_leaves_the_keys_in_force(file: Path) -> None:
    keep(file, "one")
    watch = KeyWatch(file, every_s=EVERY_S)
    async with watch.watching():
        file.write_text("[[keys")
        await changed()
        assert watch.ring().authenticate("one").name == "one"


async def test_the_first_key_closes_a_gateway_that_had_none(file: Path) -> None:
    watch = KeyWatch(file, every_s=EVERY_S)
    async with watch.watching():
        keep(file, "one")
        await changed()
        assert watch.ring()


async def test_nothing_is_watched_after_the_block(file: Path) -> None:
    watch = KeyWatch(file, every_s=EVERY_S)
    async with watch.watching():
        pass
    keep(file, "one")
    await changed()
    assert not watch.ring()
    assert len(asyncio.all_tasks()) == 1
