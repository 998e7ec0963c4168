import pytest

from appliance.transport.served import MAX_LIST_BYTES, dropped_header


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["keep_alive", "options.mirostat"], b"keep_alive, options.mirostat"),
        (["a\r\nset-cookie: x=1"], b"a%0D%0Aset-cookie: x%3D1"),
        (["né"], b"n%C3%A9"),
        (["a", "x" * (MAX_LIST_BYTES - 3), "b"], b"a, " + b"x" * (MAX_LIST_BYTES - 3)),
        (["a", "x" * (MAX_LIST_BYTES - 2), "b"], b"a"),
        (["\N{GRINNING FACE}" * MAX_LIST_BYTES], b""),
    ],
)
def test_names_that_callers_choose_stay_within_one_header(names: list[str], said: bytes) -> None:
    assert dropped_header(names) == (b"x-dropped", said)
