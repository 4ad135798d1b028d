// The journal: what happened and why. Entries are put on top as they come; the rest of the list is not touched.

const KINDS = {
  state: { icon: "serving", name: "state" },
  role: { icon: "switching", name: "role change" },
  decision: { icon: "decision", name: "decision" },
  breaker: { icon: "breaker", name: "breaker" },
};
const BAD_ENDS = ["unhealthy", "failed", "open"];

const journal = { connection: 0, shownSeq: -1 };

function makeEntry(entry) {
  const kind = KINDS[entry.kind] ?? { icon: "unknown", name: entry.kind };
  const time = make("time", "", clockTime(entry.at));
  time.dateTime = new Date(entry.at * 1000).toISOString();
  const label = make("span", "kind", makeIcon(kind.icon), make("span", "", kind.name));
  const what = make("span", "what", ...whatOf(entry));
  const node = make("li", BAD_ENDS.includes(entry.to) ? "bad" : "", time, label, what);
  node.dataset.kind = entry.kind;
  return node;
}

function whatOf({ worker, from, to, reason }) {
  const parts = [];
  if (worker) parts.push(make("b", "", withoutScheme(worker)), " ");
  if (from && to) parts.push(`${from} → ${to}`);
  else if (to) parts.push(to);
  if (reason) parts.push(make("span", "reason", `${parts.length > 0 ? ": " : ""}${reasonText(reason)}`));
  return parts;
}

function showJournal({ entries, lastSeq, connections }) {
  const list = byId("entries");
  if (connections !== journal.connection) {
    journal.connection = connections;
    journal.shownSeq = -1;
    list.replaceChildren();
  }
  const news = entries.filter((entry) => entry.seq > journal.shownSeq);
  list.prepend(...news.map(makeEntry).reverse());
  while (list.children.length > MOST_ENTRIES) list.lastElementChild.remove();
  journal.shownSeq = lastSeq;
  setHidden(byId("no-entries"), list.children.length > 0);
}
