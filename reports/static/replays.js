// Dead letters: preview what a replay would do, start it, and watch it.

import { get, post } from "/static/api.js";
import { $ } from "/static/dom.js";

const form = document.querySelector("#replay");
const every = 700; // ms between two looks
let previewed = null; // what a replay is allowed of: as it was sent, and some of it would pass
let isBusy = false;

function chosen() {
  const given = new FormData(form);
  const names = ["reason", "source", "from", "to", "edits"];
  return Object.fromEntries(names.map((name) => [name, given.get(name)]));
}

// What was previewed is what is replayed.
const isAllowed = () => !isBusy && JSON.stringify(chosen()) === previewed;

function allow() {
  $("preview").disabled = isBusy;
  $("start").disabled = !isAllowed();
}

function tell(problem) {
  $("run-problem").textContent = problem;
  $("run-problem").hidden = !problem;
}

function show(run) {
  const what = run.is_preview ? "Preview" : "Replay";
  const { done, total, result, counts } = run;
  $("run").hidden = false;
  $("run-output").textContent = run.output;
  const progress = $("run-progress");
  progress.hidden = run.state !== "running";
  if (total) progress.value = done / total;
  else progress.removeAttribute("value");
  $("run-counts").hidden = counts.length === 0;
  $("run-counts").querySelector("tbody").replaceChildren(
    ...counts.map((one) => {
      const row = document.createElement("tr");
      for (const [value, kind] of [[one.reason], [one.letters.toLocaleString("en-GB"), "num"], [one.would_pass.toLocaleString("en-GB"), "num"]]) {
        const cell = row.insertCell();
        cell.textContent = value;
        if (kind) cell.className = kind;
      }
      return row;
    }),
  );
  $("run-again").hidden = run.is_preview || run.state === "running";
  const number = (n) => n.toLocaleString("en-GB");
  const lines = run.output.split("\n");
  if (run.state === "running") $("run-state").textContent = total ? `${what}: ${number(done)} of ${number(total)} letters.` : `${what}: starting.`;
  else if (run.state === "failed") $("run-state").textContent = `${what} failed: ${lines[lines.length - 1]}`;
  else if (result) $("run-state").textContent = `Done: ${number(result.returned)} of ${number(result.tried)} are events now, ${number(result.refused)} were refused again, ${number(result.suppressed)} of erased people left out.`;
  else if (counts.length) $("run-state").textContent = `${number(counts.reduce((n, one) => n + one.would_pass, 0))} of ${number(counts.reduce((n, one) => n + one.letters, 0))} letters would become events.`;
  else $("run-state").textContent = `Done: ${lines[lines.length - 1]}`;
}

async function run(preview) {
  const base = `/p/${form.dataset.project}/api/replays`;
  const asked = chosen();
  tell("");
  previewed = null;
  isBusy = true;
  allow();
  try {
    const { id } = await post(base, { ...asked, preview });
    for (;;) {
      const found = await get(`${base}/${id}`);
      show(found);
      if (found.is_preview && found.counts.some((one) => one.would_pass > 0)) previewed = JSON.stringify(asked);
      if (found.state !== "running") break;
      await new Promise((resolve) => setTimeout(resolve, every));
    }
  } catch (problem) {
    tell(problem.message);
  }
  isBusy = false;
  allow();
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(true);
  });
  $("start").addEventListener("click", () => isAllowed() && run(false));
  form.addEventListener("input", allow);
}
