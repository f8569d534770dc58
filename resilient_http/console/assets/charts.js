"use strict";
// Charts: lines over the last minutes, the newest at the right; a line breaks where nothing was measured.

const POINTS = 60;

function line(values, most, height) {
  const first = POINTS - values.length;
  let path = "";
  let pen = false;
  values.forEach((value, at) => {
    if (value === null) {
      pen = false;
      return;
    }
    const x = ((first + at) * 100) / (POINTS - 1);
    const y = height - 1 - (value / most) * (height - 2);
    path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    if (!pen) path += `h0.5`;
    pen = true;
  });
  return path;
}

const highest = (...lists) => Math.max(0, ...lists.flat().filter((value) => value !== null));

class Chart {
  // names: the lines, each a class of its own; height: of the box, in its units.
  constructor(names, height, kind) {
    this.height = height;
    this.lines = names.map((name) => drawn("path", { class: name }));
    this.svg = drawn("svg", { class: kind, viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", role: "img" }, ...this.lines);
  }

  // lists: of numbers and nulls, one for each line; each has its own scale where there are several scales.
  show(lists, scales, label) {
    lists.forEach((values, at) => {
      const most = scales[Math.min(at, scales.length - 1)] || 1;
      attribute(this.lines[at], "d", line(values, most, this.height));
    });
    attribute(this.svg, "aria-label", label);
  }
}

class Figure {
  constructor(title, names, unit) {
    this.chart = new Chart(names, 40, "chart");
    this.title = title;
    this.unit = unit;
    this.now = element("span");
    const keys = names.length > 1 ? names.flatMap((name) => [element("i", { class: `key ${name}` }), ` ${name}`]) : [];
    const caption = element("figcaption", {}, element("span", {}, title, ...keys), this.now);
    this.root = element("figure", {}, caption, this.chart.svg);
  }

  show(lists, most = highest(...lists)) {
    const newest = lists.map((values) => this.unit(values.at(-1)));
    this.chart.show(lists, [most], `${this.title}: now ${newest.join(", ")}; highest ${this.unit(most)}`);
    text(this.now, `${newest.join(" / ")}, highest ${this.unit(most)}`);
  }
}

function rates(series) {
  return series.calls.map((calls) => calls / series.step);
}

function failures(series) {
  return series.calls.map((calls, at) => (calls ? series.bad[at] / calls : null));
}
