// The four charts: the ratio, TTFT and ITL against the SLO, and the queue.

// Lines further apart than this many steps of 1, 2, 5 get labels at powers of ten only.
const MOST_TICKS = 5;

function makeChart(id, title, subtitle) {
  const figures = make("p", "figures");
  const icon = makeIcon("good");
  icon.toggleAttribute("hidden", true);
  const verdictText = make("span", "");
  const verdict = make("p", "verdict", icon, verdictText);
  const svg = makeSvg("svg", { class: "plot", role: "img" });
  const noData = make("p", "no-data", "no requests yet");
  noData.hidden = true;
  const head = make("figcaption", "", make("h3", "", title, make("small", "", subtitle)), verdict);
  const node = make("figure", "chart", head, figures, svg, noData);
  node.id = `chart-${id}`;
  byId("charts").append(node);
  return { title, figures, icon, verdict, verdictText, noData, svg, plot: new Plot(svg) };
}

const charts = {
  ratio: makeChart("ratio", "Ratio", "serving workers"),
  ttft: makeChart("ttft", "TTFT", "time to first token"),
  itl: makeChart("itl", "ITL", "inter-token latency"),
  queue: makeChart("queue", "Requests", "in flight and queued"),
};

// Rows of [label, quantity, role, line]; `line` is how the chart draws it.
function showFigures(chart, rows) {
  keepChildren(chart.figures, rows.length, () => {
    const quantity = makeQuantity("");
    const node = make("span", "", make("span", "label"), quantity.node);
    node.set = quantity.set;
    return node;
  });
  rows.forEach(([label, amount, role, line = "none"], index) => {
    const node = chart.figures.children[index];
    setText(node.firstChild, label);
    setAttribute(node, "data-role", role);
    setAttribute(node, "data-line", line);
    node.set(amount);
  });
}

function showVerdict(chart, text, verdict) {
  setText(chart.verdictText, text);
  setAttribute(chart.verdict, "data-verdict", verdict);
  setHidden(chart.icon, verdict === "");
  setIcon(chart.icon, verdict === "bad" ? "unhealthy" : "good");
}

const describe = (chart, text) => setAttribute(chart.svg, "aria-label", text);
const spoken = (rows) => rows.map(([label, amount]) => `${label} ${words(amount)}`).join(", ");

// `view` is what all charts show: the points, the one that the slider stands on, the times of role changes, and the
// cursor's place where it looks back.
function showRatio(mode, view) {
  const { points, point, moves, cursor } = view;
  const { plot } = charts.ratio;
  const total = Math.max(1, ...points.map((one) => one.prefill + one.decode + one.regular));
  plot.begin(points);
  const y = linearScale(0, total, PAD.top, plot.bottom);
  plot.valueAxis(total > 3 ? [0, Math.floor(total / 2), total] : [0, total], y, wholeNumber);
  drawShares(plot, points, y);
  plot.marks(moves, cursor);
  const roles = ROLES.filter((role) => rolesOf(mode).includes(role) || points.some((one) => one[role] > 0));
  const rows = roles.map((role) => [role, [wholeNumber(point[role]), ""], role]);
  const changes = moves.length > 0 ? plural(moves.length, "role change") : "no role change";
  showFigures(charts.ratio, rows);
  showVerdict(charts.ratio, changes, "");
  describe(charts.ratio, `Ratio of serving workers over time: ${spoken(rows)}; ${changes}`);
}

// The roles' areas, one on top of the other, each with its name where its newest end is.
function drawShares(plot, points, y) {
  const now = points.at(-1);
  let below = () => 0;
  for (const role of ROLES) {
    const base = below;
    const top = (one) => base(one) + one[role];
    const shown = points.some((one) => one[role] > 0);
    plot.path(`area-${role}`, "area", shown ? areaPath(points, base, top, plot.x, y, true) : "", role);
    plot.path(`edge-${role}`, "edge", shown ? stepPath(points, top, plot.x, y) : "", role);
    const middle = y(base(now) + now[role] / 2) + 4;
    plot.text(`in-${role}`, "inside", plot.right - 8, middle, "end", now[role] > 0 ? role : "", role);
    below = top;
  }
}

function latencyTicks(low, high) {
  const steps = niceSteps(low, high);
  const decades = steps.filter((step) => Number.isInteger(Math.log10(step)));
  return steps.length > MOST_TICKS && decades.length > 1 ? decades : steps;
}

