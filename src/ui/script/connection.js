// The connection, in words: live, lost since when, when the next try is, back again.

const connection = { state: "connecting", heardAt: 0, retryAt: 0, status: null, backUntil: 0 };
const BACK_MS = 10_000;

const CONNECTION_ICONS = { live: "serving", connecting: "starting", lost: "unhealthy", key: "unhealthy" };

function connectionHeard() {
  const now = Date.now();
  if (connection.state === "lost" && connection.heardAt > 0) connection.backUntil = now + BACK_MS;
  connection.heardAt = now;
  connection.state = "live";
  showConnection();
}

function connectionLost(retryAt, status) {
  connection.status = status;
  connection.state = "lost";
  connection.retryAt = retryAt;
  showConnection();
}

function connectionNeedsKey() {
  connection.state = "key";
  showConnection();
}

// What changes every second is outside the status node, or a screen reader would count along.
function showConnection() {
  const now = Date.now();
  document.body.dataset.connection = connection.state;
  setAttribute(byId("connection-icon"), "href", `#icon-${CONNECTION_ICONS[connection.state]}`);
  setText(byId("connection"), connectionText(now));
  setText(byId("connection-age"), connection.state === "lost" ? lostText(now) : "");
}

function connectionText(now) {
  if (connection.state === "lost") return "connection lost";
  if (connection.state === "key") return "a key is needed";
  if (connection.state === "connecting") return "connecting";
  return now < connection.backUntil ? "connected again" : "live";
}

function lostText(now) {
  const retry = `retrying${connection.retryAt > now ? ` in ${Math.ceil((connection.retryAt - now) / 1000)} s` : ""}`;
  const answer = connection.status === null ? "" : `the router answers with status ${connection.status}, `;
  if (connection.heardAt === 0) return `${answer || "no data yet, "}${retry}`;
  return `data is ${age((now - connection.heardAt) / 1000)} old, ${answer}${retry}`;
}

// Resolves when a key was given. A key that was tried and refused is said to be so.
function askForKey() {
  const tried = sessionStorage.getItem(KEY) !== null;
  setText(byId("key-refused"), tried ? "The router refuses this key." : "");
  setHidden(byId("key"), false);
  connectionNeedsKey();
  byId("token").focus();
  return new Promise((resolve) => {
    byId("key").addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, byId("token").value);
      byId("token").value = "";
      setHidden(byId("key"), true);
      connection.state = "connecting";
      showConnection();
      resolve();
    }, { once: true });
  });
}
