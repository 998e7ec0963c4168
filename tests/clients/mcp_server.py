"""An MCP server over stdin and stdout, as a user of an agent has one: it knows the weather."""

import json
import sys
from typing import Any

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LONG = "weather_of_every_day_since_the_beginning_of_the_records_at_all_stations_nearby"
TOOLS = [
    {"name": name, "description": f"Tells the {name}.", "inputSchema": SCHEMA}
    for name in ("weather", LONG)
]


def answered(method: str, params: dict[str, Any]) -> dict[str, Any]:
    match method:
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "sky-watch", "version": "1"},
                "instructions": "Cities go by their English names.",
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return {"content": [{"type": "text", "text": f"Rain in {params['arguments']['city']}"}]}
        case _:
            return {}


for line in sys.stdin:
    sent = json.loads(line)
    if "id" in sent:  # what has none wants no answer
        result = answered(sent["method"], sent.get("params") or {})
        print(json.dumps({"jsonrpc": "2.0", "id": sent["id"], "result": result}), flush=True)
