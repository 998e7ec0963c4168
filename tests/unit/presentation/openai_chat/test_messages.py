import base64
import json
from typing import Any

import pytest

from appliance.domain.conversation.message import Message
from appliance.domain.conversation.parts import (
    Document,
    Image,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from appliance.domain.errors import InvalidRequest
from appliance.presentation.openai_chat.decode import decode

PNG = "iVBORw0KGgo="
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}


def messages(*sent: dict[str, Any]) -> tuple[Message, ...]:
    return decode(json.dumps({"messages": list(sent)}).encode(), {}).messages


def parts(role: str = "user", **fields: Any) -> tuple[Part, ...]:
    (read,) = messages({"role": role, **fields})
    return read.parts


def part(sent: dict[str, Any]) -> Part:
    (read,) = parts(content=[sent])
    return read


def test_a_developer_is_a_system_for_every_other_wire_and_stays_one_on_this() -> None:
    (read,) = messages({"role": "developer", "content": "be terse"})
    assert (read.role, read.source["role"], read.parts) == (
        "system",
        "developer",
        (Text("be terse"),),
    )


@pytest.mark.parametrize("content", [None, "", []])
def test_no_content_is_no_part(content: Any) -> None:
    assert parts(content=content) == ()


def test_text_parts_keep_their_source() -> None:
    sent = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    assert part(sent) == Text("a", sent)


def test_a_refusal_is_a_text_of_its_own_kind() -> None:
    sent = {"type": "refusal", "refusal": "no"}
    assert part(sent) == Refusal("no", sent)
    assert parts(role="assistant", content=None, refusal="no") == (Refusal("no"),)
    assert parts(role="assistant", content="a", refusal=None) == (Text("a"),)


@pytest.mark.parametrize(
    ("url", "image"),
    [
        (f"data:image/png;base64,{PNG}", Image("image/png", PNG)),
        (f"DATA:Image/PNG;charset=x;BASE64,{PNG}", Image("image/png", PNG)),
        ("data:;base64,YWI%2B", Image("", "YWI+")),
        ("data:image/svg+xml,%3Csvg/%3E", Image("image/svg+xml", "PHN2Zy8+")),
        ("data:image/png;base64,a-_b\n", Image("image/png", "a-_b\n")),  # the vision stage's
        ("https://x.example/a.png?b=c", Image(url="https://x.example/a.png?b=c")),
        ("HTTP://x.example/", Image(url="HTTP://x.example/")),
    ],
)
def test_an_image_is_inline_or_on_the_web(url: str, image: Image) -> None:
    for inner, detail in (
        ({"url": url, "detail": "low"}, "low"),
        ({"url": url, "detail": 5}, ""),
        (url, ""),
    ):
        sent = {"type": "image_url", "image_url": inner}
        assert part(sent) == Image(image.media_type, image.data, image.url, sent, detail)


@pytest.mark.parametrize(
    "image",
    [
        None,
        {},
        {"url": None},
        {"url": ""},
        {"url": "data:"},
        {"url": "data:image/png;base64"},
        {"url": "data:image/png;base64,"},
        {"url": "data:image/png;base64,@@@"},
        {"url": "data:image/png;base64,é"},
        {"url": PNG},
        {"url": "file:///etc/passwd"},
        {"url": "ftp://x.example/a.png"},
    ],
    ids=str,
)
def test_a_malformed_image_is_named(image: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages(
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": image},
                ],
            },
        )
    assert refused.value.param == "messages[1].content[1]"
    assert "messages[1].content[1]" in str(refused.value)


def of_file(data: str, name: str | None = "a.txt") -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": data, "filename": name}}


