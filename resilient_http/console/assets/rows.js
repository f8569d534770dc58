"use strict";
// Rows: one for each upstream. What is inside is made when it is opened, and only then kept up to date.

const RESTS = ["open", "forced open", "half-open"];

function cell(label, kind = "") {
  const value = element("b");
  const root = element("span", { class: `cell ${kind}` }, element("span", { class: "label" }, `${label} `), value);
  return { root, value };
}

class Row {
  constructor(name, act) {
    this.name = name;
    this.act = act;
    this.title = element("b");
    this.why = element("span", { class: "why" });
    this.cells = {};
    const labels = { rate: "requests", success: "success", p50: "p50", p95: "p95", p99: "p99", circuits: "circuits" };
    for (const [key, label] of Object.entries(labels)) this.cells[key] = cell(label);
    this.spark = new Chart(["rate", "p95"], 26, "spark");
    this.summary = element(
      "summary", {},
      element("span", { class: "cell name" }, this.title, this.why),
      ...Object.values(this.cells).map((each) => each.root),
      element("span", { class: "cell spark-cell" }, this.spark.svg),
    );
    this.details = element("details", {}, this.summary);
    this.root = element("li", {}, this.details);
    this.details.addEventListener("toggle", () => this.opened());
    text(this.title, name);
  }

  // changed: names of the sections that are other than before; null for all of them.
  update(row, changed) {
    this.row = row;
    const has = (...keys) => changed === null || keys.some((key) => changed.includes(key));
    if (has("traffic")) this.figures(row.traffic);
    if (has("trouble")) this.trouble(row.trouble);
    if (has("endpoints")) this.circuits(row.endpoints);
    if (has("series")) {
      const made = rates(row.series);
      const label = `last minutes: requests at most ${number(highest(made))} per second, p95 at most ${seconds(highest(row.series.p95))}`;
      this.spark.show([made, row.series.p95], [highest(made), highest(row.series.p95)], label);
    }
    if (has("endpoints", "trouble", "kind")) {
      this.searched = [this.name, row.kind, ...row.endpoints.map((each) => each.url), ...row.trouble.why].join(" ").toLowerCase();
    }
    if (this.inside && this.details.open) this.inside.update(row);
  }

  figures(traffic) {
    text(this.cells.rate.value, `${number(traffic.rate)}/s`);
    text(this.cells.success.value, percent(traffic.success));
    const unwell = traffic.success !== null && traffic.success < 0.999;
    attribute(this.cells.success.value, "class", unwell ? (traffic.success < 0.95 ? "bad" : "warn") : "");
    for (const key of ["p50", "p95", "p99"]) text(this.cells[key].value, seconds(traffic[key]));
  }

  trouble(trouble) {
    text(this.why, trouble.why.join("; "));
    attribute(this.root, "class", trouble.score >= 30 ? "much" : trouble.score > 0 ? "some" : "");
  }

  circuits(endpoints) {
    const all = endpoints.filter((each) => each.circuit !== null);
    const unwell = all.filter((each) => RESTS.includes(each.circuit.state)).length;
    text(this.cells.circuits.value, all.length ? (unwell ? `${unwell} of ${all.length} open` : `${all.length} closed`) : "none");
    attribute(this.cells.circuits.value, "class", unwell ? "bad" : "");
  }

  opened() {
    if (!this.details.open) return;
    if (!this.inside) {
      this.inside = new Inside(this.name, this.act);
      this.details.append(this.inside.root);
    }
    this.inside.update(this.row);
  }
}

class Inside {
  constructor(name, act) {
    this.name = name;
    this.act = act;
    this.rate = new Figure("requests per second", ["rate"], (value) => number(value));
    this.bad = new Figure("not answered well", ["failed"], percent);
    this.latency = new Figure("latency", ["p50", "p95", "p99"], seconds);
    this.switches = element("div");
    this.endpoints = element("tbody");
    this.facts = element("dl");
    this.settings = settingsOf(name);
    const columns = ["endpoint", "circuit", "in flight", "connections", "p50", "p95", ""];
    const table = element(
      "table", {},
      element("thead", {}, element("tr", {}, ...columns.map((each) => element("th", { scope: "col" }, each)))),
      this.endpoints,
    );
    const button = element("button", { type: "button" }, "Switch …");
    button.addEventListener("click", () => this.act(this.name));
    if (!act || name === "other") button.hidden = true;
    this.root = element(
      "div", { class: "inside" },
      element("div", { class: "charts" }, this.rate.root, this.bad.root, this.latency.root),
      this.switches, button,
      element("h3", {}, "Endpoints and circuits"), element("div", { class: "scroll" }, table),
      element("h3", {}, "Limits, budget, pool"), this.facts, this.settings,
    );
  }

