import msgspec
import pytest

from appliance.infra.postgres.payload import storable


@pytest.mark.parametrize("data", [b"{}", '{"a":"é"}'.encode(), b"not json", b'{"a":"\\ud83d"}'])
def test_what_has_no_nul_stays_as_it_is(data: bytes) -> None:
    assert storable(data) is data


def test_a_nul_becomes_a_replacement_character_in_texts_and_names_at_any_depth() -> None:
    data = b'{"a\\u0000":[{"b":"\\u0000"}],"c":"\\\\u0000","d":1.5}'
    cleaned = {"a\ufffd": [{"b": "\ufffd"}], "c": "\\u0000", "d": 1.5}
    assert msgspec.json.decode(storable(data)) == cleaned


def test_broken_json_with_a_nul_is_told() -> None:
    with pytest.raises(msgspec.DecodeError):
        storable(b'{"a":"\\u0000"')
