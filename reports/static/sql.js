// The SQL page: runs the query as a job, shows its rows with their status, or the error's place.
import { get, post, remove } from "./api.js";
import { $ } from "./dom.js";
import { complete } from "./sql_complete.js";
import { parameters } from "./sql_parameters.js";
import { shelf } from "./sql_shelf.js";
import { boardDialog } from "./to_board.js";

const box = $("sql");
const api = $("query").dataset.api;
const NUMERIC = new Set(["INT64", "FLOAT64", "NUMERIC"]);
const LONG = 60; // characters: a longer cell wraps
const LOOK_MS = [80, 120, 200, 300]; // between two looks at a job; the last one from then on

const given = parameters(box, $("parameters"));
let job = null; // the one whose rows are shown, or that runs
let running = false;
let isUnwanted = false; // cancelled, maybe before its job was known
let asked = 0; // counts what was asked: an answer to anything but the last comes too late
let shown = 0; // pages of rows

function cell(row, value, tag, numeric) {
  const made = document.createElement(tag);
  if (numeric) made.className = "num";
  if (tag === "th") made.scope = "col";
  made.textContent = value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
  if (made.textContent.length > LONG) made.className = "words";
  row.append(made);
}

const rowsOf = (of, page) => get(`${api}/jobs/${of.id}/rows?page=${page}`);

function add(page) {
  const body = $("result").tBodies[0];
  for (const values of page.rows) {
    const row = body.insertRow();
    values.forEach((value, i) => cell(row, value, "td", NUMERIC.has(job.types[i])));
  }
  shown += 1;
  $("more").hidden = shown >= job.pages;
}

async function more() {
  const body = $("result").tBodies[0]; // goes with its result
  $("more").disabled = true;
  try {
    const page = await rowsOf(job, shown);
    if (body.isConnected) add(page);
  } catch (problem) {
    if (body.isConnected) fail(problem);
  } finally {
    $("more").disabled = false;
    if (document.activeElement === document.body) $("more").focus({ preventScroll: true });
  }
}

async function show() {
  const first = await rowsOf(job, 0);
  const head = document.createElement("thead");
  const names = head.insertRow();
  job.columns.forEach((name, i) => cell(names, name, "th", NUMERIC.has(job.types[i])));
  $("result").replaceChildren(head, document.createElement("tbody"));
  shown = 0;
  add(first);
  const rows = job.rows === 1 ? "1 row" : `${job.rows.toLocaleString("en-GB")} rows`;
  const cut = job.truncated ? " (the first; there are more)" : "";
  const asOf = job.as_of ? ` · as of ${job.as_of.slice(0, 19).replace("T", " ")}` : "";
  const until = job.complete_until ? ` · complete until ${job.complete_until.slice(0, 19).replace("T", " ")}` : "";
  const status = job.status ? ` · ${job.status}${asOf || " · nothing there yet"}${until}` : "";
  const from = job.answered_from ? ` · answered from the exact table ${job.answered_from}` : "";
  $("outcome").textContent = `${rows}${cut} in ${Math.round(job.seconds * 1000)} ms${status}${from}`;
  $("csv").href = `${api}/jobs/${job.id}/result.csv`;
  $("json").href = `${api}/jobs/${job.id}/result.json`;
  $("downloads").hidden = false;
}

// Put the cursor where the error is. Columns count characters, which JavaScript's strings do not.
function point(line, column) {
  const lines = box.value.split("\n");
  const before = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  const within = [...(lines[line - 1] ?? "")].slice(0, (column ?? 1) - 1).join("").length;
  const word = /^@?\w+|^./.exec(box.value.slice(before + within))?.[0] ?? "";
  box.focus();
  box.setSelectionRange(before + within, before + within + word.length);
}

function clear() {
  for (const id of ["error", "downloads", "more", "reads"]) $(id).hidden = true;
  $("outcome").textContent = "";
  $("result").replaceChildren();
  box.removeAttribute("aria-invalid");
}

function fail(problem) {
  clear();
  const answer = problem.answer ?? problem;
  const place = answer.line ? `Line ${answer.line}${answer.column ? `, column ${answer.column}` : ""}: ` : "";
  $("error").hidden = false;
  $("error").textContent = place + problem.message;
  if (answer.line) {
    box.setAttribute("aria-invalid", "true");
    point(answer.line, answer.column);
  }
}

function busy(now) {
  running = now;
  $("query").querySelector(".primary").disabled = now;
  $("cancel").hidden = !now;
  $("cancel").disabled = false;
  $("progress").hidden = !now;
  if (now) $("progress").removeAttribute("value");
}

