// The workers: a card each, made once and then changed in place, grouped by role.

// More workers than this get small cards.
const MOST_LARGE_CARDS = 12;
// A reading is polled every few seconds at most; one older than this says little about now.
const OLD_READING_S = 10;
const GROUP_TITLES = { prefill: "Prefill", decode: "Decode", regular: "Regular" };

// What waits at a worker before it runs. Not `inflight`: those have been read and are being sent.
const QUEUES = ["waiting", "bootstrap", "prealloc", "transfer", "retracted"];
const queueOf = (reading) => QUEUES.reduce((sum, queue) => sum + (reading[queue] ?? 0), 0);

const cards = new Map();
const groups = new Map();

function groupOf(role) {
  if (groups.has(role)) return groups.get(role);
    const summary = make("small", "");
  const list = make("ul", "cards");
  const heading = make("h2", "", makeIcon(`role-${role}`), GROUP_TITLES[role], summary);
  heading.id = `group-${role}`;
  const node = make("section", "group", heading, list);
  node.dataset.role = role;
  node.setAttribute("aria-labelledby", heading.id);
  const made = { node, list, summary };
  groups.set(role, made);
  const order = ROLES.filter((name) => groups.has(name));
  byId("fleet").append(...order.map((name) => groups.get(name).node));
  return made;
}

function makeMeter(name, className) {
  const fill = make("span", "fill");
  const quantity = makeQuantity("number");
  const track = make("span", "bar-track", fill);
  const node = make("div", className, make("dt", "", name), make("dd", "", track), make("dd", "", quantity.node));
  const set = (fraction, amount) => {
    quantity.set(amount);
    const scale = `scaleX(${Math.min(1, Math.max(0, fraction)).toFixed(3)})`;
    if (fill.style.transform !== scale) fill.style.transform = scale;
  };
  return { node, set };
}

class Card {
  constructor(id) {
    this.button = make("button", "");
    this.button.setAttribute("aria-expanded", "false");
    this.details = make("dl", "details");
    this.details.id = `details-${id}`;
    this.details.hidden = true;
    this.button.setAttribute("aria-controls", this.details.id);
    this.button.addEventListener("click", () => this.toggle());
    this.icon = makeIcon();
    this.stateText = make("span", "");
    this.stateAge = make("span", "since");
    this.inFlight = makeMeter("in flight", "main");
    this.queue = makeMeter("queue", "");
    this.kv = makeMeter("KV use", "");
    this.latency = make("p", "latency");
    this.latencyText = [0, 1].map(() => ({ label: make("span", "label"), value: make("b", "") }));
    this.age = make("span", "age");
    for (const { label, value } of this.latencyText) this.latency.append(make("span", "", label, " ", value));
    this.latency.append(this.age);
    this.troubleText = make("span", "");
    this.trouble = make("p", "trouble", makeIcon("unhealthy"), this.troubleText);
    const state = make("p", "state", this.icon, this.stateText, this.stateAge);
    const meters = make("dl", "meters", this.inFlight.node, this.queue.node, this.kv.node);
    const head = make("div", "head", make("h3", "", this.button), state);
    this.node = make("li", "card", head, meters, this.latency, this.trouble, this.details);
    this.node.dataset.open = "false";
    this.worker = null;
  }

  toggle() {
    const open = this.details.hidden;
    this.details.hidden = !open;
    this.node.dataset.open = String(open);
    this.button.setAttribute("aria-expanded", String(open));
    if (open) this.showDetails();
  }

  show(worker, name, scales, slo) {
    const changed = this.worker !== null && (this.worker.state !== worker.state || this.worker.role !== worker.role);
    this.worker = worker;
    setText(this.button, name);
    setAttribute(this.button, "title", worker.url);
    setAttribute(this.node, "data-role", knownRole(worker.role));
    setAttribute(this.node, "data-look", lookOf(worker.state));
    setIcon(this.icon, worker.state);
    setText(this.stateText, worker.state);
    setText(this.stateAge, lookOf(worker.state) === "serving" ? "" : age(worker.state_age_s));
    this.showMeters(worker, scales);
    this.showLatency(worker, slo);
    const trouble = troubleOf(worker);
    setText(this.troubleText, trouble);
    setHidden(this.trouble, trouble === "");
    if (!this.details.hidden) this.showDetails();
    if (changed) this.flash();
  }

  showMeters({ in_flight, reading }, scales) {
    this.inFlight.set(in_flight / scales.inFlight, [wholeNumber(in_flight), "req"]);
    const queue = reading ? queueOf(reading) : null;
    this.queue.set((queue ?? 0) / scales.queue, hasValue(queue) ? [wholeNumber(queue), "req"] : NOTHING);
    this.kv.set(reading?.kv_usage ?? 0, wholePercent(reading?.kv_usage));
  }

