"""What the schema refuses, in the words of the file: the table, the key, what may stand there.

Called by `load` with msgspec's sentence; reads no file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import inspect

from appliance.config.schema import Config

# What a value must look like, where a pattern would not tell a person.
_SHAPES: Mapping[tuple[str, ...], str] = {
    ("gateway", "listen"): "HOST:PORT",
    ("inference", "listen"): "HOST:PORT",
    ("consumer", "listen"): "HOST:PORT",
    ("nats", "url"): "nats://HOST:PORT or tls://HOST:PORT, several with commas between",
}
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
Step = str | int


def explain(problem: str, tables: Mapping[str, Any]) -> str:
    """``… - at `$.backends[0].kind` `` becomes `[[backends]] 'local' kind: …`."""
    text, _, where = problem.partition(" - at `$")
    steps = _steps(where.rstrip("`"))
    if not steps:
        return text
    if text.startswith("Invalid enum value") and (allowed := _allowed(steps)):
        text += ", it is one of " + ", ".join(f'"{value}"' for value in allowed)
    if "matching regex" in text and (shape := _SHAPES.get(tuple(map(str, steps)))):
        text = f"{tables[str(steps[0])][steps[1]]!r} is not {shape}"
    return f"{_place(steps, tables)}: {text}"


def row_words(table: str, row: object, number: int) -> str:
    """One row of an array of tables, by the name the file gives it: `[[backends]] 'local'`."""
    label = row.get("name") or row.get("match") if isinstance(row, Mapping) else None
    return f"[[{table}]] {label!r}" if label else f"[[{table}]] number {number}"


def _steps(where: str) -> list[Step]:
    """`.models[0].parsers[1]` as its keys and numbers."""
    return [key or int(number) for key, number in _STEP.findall(where)]


def _place(steps: Sequence[Step], tables: Mapping[str, Any]) -> str:
    table, inner = str(steps[0]), steps[1:]
    content = tables.get(table)
    words = f"[{table}]" if isinstance(content, dict | list) else table
    if isinstance(content, list) and inner and isinstance(inner[0], int):
        words = row_words(table, content[inner[0]], inner[0])
    # Any other number counts the values of a list, and the sentence itself quotes the value.
    keys = ".".join(step for step in inner if isinstance(step, str))
    return f"{words} {keys}".strip()


def _allowed(steps: Sequence[Step]) -> tuple[Any, ...]:
    """The values the schema names at this place; none where it names none."""
    found: inspect.Type = inspect.type_info(Config)
    for step in steps:
        found = next(iter(_inside(found, step)), inspect.AnyType())
    literals = (o.values for o in _options(found) if isinstance(o, inspect.LiteralType))
    return next(literals, ())


def _inside(found: inspect.Type, step: Step) -> list[inspect.Type]:
    """What `step` leads to from `found`, an optional one included."""
    inner: list[inspect.Type] = []
    for option in _options(found):
        if isinstance(option, inspect.StructType):
            inner += [field.type for field in option.fields if field.encode_name == step]
        elif isinstance(option, inspect.VarTupleType) and isinstance(step, int):
            inner.append(option.item_type)
    return inner


def _options(found: inspect.Type) -> Sequence[inspect.Type]:
    return found.types if isinstance(found, inspect.UnionType) else (found,)