function tell() {
  const rows = job.rows ? ` · ${job.rows.toLocaleString("en-GB")} rows so far` : "";
  const part = job.progress === null ? "" : ` · ${Math.round(job.progress * 100)} %`;
  $("outcome").textContent = `Running for ${job.seconds.toFixed(1)} s${part}${rows}`;
  if (job.progress === null) $("progress").removeAttribute("value");
  else $("progress").value = job.progress;
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function run(event) {
  event?.preventDefault();
  if (running) return;
  asked += 1;
  job = null;
  isUnwanted = false;
  hideSuggestions();
  clear();
  busy(true);
  $("outcome").textContent = "Running…";
  try {
    job = await post(`${api}/jobs`, { sql: box.value, parameters: given.values() });
    if (isUnwanted) await end().catch(() => {});
    for (let look = 0; job.state === "running"; look += 1) {
      await pause(LOOK_MS[Math.min(look, LOOK_MS.length - 1)]);
      job = await get(`${api}/jobs/${job.id}`);
      if (job.state === "running") tell();
    }
    if (job.state === "done") await show();
    else if (job.state === "cancelled") $("outcome").textContent = `Cancelled after ${job.seconds.toFixed(1)} s`;
    else fail({ message: job.message, answer: job });
    kept.ran();
  } catch (problem) {
    fail(problem);
  } finally {
    busy(false);
  }
}

// Of a job that has ended the server would forget the result. run() sees what became of it.
async function end() {
  const at = `${api}/jobs/${job.id}`;
  const { state } = await get(at);
  if (state === "running") await remove(at);
}

async function cancel() {
  if (!running) return;
  $("cancel").disabled = true;
  isUnwanted = true;
  if (job) await end().catch(() => {});
  else $("outcome").textContent = "Cancelling…";
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (; bytes >= 1000 && at < units.length - 1; at += 1) bytes /= 1000;
  return `${at ? bytes.toPrecision(3) : bytes} ${units[at]}`;
}

async function check() {
  if (running) return;
  const mine = ++asked;
  clear();
  try {
    const found = await post(`${api}/estimate`, { sql: box.value, parameters: given.values() });
    if (mine !== asked) return;
    // Sizes of files that hold other projects, too, are not for everybody.
    const seen = found.tables.filter((one) => one.files !== null);
    const tables = seen.map((one) => `${one.table}: ${one.files} of ${one.of_files} files`);
    const of = tables.length ? ` (${tables.join("; ")})` : "";
    const own = found.own && `Of this project about ${found.own.rows.toLocaleString("en-GB")} rows, ${size(found.own.bytes)}. `;
    $("reads-text").textContent = own ? own + found.note : `At most ${found.rows.toLocaleString("en-GB")} rows, ${size(found.bytes)}${of}.`;
    $("plan").textContent = found.plan;
    $("plan").closest("details").hidden = !found.plan;
    $("reads").hidden = false;
  } catch (problem) {
    if (mine === asked) fail(problem);
  }
}

async function format() {
  const mine = ++asked;
  const text = box.value;
  const isLate = () => mine !== asked || box.value !== text;
  if (!running) clear();
  try {
    const { sql } = await post(`${api}/format`, { sql: text });
    if (isLate()) return;
    box.value = sql;
    given.refresh();
    box.focus();
  } catch (problem) {
    if (!isLate()) fail(problem);
  }
}

function open(sql, values) {
  asked += 1;
  box.value = sql;
  given.refresh(values);
  clear();
  box.focus();
}

const hideSuggestions = complete(box, $("suggestions"), api);
const kept = shelf(api, { box, given, open, run, fail });

// A saved query that is open as it was saved is followed; of any other the panel has a copy.
const addToBoard = boardDialog($("query").dataset.project, {
  panel: () => (kept.saved() ? { query: kept.saved().id } : { sql: box.value, parameters: given.values() }),
  about: () => ({
    title: kept.saved()?.name ?? "",
    note: kept.saved()
      ? `The panel follows the saved query “${kept.saved().name}”: where that is changed, so is the panel.`
      : "The panel gets a copy of the query and its values. Save the query first, and the panel follows it.",
    columns: job?.state === "done" ? job.columns : [],
  }),
  done: (link) => {
    $("link").replaceChildren("Added to ", link);
    $("link").hidden = false;
  },
});

$("query").addEventListener("submit", run);
$("cancel").addEventListener("click", cancel);
$("check").addEventListener("click", check);
$("format").addEventListener("click", format);
$("add").addEventListener("click", addToBoard);
$("more").addEventListener("click", more);
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
});
for (const example of document.querySelectorAll(".example")) {
  example.addEventListener("click", () => {
    open(example.dataset.sql);
    run();
  });
}
