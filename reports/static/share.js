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

const all = (wanted) => panels.forEach((panel, i) => wanted(panel) && !document.hidden && ask(panel, i));

prepare();
all(() => true);
if (panels.some((panel) => panel.dataset.live)) setInterval(() => all((panel) => panel.dataset.live), LIVE_MS);
if (Number(refresh)) setInterval(() => all((panel) => !panel.dataset.live), Number(refresh) * 1000);