@pytest.mark.parametrize(
    ("data", "document"),
    [
        (
            "data:application/pdf;base64,JVBERg==",
            Document("a.txt", "application/pdf", "", "JVBERg=="),
        ),
        ("data:text/plain;base64,aGkg8J+YgA", Document("a.txt", "text/plain", "hi 😀")),
        ("data:text/plain;base64,aGkg8J-YgA==", Document("a.txt", "text/plain", "hi 😀")),
        ("data:text/csv,a%2Cb", Document("a.txt", "text/csv", "a,b")),
        ("data:text/plain;base64,/w==", Document("a.txt", "text/plain", "", "/w==")),
        ("JVBERg==", Document("a.txt", "", "", "JVBERg==")),
        ("https://x.example/a.pdf", Document("a.txt", url="https://x.example/a.pdf")),
    ],
)
def test_a_file_is_a_document_and_plain_text_is_read(data: str, document: Document) -> None:
    sent = of_file(data)
    assert part(sent) == Document(
        document.name, document.media_type, document.text, document.data, document.url, sent
    )


@pytest.mark.parametrize("data", ["", "data:text/plain;base64,YWJjZ", "data:x", "not base64!"])
def test_a_malformed_file_is_named(data: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        part(of_file(data))
    assert refused.value.param == "messages[0].content[0]"


@pytest.mark.parametrize(
    "sent",
    [
        {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "https://x"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": "x"},
        {"type": "text", "text": None},
        {"type": "hologram"},
    ],
    ids=lambda sent: str(sent["type"]),
)
def test_a_part_without_a_word_of_ours_is_carried_as_it_is(sent: dict[str, Any]) -> None:
    assert part(sent) == Unknown(sent["type"], sent)


@pytest.mark.parametrize("kind", [None, 5, [], {}])
def test_a_part_without_a_type_is_unknown(kind: Any) -> None:
    assert part({"type": kind, "text": "a"}) == Unknown("", {"type": kind, "text": "a"})


def test_tool_calls_follow_the_text_and_keep_what_their_backend_wants_back() -> None:
    signed = CALL | {"index": 0, "extra_content": {"google": {"thought_signature": "s"}}}
    assert parts("assistant", content="hm", tool_calls=[signed, CALL | {"id": "b"}]) == (
        Text("hm"),
        ToolCall("a", "f", '{"x":1}', {"extra_content": signed["extra_content"]}, signed),
        ToolCall("b", "f", '{"x":1}', {}, CALL | {"id": "b"}),
    )


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ('{"x": 1}', '{"x": 1}'),
        ("", "{}"),
        (" ", "{}"),
        (None, "{}"),
        ({}, "{}"),
        ({"x": [1, "é"]}, '{"x":[1,"é"]}'),
        ('{"broken', '{"broken'),
    ],
)
def test_arguments_are_json_text_and_none_are_an_empty_object(given: Any, read: str) -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": given}}
    (called,) = parts("assistant", tool_calls=[call])
    assert isinstance(called, ToolCall)
    assert called.arguments == read


def test_a_call_of_another_kind_is_carried_as_it_is() -> None:
    custom = {"id": "a", "type": "custom", "custom": {"name": "grep", "input": "x"}}
    assert parts("assistant", tool_calls=[custom]) == (Unknown("custom", custom),)


def test_a_tool_message_is_one_result() -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    assert parts("tool", tool_call_id="a", name="f", content="42") == (
        ToolResult("a", (Text("42"),), name="f"),
    )
    assert parts("tool", tool_call_id="a", content=[image]) == (
        ToolResult("a", (Image("image/png", PNG, source=image),)),
    )
    assert parts("tool", tool_call_id="a", content=None) == (ToolResult("a"),)


def test_a_malformed_image_in_a_result_is_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:nothing"}}
    with pytest.raises(InvalidRequest) as refused:
        messages({"role": "tool", "tool_call_id": "a", "content": [image]})
    assert refused.value.param == "messages[0].content[0]"


