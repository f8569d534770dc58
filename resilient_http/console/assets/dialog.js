"use strict";
// Dialog: a kill switch is thrown in two steps: what and for how long, then a sentence that says so, to be confirmed.

const MEANS = {
  "retries off": (whose) => `No call to ${whose} is repeated`,
  "hedges off": (whose) => `No hedge is sent to ${whose}`,
  "circuit open": (whose) => `Nothing is sent to ${whose}: calls are refused, or a fallback answers them`,
  "circuit closed": (whose) => `Everything is sent to ${whose}, however much of it fails`,
  shed: (whose, share) => `${share} % of the calls to ${whose} are refused, or a fallback answers them`,
};

class ActionDialog {
  // csrf: what Django wants to see again; endpointsOf: gives the URLs of an upstream; reach: who will do it.
  constructor(csrf, endpointsOf, reach) {
    this.csrf = csrf;
    this.endpointsOf = endpointsOf;
    this.reach = reach;
    this.dialog = byId("dialog");
    byId("what").addEventListener("change", () => this.fields());
    byId("cancel").addEventListener("click", () => this.dialog.close());
    byId("action").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.confirming) this.send();
      else this.ask();
    });
    this.dialog.addEventListener("close", () => this.opener && this.opener.focus());
  }

  // lifts: what is to be lifted; undefined for a switch that is to be thrown.
  open(name, lifts) {
    this.opener = document.activeElement;
    this.name = name;
    this.lifts = lifts;
    text(byId("dialog-title"), lifts ? `Lift a switch of ${this.whose()}` : `Switch for ${this.whose()}`);
    const urls = this.endpointsOf(name);
    byId("endpoint").replaceChildren(element("option", { value: "" }, "all of them"), ...urls.map((url) => element("option", { value: url }, url)));
    text(byId("failure"), "");
    this.step(false);
    this.fields();
    if (lifts) this.ask();
    this.dialog.showModal();
    byId(lifts ? "go" : "what").focus();
  }

  whose() {
    return this.name === "*" ? "all upstreams" : this.name;
  }

  fields() {
    const what = byId("what").value;
    byId("endpoint-field").hidden = !what.startsWith("circuit") || this.name === "*";
    byId("share-field").hidden = what !== "shed";
    byId("share").disabled = what !== "shed";
  }

  step(confirming) {
    this.confirming = confirming;
    byId("ask").hidden = confirming;
    byId("confirm").hidden = !confirming;
    byId("go").disabled = false;
    text(byId("go"), confirming ? (this.lifts ? "Yes, lift it" : "Yes, throw it") : "Continue");
    attribute(byId("go"), "class", confirming ? "danger" : "");
  }

  action() {
    if (this.lifts) return { upstream: this.name, what: "lift", about: this.lifts.split(" ")[0] };
    const what = byId("what").value;
    const action = { upstream: this.name, what, seconds: Number(byId("seconds").value) };
    const endpoint = byId("endpoint").value;
    if (what === "shed") action.share = Number(byId("share").value) / 100;
    if (what.startsWith("circuit") && endpoint && this.name !== "*") action.endpoint = endpoint;
    return action;
  }

  ask() {
    const action = this.action();
    const whose = action.endpoint ? `${this.whose()} at ${action.endpoint}` : this.whose();
    const lasts = byId("seconds").selectedOptions[0].textContent;
    const said = this.lifts
      ? `${this.lifts} of ${whose} is over at once, in ${this.reach()}.`
      : `${MEANS[action.what](whose, byId("share").value)}, for ${lasts}, in ${this.reach()}. Then all is as usual again.`;
    text(byId("confirm"), said);
    this.step(true);
    if (this.dialog.open) byId("confirm").focus();
  }

  async send() {
    byId("go").disabled = true;
    try {
      const headers = { "Content-Type": "application/json" };
      if (this.csrf) headers["X-CSRFToken"] = this.csrf;
      const answer = await fetch("actions", { method: "POST", headers, body: JSON.stringify(this.action()) });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(said.error || said.detail || `status ${answer.status}`);
      this.dialog.close();
      text(byId("said"), `Done by ${said.by}, in ${said.reaches}.`);
    } catch (error) {
      this.step(false);
      if (this.lifts) this.ask();
      text(byId("failure"), `It was not done: ${error.message}`);
    }
  }
}
