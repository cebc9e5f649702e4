// The Explore page: the question is in the address, the answer follows the form.

import { get, post } from "/static/api.js";
import { prepare, show } from "/static/chart.js";
import { $, fail, settled } from "/static/dom.js";
import { makeForm } from "/static/form.js";
import { keepPeople } from "/static/funnel_people.js";
import { boardDialog } from "/static/to_board.js";

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

const openSaving = boardDialog(project, {
  panel: () => ({ kind, question: question() }),
  about: () => ({ title }),
  done: (link) => $("state").replaceChildren("Saved to ", link),
});

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
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    $("state").textContent = "Link copied";
  } catch {
    $("state").textContent = "Copy the address of this page: the question is in it.";
  }
});
keepPeople({ project, question: () => form?.read() ?? {} });
// Where the answer stands below the question, the question is folded: the answer is seen first.
if (matchMedia("(max-width: 1100px)").matches) $("asked").open = false;
start();
