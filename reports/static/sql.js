// The SQL page: runs the query, shows rows with their status, or the error with its place.
"use strict";

const $ = (id) => document.getElementById(id);
const box = $("sql");
const NUMERIC = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\))$/;
const LONG = 60; // characters: a longer cell wraps

function cell(row, value, tag, numeric) {
  const made = document.createElement(tag);
  if (numeric) made.className = "num";
  if (tag === "th") made.scope = "col";
  made.textContent = value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
  if (made.textContent.length > LONG) made.className = "words";
  row.append(made);
}

function show(result) {
  const numeric = result.types.map((type) => NUMERIC.test(type));
  const head = document.createElement("thead");
  const names = head.insertRow();
  result.columns.forEach((name, i) => cell(names, name, "th", numeric[i]));
  const body = document.createElement("tbody");
  for (const values of result.rows) {
    const row = body.insertRow();
    values.forEach((value, i) => cell(row, value, "td", numeric[i]));
  }
  $("result").replaceChildren(head, body);
  const count = result.rows.length.toLocaleString("en-GB");
  const rows = result.rows.length === 1 ? "1 row" : `${count} rows`;
  const cut = result.truncated ? " (the first; there are more)" : "";
  const asOf = result.as_of ? ` · as of ${result.as_of.slice(0, 19).replace("T", " ")}` : "";
  const status = result.status ? ` · ${result.status}${asOf || " · nothing there yet"}` : "";
  $("outcome").textContent = `${rows}${cut} in ${result.elapsed_ms} ms${status}`;
}

// Put the cursor where the error is. Columns count characters, which JavaScript's strings do not.
function point(line, column) {
  const lines = box.value.split("\n");
  const before = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  const within = [...(lines[line - 1] ?? "")].slice(0, (column ?? 1) - 1).join("").length;
  const word = /^\w+|^./.exec(box.value.slice(before + within))?.[0] ?? "";
  box.focus();
  box.setSelectionRange(before + within, before + within + word.length);
}

function fail(problem) {
  const place = problem.line ? `Line ${problem.line}${problem.column ? `, column ${problem.column}` : ""}: ` : "";
  $("error").hidden = false;
  $("error").textContent = place + problem.message;
  $("outcome").textContent = "";
  $("result").replaceChildren();
  box.setAttribute("aria-invalid", "true");
  if (problem.line) point(problem.line, problem.column);
}

async function run(event) {
  event?.preventDefault();
  const button = $("query").querySelector(".primary");
  if (button.disabled) return;
  button.disabled = true;
  $("error").hidden = true;
  box.removeAttribute("aria-invalid");
  $("outcome").textContent = "Running…";
  try {
    const answer = await fetch($("query").dataset.api, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ sql: box.value }),
    });
    const result = await answer.json();
    if (answer.ok) show(result);
    else fail(result);
  } catch {
    fail({ message: "No answer from the report server; is it running?" });
  } finally {
    button.disabled = false;
  }
}

$("query").addEventListener("submit", run);
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
});
for (const example of document.querySelectorAll(".example")) {
  example.addEventListener("click", () => {
    box.value = example.dataset.sql;
    box.focus();
    run();
  });
}