  // What the role answers for: prefill for the first token, decode for those after it.
  showLatency(worker, slo) {
    const [name, latency, most] = worker.role === "prefill" ? ["TTFT", worker.ttft, slo.ttft_ms] : ["ITL", worker.itl, slo.itl_ms];
    const over = latency !== null && latency.p99_ms > most;
    const [first, second] = this.latencyText;
    setText(first.label, latency ? `${name} p50` : "no requests yet");
    setText(first.value, latency ? words(milliseconds(latency.p50_ms)) : "");
    setText(second.label, latency ? "p99" : "");
    setText(second.value, latency ? words(milliseconds(latency.p99_ms)) + (over ? " over SLO" : "") : "");
    setAttribute(second.value, "data-over", over);
    const { reading } = worker;
    const old = reading === null || reading.age_s > OLD_READING_S;
    setText(this.age, reading === null ? "no reading" : old ? `reading ${age(reading.age_s)} old` : "");
    setAttribute(this.age, "data-old", old && reading !== null);
  }

  showDetails() {
    const rows = detailsOf(this.worker);
    keepChildren(this.details, rows.length * 2, () => make(this.details.children.length % 2 === 0 ? "dt" : "dd", ""));
    rows.forEach(([name, value], index) => {
      setText(this.details.children[index * 2], name);
      setText(this.details.children[index * 2 + 1], value);
    });
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

function latencyRow(name, latency) {
  if (!latency) return [name, "no requests yet"];
  const at = (key) => words(milliseconds(latency[key]));
  return [`${name} p50, p90, p99`, `${at("p50_ms")}, ${at("p90_ms")}, ${at("p99_ms")} (${wholeNumber(latency.count)})`];
}

function detailsOf(worker) {
  const rows = [
    ["URL", worker.url],
    ["id", worker.id],
    ["role", worker.role],
    ["state", `${worker.state} for ${age(worker.state_age_s)}`],
    ["circuit breaker", worker.breaker.replace("_", " ")],
    ["streams", wholeNumber(worker.streams)],
    ["pending prompt", `${wholeNumber(worker.pending_prompt_tokens)} tok`],
    ["output", words(rate(worker.output_tokens_per_s, "tok/s"))],
    latencyRow("TTFT", worker.ttft),
    latencyRow("ITL", worker.itl),
  ];
  const { reading } = worker;
  if (reading === null) return rows.concat([["reading", "none"]]);
  for (const name of ["running", "inflight", ...QUEUES]) rows.push([name, `${wholeNumber(reading[name])} req`]);
  return rows.concat([
    ["KV capacity", `${wholeNumber(reading.kv_capacity_tokens)} tok`],
    ["throughput", words(rate(reading.throughput, "tok/s"))],
    ["reading", `${TENTHS.format(reading.age_s)} s old`],
  ]);
}

// Bars of one role share one scale, so that cards can be compared; its end is a round number, so that it seldom moves.
function scalesOf(workers) {
  const most = (valueOf) => niceCeiling(Math.max(5, ...workers.map(valueOf)));
  return {
    inFlight: most((worker) => worker.in_flight),
    queue: most((worker) => (worker.reading ? queueOf(worker.reading) : 0)),
  };
}

// Small cards leave out the host where all workers have the same.
function namesOf(workers, dense) {
  const names = workers.map((worker) => withoutScheme(worker.url));
  const hosts = new Set(names.map((name) => name.replace(/:\d+$/, "")));
  return dense && hosts.size === 1 ? names.map((name) => name.slice([...hosts][0].length) || name) : names;
}

function servingText(workers) {
  if (workers.length === 0) return "no workers";
  const serving = workers.filter((worker) => worker.state === "serving").length;
  return serving === workers.length ? `${serving} serving` : `${serving} of ${workers.length} serving`;
}

function showGroup(role, workers, names, slo) {
  const { list, summary } = groupOf(role);
  setText(summary, servingText(workers));
  const scales = scalesOf(workers);
  workers.forEach((worker, index) => {
    const card = cards.get(worker.id) ?? new Card(cards.size);
    cards.set(worker.id, card);
    if (list.children[index] !== card.node) list.insertBefore(card.node, list.children[index] ?? null);
    card.show(worker, names.get(worker.id), scales, slo);
  });
}

function showWorkers({ workers, mode, slo }) {
  const dense = workers.length > MOST_LARGE_CARDS;
  byId("fleet").classList.toggle("dense", dense);
  const short = namesOf(workers, dense);
  const names = new Map(workers.map((worker, index) => [worker.id, short[index]]));
  for (const [id, card] of cards) {
    if (names.has(id)) continue;
    card.node.remove();
    cards.delete(id);
  }
  for (const role of ROLES) {
    const members = workers.filter((worker) => knownRole(worker.role) === role);
    const shown = members.length > 0 || rolesOf(mode).includes(role);
    if (shown) showGroup(role, members, names, slo);
    if (groups.has(role)) setHidden(groups.get(role).node, !shown);
  }
}
