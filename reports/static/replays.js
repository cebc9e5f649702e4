// Dead letters: preview what a replay would do, start it, and watch it.

import { get, post } from "/static/api.js";

const form = document.querySelector("#replay");
const at = (id) => document.querySelector(`#${id}`);
const every = 700; // ms between two looks

function asked(preview) {
  const given = new FormData(form);
  const names = ["reason", "source", "from", "to", "edits"];
  return { ...Object.fromEntries(names.map((name) => [name, given.get(name)])), preview };
}

function tell(problem) {
  at("run-problem").textContent = problem;
  at("run-problem").hidden = !problem;
}

function show(run) {
  const what = run.is_preview ? "Preview" : "Replay";
  const { done, total, result, counts } = run;
  at("run").hidden = false;
  at("run-output").textContent = run.output;
  const progress = at("run-progress");
  progress.hidden = run.state !== "running";
  if (total) progress.value = done / total;
  else progress.removeAttribute("value");
  at("run-counts").hidden = counts.length === 0;
  at("run-counts").querySelector("tbody").replaceChildren(
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
  at("run-again").hidden = run.is_preview || run.state === "running";
  const number = (n) => n.toLocaleString("en-GB");
  const lines = run.output.split("\n");
  if (run.state === "running") at("run-state").textContent = total ? `${what}: ${number(done)} of ${number(total)} letters.` : `${what}: starting.`;
  else if (run.state === "failed") at("run-state").textContent = `${what} failed: ${lines[lines.length - 1]}`;
  else if (result) at("run-state").textContent = `Done: ${number(result.returned)} of ${number(result.tried)} are events now, ${number(result.refused)} were refused again, ${number(result.suppressed)} of erased people left out.`;
  else if (counts.length) at("run-state").textContent = `${number(counts.reduce((n, one) => n + one.would_pass, 0))} of ${number(counts.reduce((n, one) => n + one.letters, 0))} letters would become events.`;
  else at("run-state").textContent = `Done: ${lines[lines.length - 1]}`;
}

async function run(preview) {
  const base = `/p/${form.dataset.project}/api/replays`;
  const buttons = [at("preview"), at("start")];
  tell("");
  for (const button of buttons) button.disabled = true;
  let passes = false;
  try {
    const { id } = await post(base, asked(preview));
    for (;;) {
      const found = await get(`${base}/${id}`);
      show(found);
      passes = found.is_preview && found.counts.some((one) => one.would_pass > 0);
      if (found.state !== "running") break;
      await new Promise((resolve) => setTimeout(resolve, every));
    }
  } catch (problem) {
    tell(problem.message);
  }
  at("preview").disabled = false;
  at("start").disabled = !passes;
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(true);
  });
  at("start").addEventListener("click", () => run(false));
  // What was previewed is what is replayed.
  form.addEventListener("input", () => (at("start").disabled = true));
}
