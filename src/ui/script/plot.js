// Drawing of one chart: scales, axes and paths, in pixels. What is drawn is decided in charts.js.

const PAD = { left: 44, right: 6, top: 8, bottom: 18 };
// Points come once a second; a longer step is time without data, and the line breaks there.
const GAP_S = 3.5;
// The axis is as long as the data, in these steps, so that a young router does not show an empty chart.
const SPANS_S = [60, 120, 300, 600];

function spanOf(points) {
  const seen = points.length > 0 ? points.at(-1).at - points[0].at : 0;
  return SPANS_S.find((span) => span >= seen) ?? SPANS_S.at(-1);
}

function linearScale(low, high, top, bottom) {
  return (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
}

function logScale(low, high, top, bottom) {
  const scale = linearScale(Math.log(low), Math.log(high), top, bottom);
  return (value) => scale(Math.log(Math.max(value, low)));
}

// The numbers 1, 2 and 5 times a power of ten, from the one at or below `low` to the one at or above `high`.
function niceSteps(low, high) {
  const steps = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const digit of [1, 2, 5]) steps.push(Number((digit * 10 ** power).toPrecision(1)));
  }
  const first = steps.findLastIndex((step) => step <= low);
  const last = steps.findIndex((step) => step >= high);
  return steps.slice(Math.max(first, 0), last + 1);
}

const niceCeiling = (value) => niceSteps(value, value).at(-1);

// Runs of neighbouring points that have a value.
function runsOf(points, valueOf) {
  const runs = [];
  let before = null;
  for (const point of points) {
    const value = valueOf(point);
    if (!hasValue(value)) {
      before = null;
      continue;
    }
    if (before === null || point.at - before > GAP_S) runs.push([]);
    runs.at(-1).push(point);
    before = point.at;
  }
  return runs;
}

const place = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

function linePath(points, valueOf, x, y) {
  return runsOf(points, valueOf)
    .map((run) => "M" + run.map((point) => place(x(point.at), y(valueOf(point)))).join("L"))
    .join("");
}

// The area between two values of a point. `stepped` holds each value until the next point: counts jump, they do not
// glide.
function areaPath(points, lowOf, highOf, x, y, stepped) {
  return runsOf(points, highOf)
    .map((run) => {
      const upper = cornersOf(run, highOf, x, y, stepped);
      const lower = cornersOf(run, lowOf, x, y, stepped).reverse();
      return `M${upper.concat(lower).join("L")}Z`;
    })
    .join("");
}

function stepPath(points, valueOf, x, y) {
  return runsOf(points, valueOf)
    .map((run) => `M${cornersOf(run, valueOf, x, y, true).join("L")}`)
    .join("");
}

function cornersOf(run, valueOf, x, y, stepped) {
  const corners = [];
  run.forEach((point, index) => {
    if (stepped && index > 0) corners.push(place(x(point.at), y(valueOf(run[index - 1]))));
    corners.push(place(x(point.at), y(valueOf(point))));
  });
  return corners;
}

// The SVG of one chart. Nodes are made once by name and then changed.
class Plot {
  constructor(svg) {
    this.svg = svg;
    this.nodes = new Map();
    this.layers = ["back", "grid", "data", "front"].map((name) => makeSvg("g", { class: name }));
    svg.append(...this.layers);
  }

  begin(points) {
    const { width, height } = this.svg.getBoundingClientRect();
    this.right = width - PAD.right;
    this.bottom = height - PAD.bottom;
    const now = points.length > 0 ? points.at(-1).at : 0;
    const span = spanOf(points);
    this.from = now - span;
    this.x = (at) => PAD.left + ((at - this.from) / span) * (this.right - PAD.left);
    this.timeAxis(span);
  }

  node(name, tag, layer, className) {
    let node = this.nodes.get(name);
    if (!node) {
      node = makeSvg(tag, { class: className });
      this.layers[layer].append(node);
      this.nodes.set(name, node);
    }
    node.removeAttribute("display");
    return node;
  }

  hide(name) {
    this.nodes.get(name)?.setAttribute("display", "none");
  }

  hideFrom(prefix, index) {
    for (let next = index; this.nodes.has(prefix + next); next += 1) this.hide(prefix + next);
  }

  path(name, className, d, role) {
    const node = this.node(name, "path", 2, className);
    if (role) setAttribute(node, "data-role", role);
    setAttribute(node, "d", d);
  }

  line(name, className, layer, x1, y1, x2, y2) {
    const node = this.node(name, "line", layer, className);
    for (const [key, value] of Object.entries({ x1, y1, x2, y2 })) setAttribute(node, key, value.toFixed(1));
  }

  text(name, className, x, y, anchor, text, role) {
    const node = this.node(name, "text", 3, className);
    for (const [key, value] of Object.entries({ x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor })) {
      setAttribute(node, key, value);
    }
    if (role) setAttribute(node, "data-role", role);
    setText(node, text);
  }

  rect(name, className, y1, y2) {
    const node = this.node(name, "rect", 0, className);
    const box = { x: PAD.left, y: y1, width: Math.max(this.right - PAD.left, 0), height: Math.max(y2 - y1, 0) };
    for (const [key, value] of Object.entries(box)) setAttribute(node, key, value.toFixed(1));
  }

  timeAxis(span) {
    const y = this.bottom + 13;
    this.text("from", "", PAD.left, y, "start", `−${age(span)}`);
    this.text("now", "", this.right, y, "end", "now");
  }

  valueAxis(ticks, y, label) {
    ticks.forEach((tick, index) => {
      this.line(`grid${index}`, "grid", 1, PAD.left, y(tick), this.right, y(tick));
      this.text(`tick${index}`, "", PAD.left - 6, y(tick) + 4, "end", label(tick));
    });
    this.hideFrom("grid", ticks.length);
    this.hideFrom("tick", ticks.length);
  }

  // Vertical lines: role changes, and the moment that the slider looks at.
  marks(times, cursor) {
    const seen = times.filter((at) => at >= this.from);
    seen.forEach((at, index) => this.line(`move${index}`, "move", 3, this.x(at), PAD.top, this.x(at), this.bottom));
    this.hideFrom("move", seen.length);
    if (cursor === null) this.hide("cursor");
    else this.line("cursor", "cursor", 3, this.x(cursor), PAD.top, this.x(cursor), this.bottom);
  }
}
