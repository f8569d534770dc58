"use strict";
// Elements. Everything that a server, a setting or an upstream says is set as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Set only what is other than it was: hundreds of rows stay quick, and a screen reader is not disturbed.
function text(target, value) {
  if (target.textContent !== value) target.textContent = value;
}

function attribute(target, name, value) {
  if (target.getAttribute(name) !== value) target.setAttribute(name, value);
}

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 120) return `${Math.round(value / 60)} min`;
  if (value >= 1) return `${value.toFixed(value < 10 ? 2 : 0)} s`;
  const ms = value * 1000;
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100 || Number.isInteger(value) ? String(Math.round(value)) : value.toPrecision(2);
}

function percent(share) {
  if (share === null || share === undefined) return "–";
  const value = 100 * share;
  return `${value === 100 ? "100" : Math.min(value, 99.99).toFixed(value < 99 ? 1 : 2)} %`;
}

function clock(at) {
  return new Date(at * 1000).toLocaleTimeString();
}

function counts(told) {
  const parts = Object.entries(told || {}).map(([name, count]) => `${name} ${count}`);
  return parts.join(", ") || "none";
}
