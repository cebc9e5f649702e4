// Editing a dashboard: order and size of panels, by keys and by dragging; what is in a panel.

import { get, post } from "/static/api.js";
import { $, el, fail, settled } from "/static/dom.js";
import { makeForm } from "/static/form.js";
import { put } from "/static/panel.js";
import { pictureFields } from "/static/picture.js";
import { parameters } from "/static/sql_parameters.js";

const MOST_W = 12;
const MOST_H = 8;
const OF_BOARD = new Set(["first_day", "last_day", "time_zone"]); // parameters that the board gives
let dragged;

function move(board, from, to) {
  const [taken] = board.panels.splice(from, 1);
  board.panels.splice(to, 0, taken);
}

export function arrangeable(frame, { board, i, redraw, change }) {
  const panel = board.panels[i];
  const name = panel.title || `panel ${i + 1}`;
  const after = (run, focus) => () => {
    const at = run() ?? i;
    redraw();
    document.querySelectorAll("#grid .panel")[at]?.querySelector(`[data-tool="${focus}"]`)?.focus();
  };
  const size = (field, by, most) => () => { panel[field] = Math.min(most, Math.max(1, (panel[field] ?? (field === "w" ? 6 : 3)) + by)); };
  const tool = (id, text, title, run, isOff) => el("button", { type: "button", class: "quiet", "data-tool": id, "aria-label": `${title} ${name}`, title, disabled: isOff, onclick: after(run, id) }, text);
  const w = panel.w ?? 6;
  const h = panel.h ?? 3;
  frame.firstChild.append(el("div", { class: "tools" },
    tool("back", "←", "Move back", () => { move(board, i, i - 1); return i - 1; }, i === 0),
    tool("on", "→", "Move on", () => { move(board, i, i + 1); return i + 1; }, i === board.panels.length - 1),
    tool("narrower", "⇤", "Narrower", size("w", -1, MOST_W), w <= 1),
    tool("wider", "⇥", "Wider", size("w", 1, MOST_W), w >= MOST_W),
    tool("lower", "⤒", "Lower", size("h", -1, MOST_H), h <= 1),
    tool("higher", "⤓", "Higher", size("h", 1, MOST_H), h >= MOST_H),
    el("button", { type: "button", class: "quiet", "aria-label": `Change ${name}`, title: "Change", onclick: change }, "✎"),
    tool("remove", "✕", "Remove", () => { board.panels.splice(i, 1); })));
  const handle = frame.querySelector("h2");
  handle.draggable = true;
  handle.addEventListener("dragstart", (event) => {
    dragged = i;
    event.dataTransfer.setData("text/plain", name);
    event.dataTransfer.effectAllowed = "move";
    frame.classList.add("dragged");
  });
  handle.addEventListener("dragend", () => { dragged = undefined; frame.classList.remove("dragged"); });
  frame.addEventListener("dragover", (event) => {
    if (dragged === undefined || dragged === i) return;
    event.preventDefault();
    frame.classList.add("target");
  });
  frame.addEventListener("dragleave", () => frame.classList.remove("target"));
  frame.addEventListener("drop", (event) => {
    event.preventDefault();
    if (dragged === undefined) return;
    move(board, dragged, i);
    dragged = undefined;
    redraw();
  });
}

export function panelDialog({ project, api }) {
  const dialog = $("panel-dialog");
  const fields = dialog.querySelector("form").elements;
  const problem = dialog.querySelector(".error");
  const picture = pictureFields(dialog.querySelector(".picture"));
  const given = parameters(fields.sql, dialog.querySelector(".parameters"), OF_BOARD);
  let loaded;
  let form;
  let done;
  let start = {};

  function load() {
    loaded ??= Promise.all([
      get(`${api}/insights`),
      get(`${api}/cohorts`).then((found) => found.cohorts.map((one) => one.name)).catch(() => []),
      get(`${api}/sql/queries`).then((found) => found.queries).catch(() => []),
    ]);
    return loaded;
  }

  function content() {
    for (const part of dialog.querySelectorAll("[data-content]")) part.hidden = !part.dataset.content.split(" ").includes(fields.content.value);
    $("preview").replaceChildren();
  }

  async function question() {
    const [{ kinds }, cohorts] = await load();
    const { schema, example } = kinds.find((one) => one.name === fields.kind.value);
    const value = start.kind === fields.kind.value ? start.question ?? {} : example;
    form = makeForm($("question"), { project, schema, value, cohorts, changed: settled(() => $("preview").replaceChildren(), 100) });
  }

  function read() {
    const panel = { title: fields.title.value };
    const kind = fields.content.value;
    const chart = ["sql", "query"].includes(kind) ? picture.read() : undefined;
    if (chart) panel.chart = chart;
    if (kind === "sql") panel.parameters = given.values();
    if (kind === "kind") {
      Object.assign(panel, { kind: fields.kind.value, question: form.read() });
      if (fields.own_dates.checked) panel.own_dates = true;
    } else panel[kind] = fields[kind].value;
    panel.title ||= { kind: fields.kind.selectedOptions[0]?.text, query: fields.query.selectedOptions[0]?.text, live: fields.live.selectedOptions[0]?.text }[kind] ?? "";
    return panel;
  }

  async function checked() {
    problem.hidden = true;
    try {
      const panel = read();
      const shown = await post(`${api}/boards/preview`, panel);
      picture.columns((shown.columns ?? []).map((one) => one.name));
      return [panel, shown];
    } catch (error) {
      fail(problem, error);
      return undefined;
    }
  }

  fields.content.addEventListener("change", content);
  fields.kind.addEventListener("change", question);
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector(".look").addEventListener("click", async () => {
    const found = await checked();
    if (!found) return;
    await put($("preview"), found[1], { h: 2, title: "Preview" });
    $("preview").scrollIntoView({ block: "nearest" });
  });
  dialog.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const found = await checked();
    if (!found) return;
    dialog.close();
    done(found[0]);
  });

  return {
    async open(panel, then) {
      start = panel ?? {};
      done = then;
      problem.hidden = true;
      dialog.querySelector("h2").textContent = panel ? "Change panel" : "Add panel";
      fields.title.value = start.title ?? "";
      fields.content.value = ["kind", "sql", "query", "live", "text"].find((one) => start[one]) ?? "kind";
      for (const name of ["kind", "sql", "live", "text"]) if (start[name]) fields[name].value = start[name];
      given.refresh(start.parameters);
      picture.set(start.chart);
      picture.columns([]);
      fields.own_dates.checked = Boolean(start.own_dates);
      content();
      dialog.showModal();
      try {
        const queries = (await load())[2];
        fields.query.replaceChildren(...queries.map((one) => el("option", { value: one.id, selected: one.id === start.query }, one.name)));
        await question();
      } catch (error) {
        loaded = undefined;
        fail(problem, error);
      }
    },
  };
}
