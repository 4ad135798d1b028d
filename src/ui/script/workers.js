// The workers: their cards, grouped by role.

// More workers than this get small cards.
const MOST_LARGE_CARDS = 12;
const GROUP_TITLES = { prefill: "Prefill", decode: "Decode", regular: "Regular" };

const cards = new Map();
const groups = new Map();
let cardsMade = 0;

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

// Bars of one role share one scale, so that cards can be compared; its end is a round number, so that it seldom moves.
function scalesOf(workers) {
  const most = (valueOf) => niceCeiling(Math.max(5, ...workers.map(valueOf)));
  return {
    inFlight: most((worker) => worker.in_flight),
    queue: most((worker) => (worker.reading ? queueOf(worker.reading) : 0)),
  };
}

// Small cards say of the URL what tells the workers apart: the port where all share a host, else the beginning of the
// host's name, else that and the port.
function namesOf(workers, dense) {
  const names = workers.map((worker) => withoutScheme(worker.url));
  if (!dense) return names;
  const hosts = names.map((name) => name.replace(/:\d+$/, ""));
  const ports = names.map((name, index) => name.slice(hosts[index].length));
  const labels = hosts.map((host) => (/^[\d.]+$|^\[/.test(host) ? host : host.split(".")[0]));
  const short = hosts.every((host) => host === hosts[0]) ? [ports] : [labels];
  return [...short, labels.map((label, index) => label + ports[index])].find(allDiffer) ?? names;
}

const allDiffer = (names) => new Set(names).size === names.length;

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
    const card = cards.get(worker.id) ?? new Card(cardsMade++);
    cards.set(worker.id, card);
    if (list.children[index] !== card.node) list.insertBefore(card.node, list.children[index] ?? null);
    card.show(worker, { name: names.get(worker.id), scales, slo });
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
