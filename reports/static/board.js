// A dashboard: asks its panels, all at once; days, filters and cohort for all of them; editing.

import { get, post, put as replace, remove } from "/static/api.js";
import { menu, prepare } from "/static/chart.js";
import { $, el, fail, settled } from "/static/dom.js";
import { makeForm } from "/static/form.js";
import { fill, put } from "/static/panel.js";
import { arrangeable, panelDialog } from "/static/arrange.js";
import { shareDialog } from "/static/sharing.js";

const grid = $("grid");
const { project, id } = grid.dataset;
const api = `/p/${project}/api`;
const isBuiltIn = Boolean(grid.dataset.builtIn);
const tiles = JSON.parse(grid.dataset.tiles);
let version = grid.dataset.version;
let board = JSON.parse(grid.dataset.definition);
let isEditing = false;
let isFollowing = false;
let scope;
let asking = new AbortController();
let timer;

const panelsOf = () => (board.panels ??= []);
const encoded = (value) => encodeURIComponent(JSON.stringify(value));

// Days, filters and cohort of the address, of the definition where it has none.
function scopeAsked() {
  const given = new URLSearchParams(location.search);
  let where = board.where ?? [];
  try {
    if (given.has("where")) where = JSON.parse(given.get("where"));
  } catch { /* the server says so */ }
  return { dates: given.get("dates") ?? board.dates ?? "", where, cohort: given.get("cohort") ?? board.cohort ?? "" };
}

function scopeQuery(asked) {
  const query = new URLSearchParams();
  if (asked.dates !== (board.dates ?? "")) query.set("dates", asked.dates ?? "");
  if (JSON.stringify(asked.where ?? []) !== JSON.stringify(board.where ?? [])) query.set("where", JSON.stringify(asked.where ?? []));
  if ((asked.cohort ?? "") !== (board.cohort ?? "")) query.set("cohort", asked.cohort ?? "");
  return query.toString();
}

const current = () => ({ dates: "", where: [], cohort: "", ...(scope ? scope.read() : scopeAsked()) });

// A panel's question with the board's days, filters and cohort on it, as the server asks it.
function scoped(panel) {
  const { dates, where, cohort } = current();
  const asked = { ...panel.question };
  if (dates && !panel.own_dates) asked.dates = dates;
  if (where.length) asked.where = [...(asked.where ?? []), ...where];
  if (cohort) asked.cohort = cohort;
  return asked;
}

function ask(panel, i, box) {
  const { signal } = asking;
  const query = scopeQuery(current());
  const title = panel.title || "Panel";
  const pictures = panel.kind && ((extension) => `${api}/charts/${panel.kind}.${extension}?q=${encoded(scoped(panel))}`);
  // What is not saved yet has no number on the server.
  const from = isEditing
    ? () => post(`${api}/boards/preview`, panel, signal)
    : () => get(`${api}/boards/${id}/panels/${i}${query ? `?${query}` : ""}`, signal);
  return fill(box, from, { title, h: panel.h, pictures });
}

function draw() {
  asking.abort();
  asking = new AbortController();
  const panels = panelsOf().map((panel, i) => {
    const heading = el("h2", { id: `panel-${i}` }, panel.title || (panel.live ? tiles[panel.live] : "Panel"));
    const inside = el("div", { class: "inside" });
    const frame = el("section", { class: `card panel w${panel.w ?? 6}`, "aria-labelledby": `panel-${i}` }, el("header", {}, heading), inside);
    if (panel.kind && !isEditing) {
      frame.firstChild.append(el("a", { class: "quiet", href: `/p/${project}/explore/${panel.kind}?q=${encoded(scoped(panel))}`, "aria-label": `Explore ${heading.textContent}` }, "Explore"));
    }
    if (isEditing) arrangeable(frame, { board, i, redraw: draw, change: () => openPanel(i) });
    frame.ask = () => ask(panel, i, inside);
    frame.inside = inside;
    frame.panel = panel;
    return frame;
  });
  const none = el("p", { class: "card empty" }, isEditing ? "No panels yet: add one." : isBuiltIn ? "No panels." : "No panels yet. Choose Edit, then Add panel.");
  grid.replaceChildren(...(panels.length ? panels : [none]));
  for (const frame of panels) frame.ask();
  follow();
}

function again(wanted = () => true) {
  for (const frame of grid.querySelectorAll(".panel")) if (wanted(frame.panel)) frame.ask();
}

function schedule() {
  clearInterval(timer);
  const seconds = Number($("refresh").value);
  if (seconds) timer = setInterval(() => !document.hidden && !isEditing && again((panel) => !panel.live), seconds * 1000);
}

