// The strip on top: the split, what the controller does, and the five numbers that say how the fleet fares.

// p99 within the SLO is an attainment of 99 %, p90 within it one of 90 %.
const GOOD_ATTAINMENT = 0.99;
const POOR_ATTAINMENT = 0.9;

function makeReadout(title, big) {
  const quantity = makeQuantity("");
  const icon = makeIcon("good");
  const text = make("span", "");
  const note = make("dd", "note", icon, text);
  const tile = make("div", big ? "big" : "", make("dt", "", title), make("dd", "", quantity.node), note);
  byId("readouts").append(tile);
  return (amount, words, verdict = "") => {
    quantity.set(amount);
    setText(text, words);
    setHidden(note, words === "");
    setAttribute(tile, "data-verdict", verdict);
    setHidden(icon, verdict === "");
    if (verdict) setIcon(icon, verdict === "good" ? "good" : "unhealthy");
  };
}

const readouts = {
  attainment: makeReadout("SLO attainment", true),
  goodput: makeReadout("Goodput", true),
  output: makeReadout("Output", false),
  inFlight: makeReadout("In flight", false),
  queued: makeReadout("Queued", false),
};

function splitText({ prefill, decode, regular }, mode) {
  if (mode === "regular") return `${regular} regular`;
  return `${prefill} prefill : ${decode} decode${regular > 0 ? `, ${regular} regular` : ""}`;
}

function showSplit({ fleet, mode }) {
  const pair = mode !== "regular";
  const sides = { prefill: pair, decode: pair, regular: !pair || fleet.regular > 0 };
  for (const [role, shown] of Object.entries(sides)) {
    setHidden(byId(`side-${role}`), !shown);
    setAttribute(byId(`side-${role}`), "data-none", fleet[role] === 0);
    setText(byId(`side-${role}`).querySelector("b"), wholeNumber(fleet[role]));
  }
  setHidden(byId("colon"), !pair);
  byId("ratio").classList.toggle("long", Math.max(fleet.prefill, fleet.decode) > 99);
  setText(byId("split"), splitText(fleet, mode));
  document.title = pair ? `${fleet.prefill}:${fleet.decode} adaptive-router` : "adaptive-router";
}

function showPips(workers) {
  const order = ["prefill", "regular", "decode"];
  const sorted = workers.toSorted((a, b) => order.indexOf(knownRole(a.role)) - order.indexOf(knownRole(b.role)));
  const pips = byId("pips");
  pips.classList.toggle("many", sorted.length > 24);
  keepChildren(pips, sorted.length, () => make("i", ""));
  sorted.forEach((worker, place) => {
    const role = knownRole(worker.role);
    const pip = pips.children[place];
    setAttribute(pip, "data-role", role);
    setAttribute(pip, "data-look", lookOf(worker.state));
    pip.classList.toggle("first", place > 0 && knownRole(sorted[place - 1].role) !== role);
  });
}

function controllerText({ state, target, reason }, mode) {
  if (mode === "regular") return "every worker reads prompts and writes answers";
  if (state === "off") return "no controller: the ratio is fixed";
  const goal = target ? ` ${target.prefill} : ${target.decode}` : "";
  const doing = {
    holding: `holding${goal}`,
    moving: `moving to ${target ? `${target.prefill} : ${target.decode}` : "another split"}`,
    frozen: "frozen",
  };
  return (doing[state] ?? state) + (reason ? ` – ${reasonText(reason)}` : "");
}

// Who moves workers, in words: an operator who has forgotten a pin must not take it for the controller's decision.
function steeringText({ mode, pinned }, now) {
  if (pinned) return `pinned to ${pinned.split} by an operator since ${momentText(pinned.since, now)}`;
  if (mode === "dry_run") return "dry run: the controller says what it would do and moves nobody";
  return "automatic: the controller moves workers";
}

function showSteering({ controller, at }) {
  const { mode } = controller;
  setHidden(byId("steering"), !hasValue(mode));
  if (!hasValue(mode)) return;
  setAttribute(byId("steering"), "data-mode", mode);
  setAttribute(byId("steering-icon"), "href", `#icon-${mode}`);
  setText(byId("steering").lastElementChild, steeringText(controller, at));
}

function showUtilisation({ prefill_utilisation: prefill, decode_utilisation: decode, predicted_itl_ms: itl }) {
  const rows = [];
  if (hasValue(prefill)) rows.push(["prefill", "prefill", words(wholePercent(prefill)) + " utilised"]);
  if (hasValue(decode)) rows.push(["decode", "decode", words(wholePercent(decode)) + " utilised"]);
  if (hasValue(itl)) rows.push(["decode", "predicted ITL", words(milliseconds(itl))]);
  const list = byId("utilisation");
  keepChildren(list, rows.length, () => make("div", "", make("dt", ""), make("dd", "")));
  rows.forEach(([role, name, value], place) => {
    const row = list.children[place];
    setAttribute(row, "data-role", role);
    setText(row.firstChild, name);
    setText(row.lastChild, value);
  });
}

function attainmentVerdict(attainment) {
  if (!hasValue(attainment)) return "";
  if (attainment >= GOOD_ATTAINMENT) return "good";
  return attainment < POOR_ATTAINMENT ? "bad" : "";
}

function showReadouts({ fleet, slo }) {
  const targets = `TTFT ${limit(slo.ttft_ms)}, ITL ${limit(slo.itl_ms)}`;
  const { attainment } = fleet;
  if (hasValue(attainment)) readouts.attainment(percent(attainment), targets, attainmentVerdict(attainment));
  else readouts.attainment(NOTHING, `no requests yet (${targets})`);
  readouts.goodput(rate(fleet.goodput_per_s, "req/s"), `good of ${words(rate(fleet.requests_per_s, "req/s"))}`);
  readouts.output(rate(fleet.output_tokens_per_s, "tok/s"), "");
  readouts.inFlight([wholeNumber(fleet.in_flight), "req"], "");
  readouts.queued([wholeNumber(fleet.queued), "req"], "");
}

function showStrip(frame) {
  setText(byId("about"), `${frame.version}, up ${age(frame.uptime_s)}`);
  showSplit(frame);
  showPips(frame.workers);
  setText(byId("controller"), controllerText(frame.controller, frame.mode));
  showSteering(frame);
  showUtilisation(frame.controller);
  showReadouts(frame);
}
