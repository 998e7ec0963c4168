import pytest

from appliance.cli.common import counted, trace_id_of


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 chunks"), (1, "1 chunk"), (2, "2 chunks"), (21, "21 chunks")]
)
def test_one_is_no_plural(number: int, words: str) -> None:
    assert counted(number, "chunk") == words


@pytest.mark.parametrize(
    ("identifier", "meant"),
    [
        ("resp_" + "0123456789ab" + "c" * 20, "0123456789ab" + "c" * 20),
        ("0123456789ab" + "c" * 20, "0123456789ab" + "c" * 20),
        ("resp_of-a-caller", "resp_of-a-caller"),
        ("a-correlation-id", "a-correlation-id"),
    ],
)
def test_the_id_of_a_response_stands_for_its_trace_id(identifier: str, meant: str) -> None:
    assert trace_id_of(identifier) == meant
