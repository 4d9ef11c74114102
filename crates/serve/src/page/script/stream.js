// Streams: requests to the server, and server-sent events in answer to them.

/** An error to show: what the server said, or what happened to the connection. */
class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const apiKey = {
  get value() { return sessionStorage.getItem("aquatint-key") ?? ""; },
  set value(key) { sessionStorage.setItem("aquatint-key", key); },
};

function requestHeaders(more) {
  const headers = new Headers(more);
  if (apiKey.value) headers.set("Authorization", `Bearer ${apiKey.value}`);
  return headers;
}

/** A request whose refusal is thrown as the server words it. */
async function ask(path, options = {}) {
  const { body, headers, ...rest } = options;
  const all = requestHeaders(headers);
  if (body !== undefined) all.set("Content-Type", "application/json");
  const response = await fetch(path, {
    ...rest,
    method: options.method ?? (body === undefined ? "GET" : "POST"),
    headers: all,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw await refusalOf(response);
  return response;
}

async function refusalOf(response) {
  let message = `the server answered ${response.status}`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // A proxy may answer with a page of its own; its status is all there is to say.
  }
  const wait = response.headers.get("Retry-After");
  return new Refusal(wait ? `${message} (try again in ${wait} s)` : message, response.status);
}

/** The events of a response: `{ id, name, data }`, data as text. */
async function* serverEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parseEvent(block);
      if (event) yield event;
    }
  }
}

/** One event from its lines; nothing where they are comments only, which keep a connection alive. */
function parseEvent(block) {
  const event = { id: null, name: "message", data: null };
  for (const line of block.split(/\r?\n/)) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    const field = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") event.data = event.data === null ? value : `${event.data}\n${value}`;
    else if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
  }
  return event.data === null ? null : event;
}

const RESUMPTIONS = 6;

/**
 * Streams a canvas until it is done, over as many connections as that takes. The server keeps the events for a while;
 * a new connection names the last one that arrived.
 */
async function streamCanvas(body, { signal, hear, dropped }) {
  let response = await ask("/v1/canvas", { body: { ...body, stream: true, previews: true }, signal });
  let canvas = null;
  let last = null;
  let attempts = 0;
  for (;;) {
    try {
      for await (const event of serverEvents(response)) {
        if (event.id !== null) last = event.id;
        const data = JSON.parse(event.data);
        if (event.name === "opened") canvas = data.id;
        if (event.name === "done") return;
        if (event.name === "error") throw new Refusal(data.error.message);
        hear(event.name, data, canvas);
        attempts = 0;
      }
    } catch (error) {
      if (signal.aborted || error instanceof Refusal) throw error;
    }
    response = await resume();
  }

  async function resume() {
    while (canvas && attempts < RESUMPTIONS) {
      dropped(attempts);
      await new Promise((wake) => setTimeout(wake, 150 * 2 ** attempts));
      attempts += 1;
      try {
        return await ask(`/v1/canvas/${encodeURIComponent(canvas)}`, {
          headers: last === null ? {} : { "Last-Event-ID": last },
          signal,
        });
      } catch (error) {
        if (signal.aborted || error instanceof Refusal) throw error;
      }
    }
    throw new Refusal("the connection to the server was lost; is `aquatint serve` still running?");
  }
}

/** Streams an answer in a conversation, with the steps that wrote it. */
async function streamChat(body, { signal, hear }) {
  const response = await ask("/v1/chat/completions", {
    body: { ...body, stream: true, stream_options: { denoising: true, include_usage: true } },
    signal,
  });
  let text = "";
  let reason = null;
  let usage = null;
  for await (const event of serverEvents(response)) {
    if (event.data === "[DONE]") {
      hear("finished", { index: 0, finish_reason: reason, text, usage });
      return;
    }
    const data = JSON.parse(event.data);
    if (data.error) throw new Refusal(data.error.message);
    if (event.name === "denoising") {
      hear(data.canvas ? "started" : data.changes ? "step" : "block", { ...data, index: data.index ?? data.choice ?? 0 });
    } else {
      usage = data.usage ?? usage;
      const choice = data.choices?.[0];
      text += choice?.delta?.content ?? "";
      reason = choice?.finish_reason ?? reason;
    }
  }
  throw new Refusal("the connection to the server was lost before the answer was whole; send it again");
}
