import pytest

from appliance.infra.postgres.migrate import migrate


@pytest.fixture
async def dsn(fresh_dsn: str) -> str:
    """A database of the test's own, with its tables."""
    await migrate(fresh_dsn)
    return fresh_dsn
