// Cohorts: the list fills in sizes that are not known yet; the page of one makes and previews rules.

import { get, post, put, remove } from "/static/api.js";
import { $, el, fail, fresh } from "/static/dom.js";
import { datesField, makeForm } from "/static/form.js";

const NO_DATES = { did: "Ever", property: "Ever" };
const ORDER = ["event", "where", "when", "times", "count", "sql"];
const ordered = (fields) => Object.fromEntries(ORDER.filter((name) => name in fields).map((name) => [name, fields[name]]));
const count = (number) => number.toLocaleString("en-GB");
const clock = (iso) => (iso ? iso.slice(0, 19).replace("T", " ") : "–");

// -- The list.

async function fillSizes(table) {
  const project = table.dataset.project;
  for (const row of table.querySelectorAll("tr[data-cohort]")) {
    const size = row.querySelector("[data-size]");
    if (size.textContent.trim() !== "…") continue;
    $("state").textContent = "Working sizes out…";
    try {
      const found = await get(`/p/${project}/api/cohorts/${row.dataset.cohort}`);
      size.textContent = found.error ? "not computable" : count(found.size);
      size.title = found.error;
      row.querySelector("[data-as-of]").textContent = clock(found.as_of);
    } catch (error) {
      size.textContent = "–";
      size.title = error.message;
    }
  }
  $("state").textContent = "";
}

// -- One condition: a choice of its kind, and a form made of the kind's schema.

class Condition {
  constructor(page, rule, taken) {
    this.page = page;
    this.not = el("input", { type: "checkbox", checked: rule.is === "not" });
    const asked = rule.is === "not" ? rule.of : rule;
    this.kind = el("select", { "aria-label": "Kind of condition" }, ...Object.entries(page.conditions).map(([name, one]) =>
      el("option", { value: name, selected: name === asked.is }, one.title)));
    this.box = el("div", { class: "fields" });
    this.kind.addEventListener("input", () => { this.show({ is: this.kind.value }); page.changed(); });
    this.not.addEventListener("input", page.changed);
    const gone = el("button", { type: "button", class: "quiet", "aria-label": "Remove condition", title: "Remove condition", onclick: () => taken(this) }, "✕");
    this.node = el("li", { class: "fields" }, el("div", { class: "tools" }, gone), this.kind,
      el("label", { class: "tick" }, this.not, el("span", {}, "not: whoever does not")), this.box);
    this.show(asked);
  }

  show(rule) {
    const { page } = this;
    if (rule.is === "upload") return this.showUpload(rule);
    const { $defs, ...whole } = page.conditions[rule.is].schema;
    const found = whole.$ref ? $defs[whole.$ref.split("/").pop()] : whole;
    const { is, dates, name, operator, values, ...properties } = found.properties;
    const value = { ...rule };
    if (rule.is === "trait") {
      properties.where = { title: "Trait", type: "array", items: { $ref: "#/$defs/Filter" }, default: [] };
      value.where = rule.name ? [{ property: rule.name, operator: rule.operator ?? "is", values: rule.values ?? [] }] : [];
    } else if (rule.is === "property") {
      properties.where = { title: "Condition", type: "array", items: { $ref: "#/$defs/Filter" }, default: [] };
      value.where = rule.where ? [rule.where] : [];
      properties.when = { enum: ["ever", "last"], default: "ever" };
    } else if (rule.is === "sql") {
      properties.sql = { title: "Query with a column person", type: "string", "x-field": "text", default: "" };
    }
    const root = el("div");
    const form = makeForm(root, {
      project: page.project, vocabulary: page.vocabulary, cohorts: [], changed: page.changed, value,
      schema: { $defs: { ...page.definition.$defs, ...$defs }, type: "object", description: found.description, properties: ordered(properties) },
    });
    const days = dates && datesField("Days", rule.dates ?? dates.default ?? "", page.changed, NO_DATES[rule.is]);
    this.box.replaceChildren(root, ...(days ? [days.node] : []));
    this.read = () => this.written(rule.is, form.read(), days?.read());
  }

  written(kind, given, dates) {
    const made = { is: kind, ...given, ...(dates ? { dates } : {}) };
    if (kind !== "trait" && kind !== "property") return made;
    const [first, ...more] = made.where ?? [];
    if (!first) throw new Error(`${this.page.conditions[kind].title}: add a filter with a property and its value.`);
    if (more.length) throw new Error(`${this.page.conditions[kind].title}: one filter only; add a condition for each other.`);
    if (kind === "property") return { ...made, where: first };
    delete made.where;
    return { ...made, name: first.property.replace(/^properties\./, ""), operator: first.operator, values: first.values };
  }

