"""The tools of a Responses request as functions, which is all a chat backend can be told of; and
the names those go by.  Called by `options`, `conversation` and `encode`; pure.

    function    itself
    custom      a function with one text, its input
    namespace   each of its functions and custom tools, as `namespace__name`
    tool_search a function, where its client executes it: what it finds comes with its output
    others      run by their own provider: they are named, and not told

A tool that is told as something else keeps its client's words in `source`: {type, namespace, name}.
Nothing is remembered between requests: what the model calls is looked up among the tools of this
one, and what its history called is named anew.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from appliance.domain.conversation.options import Tool
from appliance.domain.errors import InvalidRequest
from appliance.domain.responses.record import Item
from appliance.presentation.json_body import MAX_TOOLS, convert
from appliance.presentation.openai_responses.items import type_of
from appliance.presentation.openai_responses.wire import Object, WireNamespace, WireTool

T = TypeVar("T")
FUNCTION, CUSTOM, NAMESPACE = "function", "custom", "namespace"
SEARCH = "tool_search"
SEARCH_OUTPUT, ADDITIONAL = "tool_search_output", "additional_tools"  # items that bring tools
BRINGING = frozenset({SEARCH_OUTPUT, ADDITIONAL})
INPUT_FIELD = "input"  # the argument of a custom tool, which has no schema of its own
MAX_NAME_CHARS = 64  # what OpenAI takes; others take more
_SEPARATOR = "__"
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_HASH_BYTES = 4
_SHOWN_CHARS = 64  # of a word of the client's that goes into a header
_INPUT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {INPUT_FIELD: {"type": "string", "description": "The whole input of the tool."}},
    "required": [INPUT_FIELD],
    "additionalProperties": False,
}
Key = tuple[str, str]  # namespace, "" where it is in none, and name


@dataclass(frozen=True, slots=True)
class Sent:
    """One tool as it came, at `place` of the request; `about` is what its client says of all of its
    namespace, said once."""

    place: str
    tool: Object
    namespace: str = ""
    about: str = ""

    @property
    def kind(self) -> str:
        """Its type.  Raises InvalidRequest where that is no text."""
        kind = self.tool.get("type")
        if not isinstance(kind, str) or not kind:
            raise InvalidRequest(f"{self.place}.type: a text is needed", param=f"{self.place}.type")
        return kind


def tools_of(
    tools: Sequence[Object], items: Sequence[Item] = ()
) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """Those that can be told, of `tools` and of what `items` bring; the types of all others, each
    once.  Raises InvalidRequest naming the field."""
    found = [each for sent in _all_sent(tools, items) for each in _taken_apart(sent)]
    if len(found) > MAX_TOOLS:
        raise InvalidRequest(f"tools: {len(found)} are more than {MAX_TOOLS}", param="tools")
    told = [(sent, _wire_tool(sent)) for sent in found if _can_be_told(sent)]
    names = _names([(sent.namespace, wire.name) for sent, wire in told])
    made: dict[str, Tool] = {}
    for sent, wire in told:
        name = names[sent.namespace, wire.name]
        made.setdefault(name, _KINDS[sent.kind](name, wire, sent))  # of two alike the first counts
    hosted = dict.fromkeys(sent.kind[:_SHOWN_CHARS] for sent in found if not _can_be_told(sent))
    return tuple(made.values()), tuple(hosted)


def brings_tools(items: Sequence[Item]) -> bool:
    """True where tools come among the items."""
    return any(type_of(item) in BRINGING for item in items)


def key_of(tool: Tool) -> Key:
    """What its client calls it."""
    source = tool.source or {}
    return source.get("namespace", ""), source.get("name", tool.name)


def names_of(tools: Sequence[Tool]) -> Mapping[Key, str]:
    """The names they go by."""
    return {key_of(tool): tool.name for tool in tools}


def chosen(tools: Sequence[Tool], named: Sequence[Object]) -> tuple[Tool, ...]:
    """Those that `named` has: each a tool, or a namespace with all of its own."""
    keys: set[Key] = set()
    spaces: set[str] = set()
    for sent in named:
        name, namespace = sent.get("name"), sent.get("namespace") or ""
        if not (isinstance(name, str) and name and isinstance(namespace, str)):
            continue
        if sent.get("type") == NAMESPACE:
            spaces.add(name)
        else:
            keys.add((namespace, name))
    return tuple(tool for tool in tools if key_of(tool) in keys or key_of(tool)[0] in spaces)


def called(item: Item, names: Mapping[Key, str]) -> Item:
    """A call of the history under the name its tool goes by, which is among `names` where the tool
    is still there."""
    namespace, name = item.get("namespace"), item.get("name")
    if not (isinstance(namespace, str) and namespace and isinstance(name, str)):
        return item
    return {**item, "name": names.get((namespace, name)) or _told_name((namespace, name))}


def _all_sent(tools: Sequence[Object], items: Sequence[Item]) -> Iterator[Sent]:
    for at, tool in enumerate(tools):
        yield Sent(f"tools[{at}]", tool)
    for at, item in enumerate(items):
        if type_of(item) in BRINGING:
            brought = _read(dict(item), WireNamespace, f"input[{at}]").tools
            for n, tool in enumerate(brought):
                yield Sent(f"input[{at}].tools[{n}]", tool)


def _taken_apart(sent: Sent) -> Iterator[Sent]:
    """A namespace is its tools; one within another is not known to anybody, and is as it came."""
    if sent.kind != NAMESPACE:
        yield sent
        return
    space = _read(sent.tool, WireNamespace, sent.place)
    if not space.name:
        raise InvalidRequest(f"{sent.place}.name: a text is needed", param=f"{sent.place}.name")
    about = space.description or ""
    for at, tool in enumerate(space.tools):
        yield Sent(f"{sent.place}.tools[{at}]", tool, space.name, "" if at else about)


def _can_be_told(sent: Sent) -> bool:
    by_client = sent.kind != SEARCH or sent.tool.get("execution") == "client"
    return sent.kind in _KINDS and by_client


def _wire_tool(sent: Sent) -> WireTool:
    tool = {**sent.tool, "name": SEARCH} if sent.kind == SEARCH else sent.tool
    return _read(tool, WireTool, sent.place)


def _read(sent: Object, kind: type[T], place: str) -> T:
    try:
        return convert(sent, kind)
    except InvalidRequest as exc:
        raise InvalidRequest(f"{place}.{exc}", param=f"{place}.{exc.param or ''}") from exc


def _names(keys: Sequence[Key]) -> Mapping[Key, str]:
    """One name a tool; those in no namespace keep theirs, whatever it is."""
    names = {key: key[1] for key in keys if not key[0]}
    taken = set(names.values())
    for key in keys:
        if key not in names:
            name = _told_name(key)
            names[key] = name if name not in taken else _hashed(name, key)
            taken.add(names[key])
    return names


def _told_name(key: Key) -> str:
    """The same for the same key; one that had to be changed ends in a hash of what it was."""
    whole = _SEPARATOR.join(key)
    fit = _UNFIT.sub("_", whole)
    return fit if fit == whole and len(fit) <= MAX_NAME_CHARS else _hashed(fit, key)


def _hashed(name: str, key: Key) -> str:
    digest = hashlib.blake2b("\0".join(key).encode(), digest_size=_HASH_BYTES).hexdigest()
    return f"{name[: MAX_NAME_CHARS - len(digest) - 1]}_{digest}"


def _function(name: str, wire: WireTool, sent: Sent) -> Tool:
    source = _source(FUNCTION, wire, sent) if sent.namespace else None
    return Tool(name, _described(wire, sent), wire.parameters or {}, wire.strict, source)


def _custom(name: str, wire: WireTool, sent: Sent) -> Tool:
    return Tool(name, _described(wire, sent), _INPUT_SCHEMA, source=_source(CUSTOM, wire, sent))


def _search(name: str, wire: WireTool, sent: Sent) -> Tool:
    source = _source(SEARCH, wire, sent)
    return Tool(name, _described(wire, sent), wire.parameters or {}, source=source)


def _source(kind: str, wire: WireTool, sent: Sent) -> Mapping[str, Any]:
    return {"type": kind, "namespace": sent.namespace, "name": wire.name}


def _described(wire: WireTool, sent: Sent) -> str:
    """What a schema has no place for, the model is told here: a grammar, which nobody enforces, and
    what holds for a whole namespace."""
    told = [wire.description]
    syntax, definition = (wire.format or {}).get("syntax"), (wire.format or {}).get("definition")
    if isinstance(definition, str):
        told.append(f"Its input must follow this grammar ({syntax}):\n{definition}")
    if sent.about:
        told.append(f"About this and all other tools of {sent.namespace}:\n{sent.about}")
    return "\n\n".join(filter(None, told))


_KINDS: Mapping[str, Callable[[str, WireTool, Sent], Tool]] = {
    FUNCTION: _function,
    CUSTOM: _custom,
    SEARCH: _search,
}