// A latency's scale is logarithmic: the SLO is often ten times what is measured, and both are to be seen.
function showLatency(chart, { name, role, slo }, { points, point, moves, cursor }) {
  const { plot } = chart;
  const p50 = (one) => one[`${name}_p50_ms`];
  const p99 = (one) => one[`${name}_p99_ms`];
  const seen = points.flatMap((one) => [p50(one), p99(one)]).filter((ms) => hasValue(ms) && ms > 0);
  const steps = niceSteps(Math.min(slo / 10, ...seen), Math.max(slo * 2, ...seen));
  plot.begin(points);
  const y = logScale(steps[0], steps.at(-1), PAD.top, plot.bottom);
  plot.valueAxis(latencyTicks(steps[0], steps.at(-1)), y, limit);
  drawSlo(plot, y(slo), `SLO ${limit(slo)}`);
  plot.path("band", "band", areaPath(points, (one) => p50(one) ?? p99(one), p99, plot.x, y, false), role);
  plot.path("p99", "line", linePath(points, p99, plot.x, y), role);
  plot.path("p50", "line faint", linePath(points, p50, plot.x, y), role);
  plot.marks(moves, cursor);
  setHidden(chart.noData, seen.length > 0);
  const rows = [
    ["p50", milliseconds(p50(point)), role, "dashed"],
    ["p99", milliseconds(p99(point)), role, "solid"],
  ];
  showFigures(chart, rows);
  const verdict = latencyVerdict(p99(point), slo);
  showVerdict(chart, ...verdict);
  const highest = seen.length > 0 ? `highest ${words(milliseconds(Math.max(...seen)))}` : "no requests yet";
  describe(chart, `${chart.title} over time: ${spoken(rows)}; ${highest}; SLO ${limit(slo)}. ${verdict[0]}`);
}

function drawSlo(plot, y, label) {
  plot.rect("missed", "missed", PAD.top, y);
  plot.line("slo", "slo", 3, PAD.left, y, plot.right, y);
  plot.text("slo-label", "slo-label", PAD.left + 6, y - 5, "start", label);
}

function latencyVerdict(p99, slo) {
  if (!hasValue(p99)) return ["", ""];
  return p99 > slo ? ["p99 over the SLO", "bad"] : ["within the SLO", "good"];
}

function showQueue({ points, point, moves, cursor }) {
  const chart = charts.queue;
  const { plot } = chart;
  const inFlight = (one) => one.in_flight;
  const queued = (one) => one.queued;
  const most = niceCeiling(Math.max(4, ...points.map((one) => Math.max(one.in_flight, one.queued))));
  plot.begin(points);
  const y = linearScale(0, most, PAD.top, plot.bottom);
  plot.valueAxis(most % 2 === 0 ? [0, most / 2, most] : [0, most], y, wholeNumber);
  plot.path("in-flight", "line", linePath(points, inFlight, plot.x, y));
  plot.path("queued-area", "band", areaPath(points, () => 0, queued, plot.x, y, false), "regular");
  plot.path("queued", "line faint", linePath(points, queued, plot.x, y));
  plot.marks(moves, cursor);
  const rows = [
    ["in flight", [wholeNumber(point.in_flight), "req"], "", "solid"],
    ["queued", [wholeNumber(point.queued), "req"], "", "dashed"],
  ];
  showFigures(chart, rows);
  const highest = wholeNumber(Math.max(0, ...points.map(inFlight)));
  describe(chart, `Requests over time: ${spoken(rows)}; most in flight ${highest}`);
}

// The point that the slider stands on: `back` seconds before the newest.
function pointAt(points, back) {
  const at = points.at(-1).at - back;
  return points.findLast((point) => point.at <= at) ?? points[0];
}

function showCharts({ points, entries, frame }) {
  if (points.length === 0 || frame === null) return;
  const slider = byId("look-back");
  setAttribute(slider, "min", -spanOf(points));
  const back = -Number(slider.value);
  const point = pointAt(points, back);
  const cursor = back > 0 ? point.at : null;
  const label = back > 0 ? `${clockTime(point.at)}, ${age(points.at(-1).at - point.at)} ago` : "now";
  setText(byId("look-back-at"), label);
  setAttribute(slider, "aria-valuetext", label);
  const moves = entries.filter((entry) => entry.kind === "role").map((entry) => entry.at);
  const view = { points, point, moves, cursor };
  showRatio(frame.mode, view);
  showLatency(charts.ttft, { name: "ttft", role: "prefill", slo: frame.slo.ttft_ms }, view);
  showLatency(charts.itl, { name: "itl", role: "decode", slo: frame.slo.itl_ms }, view);
  showQueue(view);
}