  showUpload(rule) {
    const file = el("input", { type: "file", accept: ".csv,.txt,text/csv,text/plain" });
    const said = el("p", { class: "note", role: "status" }, rule.list ? "A list is in place; choose a file to put another there." : "A CSV file with a column person, id, user_id or anonymous_id; or one id on each line.");
    const bad = el("ul", { class: "note", id: fresh("bad") });
    this.list = rule.list;
    file.addEventListener("change", async () => {
      if (!file.files[0]) return;
      said.textContent = "Reading…";
      bad.replaceChildren();
      try {
        const found = await this.page.upload(file.files[0]);
        this.list = found.list;
        const repeated = found.repeated ? `, ${count(found.repeated)} of them more than once` : "";
        said.textContent = `${count(found.ids)} ids${repeated}${found.bad ? `; ${count(found.bad)} lines gave none:` : "."}`;
        bad.replaceChildren(...badLines(found));
        this.page.changed();
      } catch (error) {
        said.textContent = error.message;
        bad.replaceChildren(...badLines(error.answer ?? {}));
      }
    });
    this.box.replaceChildren(el("label", { class: "field" }, el("span", {}, "File"), file), said, bad);
    this.read = () => {
      if (!this.list) throw new Error("Choose a file with ids first.");
      return { is: "upload", list: this.list };
    };
  }

  rule() {
    const found = this.read();
    return this.not.checked ? { is: "not", of: found } : found;
  }
}

const badLines = ({ bad = 0, bad_lines: lines = [] }) => [
  ...lines.map((one) => el("li", {}, `Line ${one.line}: ${one.text || "(empty)"} ${one.message}`)),
  ...(bad > lines.length ? [el("li", {}, `and ${count(bad - lines.length)} more`)] : []),
];

// -- The page of one cohort.

class CohortPage {
  constructor(root) {
    this.project = root.dataset.project;
    this.id = root.dataset.cohort;
    this.api = `/p/${this.project}/api/cohorts`;
    this.rows = [];
    this.isNested = false;
    this.changed = () => this.write();
  }

  async start() {
    const nothing = { events: [], properties: [] };
    const [described, vocabulary, saved] = await Promise.all([
      get(`${this.api}/schema`),
      get(`/p/${this.project}/api/vocabulary`).catch(() => nothing),
      this.id ? get(`${this.api}/${this.id}`) : undefined,
    ]);
    Object.assign(this, { conditions: described.conditions, definition: described.definition, vocabulary });
    if (saved) this.fill(saved);
    this.put(saved?.definition.rule ?? { is: "all", of: [{ is: "did", times: "at_least", count: 3, dates: "last_30_days" }] });
    if (saved) {
      this.show(saved);
      await this.showPeople();
    }
  }

  fill(saved) {
    $("name").value = saved.name;
    $("description").value = saved.description;
    $("identity").value = saved.definition.identity;
  }

  // The form holds conditions of one level, each of which may be turned round; deeper rules are JSON.
  put(rule) {
    const isFlat = (one) => one.is in this.conditions || (one.is === "not" && one.of.is in this.conditions);
    const how = ["all", "any"].includes(rule.is) ? rule.is : "all";
    const parts = ["all", "any"].includes(rule.is) ? rule.of : [rule];
    this.isNested = !parts.every(isFlat);
    $("builder").hidden = this.isNested;
    $("nested").hidden = !this.isNested;
    $("written").open = this.isNested;
    $("json").readOnly = !this.isNested;
    $("json").value = JSON.stringify(rule, null, 2);
    if (this.isNested) return;
    $("how").value = how;
    this.rows = parts.map((part) => new Condition(this, part, this.taken));
    this.list();
    this.write();
  }

  taken = (row) => {
    this.rows.splice(this.rows.indexOf(row), 1);
    this.list();
    this.write();
    $("add").focus();
  };

  list() {
    $("conditions").replaceChildren(...this.rows.map((row) => row.node));
  }

  add() {
    this.rows.push(new Condition(this, { is: "did", dates: "last_30_days" }, this.taken));
    this.list();
    this.rows.at(-1).kind.focus();
    this.write();
  }

