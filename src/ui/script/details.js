// What an opened card says: everything that the feed has of a worker.

function showDetails(list, worker) {
  const rows = detailsOf(worker);
  keepChildren(list, rows.length * 2, () => make(list.children.length % 2 === 0 ? "dt" : "dd", ""));
  rows.forEach(([name, value], index) => {
    setText(list.children[index * 2], name);
    setText(list.children[index * 2 + 1], value);
  });
}

function latencyRow(name, latency) {
  if (!latency) return [name, "no requests yet"];
  const at = (key) => words(milliseconds(latency[key]));
  return [`${name} p50, p90, p99`, `${at("p50_ms")}, ${at("p90_ms")}, ${at("p99_ms")} (${wholeNumber(latency.count)})`];
}

function detailsOf(worker) {
  const rows = [
    ["URL", worker.url],
    ["id", worker.id],
    ["role", worker.role],
    ["state", `${worker.state} for ${age(worker.state_age_s)}`],
    ["circuit breaker", worker.breaker.replace("_", " ")],
    ["streams", wholeNumber(worker.streams)],
    ["pending prompt", `${wholeNumber(worker.pending_prompt_tokens)} tok`],
    ["output", words(rate(worker.output_tokens_per_s, "tok/s"))],
    latencyRow("TTFT", worker.ttft),
    latencyRow("ITL", worker.itl),
  ];
  const { reading } = worker;
  if (reading === null) return rows.concat([["reading", "none"]]);
  for (const name of ["running", "inflight", ...QUEUES]) rows.push([name, `${wholeNumber(reading[name])} req`]);
  return rows.concat([
    ["KV capacity", `${wholeNumber(reading.kv_capacity_tokens)} tok`],
    ["throughput", words(rate(reading.throughput, "tok/s"))],
    ["reading", `${TENTHS.format(reading.age_s)} s old`],
  ]);
}
