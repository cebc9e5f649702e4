// The page of exports: begin one, watch it, take it away; schedules.
import { get, post, put, remove } from "/static/api.js";
import { $, el, fail } from "/static/dom.js";

const project = $("exports").dataset.project;
const api = `/p/${project}/api/exports`;
const OPEN = new Set(["queued", "running"]);
const SOON = 500, LATER = 5000; // ms between two looks: while something runs, and else
const states = new Map(); // what was last said of each, so that only news is read out
let timer;

const count = (number) => number.toLocaleString("en-GB");

function size(bytes) {
  for (const [unit, least] of [["GB", 2 ** 30], ["MB", 2 ** 20], ["kB", 2 ** 10]]) {
    if (bytes >= least) return `${(bytes / least).toFixed(1)} ${unit}`;
  }
  return `${bytes} bytes`;
}

const moment = (iso) => (iso ?? "").slice(0, 19).replace("T", " ");

// -- The form.

function show() {
  const what = $("what").value;
  for (const part of document.querySelectorAll("[data-what]")) part.hidden = part.dataset.what !== what;
  $("raw-choice").hidden = $("format").value !== "csv";
  $("again").hidden = !again();
  $("name").placeholder = again() ? "" : "optional";
  $("start").textContent = again() ? "Keep schedule" : "Export";
  if (what === "kind" && !$("question").value) $("question").value = $("kind").selectedOptions[0]?.dataset.example ?? "{}";
}

const again = () => document.querySelector("input[name=when]:checked").value === "again";

function object(id, label) {
  const text = $(id).value.trim() || "{}";
  let found;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new Error(`${label}: this is no JSON: ${error.message}`);
  }
  return found;
}

function wanted() {
  const what = $("what").value;
  const asked = { format: $("format").value };
  if ($("name").value.trim()) asked.name = $("name").value.trim();
  if ($("format").value === "csv" && $("raw").checked) asked.raw = true;
  if (what === "sql") return { ...asked, sql: $("sql").value, parameters: object("parameters", "Parameters") };
  if (what === "kind") return { ...asked, kind: $("kind").value, question: object("question", "Question") };
  const columns = $("columns").value.split(",").map((name) => name.trim()).filter(Boolean);
  return { ...asked, table: $("table").value, dates: $("dates").value.trim(), columns };
}

async function start(event) {
  event.preventDefault();
  $("error").hidden = true;
  $("start").disabled = true;
  try {
    if (again()) {
      const asked = wanted();
      if (!asked.name) {
        $("name").focus();
        throw new Error("Name: a schedule needs one; its folders are called after it.");
      }
      await keep({ name: asked.name, export: asked, every: $("every").value, at: $("at").value, to: $("to").value.trim() });
      await schedules();
    } else {
      await post(api, wanted());
      await look();
    }
  } catch (error) {
    const place = error.answer?.line ? `Line ${error.answer.line}, column ${error.answer.column}: ` : "";
    fail($("error"), { message: place + error.message });
  } finally {
    $("start").disabled = false;
  }
}

async function keep(schedule) {
  try {
    await post(`${api}/schedules`, schedule);
  } catch (error) {
    // The name is taken: it is changed where that is meant, and never in silence.
    if (!error.answer?.id || !confirm(`There is a schedule ${schedule.name} already. Change it to this?`)) throw error;
    await put(`${api}/schedules/${error.answer.id}`, schedule);
  }
}

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const kind = given.get("kind") ?? given.get("insight");
  if (given.has("sql")) {
    $("what").value = "sql";
    $("sql").value = given.get("sql");
    if (given.has("parameters")) $("parameters").value = given.get("parameters");
  } else if (kind) {
    $("what").value = "kind";
    $("kind").value = kind;
    $("question").value = given.get("question") ?? "";
  } else if (given.has("table")) {
    $("table").value = given.get("table");
  }
  if (given.has("dates")) $("dates").value = given.get("dates");
}

// -- The list.

function item(one) {
  const open = OPEN.has(one.state);
  const far = one.rows ? `${count(one.rows)} rows, ${size(one.bytes)}` : "";
  const about = el("p", { class: "note" }, [one.state, far, moment(one.created_at), one.author].filter(Boolean).join(" · "));
  const made = el("li", { "data-id": one.id, "data-state": one.state }, el("strong", { class: "words" }, one.title), " ", el("small", {}, one.format), about);
  if (open) {
    made.append(el("progress", { max: 1, "aria-label": `Progress of ${one.title}`, value: one.progress ?? undefined }));
    if (one.progress === null) made.lastChild.removeAttribute("value");
  }
  if (one.message) made.append(el("p", { class: "error" }, one.message));
  const files = el("div", { class: "actions" });
  for (const file of one.files) {
    files.append(el("a", { class: "button", href: file.url, download: file.name }, file.bytes === undefined ? file.name : `${file.name}, ${size(file.bytes)}`));
  }
  const label = open ? "Cancel" : "Remove";
  const act = open ? () => post(`${api}/${one.id}/cancel`) : () => remove(`${api}/${one.id}`);
  files.append(el("button", { type: "button", "aria-label": `${label} ${one.title}`, onclick: () => act().then(look, complain) }, label));
  made.append(files);
  return made;
}

function complain(error) {
  fail($("error"), error);
}

async function look() {
  clearTimeout(timer);
  let busy = false;
  try {
    const { exports } = await get(api);
    const focus = document.activeElement?.closest("[data-id]")?.dataset.id;
    $("list").replaceChildren(...exports.map(item));
    if (focus) document.querySelector(`[data-id="${focus}"] button`)?.focus();
    $("none").hidden = exports.length > 0;
    for (const one of exports) {
      if (states.has(one.id) && states.get(one.id) !== one.state) $("state").textContent = `${one.title}: ${one.state}`;
      states.set(one.id, one.state);
    }
    busy = exports.some((one) => OPEN.has(one.state));
  } catch (error) {
    complain(error);
  }
  timer = setTimeout(look, busy ? SOON : LATER);
}

async function schedules() {
  const { schedules: kept } = await get(`${api}/schedules`);
  $("no-schedules").hidden = kept.length > 0;
  $("schedules").replaceChildren(...kept.map((one) => {
    const last = one.last_at ? `${one.last_state} ${moment(one.last_at)}` : "not run yet";
    const about = `every ${one.every} at ${one.at} to ${one.to} · next ${moment(one.next_at)} · ${last}`;
    const said = one.last_said && el("p", { class: one.last_state === "failed" ? "error" : "note" }, one.last_said);
    const forget = () => remove(`${api}/schedules/${one.id}`).then(schedules, complain);
    return el("li", {}, el("strong", { class: "words" }, one.name), " ", el("small", {}, one.export.format), el("p", { class: "note" }, about), said,
      el("div", { class: "actions" }, el("button", { type: "button", "aria-label": `Remove ${one.name}`, onclick: forget }, "Remove")));
  }));
}

$("form").addEventListener("submit", start);
$("form").addEventListener("change", show);
$("kind").addEventListener("change", () => { $("question").value = $("kind").selectedOptions[0].dataset.example; });
fromAddress();
show();
look();
schedules().catch(complain);