  update(row) {
    const series = row.series;
    this.rate.show([rates(series)]);
    this.bad.show([failures(series)], Math.max(0.01, highest(failures(series))));
    this.latency.show([series.p50, series.p95, series.p99]);
    fill(this.endpoints, row.endpoints, endpointRow);
    fill(this.facts, facts(row), ([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value)));
    this.showSwitches(row.switches);
  }

  showSwitches(switches) {
    const told = JSON.stringify(switches.map((each) => [each.what, each.by]));
    if (told !== this.told) {
      this.told = told;
      this.lasting = switches.map(() => element("span"));
      this.switches.replaceChildren(...switches.map((each, at) => this.switchLine(each, this.lasting[at])));
    }
    switches.forEach((each, at) => text(this.lasting[at], `for ${seconds(each.for)} more`));
  }

  switchLine(each, lasting) {
    const button = element("button", { type: "button", "aria-label": `Lift: ${each.what}` }, "Lift …");
    button.addEventListener("click", () => this.act(this.name, each.what));
    if (!this.act) button.hidden = true;
    return element("div", { class: "switch" }, element("b", {}, `switched: ${each.what}`), element("span", {}, `by ${each.by}`), lasting, button);
  }
}

// Anew only when something is other: a selection, and what is being read, stay.
function fill(place, rows, made) {
  const told = JSON.stringify(rows);
  if (place.told !== told) place.replaceChildren(...rows.map(made));
  place.told = told;
}

function endpointRow(each) {
  const circuit = each.circuit;
  const rests = circuit !== null && RESTS.includes(circuit.state);
  const said = circuit && circuit.said && Object.keys(circuit.said).length > 1 ? ` (${counts(circuit.said)})` : "";
  const probe = rests && circuit.retry_in > 0 ? `, probe in ${seconds(circuit.retry_in)}` : "";
  const state = circuit === null ? "none" : `${circuit.state}${said}${probe}${rests && circuit.cause ? `: ${circuit.cause}` : ""}`;
  const more = [each.backup ? "backup" : "", each.zone || "", each.out ? `left alone: ${Object.keys(each.reasons).join(", ")}` : ""];
  const values = [state, String(each.in_flight), String(each.connections), seconds(each.latency.p50), seconds(each.latency.p95), more.filter(Boolean).join(", ")];
  return element(
    "tr", {}, element("th", { scope: "row" }, each.url),
    ...values.map((value, at) => element("td", { class: at === 0 && rests ? "bad" : null }, value)),
  );
}

function facts(row) {
  const limit = row.concurrency;
  const found = [
    ["concurrency", `${limit.in_flight} of ${limit.limit}${limit.usual ? `, usual latency ${seconds(limit.usual)}` : ""}`],
    ["queue", `${limit.queued} of ${limit.queue}`],
    ["pool", `${row.pool.connections} of ${row.pool.limit} connections`],
    ["retry budget", row.retry_budget === null ? "none" : `${number(row.retry_budget.tokens)} tokens`],
    ["rate limit", row.rate_limit === null ? "none" : `${number(row.rate_limit.tokens)} tokens; ${counts(row.rate_limit.decisions)}`],
    ["refused by limits", counts(limit.decisions)],
    ["retries", counts(row.retries)], ["hedges", counts(row.hedges)], ["fallbacks", counts(row.fallbacks)],
  ];
  if (row.discovery) found.push(["nodes from", `${row.discovery.where}${row.discovery.failing ? ", which fails" : ""}`]);
  if (row.chaos) found.push(["faults on purpose", counts(row.chaos.injected)]);
  if (row.routes && row.routes.length) found.push(["routes", row.routes.join(", ")]);
  if (row.pipeline) found.push(["policies", [...row.pipeline.call, ...row.pipeline.attempt].join(" → ")]);
  return found;
}

// The settings are asked for when they are opened: all of them would be more than everything else.
function settingsOf(name) {
  const place = element("div", { class: "scroll" });
  const details = element("details", {}, element("summary", {}, "Settings in force, and where each value came from"), place);
  details.addEventListener("toggle", () => {
    if (details.open) showSettings(place, name);
  });
  return details;
}

async function showSettings(place, name) {
  try {
    const answer = await fetch(`settings.json${name === null ? "" : `?upstream=${encodeURIComponent(name)}`}`);
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error || `status ${answer.status}`);
    const rows = said.settings.map((each) => element(
      "tr", {}, element("th", { scope: "row" }, each.path), element("td", {}, JSON.stringify(each.value)), element("td", {}, each.origin),
    ));
    const head = element("tr", {}, ...["setting", "value", "from"].map((each) => element("th", { scope: "col" }, each)));
    place.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
  } catch (error) {
    place.replaceChildren(element("p", { class: "bad" }, `The settings cannot be had: ${error.message}`));
  }
}
