"use strict";
// Page: a snapshot, then what changes in it, as server-sent events; a browser asks again by itself when a stream ends.

const SILENT = 6000; // ms without an event, after which the connection is said to be lost
const CLOSED = 5000; // ms until it is tried again where the server has refused

const SORTS = {
  trouble: (row) => -row.trouble.score,
  rate: (row) => -row.traffic.rate,
  success: (row) => row.traffic.success ?? 2,
  p95: (row) => -(row.traffic.p95 ?? -1),
  name: () => 0,
};

const state = { top: {}, upstreams: new Map(), rows: new Map(), calls: new Map(), process: "all", source: null, heard: 0, paused: false };
const acts = document.body.dataset.acts === "true";
const dialog = new ActionDialog(
  document.body.dataset.csrf,
  (name) => (state.upstreams.get(name)?.endpoints ?? []).map((each) => each.url),
  () => (state.top.gathered ? `all ${state.top.processes.length} processes` : "the process that answers, which may not be the one that is shown"),
);
const act = acts ? (name, lifts) => dialog.open(name, lifts) : null;

function connect() {
  state.source?.close();
  const source = (state.source = new EventSource(`events?process=${encodeURIComponent(state.process)}`));
  source.addEventListener("snapshot", (event) => take(JSON.parse(event.data), whole));
  source.addEventListener("change", (event) => take(JSON.parse(event.data), merge));
  source.addEventListener("gone", () => choose("all"));
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED || state.source !== source) return;
    say("refused: you may have to log in again; trying", true);
    setTimeout(() => state.source === source && !state.paused && connect(), CLOSED);
  });
}

function take(said, how) {
  state.heard = Date.now();
  how(said);
  say(state.paused ? "paused" : "live", false);
  text(byId("clock"), `at ${clock(state.top.time)}`);
}

function say(what, lost) {
  text(byId("connection"), what);
  attribute(byId("connection"), "class", lost ? "lost" : "");
}

function whole(said) {
  const { upstreams, ...top } = said;
  state.top = top;
  state.upstreams = new Map(Object.entries(upstreams));
  for (const [name, row] of state.rows) {
    if (!state.upstreams.has(name)) drop(name, row);
  }
  for (const [name, row] of state.upstreams) rowOf(name).update(row, null);
  showTop(Object.keys(top));
}

function merge(said) {
  const { upstreams = {}, ...top } = said;
  Object.assign(state.top, top);
  for (const [name, sections] of Object.entries(upstreams)) {
    if (sections === null) {
      state.upstreams.delete(name);
      if (state.rows.has(name)) drop(name, state.rows.get(name));
      continue;
    }
    const row = { ...(state.upstreams.get(name) ?? {}), ...sections };
    state.upstreams.set(name, row);
    rowOf(name).update(row, Object.keys(sections));
  }
  showTop(Object.keys(top));
}

function rowOf(name) {
  let row = state.rows.get(name);
  if (!row) {
    row = new Row(name, act);
    state.rows.set(name, row);
  }
  return row;
}

function drop(name, row) {
  row.root.remove();
  state.rows.delete(name);
}

function showTop(changed) {
  if (changed.includes("processes") || changed.includes("shown")) showProcesses();
  if (changed.includes("degraded")) showCalls();
  arrange(false);
}

// Rows stay where they are while somebody is among them.
function arrange(asked) {
  const list = byId("rows");
  const wanted = byId("search").value.trim().toLowerCase();
  const key = SORTS[byId("sort").value];
  const shown = [];
  for (const [name, row] of state.rows) {
    const fits = !wanted || row.searched.includes(wanted);
    if (row.root.hidden === fits) row.root.hidden = !fits;
    if (fits) shown.push([key(row.row), name, row.root]);
  }
  byId("none").hidden = shown.length > 0 || state.rows.size === 0;
  text(byId("count"), wanted ? `${shown.length} of ${state.rows.size}` : String(state.rows.size));
  const busy = list.contains(document.activeElement) || list.matches(":hover");
  const missing = list.children.length !== state.rows.size;
  if (busy && !asked && !missing) return;
  for (const row of state.rows.values()) if (!row.root.isConnected) list.append(row.root);
  shown.sort((one, other) => one[0] - other[0] || (one[1] < other[1] ? -1 : 1));
  let at = list.firstElementChild;
  for (const [, , root] of shown) {
    if (root === at) at = at.nextElementSibling;
    else list.insertBefore(root, at);
  }
}

function showProcesses() {
  const { processes, gathered, shown } = state.top;
  const choices = processes.map((each) => [each.process, `process ${each.pid} on ${each.host}`]);
  if (processes.length > 1) choices.unshift(["all", `all ${processes.length} processes together`]);
  const select = byId("process");
  const told = JSON.stringify(choices);
  if (select.told !== told) {
    select.replaceChildren(...choices.map(([value, label]) => element("option", { value }, label)));
    select.told = told;
  }
  select.value = shown === "all" && processes.length === 1 ? processes[0].process : shown;
  const others = gathered ? "" : "Other workers of this service are not in it: they would be with a Redis (the setting shared).";
  const away = gathered && state.top.shared && !state.top.shared.connected ? "Redis is away: this process alone." : others;
  const off = processes.some((each) => !each.enabled) ? " The policies are off (enabled: false)." : "";
  const notes = processes.filter((each) => each.note).map((each) => ` Process ${each.pid} on ${each.host}: ${each.note}.`);
  text(byId("process-note"), away + off + notes.join(""));
}

function showCalls() {
  const list = byId("calls");
  const wanted = new Set();
  let at = list.firstElementChild;
  for (const call of state.top.degraded) {
    const key = callKey(call);
    wanted.add(key);
    let item = state.calls.get(key);
    if (!item) state.calls.set(key, (item = callItem(call)));
    if (item === at) at = at.nextElementSibling;
    else list.insertBefore(item, at);
  }
  for (const [key, item] of state.calls) {
    if (wanted.has(key)) continue;
    item.remove();
    state.calls.delete(key);
  }
  text(byId("degraded-count"), String(state.top.degraded.length));
  byId("no-calls").hidden = wanted.size > 0;
}

function choose(process) {
  state.process = process;
  if (!state.paused) connect();
}

function pause() {
  state.paused = !state.paused;
  attribute(byId("pause"), "aria-pressed", String(state.paused));
  if (state.paused) {
    state.source?.close();
    say("paused", false);
  } else {
    connect();
  }
}

byId("process").addEventListener("change", (event) => choose(event.target.value));
byId("search").addEventListener("input", () => arrange(true));
byId("sort").addEventListener("change", () => arrange(true));
byId("pause").addEventListener("click", pause);
byId("switch-all").hidden = !acts;
byId("switch-all").addEventListener("click", () => act("*"));
byId("process-settings").addEventListener("toggle", (event) => {
  const details = event.target;
  if (details.open) showSettings(details.lastElementChild, null);
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea, dialog");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("search").focus();
});
setInterval(() => {
  if (!state.paused && state.heard && Date.now() - state.heard > SILENT) say("connection lost; trying again", true);
}, 1000);
connect();
