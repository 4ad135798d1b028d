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

const spoken = (chart, rows) => rows.map(([label, amount]) => `${label} ${words(amount)}`).join(", ");

function showRatio(mode, points, point, moves, cursor) {
  const chart = charts.ratio;
  const { plot } = chart;
  const roles = ROLES.filter((role) => rolesOf(mode).includes(role) || points.some((one) => one[role] > 0));
  const total = Math.max(1, ...points.map((one) => one.prefill + one.decode + one.regular));
  plot.begin(points);
  const y = linearScale(0, total, PAD.top, plot.bottom);
  plot.valueAxis(total > 3 ? [0, Math.floor(total / 2), total] : [0, total], y, wholeNumber);
  const now = points.at(-1);
  let below = () => 0;
  for (const role of ROLES) {
    const base = below;
    const top = (one) => base(one) + one[role];
    const shown = roles.includes(role);
    plot.path(`area-${role}`, "area", shown ? areaPath(points, base, top, plot.x, y, true) : "", role);
    plot.path(`edge-${role}`, "edge", shown ? stepPath(points, top, plot.x, y) : "", role);
    const middle = y(base(now) + now[role] / 2) + 4;
    plot.text(`in-${role}`, "inside", plot.right - 8, middle, "end", now[role] > 0 ? role : "", role);
    below = top;
  }
  plot.marks(moves, cursor);
  const rows = roles.map((role) => [role, [wholeNumber(point[role]), ""], role]);
  showFigures(chart, rows);
  showVerdict(chart, moves.length > 0 ? plural(moves.length, "role change") : "no role change", "");
  setAttribute(chart.svg, "aria-label", `Ratio of serving workers over time: ${spoken(chart, rows)}; ${plural(moves.length, "role change")}`);
}

function latencyTicks(low, high) {
  const steps = niceSteps(low, high);
  const decades = steps.filter((step) => /^[0.]*10*$/.test(String(step)));
  return steps.length > MOST_TICKS && decades.length > 1 ? decades : steps;
}

function showLatency(chart, name, role, slo, points, point, moves, cursor) {
  const { plot } = chart;
  const p50 = (one) => one[`${name}_p50_ms`];
  const p99 = (one) => one[`${name}_p99_ms`];
  const seen = points.flatMap((one) => [p50(one), p99(one)]).filter((ms) => hasValue(ms) && ms > 0);
  const steps = niceSteps(Math.min(slo / 10, ...seen), Math.max(slo * 2, ...seen));
  const [low, high] = [steps[0], steps.at(-1)];
  plot.begin(points);
  const y = logScale(low, high, PAD.top, plot.bottom);
  plot.valueAxis(latencyTicks(low, high), y, limit);
  plot.rect("missed", "missed", PAD.top, y(slo));
  plot.line("slo", "slo", 3, PAD.left, y(slo), plot.right, y(slo));
  plot.text("slo-label", "slo-label", PAD.left + 6, y(slo) - 5, "start", `SLO ${limit(slo)}`);
  plot.path("band", "band", areaPath(points, (one) => p50(one) ?? p99(one), p99, plot.x, y, false), role);
  plot.path("p99", "line", linePath(points, p99, plot.x, y), role);
  plot.path("p50", "line faint", linePath(points, p50, plot.x, y), role);
  plot.marks(moves, cursor);
  setHidden(chart.noData, seen.length > 0);
  const rows = [["p50", milliseconds(p50(point)), role, "dashed"], ["p99", milliseconds(p99(point)), role, "solid"]];
  showFigures(chart, rows);
  const missed = hasValue(p99(point)) && p99(point) > slo;
  const verdict = hasValue(p99(point)) ? (missed ? "p99 over the SLO" : "within the SLO") : "";
  showVerdict(chart, verdict, verdict && (missed ? "bad" : "good"));
  const highest = seen.length > 0 ? `highest p99 ${words(milliseconds(Math.max(...seen)))}` : "no requests yet";
  setAttribute(chart.svg, "aria-label", `${chart.title} over time: ${spoken(chart, rows)}; ${highest}; SLO ${limit(slo)}. ${verdict}`);
}

function showQueue(points, point, moves, cursor) {
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
  setAttribute(chart.svg, "aria-label", `Requests over time: ${spoken(chart, rows)}; most in flight ${wholeNumber(Math.max(0, ...points.map(inFlight)))}`);
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
  showRatio(frame.mode, points, point, moves, cursor);
  showLatency(charts.ttft, "ttft", "prefill", frame.slo.ttft_ms, points, point, moves, cursor);
  showLatency(charts.itl, "itl", "decode", frame.slo.itl_ms, points, point, moves, cursor);
  showQueue(points, point, moves, cursor);
}
