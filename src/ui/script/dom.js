// The document, changed in place: what has not changed is not touched, so that a frame a second costs little with many
// workers, and so that a screen reader reads out news only.

const byId = (id) => document.getElementById(id);
const SVG = document.querySelector("svg").namespaceURI;

// Text from the router goes into the page here and nowhere else.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  const text = String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

function setHidden(node, hidden) {
  if (node.hasAttribute("hidden") !== hidden) node.toggleAttribute("hidden", hidden);
}

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function makeSvg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// An icon has a meaning beside it in words, so it says nothing to a screen reader.
function makeIcon(name) {
  const use = makeSvg("use", {});
  const icon = makeSvg("svg", { class: "icon", "aria-hidden": "true" });
  icon.append(use);
  if (name) setIcon(icon, name);
  return icon;
}

function setIcon(icon, name) {
  setAttribute(icon.firstChild, "href", `#icon-${byId(`icon-${name}`) ? name : "unknown"}`);
}

// A number and its unit: [value, unit] in two nodes, so that the unit can be small.
function makeQuantity(className) {
  const value = make("span", "value", "–");
  const unit = make("span", "unit");
  const node = make("span", className, value, unit);
  const set = ([number, name]) => {
    setText(value, number);
    setText(unit, name);
  };
  return { node, set };
}

// A child for each of `count` places, made or removed at the end.
function keepChildren(parent, count, makeChild) {
  while (parent.children.length < count) parent.append(makeChild());
  while (parent.children.length > count) parent.lastElementChild.remove();
}
