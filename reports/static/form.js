// A form for a question of any kind, made from the JSON schema of the question: docs/charts.md.
//
// Every field is {node, read}: read gives JSON's value, or undefined where it is the default.

import { get } from "/static/api.js";
import { el, fresh } from "/static/dom.js";

const COMMON = ["dates", "where", "cohort", "identity"];
const PRESETS = {
  today: "Today", yesterday: "Yesterday", last_7_days: "Last 7 days", last_30_days: "Last 30 days",
  last_90_days: "Last 90 days", last_12_weeks: "Last 12 weeks", last_12_months: "Last 12 months",
};
const OPERATORS = {
  is: "is", is_not: "is not", contains: "contains", not_contains: "does not contain", above: "above",
  at_least: "at least", below: "below", at_most: "at most", is_set: "is there", is_not_set: "is not there",
};
const NUMERIC = new Set(["above", "at_least", "below", "at_most"]);
const UNITS = [["seconds", 1], ["minutes", 60], ["hours", 3600], ["days", 86400]];

const words = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// The help of fields that a docstring has: lines such as `rows: how many`, with what follows.
export function helpOf(description = "", fields = undefined) {
  const found = {};
  let name;
  for (const line of description.split("\n").slice(1)) {
    const start = /^\s*(\w+(?:, \w+)*):\s+(.*)$/.exec(line);
    if (start && start[1].split(", ").every((one) => fields?.includes(one) ?? true)) {
      name = start[1].split(", ");
      for (const one of name) found[one] = start[2];
    } else if (!line.trim()) name = undefined;
    else if (name) for (const one of name) found[one] += ` ${line.trim()}`;
  }
  return found;
}

// Fields in the order of the docstring, which JSON does not keep; a step begins with its event.
function ordered(schema) {
  const names = Object.keys(schema.properties);
  const told = Object.keys(helpOf(schema.description, names));
  const first = "where" in schema.properties && "name" in schema.properties ? ["name", "where"] : [];
  return [...new Set([...first, ...told, ...names])].filter((name) => names.includes(name));
}

