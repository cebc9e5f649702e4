// The Explore page: the question is in the address, the answer follows the form.

import { get, post } from "/static/api.js";
import { prepare, show } from "/static/chart.js";
import { $, el, fail, settled } from "/static/dom.js";
import { makeForm } from "/static/form.js";

const { project, kind, title } = $("explore").dataset;
const api = `/p/${project}/api`;
const SHARED = ["dates", "where", "cohort", "identity"];
let form;
let asking;

const question = () => form.read();
const encoded = (value) => encodeURIComponent(JSON.stringify(value));

function addressed(example) {
  const given = new URLSearchParams(location.search);
  try {
    if (given.has("q")) return JSON.parse(given.get("q"));
    return { ...example, ...JSON.parse(given.get("keep") ?? "{}") };
  } catch {
    fail($("error"), new Error("The question in the address is no JSON; this is the example instead."));
    return example;
  }
}

// Other kinds of questions take over days, filters and cohort.
function carry(asked) {
  const shared = Object.fromEntries(Object.entries(asked).filter(([name]) => SHARED.includes(name)));
  for (const link of document.querySelectorAll(".kinds a")) {
    const path = link.getAttribute("href").split("?")[0];
    link.href = Object.keys(shared).length && !link.hasAttribute("aria-current") ? `${path}?keep=${encoded(shared)}` : path;
  }
  $("export").href = `/p/${project}/exports?insight=${encodeURIComponent(kind)}&question=${encoded(asked)}`;
}

async function ask() {
  const asked = question();
  history.replaceState(null, "", `?q=${encoded(asked)}`);
  carry(asked);
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  $("error").hidden = true;
  $("shown").setAttribute("aria-busy", "true");
  $("state").textContent = "Asking…";
  const started = performance.now();
  try {
    const shown = await post(`${api}/charts/${kind}`, asked, signal);
    if (signal.aborted) return;
    const pictures = (extension) => `${api}/charts/${kind}.${extension}?q=${encoded(asked)}`;
    await show($("shown"), shown, { title, pictures, height: 340 });
    $("state").textContent = `Answered in ${Math.round(performance.now() - started)} ms`;
  } catch (error) {
    if (error.name === "AbortError") return;
    fail($("error"), error);
    $("shown").replaceChildren();
    $("state").textContent = "";
  } finally {
    if (!signal.aborted) $("shown").removeAttribute("aria-busy");
  }
}

async function openSaving() {
  const dialog = $("saving");
  const fields = $("saving-form").elements;
  const problem = dialog.querySelector(".error");
  problem.hidden = true;
  fields.title.value ||= title;
  try {
    const { boards } = await get(`${api}/boards`);
    const own = boards.filter((board) => !board.built_in);
    fields.board.replaceChildren(...own.map((board) => el("option", { value: board.id }, board.title)), el("option", { value: "" }, "A new dashboard"));
  } catch (error) {
    fail(problem, error);
  }
  const isNew = () => { $("new-board").hidden = fields.board.value !== ""; };
  fields.board.onchange = isNew;
  isNew();
  dialog.showModal();
}

async function save(event) {
  event.preventDefault();
  const fields = $("saving-form").elements;
  const panel = { title: fields.title.value, kind, question: question() };
  try {
    const made = fields.board.value
      ? await post(`${api}/boards/${fields.board.value}/panels`, panel)
      : await post(`${api}/boards`, { title: fields.name.value || fields.title.value, panels: [panel] });
    $("saving").close();
    $("state").replaceChildren("Saved to ", el("a", { href: `/p/${project}/boards/${made.id}` }, made.title));
  } catch (error) {
    fail($("saving").querySelector(".error"), error);
  }
}

async function start() {
  prepare();
  try {
    const [described, cohorts] = await Promise.all([
      get(`${api}/insights`),
      get(`${api}/cohorts`).then((found) => found.cohorts.map((one) => one.name)).catch(() => []),
    ]);
    const { schema, example } = described.kinds.find((one) => one.name === kind);
    const value = addressed(example);
    form = makeForm($("form"), { project, schema, value, cohorts, changed: settled(ask, 450) });
  } catch (error) {
    $("form").replaceChildren();
    fail($("error"), error);
    return;
  }
  await ask();
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); if (form) ask(); });
$("save")?.addEventListener("click", openSaving);
$("saving-form").addEventListener("submit", save);
$("saving-form").querySelector('[value="cancel"]').addEventListener("click", () => $("saving").close());
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    $("state").textContent = "Link copied";
  } catch {
    $("state").textContent = "Copy the address of this page: the question is in it.";
  }
});
// Where the answer stands below the question, the question is folded: the answer is seen first.
if (matchMedia("(max-width: 1100px)").matches) $("asked").open = false;
start();
