// A shared dashboard: its panels, read-only.

import { get } from "/static/api.js";
import { prepare } from "/static/chart.js";
import { $ } from "/static/dom.js";
import { fill } from "/static/panel.js";

const grid = $("grid");
const { token, refresh } = grid.dataset;
const LIVE_MS = 5000;
const panels = [...grid.querySelectorAll(".panel")];

function ask(panel, i) {
  const title = panel.querySelector("h2").textContent;
  return fill(panel.querySelector(".inside"), () => get(`/share/${token}/panels/${i}`), { title, h: Number(panel.dataset.h) });
}

const all = (wanted) => panels.forEach((panel, i) => wanted(panel) && ask(panel, i));
const again = (wanted) => document.hidden || all(wanted);
const isLive = (panel) => panel.dataset.live;

prepare();
all(() => true); // in a tab behind the others, too
if (panels.some(isLive)) setInterval(() => again(isLive), LIVE_MS);
if (Number(refresh)) setInterval(() => again((panel) => !isLive(panel)), Number(refresh) * 1000);
// What was left out while nobody looked.
document.addEventListener("visibilitychange", () => again((panel) => isLive(panel) || Number(refresh)));