  rule() {
    if (!this.isNested) return { is: $("how").value, of: this.rows.map((row) => row.rule()) };
    try {
      return JSON.parse($("json").value);
    } catch (error) {
      throw new Error(`The rule is no JSON: ${error.message}`);
    }
  }

  write() {
    if (this.isNested) return;
    try {
      $("json").value = JSON.stringify(this.rule(), null, 2);
    } catch {
      $("json").value = ""; // something is still to be filled in
    }
  }

  asked() {
    return { rule: this.rule(), identity: $("identity").value, description: $("description").value };
  }

  async upload(file) {
    const token = document.querySelector('meta[name="csrf"]')?.content ?? "";
    const answer = await fetch(`${this.api}/lists`, { method: "POST", headers: { "content-type": "text/csv", accept: "application/json", "x-csrf-token": token }, body: file });
    const found = await answer.json().catch(() => ({}));
    if (!answer.ok) throw Object.assign(new Error(found.message ?? `The server answered ${answer.status}.`), { answer: found });
    return found;
  }

  show(found) {
    $("size").textContent = found.size === null ? "–" : `${count(found.size)} ${found.size === 1 ? "person" : "people"}`;
    const until = found.complete_until ? ` · events received up to ${clock(found.complete_until)}` : "";
    $("trust").textContent = found.as_of ? `${found.status ?? "not computable"} · worked out ${clock(found.as_of)}${until} · ${found.identity}` : "Not worked out yet.";
    $("words").textContent = found.words;
    $("remarks").replaceChildren(...found.remarks.map((text) => el("li", {}, text)));
    $("problem").hidden = !found.error;
    $("problem").textContent = found.error;
  }

  showNames(found) {
    const more = found.size - found.people.length;
    $("people").replaceChildren(...found.people.map((name) => el("li", {}, el("span", {}, name))),
      ...(more > 0 ? [el("li", { class: "empty" }, `and ${count(more)} more`)] : []));
    if (!found.people.length) $("people").replaceChildren(el("li", { class: "empty" }, "Nobody meets the rule: widen its days, or ask for less."));
  }

  async showPeople() {
    try {
      this.showNames(await get(`${this.api}/${this.id}/people`));
    } catch (error) {
      $("people").replaceChildren(el("li", { class: "empty" }, error.message));
    }
  }

  // One thing at a time, after the page has what it asked for, and what goes wrong beside the buttons.
  async doing(text, run) {
    const buttons = document.querySelectorAll("#cohort button");
    for (const button of buttons) button.disabled = true;
    $("error").hidden = true;
    $("state").textContent = text;
    try {
      await this.begun;
      await run();
      $("state").textContent = "";
    } catch (error) {
      $("state").textContent = "";
      fail($("error"), error);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  preview() {
    return this.doing("Working out…", async () => {
      const found = await post(`${this.api}/preview`, { definition: this.asked() });
      this.show(found);
      this.showNames(found);
    });
  }

  save() {
    return this.doing("Saving…", async () => {
      const given = { name: $("name").value, definition: this.asked() };
      const saved = this.id ? await put(`${this.api}/${this.id}`, given) : await post(this.api, given);
      location.assign(`/p/${this.project}/cohorts/${saved.id}`);
    });
  }

  refresh() {
    return this.doing("Working out…", async () => {
      this.show(await post(`${this.api}/${this.id}/refresh`, {}));
      await this.showPeople();
    });
  }

  remove() {
    if (!confirm(`Remove the cohort ${$("name").value}? Questions that use it will say that it is gone.`)) return undefined;
    return this.doing("Removing…", async () => {
      await remove(`${this.api}/${this.id}`);
      location.assign(`/p/${this.project}/cohorts`);
    });
  }
}

const table = $("cohorts");
if (table) fillSizes(table);
const root = $("cohort");
if (root) {
  const page = new CohortPage(root);
  $("form").addEventListener("submit", (event) => { event.preventDefault(); page.save(); });
  $("how").addEventListener("input", page.changed);
  $("add").addEventListener("click", () => page.add());
  $("preview").addEventListener("click", () => page.preview());
  $("refresh")?.addEventListener("click", () => page.refresh());
  $("remove")?.addEventListener("click", () => page.remove());
  page.begun = page.start().catch((error) => fail($("error"), error));
}
