import json
from typing import Any

import pytest

from appliance.domain.conversation.usage import Usage
from appliance.domain.errors import InvalidRequest
from appliance.presentation.openai_responses import compacted, input_items_page

ITEMS = [{"id": f"msg_{n}", "type": "message"} for n in range(30)]


def page(**query: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(input_items_page(ITEMS, query))
    return told


def test_input_items_are_the_newest_first_unless_asked_otherwise() -> None:
    newest = page()
    assert (newest["first_id"], newest["last_id"], newest["has_more"]) == ("msg_29", "msg_10", True)
    rest = page(after="msg_10")
    assert (rest["first_id"], rest["last_id"], rest["has_more"]) == ("msg_9", "msg_0", False)
    oldest = page(order="asc", limit="2", after="msg_3")
    assert [item["id"] for item in oldest["data"]] == ["msg_4", "msg_5"]


def test_a_page_of_nothing() -> None:
    told = json.loads(input_items_page([], {}))
    assert told == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "all"}, "limit"),
        ({"order": "random"}, "order"),
        ({"after": "msg_x"}, "after"),
    ],
)
def test_a_query_that_cannot_be_meant_is_refused(query: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidRequest) as failed:
        input_items_page(ITEMS, query)
    assert failed.value.param == param


def test_a_compaction() -> None:
    kept = [{"id": "msg_1", "type": "message"}]
    body = json.loads(compacted("t", 7, kept, "ag1.x", Usage(5, 2)))
    assert (body["id"], body["object"], body["created_at"]) == ("resp_t", "response.compaction", 7)
    assert body["output"] == [
        *kept,
        {"id": "cmp_t", "type": "compaction", "encrypted_content": "ag1.x"},
    ]
    assert body["usage"]["total_tokens"] == 7
