// Workers on their way from one state to the next, and how far they are.

// More are counted, not listed: a fleet of 64 starts all at once.
const MOST_MOVES = 6;
const ROLE_CHANGE = ["draining", "switching", "verifying", "serving"];
const START = ["starting", "serving"];

function makeMove() {
  const url = make("span", "");
  const role = make("em", "");
  const time = make("span", "empty");
  const steps = make("span", "steps");
  const node = make("li", "", make("span", "who", url, role), time, steps);
  node.parts = { url, role, time, steps };
  return node;
}

function showMove(node, worker) {
  const { url, role, time, steps } = node.parts;
  const path = worker.state === "starting" ? START : ROLE_CHANGE;
  setAttribute(node, "data-role", knownRole(worker.role));
  setText(url, withoutScheme(worker.url));
  setText(role, worker.role);
  setText(time, `${worker.state} for ${age(worker.state_age_s)}`);
  keepChildren(steps, path.length, () => make("span", ""));
  path.forEach((step, place) => {
    setText(steps.children[place], step);
    steps.children[place].classList.toggle("now", step === worker.state);
  });
}

function showMoves(workers) {
  const moving = workers.filter((worker) => lookOf(worker.state) === "changing");
  const listed = moving.slice(0, MOST_MOVES);
  setHidden(byId("moves"), moving.length === 0);
  const shown = listed.length < moving.length ? `, ${listed.length} shown` : "";
  setText(byId("moves-title"), `In transition: ${plural(moving.length, "worker")}${shown}`);
  const list = byId("move-list");
  keepChildren(list, listed.length, makeMove);
  listed.forEach((worker, place) => showMove(list.children[place], worker));
}