// "a, b" -> ["a", "b"]; a value with a comma stands in quotation marks.
export function split(text) {
  const parts = text.match(/\s*("(?:[^"]|"")*"|[^,]*)\s*(,|$)/g) ?? [];
  return parts.map((part) => part.trim().replace(/,$/, "").trim())
    .map((part) => (/^".*"$/.test(part) ? part.slice(1, -1).replaceAll('""', '"') : part))
    .filter((part) => part !== "");
}
export const join = (values) => values.map((value) => (/[",]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value)).join(", ");

function labelled(title, help, input, kind = "label") {
  if (!help) return el(kind, { class: "field" }, el("span", {}, title), input);
  const id = fresh("help");
  (input.matches?.("input, select, textarea") ? input : input.querySelector?.("input, select, textarea"))
    ?.setAttribute("aria-describedby", id);
  return el("div", { class: "field-and-help" }, el(kind, { class: "field" }, el("span", {}, title), input), el("small", { id }, help));
}

class Form {
  constructor(root, given) {
    Object.assign(this, given); // project, cohorts, changed
    this.root = root;
    this.defs = given.schema.$defs ?? {};
    this.events = fresh("events");
    this.properties = fresh("properties");
    const events = el("datalist", { id: this.events });
    const properties = el("datalist", { id: this.properties });
    this.metrics = fresh("metrics");
    const metrics = el("datalist", { id: this.metrics });
    this.suggest = (vocabulary) => {
      events.replaceChildren(...vocabulary.events.map((one) =>
        el("option", { value: one.name }, one.events === null ? "" : `${one.events.toLocaleString("en-GB")} events`)));
      properties.replaceChildren(...vocabulary.properties.map((one) =>
        el("option", { value: one.name }, one.example ? `e.g. ${one.example}` : "")));
      metrics.replaceChildren(...vocabulary.metrics.map((one) =>
        el("option", { value: one.name }, one.own ? `${one.title} (your own)` : one.title)));
    };
    const question = this.resolve(given.schema);
    const own = ordered(question).filter((name) => !COMMON.includes(name));
    this.fields = this.struct(question, given.value, [...own, ...COMMON.filter((n) => n in question.properties)]);
    root.replaceChildren(events, properties, metrics, this.fields.node);
    // Suggestions may come late: nobody waits for them.
    get(`/p/${this.project}/api/vocabulary`).then(this.suggest, () => {});
  }

  read() {
    return this.fields.read() ?? {};
  }

  resolve(schema) {
    if (schema.$ref) return this.resolve({ ...this.defs[schema.$ref.split("/").pop()], ...Object.fromEntries(Object.entries(schema).filter(([k]) => k !== "$ref")) });
    if (schema.allOf?.length === 1) return this.resolve({ ...schema.allOf[0], ...schema, allOf: undefined });
    return schema;
  }

  struct(schema, value = {}, order = ordered(schema)) {
    const help = helpOf(schema.description, Object.keys(schema.properties));
    const isStep = "where" in schema.properties && "name" in schema.properties;
    const made = [];
    const plain = [];
    const more = [];
    for (const name of order) {
      const given = schema.properties[name];
      const field = this.field(name, given, value?.[name], { help: given.description ?? help[name], isStep });
      made.push([name, field, schema.required?.includes(name)]);
      const hint = given["x-more"] || (isStep && name === "label");
      (hint ? more : plain).push(field.node);
    }
    const folded = more.length ? el("details", { class: "more", open: false }, el("summary", {}, "More"), ...more) : undefined;
    return {
      node: el("div", { class: "fields" }, ...plain, folded),
      read: () => {
        const read = {};
        for (const [name, field, required] of made) {
          const found = field.read();
          if (found !== undefined) read[name] = found;
          else if (required && field.blank !== undefined) read[name] = field.blank;
        }
        return read;
      },
    };
  }

  field(name, given, value, { help, isStep = false }) {
    let schema = this.resolve(given);
    let isOptional = false;
    if (schema.anyOf?.some((one) => one.type === "null")) {
      const rest = schema.anyOf.filter((one) => one.type !== "null");
      isOptional = true;
      schema = { ...this.resolve(rest.length === 1 ? rest[0] : { anyOf: rest }), "x-field": given["x-field"] };
    }
    const title = given.title ?? (isStep && name === "name" ? "Event" : words(name.replace(/_s$/, "")));
    const start = value === undefined ? given.default : value;
    const field = this.made(name, schema, start, { title, help, isStep, isOptional });
    const read = field.read;
    return { ...field, read: () => { const found = read(); return same(found, given.default) ? undefined : found; } };
  }

  made(name, schema, value, { title, help, isStep, isOptional }) {
    const item = schema.items ? this.resolve(schema.items) : undefined;
    const hint = schema["x-field"];
    if (hint === "hidden") return { node: el("span", { hidden: true }), read: () => value };
    if (hint === "dates" || (name === "dates" && schema.type === "string")) return this.dates(title, value, schema["x-empty"]);
    if (schema.type === "array" && item?.properties?.operator) return this.filters(title, value ?? []);
    if (schema.type === "array" && item?.properties) return this.list(title, help, schema, item, value ?? []);
    if (schema.type === "array" && (!item || !item.anyOf || item.type)) return this.values(title, help, item, value ?? []);
    if (schema.properties) return this.group(title, help, schema, value, isOptional);
    if (schema.enum || schema.const !== undefined) return this.choice(title, help, schema.enum ?? [schema.const], value, isOptional);
    if (schema.type === "boolean") return this.tick(title, help, value);
    if (hint === "duration" || (/_s$/.test(name) && ["integer", "number"].includes(schema.type))) return this.duration(title, help, value, isOptional);
    if (["integer", "number"].includes(schema.type)) return this.number(title, help, schema, value, isOptional);
    if (hint === "cohort" || name === "cohort") return this.cohort(title, value);
    if (schema.type === "string") {
      if (hint === "event" || (isStep && name === "name") || /(^|_)event$/.test(name)) return this.line(title, help, value, isOptional, { list: this.events, placeholder: isOptional ? "Any event" : "" });
      if (hint === "property" || ["property", "breakdown"].includes(name) || /_property$/.test(name)) return this.line(title, help, value, isOptional, { list: this.properties, placeholder: "None" });
      if (hint === "metric") return this.line(title, help, value, isOptional, { list: this.metrics, placeholder: "None" });
      if (hint === "text") return this.line(title, help, value, isOptional, { rows: 3 });
      return this.line(title, help, value, isOptional, { suggest: schema["x-suggest"] });
    }
    return this.json(title, help, value);
  }

  line(title, help, value, isOptional, { list, suggest, rows, placeholder }) {
    const id = suggest ? fresh("suggest") : list;
    const input = rows ? el("textarea", { rows }) : el("input", { type: "text", list: id, placeholder });
    input.value = value ?? "";
    input.addEventListener("input", this.changed);
    const known = suggest && el("datalist", { id }, ...suggest.map((one) => el("option", { value: one })));
    const node = labelled(title, help, input);
    if (known) node.append(known);
    return { node, read: () => (input.value === "" && isOptional ? null : input.value), blank: "" };
  }

  number(title, help, schema, value, isOptional) {
    const input = el("input", { type: "number", min: schema.minimum, max: schema.maximum, step: schema.type === "integer" ? 1 : "any" });
    input.value = value ?? "";
    input.addEventListener("input", this.changed);
    return {
      node: labelled(title, help, input),
      read: () => (input.value === "" ? (isOptional ? null : undefined) : Number(input.value)),
    };
  }

  duration(title, help, value, isOptional) {
    const unit = UNITS.findLast(([, size]) => value && value % size === 0) ?? UNITS[0];
    const input = el("input", { type: "number", min: 0, step: "any", value: value ? value / unit[1] : value ?? "" });
    const units = el("select", { "aria-label": `${title}: unit` }, ...UNITS.map(([name, size]) => el("option", { value: size, selected: size === unit[1] }, name)));
    for (const one of [input, units]) one.addEventListener("input", this.changed);
    const node = labelled(title, help, el("span", { class: "together" }, input, units));
    return { node, read: () => (input.value === "" ? (isOptional ? null : undefined) : Number(input.value) * Number(units.value)) };
  }

  choice(title, help, names, value, isOptional) {
    const options = names.map((name) => el("option", { value: JSON.stringify(name), selected: same(name, value) }, typeof name === "string" ? words(name) : String(name)));
    if (isOptional) options.unshift(el("option", { value: "null", selected: value === null || value === undefined }, "None"));
    const input = el("select", {}, ...options);
    input.addEventListener("input", this.changed);
    return { node: labelled(title, help, input), read: () => JSON.parse(input.value) };
  }

  tick(title, help, value) {
    const input = el("input", { type: "checkbox", checked: Boolean(value) });
    input.addEventListener("input", this.changed);
    return { node: el("label", { class: "tick" }, input, el("span", {}, title), help && el("small", {}, help)), read: () => input.checked };
  }

  values(title, help, item, value) {
    const input = el("input", { type: "text", value: join(value.map(String)), placeholder: "Separated by commas" });
    input.addEventListener("input", this.changed);
    const isNumber = ["integer", "number"].includes(item?.type);
    return { node: labelled(title, help, input), read: () => split(input.value).map((one) => (isNumber ? Number(one) : one)) };
  }

  cohort(title, value) {
    const names = [...new Set([...this.cohorts, ...(value ? [value] : [])])];
    const input = el("select", {}, el("option", { value: "" }, "Everybody"), ...names.map((name) => el("option", { value: name, selected: name === value }, name)));
    input.addEventListener("input", this.changed);
    return { node: labelled(title, undefined, input), read: () => input.value };
  }

  dates(title, value, empty) {
    return datesField(title, value, this.changed, empty);
  }

  json(title, help, value) {
    const input = el("textarea", { rows: 3, spellcheck: "false" });
    input.value = JSON.stringify(value ?? null);
    input.addEventListener("input", this.changed);
    const read = () => {
      try {
        input.setCustomValidity("");
        return JSON.parse(input.value);
      } catch {
        input.setCustomValidity("This is no JSON.");
        return undefined;
      }
    };
    return { node: labelled(`${title} (JSON)`, help, input), read };
  }

  group(title, help, schema, value, isOptional) {
    const inner = this.struct(schema, value ?? {});
    const isOn = el("input", { type: "checkbox", checked: value !== null && value !== undefined, "aria-label": `Use ${title}` });
    const show = () => { inner.node.hidden = isOptional && !isOn.checked; };
    isOn.addEventListener("input", () => { show(); this.changed(); });
    show();
    if (!isOptional && "where" in schema.properties && "name" in schema.properties) return { node: inner.node, read: inner.read, blank: {} };
    const legend = el("legend", {}, isOptional ? el("label", { class: "tick" }, isOn, el("span", {}, title)) : title);
    const node = el("fieldset", {}, legend, help && el("small", {}, help), inner.node);
    return { node, read: () => (isOptional && !isOn.checked ? null : inner.read()), blank: {} };
  }

  // A list of structs: steps, series, exclusions.
  list(title, help, schema, item, value) {
    const items = [];
    const box = el("ol", { class: "items" });
    const one = (/ies$/.test(title) ? title : title.replace(/s$/, "")).toLowerCase();
    const move = (at, by) => {
      const [taken] = items.splice(at, 1);
      items.splice(at + by, 0, taken);
      show();
      this.changed();
    };
    const show = () => box.replaceChildren(...items.map((each, at) => {
      const tool = (text, name, run, isOff) => el("button", { type: "button", class: "quiet", "aria-label": name, title: name, disabled: isOff, onclick: run }, text);
      const tools = el("div", { class: "tools" },
        tool("↑", `Move ${one} ${at + 1} up`, () => move(at, -1), at === 0),
        tool("↓", `Move ${one} ${at + 1} down`, () => move(at, 1), at === items.length - 1),
        tool("✕", `Remove ${one} ${at + 1}`, () => { items.splice(at, 1); show(); this.changed(); }, items.length <= (schema.minItems ?? 0)));
      return el("li", {}, tools, each.node);
    }));
    for (const each of value) items.push(this.struct(item, each));
    show();
    const add = el("button", { type: "button", onclick: () => {
      items.push(this.struct(item, {}));
      show();
      items.at(-1).node.querySelector("input, select")?.focus();
      this.changed();
    } }, `Add ${one}`);
    const node = el("fieldset", {}, el("legend", {}, title), help && el("small", {}, help), box, add);
    return { node, read: () => items.map((each) => each.read()), blank: [] };
  }

  filters(title, value) {
    const rows = [];
    const box = el("div", { class: "items" });
    const show = () => box.replaceChildren(...rows.map((row) => row.node));
    const push = (given) => {
      const row = this.filter(given, () => { rows.splice(rows.indexOf(row), 1); show(); this.changed(); });
      rows.push(row);
    };
    for (const one of value) push(one);
    show();
    const add = el("button", { type: "button", onclick: () => { push({ property: "", operator: "is", values: [] }); show(); rows.at(-1).node.querySelector("input").focus(); } }, "Add filter");
    const name = title === "Where" ? "Filters" : title;
    return {
      node: el("fieldset", { class: "filters" }, el("legend", {}, name), box, add),
      // One that is still being written is not asked yet.
      read: () => rows.map((row) => row.read()).filter((one) => one !== undefined),
    };
  }

  filter(value, remove) {
    const property = el("input", { type: "text", list: this.properties, value: value.property, "aria-label": "Property", placeholder: "Property" });
    const operator = el("select", { "aria-label": "Operator" }, ...Object.entries(OPERATORS).map(([name, text]) => el("option", { value: name, selected: name === value.operator }, text)));
    const known = el("datalist", { id: fresh("values") });
    const values = el("input", { type: "text", list: known.id, value: join((value.values ?? []).map(String)), "aria-label": "Values", placeholder: "Value, value" });
    const show = () => { values.hidden = /is_(not_)?set/.test(operator.value); };
    for (const input of [property, operator, values]) input.addEventListener("input", () => { show(); this.changed(); });
    values.addEventListener("focus", async () => {
      if (!property.value || known.of === property.value) return;
      known.of = property.value;
      const found = await get(`/p/${this.project}/api/vocabulary/values?property=${encodeURIComponent(property.value)}`).catch(() => ({ values: [] }));
      known.replaceChildren(...found.values.map((one) => el("option", { value: join([one.value]) })));
    });
    show();
    const gone = el("button", { type: "button", class: "quiet", "aria-label": "Remove filter", title: "Remove filter", onclick: remove }, "✕");
    const read = () => {
      const parts = values.hidden ? [] : split(values.value);
      if (!property.value || (!parts.length && !values.hidden)) return undefined;
      return { property: property.value, operator: operator.value, values: NUMERIC.has(operator.value) ? parts.map(Number) : parts };
    };
    return { node: el("div", { class: "filter" }, property, operator, values, known, gone), read };
  }
}

// Presets and two days; "" where a board leaves the choice to its panels.
export function datesField(title, value, changed, empty) {
  const isSpan = /\.\./.test(value ?? "");
  const known = { ...(empty ? { "": empty } : {}), ...PRESETS };
  if (value && !isSpan && !(value in known)) known[value] = words(value);
  const preset = el("select", { "aria-label": title }, ...Object.entries(known).map(([name, text]) => el("option", { value: name, selected: name === value }, text)),
    el("option", { value: "span", selected: isSpan }, "From … to …"));
  const [from, to] = isSpan ? value.split("..") : ["", ""];
  const first = el("input", { type: "date", value: from, "aria-label": "First day" });
  const last = el("input", { type: "date", value: to, "aria-label": "Last day" });
  const days = el("span", { class: "together" }, first, last);
  const show = () => { days.hidden = preset.value !== "span"; };
  for (const input of [preset, first, last]) input.addEventListener("input", () => { show(); if (preset.value !== "span" || (first.value && last.value)) changed(); });
  show();
  return {
    node: el("div", { class: "field" }, el("span", {}, title), preset, days),
    read: () => (preset.value === "span" ? (first.value && last.value ? `${first.value}..${last.value}` : undefined) : preset.value),
  };
}

export const makeForm = (root, given) => new Form(root, given);
