// The SQL page: runs the query, shows rows or the error with its place.
"use strict";

const $ = (id) => document.getElementById(id);
const box = $("sql");

function cell(row, value, tag) {
  const made = document.createElement(tag);
  if (typeof value === "number") made.className = "num";
  made.textContent = value === null ? "null" : typeof value === "object" ? JSON.stringify(value) : value;
  row.append(made);
}

function show(result) {
  const head = document.createElement("thead");
  const names = head.insertRow();
  for (const name of result.columns) cell(names, name, "th");
  const body = document.createElement("tbody");
  for (const values of result.rows) {
    const row = body.insertRow();
    for (const value of values) cell(row, value, "td");
  }
  $("result").replaceChildren(head, body);
  const rows = result.rows.length.toLocaleString("en-GB");
  const cut = result.truncated ? ` (the first ${rows}; there are more)` : "";
  const asOf = result.as_of ? ` · as of ${result.as_of}` : "";
  $("outcome").textContent = `${rows} rows${cut} in ${result.elapsed_ms} ms${asOf}`;
}

function fail(problem) {
  $("error").hidden = false;
  const place = problem.line ? `Line ${problem.line}${problem.column ? `, column ${problem.column}` : ""}: ` : "";
  $("error").textContent = place + problem.message;
  $("outcome").textContent = "";
  $("result").replaceChildren();
}

async function run(event) {
  event?.preventDefault();
  const button = $("query").querySelector(".primary");
  button.disabled = true;
  $("error").hidden = true;
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
