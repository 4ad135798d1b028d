// Frames arrive, the page follows: once a frame, when the browser draws, and not at all while the tab is hidden.

let drawing = false;

function draw() {
  drawing = false;
  if (model.frame === null) return;
  showStrip(model.frame);
  showMoves(model.frame.workers);
  showWorkers(model.frame);
  showJournal(model);
  showCharts(model);
}

function drawSoon() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw);
}

function deliver(name, data) {
  if (name === "history") takeHistory(data);
  if (name !== "frame") return;
  takeFrame(data);
  connectionHeard();
  drawSoon();
}

// Pointing at a chart moves the slider, so that there is one place that says which moment is shown.
function lookBackTo(event) {
  const plot = event.target.closest(".plot");
  if (!plot || model.points.length === 0) return;
  const { left, width } = plot.getBoundingClientRect();
  const share = (event.clientX - left - PAD.left) / (width - PAD.left - PAD.right);
  byId("look-back").value = String(Math.round(Math.min(0, share - 1) * spanOf(model.points)));
  drawSoon();
}

function lookAtNow() {
  byId("look-back").value = "0";
  drawSoon();
}

byId("charts").addEventListener("pointermove", lookBackTo);
byId("charts").addEventListener("pointerleave", lookAtNow);
byId("look-back").addEventListener("input", drawSoon);
byId("only-decisions").addEventListener("change", (event) => {
  byId("entries").classList.toggle("only-decisions", event.target.checked);
});
new ResizeObserver(drawSoon).observe(byId("charts"));
setInterval(showConnection, 250);
follow({ deliver, lost: connectionLost, askForKey });
