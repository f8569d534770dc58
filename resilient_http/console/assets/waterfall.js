"use strict";
// Waterfall: the journal of a call, attempt by attempt: the queue, the attempt, the wait, and the deadline.

const WIDE = 1000;

function reach(call) {
  const ends = call.attempts.map((each) => each.started + each.queued + each.duration);
  const longest = Math.max(call.took, ...ends, 0.000001);
  return call.budget !== null && call.budget <= 2 * longest ? Math.max(longest, call.budget) : longest;
}

function bar(kind, from, lasts, all) {
  const x = (from / all) * WIDE;
  const width = Math.max((lasts / all) * WIDE, kind === "deadline" ? 3 : 2);
  const [y, height] = kind === "wait" ? [7, 4] : kind === "deadline" ? [0, 18] : [3, 12];
  return drawn("rect", { class: kind, x: Math.min(x, WIDE - width).toFixed(1), y, width: width.toFixed(1), height });
}

function kindOf(attempt) {
  if (attempt.decision === "lost") return "lost";
  if (attempt.outcome === "refused") return "refused";
  return attempt.outcome === "success" ? "good" : "bad";
}

function attemptText(attempt) {
  const result = attempt.error || (attempt.status === null ? "no answer" : `status ${attempt.status}`);
  const where = attempt.endpoint ? ` at ${attempt.endpoint}` : "";
  const queue = attempt.queued >= 0.001 ? `, ${seconds(attempt.queued)} in the queue` : "";
  const sent = attempt.sent ? "" : ", not sent";
  const then = attempt.why ? `; ${attempt.decision}: ${attempt.why}` : "";
  const wait = attempt.decision === "retry" ? `, after ${seconds(attempt.delay)}` : "";
  return `${result}${where}, after ${seconds(attempt.duration)}${queue}${sent}${then}${wait}`;
}

function attemptLine(attempt, call, all) {
  const begins = attempt.started + attempt.queued;
  const bars = [];
  if (attempt.queued > 0) bars.push(bar("queued", attempt.started, attempt.queued, all));
  bars.push(bar(kindOf(attempt), begins, attempt.duration, all));
  if (attempt.decision === "retry") bars.push(bar("wait", begins + attempt.duration, attempt.delay, all));
  if (call.budget !== null && call.budget <= all) bars.push(bar("deadline", call.budget, 0, all));
  const svg = drawn("svg", { viewBox: `0 0 ${WIDE} 18`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
  const label = `attempt ${attempt.number}${attempt.hedge ? " (hedge)" : ""}`;
  return element("li", { class: "line" }, element("span", {}, label), svg, element("span", { class: "text" }, attemptText(attempt)));
}

function waterfall(call) {
  const all = reach(call);
  const lines = call.attempts.map((attempt) => attemptLine(attempt, call, all));
  const ends = call.budget === null ? "no deadline" : `deadline after ${seconds(call.budget)}${call.budget > all ? ", beyond what is drawn" : ""}`;
  const notes = [...call.notes, ...(call.left_out ? [`${call.left_out} more attempts`] : [])];
  return element(
    "div", { class: "lines" },
    element("p", { class: "faint" }, `${seconds(call.took)} in all; ${ends}; in process ${call.pid} on ${call.host}`),
    lines.length ? element("ol", { class: "waterfall" }, ...lines) : element("p", {}, "No attempt was made."),
    ...notes.map((note) => element("p", { class: "faint" }, note)),
  );
}

function callKey(call) {
  return `${call.host} ${call.pid} ${call.at} ${call.upstream} ${call.took}`;
}

function callItem(call) {
  const sent = call.attempts.length === 1 ? "1 attempt" : `${call.attempts.length + call.left_out} attempts`;
  const ended = call.error || (call.status === null ? "" : `status ${call.status}`);
  const summary = element(
    "summary", { class: "call" },
    element("span", { class: "faint" }, clock(call.at)), element("span", { class: "name" }, call.upstream || "?"),
    element("span", { class: call.kind === "retried" || call.kind === "fell back" ? "warn" : "bad" }, call.kind),
    element("span", {}, `${call.method}${call.route ? ` ${call.route.replace(/^\S+ /, "")}` : ""}`),
    element("span", {}, ended), element("span", {}, sent), element("span", {}, seconds(call.took)),
  );
  const details = element("details", {}, summary);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(waterfall(call));
  });
  return element("li", {}, details);
}