// Live tiles come by themselves; where no stream is to be had, they are asked for. Tiles that are
// not known to be of now say so.
function follow() {
  if (isFollowing || !panelsOf().some((panel) => panel.live)) return;
  isFollowing = true;
  let last = Date.now();
  const fresh = () => {
    last = Date.now();
    for (const said of grid.querySelectorAll(".older")) said.remove();
  };
  let found = {};
  const tell = () => {
    if (document.hidden) return;
    for (const frame of grid.querySelectorAll(".panel")) {
      const { live, title, h } = frame.panel;
      if (live && found[live]) put(frame.inside, found[live], { title, h });
    }
  };
  const older = (message) => {
    for (const { panel, inside } of grid.querySelectorAll(".panel")) {
      if (panel.live && !inside.querySelector(".older")) inside.append(el("p", { class: "error older", role: "status" }, message));
    }
  };
  const stream = new EventSource(`${api}/live/tiles`);
  stream.addEventListener("problem", () => older("Live numbers cannot be read now; this is older."));
  stream.addEventListener("beat", (event) => JSON.parse(event.data).includes("tiles") && fresh());
  stream.addEventListener("tiles", (event) => {
    found = JSON.parse(event.data);
    fresh();
    tell();
  });
  document.addEventListener("visibilitychange", tell);
  setInterval(() => {
    if (document.hidden || Date.now() - last < 5000) return;
    if (stream.readyState === EventSource.CLOSED) again((panel) => panel.live);
    else older("No answer from the report server; this is older.");
  }, 5000);
}

function setEditing(on) {
  isEditing = on;
  $("editing").hidden = !on;
  $("edit")?.setAttribute("aria-pressed", String(on));
  draw();
}

const dialog = panelDialog({ project, api });
const openPanel = (i) => dialog.open(i === undefined ? undefined : panelsOf()[i], (panel) => {
  if (i === undefined) panelsOf().push(panel);
  else board.panels[i] = { ...panel, w: board.panels[i].w, h: board.panels[i].h };
  draw();
});

async function attempt(run) {
  $("error").hidden = true;
  try {
    await run();
  } catch (error) {
    fail($("error"), error);
  }
}

const save = () => attempt(async () => {
  const asked = current();
  const definition = { ...board, dates: asked.dates, where: asked.where, cohort: asked.cohort, refresh_s: Number($("refresh").value) };
  const made = await replace(`${api}/boards/${id}?version=${encodeURIComponent(version)}`, definition);
  version = made.version;
  board = definition;
  document.querySelector("h1").textContent = made.title;
  history.replaceState(null, "", location.pathname);
  setEditing(false);
  $("state").textContent = "Saved";
});

async function start() {
  prepare();
  const refresh = String(board.refresh_s ?? 0);
  if (![...$("refresh").options].some((one) => one.value === refresh)) $("refresh").append(el("option", { value: refresh }, `every ${refresh} s`));
  $("refresh").value = refresh;
  draw();
  schedule();
  const cohorts = await get(`${api}/cohorts`).then((found) => found.cohorts.map((one) => one.name)).catch(() => []);
  const schema = {
    properties: {
      dates: { type: "string", default: "", "x-empty": "Each panel’s own" },
      cohort: { type: "string", default: "" },
      where: { type: "array", items: { properties: { operator: {} } }, default: [] },
    },
  };
  scope = makeForm($("scope"), { project, schema, value: scopeAsked(), cohorts, changed: settled(() => {
    const query = scopeQuery(current());
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    draw();
  }, 450) });
}

const away = menu((extension) => {
  const query = scopeQuery(current());
  return `${api}/boards/${id}.${extension}${query ? `?${query}` : ""}`;
}, ["png", "svg", "pdf", "json"]);
away.addEventListener("toggle", () => {
  for (const link of away.querySelectorAll("a")) {
    const query = scopeQuery(current());
    link.href = `${link.pathname}${query ? `?${query}` : ""}`;
  }
});
$("actions").append(away);
$("scope").addEventListener("submit", (event) => event.preventDefault());
$("refresh").addEventListener("change", schedule);
$("again").addEventListener("click", () => again());
$("edit")?.addEventListener("click", () => setEditing(!isEditing));
$("add").addEventListener("click", () => openPanel());
$("save").addEventListener("click", save);
$("discard").addEventListener("click", () => location.reload());
$("rename").addEventListener("click", () => {
  const heading = document.querySelector("h1");
  const input = el("input", { value: board.title, "aria-label": "Title", maxlength: 200 });
  const done = () => { board.title = input.value.trim() || board.title; heading.textContent = board.title; };
  input.addEventListener("change", done);
  input.addEventListener("keydown", (event) => event.key === "Enter" && input.blur());
  input.addEventListener("blur", done);
  heading.replaceChildren(input);
  input.select();
});
$("delete").addEventListener("click", () => {
  const button = $("delete");
  if (button.dataset.sure) return attempt(async () => { await remove(`${api}/boards/${id}`); location.assign(`/p/${project}/boards`); });
  button.dataset.sure = "1";
  button.textContent = "Really delete it and its links?";
  setTimeout(() => { delete button.dataset.sure; button.textContent = "Delete dashboard"; }, 5000);
});
$("duplicate")?.addEventListener("click", () => attempt(async () => {
  const { boards } = await get(`${api}/boards`);
  const taken = new Set(boards.map((one) => one.title));
  let title = `${board.title} (copy)`;
  for (let n = 2; taken.has(title); n++) title = `${board.title} (copy ${n})`;
  const made = await post(`${api}/boards`, { ...board, title });
  location.assign(`/p/${project}/boards/${made.id}`);
}));
$("share")?.addEventListener("click", shareDialog(`${api}/boards/${id}/shares`));
start();
