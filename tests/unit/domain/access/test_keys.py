import hashlib

import pytest

from appliance.domain.access.keys import Key, KeyRing, digest_of
from appliance.domain.errors import AuthenticationFailed, PermissionDenied

KEY = Key("ci", digest_of("ag-secret"), ("team",))


def test_a_key_is_kept_as_its_sha256() -> None:
    assert digest_of("ag-secret") == hashlib.sha256(b"ag-secret").hexdigest()


def test_an_empty_ring_asks_for_nothing_and_a_full_one_does() -> None:
    assert not KeyRing()
    assert KeyRing([KEY])


def test_a_known_key_is_found_by_its_token() -> None:
    assert KeyRing([Key("a", digest_of("x")), KEY]).authenticate("ag-secret") is KEY


@pytest.mark.parametrize("token", ["", "ag-secre", "ag-secret ", digest_of("ag-secret"), "\udcff"])
def test_any_other_token_is_refused(token: str) -> None:
    with pytest.raises(AuthenticationFailed) as refused:
        KeyRing([KEY]).authenticate(token)
    assert "ag-secret" not in str(refused.value)


def test_no_key_at_all_is_told_how_to_send_one() -> None:
    with pytest.raises(AuthenticationFailed, match="Authorization: Bearer"):
        KeyRing([KEY]).authenticate("")


def test_a_key_reads_its_own_workspaces_only() -> None:
    KEY.require_workspace("team")
    with pytest.raises(PermissionDenied) as refused:
        KEY.require_workspace("other")
    assert refused.value.param == "x_workspace"


def test_a_key_without_workspaces_reads_every_one() -> None:
    Key("any", "0").require_workspace("whatever")
    with pytest.raises(PermissionDenied):
        Key("one", "0", ("a",)).require_workspace("")
