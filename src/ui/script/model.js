// What the page knows: the last frame, the points of the charts, the journal. Bounded, whatever the router sends.

const HISTORY_S = 600;
const MOST_POINTS = 2 * HISTORY_S;
const MOST_ENTRIES = 200;

// `connections` counts them: each sends the journal anew, and a restarted router numbers it from the start.
const model = { frame: null, points: [], entries: [], lastSeq: -1, connections: 0, renewed: false };

// A new connection begins with history. What was seen before it began stays, so that an outage shows as a gap, and
// the journal stays until the first frame brings it again.
function takeHistory({ points }) {
  const first = points.length > 0 ? points[0].at : Infinity;
  model.points = model.points.filter((point) => point.at < first).concat(points).slice(-MOST_POINTS);
  model.renewed = true;
}

function forgetEntries() {
  model.entries = [];
  model.lastSeq = -1;
  model.connections += 1;
  model.renewed = false;
}

function takeFrame(frame) {
  if (model.renewed) forgetEntries();
  model.frame = frame;
  const point = pointOf(frame);
  const last = model.points.at(-1);
  if (!last || point.at > last.at) model.points.push(point);
  while (model.points[0].at < point.at - HISTORY_S) model.points.shift();
  model.points.splice(0, model.points.length - MOST_POINTS);
  const news = frame.entries.filter((entry) => entry.seq > model.lastSeq);
  if (news.length > 0) model.lastSeq = news.at(-1).seq;
  model.entries.push(...news);
  model.entries.splice(0, model.entries.length - MOST_ENTRIES);
}

function pointOf({ at, fleet }) {
  return {
    at,
    prefill: fleet.prefill,
    decode: fleet.decode,
    regular: fleet.regular,
    ttft_p50_ms: fleet.ttft?.p50_ms ?? null,
    ttft_p99_ms: fleet.ttft?.p99_ms ?? null,
    itl_p50_ms: fleet.itl?.p50_ms ?? null,
    itl_p99_ms: fleet.itl?.p99_ms ?? null,
    in_flight: fleet.in_flight,
    queued: fleet.queued,
  };
}

// How a state looks: calm, changing, or out. A state this page does not know is out, so that it is seen.
const LOOKS = {
  serving: "serving",
  starting: "changing",
  draining: "changing",
  switching: "changing",
  verifying: "changing",
};
const lookOf = (state) => LOOKS[state] ?? "out";
const ROLES = ["prefill", "decode", "regular"];
const rolesOf = (mode) => (mode === "regular" ? ["regular"] : ["prefill", "decode"]);
const knownRole = (role) => (role === "prefill" || role === "decode" ? role : "regular");
