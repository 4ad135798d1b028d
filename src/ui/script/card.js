// One worker's card: made once and then changed in place.

// A reading is polled every few seconds at most; one older than this says little about now.
const OLD_READING_S = 10;

// What waits at a worker before it runs. Not `inflight`: those have been read and are being sent.
const QUEUES = ["waiting", "bootstrap", "prealloc", "transfer", "retracted"];
const queueOf = (reading) => QUEUES.reduce((sum, queue) => sum + reading[queue], 0);

function makeMeter(name, className) {
  const fill = make("span", "fill");
  const quantity = makeQuantity("number");
  const track = make("dd", "", make("span", "bar-track", fill));
  const node = make("div", className, make("dt", "", name), track, make("dd", "", quantity.node));
  const set = (fraction, amount) => {
    quantity.set(amount);
    const scale = `scaleX(${Math.min(1, Math.max(0, fraction)).toFixed(3)})`;
    if (fill.style.transform !== scale) fill.style.transform = scale;
  };
  return { node, set };
}

// The name, which opens the details, and the state.
class Head {
  constructor(controls, toggle) {
    this.button = make("button", "");
    this.button.setAttribute("aria-expanded", "false");
    this.button.setAttribute("aria-controls", controls);
    this.button.addEventListener("click", toggle);
    this.icon = makeIcon();
    this.state = make("span", "");
    this.since = make("span", "since");
    const state = make("p", "state", this.icon, this.state, this.since);
    this.node = make("div", "head", make("h3", "", this.button), state);
  }

  show({ url, state, state_age_s: since }, name) {
    setText(this.button, name);
    setAttribute(this.button, "title", url);
    setIcon(this.icon, state);
    setText(this.state, state);
    setText(this.since, lookOf(state) === "serving" ? "" : age(since));
  }
}

class Meters {
  constructor() {
    this.inFlight = makeMeter("in flight", "main");
    this.queue = makeMeter("queue", "");
    this.kv = makeMeter("KV use", "");
    this.node = make("dl", "meters", this.inFlight.node, this.queue.node, this.kv.node);
  }

  show({ in_flight, reading }, scales) {
    this.inFlight.set(in_flight / scales.inFlight, [wholeNumber(in_flight), "req"]);
    const queue = reading ? queueOf(reading) : null;
    this.queue.set((queue ?? 0) / scales.queue, hasValue(queue) ? [wholeNumber(queue), "req"] : NOTHING);
    this.kv.set(reading?.kv_usage ?? 0, wholePercent(reading?.kv_usage));
  }
}

// What the role answers for: prefill for the first token, decode for those after it. Beside it, how old the reading is
// that the meters show, where that is worth a word.
class Latency {
  constructor() {
    this.parts = [0, 1].map(() => ({ label: make("span", "label"), value: make("b", "") }));
    this.age = make("span", "age");
    this.node = make("p", "latency");
    for (const { label, value } of this.parts) this.node.append(make("span", "", label, " ", value));
    this.node.append(this.age);
  }

  show({ role, ttft, itl, reading }, slo) {
    if (role === "prefill") this.showLatency("TTFT", ttft, slo.ttft_ms);
    else this.showLatency("ITL", itl, slo.itl_ms);
    this.showAge(reading);
  }

  showLatency(name, latency, most) {
    const [p50, p99] = this.parts;
    const over = latency !== null && latency.p99_ms > most;
    setText(p50.label, latency ? `${name} p50` : "no requests yet");
    setText(p50.value, latency ? words(milliseconds(latency.p50_ms)) : "");
    setText(p99.label, latency ? "p99" : "");
    setText(p99.value, latency ? `${words(milliseconds(latency.p99_ms))}${over ? " over SLO" : ""}` : "");
    setAttribute(p99.value, "data-over", over);
  }

  showAge(reading) {
    const old = reading !== null && reading.age_s > OLD_READING_S;
    setText(this.age, reading === null ? "no reading" : old ? `reading ${age(reading.age_s)} old` : "");
    setAttribute(this.age, "data-old", old);
  }
}

class Card {
  constructor(number) {
    this.details = make("dl", "details");
    this.details.id = `details-${number}`;
    this.details.hidden = true;
    this.head = new Head(this.details.id, () => this.toggle());
    this.meters = new Meters();
    this.latency = new Latency();
    this.troubleText = make("span", "");
    this.trouble = make("p", "trouble", makeIcon("unhealthy"), this.troubleText);
    const parts = [this.head.node, this.meters.node, this.latency.node, this.trouble, this.details];
    this.node = make("li", "card", ...parts);
    this.node.dataset.open = "false";
    this.worker = null;
  }

  toggle() {
    const open = this.details.hidden;
    this.details.hidden = !open;
    this.node.dataset.open = String(open);
    this.head.button.setAttribute("aria-expanded", String(open));
    if (open) showDetails(this.details, this.worker);
  }

  show(worker, { name, scales, slo }) {
    const before = this.worker ?? worker;
    this.worker = worker;
    setAttribute(this.node, "data-role", knownRole(worker.role));
    setAttribute(this.node, "data-look", lookOf(worker.state));
    this.head.show(worker, name);
    this.meters.show(worker, scales);
    this.latency.show(worker, slo);
    const trouble = troubleOf(worker);
    setText(this.troubleText, trouble);
    setHidden(this.trouble, trouble === "");
    if (!this.details.hidden) showDetails(this.details, worker);
    if (before.state !== worker.state || before.role !== worker.role) this.flash();
  }

  flash() {
    this.node.classList.remove("changed");
    requestAnimationFrame(() => this.node.classList.add("changed"));
  }
}

function troubleOf({ breaker, trouble }) {
  const parts = [];
  if (breaker !== "closed") parts.push(`circuit breaker ${breaker.replace("_", " ")}`);
  if (trouble) parts.push(trouble);
  return parts.join("; ");
}
