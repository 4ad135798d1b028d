// The feed: server-sent events over fetch(), because EventSource can't send an Authorization header.
//
// A connection without an event for SILENCE_MS counts as lost, also when it is open and sends comments: the router
// sends one frame a second, so two are missing then.

const SILENCE_MS = 2500;
const WATCH_MS = 250;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;
// 64 workers and ten minutes of history are below 300 kB; what is larger than this never ends.
const LARGEST_EVENT = 8 * 1024 * 1024;
const UNAUTHORIZED = 401;
// Kept until the tab is closed.
const KEY = "adaptive-router-key";

// Takes the text as it comes and calls `deliver(name, data)` for every event that is complete.
class EventParser {
  constructor(deliver) {
    this.deliver = deliver;
    this.rest = "";
    this.clear();
  }

  clear() {
    this.name = "message";
    this.data = [];
  }

  push(text) {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    if (this.rest.length > LARGEST_EVENT) throw new Error("an event without an end");
    for (const line of lines) this.line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  line(line) {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.name = value;
    if (field === "data") this.data.push(value);
  }

  dispatch() {
    const { name, data } = this;
    this.clear();
    if (data.length > 0) this.deliver(name, data.join("\n"));
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function credentials() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

// One connection, from the request to its end. Resolves with the status of an answer that is none, else with null.
async function listen(deliver) {
  const ending = new AbortController();
  let heardAt = Date.now();
  const watch = setInterval(() => {
    if (Date.now() - heardAt > SILENCE_MS) ending.abort();
  }, WATCH_MS);
  try {
    const answer = await fetch("/ui/events", { headers: credentials(), cache: "no-store", signal: ending.signal });
    if (!answer.ok) return answer.status;
    const parser = new EventParser((name, data) => {
      heardAt = Date.now();
      deliver(name, JSON.parse(data));
    });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return null;
      parser.push(value);
    }
  } catch {
    return null;
  } finally {
    clearInterval(watch);
    ending.abort();
  }
}

// Connects for as long as the page is open. `lost(retryAt, status)` is called after each connection that failed or
// ended; `askForKey` resolves when there is a key to try.
async function follow({ deliver, lost, askForKey }) {
  let wait = FIRST_RETRY_MS;
  for (;;) {
    const status = await listen((name, data) => {
      if (name === "frame") wait = FIRST_RETRY_MS;
      deliver(name, data);
    });
    if (status === UNAUTHORIZED) {
      await askForKey();
      continue;
    }
    lost(Date.now() + wait, status);
    await pause(wait);
    wait = Math.min(wait * 2, LONGEST_RETRY_MS);
  }
}
