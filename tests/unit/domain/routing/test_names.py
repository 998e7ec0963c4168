import pytest

from appliance.domain.routing.names import has_tag, same, twin


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("x", "x:latest"),
        ("x:latest", "x"),
        ("org/x", "org/x:latest"),
        ("host:5000/x", "host:5000/x:latest"),
        ("x:8b", ""),
        ("", ""),
    ],
)
def test_a_name_without_a_tag_means_latest(name: str, other: str) -> None:
    assert twin(name) == other
    assert has_tag(name) is (name.endswith(":latest") or name == "x:8b")


def test_two_ways_to_write_a_name_are_the_same() -> None:
    assert same("x", "x")
    assert same("x", "x:latest")
    assert same("x:latest", "x")
    assert not same("x", "x:8b")
    assert not same("x", "")
