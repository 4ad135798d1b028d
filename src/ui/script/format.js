// Numbers for people: as many digits as can be read at a glance, and the unit always with them.

const NOTHING = ["–", ""];
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

const wholeNumber = (number) => WHOLE.format(number);
const plural = (number, noun) => `${wholeNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
const words = ([value, unit]) => (unit ? `${value} ${unit}` : value);
const hasValue = (value) => value !== null && value !== undefined;

function rate(number, unit) {
  if (!hasValue(number)) return NOTHING;
  return [number < 100 ? TENTHS.format(number) : WHOLE.format(number), unit];
}

function milliseconds(ms) {
  if (!hasValue(ms)) return NOTHING;
  if (ms < 10) return [TENTHS.format(ms), "ms"];
  if (ms < 1000) return [WHOLE.format(ms), "ms"];
  if (ms < 10_000) return [(ms / 1000).toFixed(2), "s"];
  return [TENTHS.format(ms / 1000), "s"];
}

// A limit is a round number and is written as one.
const limit = (ms) => (ms < 1000 ? `${Number(ms)} ms` : `${ms / 1000} s`);

// Rounded down: 100 % is said only when nothing was missed.
function percent(fraction) {
  if (!hasValue(fraction)) return NOTHING;
  const tenths = Math.floor(fraction * 1000 + 1e-6) / 10;
  return [tenths === 100 || tenths === 0 ? String(tenths) : tenths.toFixed(1), "%"];
}

const wholePercent = (fraction) => (hasValue(fraction) ? [WHOLE.format(fraction * 100), "%"] : NOTHING);

function age(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} days`;
}

const clockTime = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");

// A time of day, with its date where that isn't today's.
function momentText(at, now) {
  const date = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "long" });
  return date(at) === date(now) ? clockTime(at) : `${date(at)}, ${clockTime(at)}`;
}

// Reasons are closed names in the feed; the ones without an entry read well with their underscores gone.
const REASONS = {
  fixed_ratio: "the ratio is fixed",
  no_demand: "no demand",
  stale_readings: "the load readings are stale",
  role_unserved: "a role has no serving worker",
  sufficient: "good enough for what comes",
  not_worth_it: "a better split would not gain what getting there costs",
  confirming: "a move would pay, the next look has to agree",
  prefill_short: "prefill can't keep up",
  decode_short: "decode can't keep up",
  moving: "a move is under way",
  cooldown: "the last move was a short while ago",
  budget_spent: "this hour's moves are spent",
  last_worker: "a role would be left without a worker",
  worker_missing: "a worker that should serve doesn't",
  pinned: "an operator asked for it",
  move_failed: "a move failed a while ago",
};
const reasonText = (reason) => REASONS[reason] ?? reason.replaceAll("_", " ");

const withoutScheme = (url) => url.replace(/^[a-z]+:\/\//i, "").replace(/\/$/, "");
