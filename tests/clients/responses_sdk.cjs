// The openai package for Node on Responses, unmodified: prints what it understood, one JSON object
// by case.  Arguments: the base URL of the API (with /v1).  The models are those of scenarios.py.
"use strict";

const OpenAI = require("openai");

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "unused", maxRetries: 0 });
const input = "How is Tromsø?";
const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  name,
  strict: false,
  parameters: { type: "object", properties: {} },
}));
const LIVE = ["queued", "in_progress"];

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return { class: error.constructor.name, status: error.status, code: error.code, id: error.requestID };
  }
  return "no error";
}

async function streamed(parameters) {
  const deltas = [];
  const numbers = [];
  const stream = client.responses.stream({ input, ...parameters });
  stream.on("response.output_text.delta", ({ delta }) => deltas.push(delta));
  stream.on("event", ({ sequence_number }) => numbers.push(sequence_number));
  return { response: await stream.finalResponse(), deltas, numbers };
}

async function collected(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function polled(id) {
  let found;
  do {
    found = await client.responses.retrieve(id);
  } while (LIVE.includes(found.status));
  return found;
}

const cases = {
  once: () => client.responses.create({ model: "plain", input }),
  stream: () => streamed({ model: "plain" }),
  async tools() {
    const { response: first } = await streamed({ model: "tools", tools });
    const outputs = first.output
      .filter(({ type }) => type === "function_call")
      .map(({ call_id }) => ({ type: "function_call_output", call_id, output: `result of ${call_id}` }));
    const second = await client.responses.create({
      model: "after-tools",
      input: outputs,
      previous_response_id: first.id,
      tools,
    });
    return { first, second };
  },
  async stored() {
    const { response } = await streamed({ model: "plain" });
    const found = await client.responses.retrieve(response.id);
    const items = [];
    for await (const item of client.responses.inputItems.list(response.id)) items.push(item);
    const replayed = await collected(
      await client.responses.retrieve(response.id, { stream: true, starting_after: 3 }),
    );
    await client.responses.delete(response.id);
    const gone = await failure(client.responses.retrieve(response.id));
    return { response, found, items, replayed, gone };
  },
  async background() {
    const begun = await client.responses.create({ model: "plain", input, background: true });
    return { begun, found: await polled(begun.id) };
  },
  async backgroundStream() {
    const stream = await client.responses.create({ model: "plain", input, background: true, stream: true });
    let id;
    for await (const event of stream) {
      id = event.response.id;
      break; // leaves: the answer is made all the same
    }
    return collected(await client.responses.retrieve(id, { stream: true }));
  },
  async cancel() {
    const begun = await client.responses.create({ model: "endless", input, background: true });
    const following = await client.responses.retrieve(begun.id, { stream: true });
    let cancelled;
    for await (const event of following) {
      if (event.type === "response.output_text.delta" && !cancelled) {
        cancelled = await client.responses.cancel(begun.id);
      }
    }
    return { cancelled, found: await client.responses.retrieve(begun.id) };
  },
  refused: () => failure(client.responses.create({ model: "refused", input })),
  missing: () => failure(client.responses.create({ model: "nothing", input })),
  limited: () => failure(client.responses.create({ model: "limited", input })),
  fallen: () => failure(client.responses.create({ model: "fallen", input })),
  async breaks() {
    const events = await collected(await client.responses.create({ model: "breaks", input, stream: true }));
    return events.at(-1);
  },
};

(async () => {
  const found = {};
  for (const [name, run] of Object.entries(cases)) {
    found[name] = await run().catch((error) => ({ unexpected: String(error.stack ?? error) }));
  }
  console.log(JSON.stringify(found));
})();
