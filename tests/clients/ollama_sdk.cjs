// The ollama package for JavaScript, unmodified: prints what it understood, one JSON object by
// case.  Arguments: the gateway's URL.  The models are those of scenarios.py.
"use strict";

const { Ollama } = require("ollama");

const client = new Ollama({ host: process.argv[2] });
const messages = [{ role: "user", content: "How is Tromsø?" }];
const PIXEL = process.argv[3];
const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  function: { name, description: "", parameters: { type: "object", properties: {} } },
}));

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return { name: error.name, status: error.status_code, message: error.message };
  }
  return "no error";
}

async function collected(stream) {
  const parts = [];
  for await (const part of await stream) parts.push(part);
  return parts;
}

const cases = {
  version: () => client.version(),
  list: () => client.list(),
  show: () => client.show({ model: "plain" }),
  ps: () => client.ps(),
  once: () => client.chat({ model: "plain", messages, options: { num_predict: 50 } }),
  stream: () => collected(client.chat({ model: "plain", messages, stream: true })),
  async tools() {
    const parts = await collected(client.chat({ model: "tools", messages, tools, stream: true }));
    const turn = { role: "assistant", content: "", tool_calls: [] };
    for (const { message } of parts) {
      turn.content += message.content;
      turn.tool_calls.push(...(message.tool_calls ?? []));
    }
    const results = turn.tool_calls.map((call) => ({
      role: "tool",
      tool_name: call.function.name,
      content: `result of ${call.function.name}`,
    }));
    const history = [...messages, turn, ...results];
    const answer = await client.chat({ model: "after-tools", messages: history, tools });
    return { turn, answer };
  },
  thinking: () => collected(client.chat({ model: "thinking", messages, think: true, stream: true })),
  image: () =>
    client.chat({ model: "plain", messages: [{ role: "user", content: "What?", images: [PIXEL] }] }),
  format: () =>
    client.chat({ model: "record", messages, format: { type: "object", properties: { city: { type: "string" } } } }),
  generate: () => client.generate({ model: "plain", prompt: "Hello", system: "Be brief." }),
  generateStream: () => collected(client.generate({ model: "plain", prompt: "Hello", stream: true })),
  embed: () => client.embed({ model: "vectors", input: ["one", "two"] }),
  embeddings: () => client.embeddings({ model: "vectors", prompt: "one" }),
  refused: () => failure(client.chat({ model: "refused", messages })),
  missing: () => failure(client.chat({ model: "nothing", messages })),
  limited: () => failure(client.chat({ model: "limited", messages })),
  fallen: () => failure(client.chat({ model: "fallen", messages })),
  breaks: () => failure(collected(client.chat({ model: "breaks", messages, stream: true }))),
};

(async () => {
  const found = {};
  for (const [name, run] of Object.entries(cases)) {
    found[name] = await run().catch((error) => ({ unexpected: String(error.stack ?? error) }));
  }
  console.log(JSON.stringify(found));
})();