def test_legacy_calls_have_ids_that_their_results_share() -> None:
    def called(name: str) -> dict[str, Any]:
        return {"role": "assistant", "function_call": {"name": name, "arguments": "{}"}}

    read = messages(
        called("f"),
        {"role": "function", "name": "f", "content": "1"},
        called("g"),
        {"role": "function", "name": "g", "content": "2"},
        called("f"),
        {"role": "function", "name": "f", "content": "3"},
        {"role": "function", "name": "never called", "content": "4"},
    )
    assert [m.role for m in read] == ["assistant", "tool"] * 3 + ["tool"]
    ids = [p.id for m in read for p in m.parts if isinstance(p, ToolCall)]
    results = [p for m in read for p in m.parts if isinstance(p, ToolResult)]
    assert [r.call_id for r in results[:3]] == ids
    assert len({*ids, results[3].call_id}) == 4
    assert [(r.name, r.parts) for r in results[:1]] == [("f", (Text("1"),))]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_vllm_33616_reasoning_in_history_is_read_under_either_name(name: str) -> None:
    assert parts("assistant", content="a", **{name: "hm"}) == (Reasoning("hm"), Text("a"))


def test_reasoning_under_both_names_is_one_block() -> None:
    both = {"reasoning": "hm", "reasoning_content": "hm"}
    assert parts("assistant", content="a", **both) == (Reasoning("hm"), Text("a"))


@pytest.mark.parametrize("junk", [None, "", 5, [], {}, ["a"], True])
def test_reasoning_that_is_no_text_is_nobodys(junk: Any) -> None:
    fields = {"reasoning": junk, "reasoning_content": junk, "reasoning_details": junk}
    assert parts("assistant", content="a", **fields) == (Text("a"),)


def signed(text: str, signature: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "signature": signature, **more}


def test_reasoning_details_are_blocks_and_the_plain_text_is_not_said_twice() -> None:
    details = [
        signed("one", "s1"),
        {"type": "reasoning.encrypted", "data": "xyz", "id": "1"},
        {"type": "reasoning.summary", "summary": "two"},
        {"type": "reasoning.telepathy", "waves": 5},
        "junk",
    ]
    read = parts("assistant", content="a", reasoning="onetwo", reasoning_details=details)
    assert read == (
        Reasoning("one", "s1", source=details[0]),
        Reasoning(redacted="xyz", source=details[1]),
        Reasoning("two", source=details[2]),
        Text("a"),
    )


def test_a_signature_without_its_text_signs_the_plain_one() -> None:
    details = [signed("", "s1", index=0)]
    assert parts("assistant", reasoning="hm", reasoning_details=details) == (Reasoning("hm", "s1"),)
    assert parts("assistant", reasoning_details=details) == (
        Reasoning("", "s1", source=details[0]),
    )


def test_plain_reasoning_beside_an_encrypted_block_comes_first() -> None:
    details = [{"type": "reasoning.encrypted", "data": "xyz"}]
    assert parts("assistant", reasoning="hm", reasoning_details=details) == (
        Reasoning("hm"),
        Reasoning(redacted="xyz", source=details[0]),
    )


def test_fragments_of_a_block_that_a_client_kept_apart_are_joined_by_their_index() -> None:
    details = [
        {"type": "reasoning.text", "text": "o", "index": 0},
        {"type": "reasoning.text", "text": "ne", "index": 0, "signature": None},
        {"type": "reasoning.text", "signature": "s1", "index": 0},
        {"type": "reasoning.text", "text": "two", "signature": "s2", "index": 0},
        {"type": "reasoning.text", "text": "x"},
        {"type": "reasoning.text", "text": "y"},
    ]
    read = parts("assistant", reasoning_details=details)
    said = [(p.text, p.signature) for p in read if isinstance(p, Reasoning)]
    assert said == [("one", "s1"), ("two", "s2"), ("x", ""), ("y", "")]


@pytest.mark.timeout(150)
def test_the_fragments_of_a_long_block_are_joined_once() -> None:
    """Joined one by one, this many take minutes."""
    details = [{"type": "reasoning.text", "text": "x" * 16, "index": 0}] * 300_000
    assert parts("assistant", reasoning_details=details) == (Reasoning("x" * 4_800_000),)


def test_a_long_image_is_not_rewritten() -> None:
    data = base64.b64encode(bytes(range(256)) * 64).decode()
    sent = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    read = part(sent)
    assert isinstance(read, Image)
    assert (read.data, read.source) == (data, sent)
