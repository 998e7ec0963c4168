from typing import Any

import pytest

from appliance.domain.errors import ConfigError
from appliance.infra.nats.stream_rules import StreamSpec, changes, covers, new_config

SPEC = StreamSpec("PIPELINE", ("pipeline.>",), 72 * 3600.0, "new")
HOUR = 3600 * 10**9


def _found(**other: Any) -> dict[str, Any]:
    return {**new_config(SPEC, 1), **other}


@pytest.mark.parametrize(
    ("pattern", "subject", "does"),
    [
        ("pipeline.>", "pipeline.>", True),
        ("pipeline.>", "pipeline.knowledge.chat.persist", True),
        ("pipeline.*", "pipeline.a", True),
        ("pipeline.*.>", "pipeline.a.b.>", True),
        ("*.>", "pipeline.>", True),
        ("pipeline.>", "pipeline", False),
        ("pipeline.*", "pipeline.a.b", False),
        ("pipeline.*", "pipeline.>", False),
        ("pipeline.a", "pipeline.*", False),
        ("pipeline.a.>", "pipeline.>", False),
        ("pipeline.a.b", "pipeline.a", False),
        ("ci.>", "pipeline.>", False),
    ],
)
def test_a_pattern_covers_what_matches_no_more_than_it(
    pattern: str, subject: str, does: bool
) -> None:
    assert covers(pattern, subject) is does


def test_a_stream_as_we_make_it_needs_nothing() -> None:
    assert changes(_found(), SPEC, 1) == {}


def test_a_stream_as_a_server_reports_it_needs_nothing() -> None:
    """Servers leave out what is false or empty, and add what they know."""
    found = {k: v for k, v in _found().items() if v}
    extra = {"consumer_limits": {}, "sealed": False, "metadata": {"_nats.level": "5"}}
    assert changes({**found, **extra}, SPEC, 1) == {}


@pytest.mark.parametrize(
    ("key", "found", "wanted"),
    [
        ("max_age", HOUR, 72 * HOUR),
        ("max_msgs_per_subject", 1000, -1),
        ("max_msg_size", 4096, -1),
        ("max_consumers", 3, -1),
        ("discard", "old", "new"),
        ("discard_new_per_subject", True, False),
        ("no_ack", True, False),
        ("retention", "interest", "limits"),
        ("duplicate_window", 10**9, 600 * 10**9),
        ("allow_direct", False, True),
        ("consumer_limits", {"inactive_threshold": 10**9}, {}),
        ("subjects", ["pipeline.a.>", "pipeline.b"], ["pipeline.>"]),
        ("subjects", ["ours.too", "pipeline.a"], ["ours.too", "pipeline.>"]),
    ],
)
def test_what_keeps_less_or_refuses_more_is_adjusted(key: str, found: Any, wanted: Any) -> None:
    assert changes(_found(**{key: found}), SPEC, 1) == {key: wanted}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("max_age", 0),
        ("max_age", 30 * 24 * HOUR),
        ("max_bytes", 10**10),
        ("max_msgs", 10**9),
        ("max_consumers", 100),
        ("duplicate_window", 2 * HOUR),
        ("num_replicas", 3),
        ("allow_rollup_hdrs", True),
        ("compression", "s2"),
        ("subjects", ["ours.too", "pipeline.>"]),
        ("subjects", ["*.>"]),
        ("sources", [{"name": "ELSEWHERE"}]),
    ],
)
def test_what_an_operator_keeps_longer_or_limits_on_purpose_stays(key: str, found: Any) -> None:
    assert changes(_found(**{key: found}), SPEC, 1) == {}


def test_a_stream_that_refuses_where_ours_drops_stays_so() -> None:
    spec = StreamSpec("REQ", ("req.>",), 3600.0, "old")
    assert changes({**new_config(spec, 1), "discard": "new"}, spec, 1) == {}


def test_replicas_are_added() -> None:
    assert changes(_found(), SPEC, 3) == {"num_replicas": 3}


@pytest.mark.parametrize("subjects", [["ci.>"], ["PIPELINE"], [], ["*.knowledge.>"]])
def test_a_stream_of_our_name_with_other_subjects_is_somebody_elses(subjects: list[str]) -> None:
    with pytest.raises(ConfigError, match="somebody else's"):
        changes(_found(subjects=subjects), SPEC, 1)
