// Shows an answer: trust line, totals, chart, table, notes, and a menu to take it away.
// Charts are Vega-Lite, compiled with the expression interpreter: our policy allows no eval.

import { el, fresh, settled } from "/static/dom.js";

let libraries;
let themes;

function vega() {
  libraries ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = document.querySelector('meta[name="vega"]').content;
    script.onload = () => done(window.vegaEmbed);
    script.onerror = () => {
      libraries = undefined;
      script.remove();
      failed(new Error("The drawing library did not load; load the page anew. The table has all values."));
    };
    document.head.append(script);
  });
  themes ??= fetch("/charts/themes.json").then((answer) => answer.ok ? answer.json() : Promise.reject()).catch(() => {
    themes = undefined;
    throw new Error("The colours of charts did not load; load the page anew. The table has all values.");
  });
  return Promise.all([libraries, themes]);
}

export const prepare = () => vega().catch(() => {});

const tip = el("div", { class: "tip", role: "status", hidden: true });

function showTip(handler, event, item, value) {
  if (!value || typeof value !== "object") {
    tip.hidden = true;
    return;
  }
  if (!tip.isConnected) document.body.append(tip);
  const rows = Object.entries(value).map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(text))));
  tip.replaceChildren(el("dl", {}, ...rows));
  tip.hidden = false;
  const room = document.documentElement.clientWidth;
  const left = Math.min(event.clientX + 14, room - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  tip.style.top = `${event.clientY + scrollY + 16}px`;
}

// What the server cannot know: how wide the place is. Names in a flow end where the next column
// begins; behind the longest bar of a funnel there is room for its text.
function fitted(spec, width) {
  const { columns, most } = spec.usermeta ?? {};
  const every = (change) => ({ ...spec, layer: spec.layer.map(change) });
  if (columns) {
    const limit = Math.max(40, width / (columns - 1) - 24);
    return every((one) => (one.mark.limit ? { ...one, mark: { ...one.mark, limit } } : one));
  }
  if (most && width < NARROW_PX) {
    const domain = [0, most * 2.2];
    return every((one) => ({ ...one, encoding: { ...one.encoding, x: { ...one.encoding.x, scale: { domain, nice: false } } } }));
  }
  return spec;
}

const NARROW_PX = 520;
const LEGEND_PX = 185;

function configOf(theme, width) {
  const columns = Math.max(1, Math.min(6, Math.floor(width / LEGEND_PX)));
  return { ...theme, legend: { ...theme.legend, columns } };
}

// A chart of many columns is as wide as they need; then its frame scrolls, by keys too.
function roomFor(box, least = 0) {
  const frame = box.parentElement;
  const room = frame.clientWidth;
  const isWide = least > room;
  box.style.width = isWide ? `${least}px` : "";
  const said = { tabindex: "0", role: "region", "aria-label": `${frame.dataset.title}: chart, scrolls sideways` };
  for (const [name, value] of Object.entries(said)) isWide ? frame.setAttribute(name, value) : frame.removeAttribute(name);
  return room;
}

// All charts anew in another theme, and those whose room has changed.
function drawAgain(wanted) {
  for (const box of document.querySelectorAll(".vega")) if (box.again && wanted(box)) box.again();
}

document.addEventListener("theme", () => drawAgain(() => true));
addEventListener("resize", settled(() => drawAgain((box) => box.room !== box.parentElement.clientWidth), 200));

// Draw a description in an element within a frame of its own.
export async function draw(box, spec, height) {
  const [embed, byTheme] = await vega();
  const room = roomFor(box, spec.usermeta?.least);
  box.room = room;
  box.again = () => draw(box, spec, height);
  const sized = fitted(height && typeof spec.height !== "object" ? { ...spec, height } : spec, room);
  const options = {
    actions: false,
    ast: true,
    defaultStyle: false,
    renderer: "svg",
    tooltip: showTip,
    config: configOf(byTheme[window.theme.shown()], room),
  };
  box.drawn?.finalize();
  box.drawn = await embed(box, sized, options);
  // Marks without a value would be pictures without a name.
  for (const empty of box.querySelectorAll('[role="graphics-symbol"]:empty')) empty.setAttribute("aria-hidden", "true");
  box.setAttribute("data-drawn", "");
}

// All of it in a line; compact: status and time, the rest is under “About these numbers”.
export function trustLine(shown, isCompact = false) {
  const parts = (isCompact ? shown.trust.slice(0, 2) : shown.trust).map((text, i) => el("span", i ? {} : { class: "status" }, text));
  return el("p", { class: "trust" }, ...parts);
}

function about(shown) {
  const said = [...shown.trust.slice(2), ...shown.notes].map((text) => el("li", {}, text[0].toUpperCase() + text.slice(1)));
  return said.length ? el("details", { class: "about" }, el("summary", {}, "About these numbers"), el("ul", {}, ...said)) : undefined;
}

// What happened in these days: the labels of the chart's rules, whole, for those who cannot see them.
function noted(shown, isOpen) {
  if (!shown.annotations?.length) return undefined;
  const items = shown.annotations.map((one) => el("li", {}, el("time", { datetime: one.date }, one.date), " ", one.text));
  const count = shown.annotations.length;
  return el("details", { class: "about noted", open: isOpen }, el("summary", {}, count === 1 ? "1 annotation" : `${count} annotations`), el("ul", {}, ...items));
}

const RIGHT = new Set(["count", "money", "ratio", "number", "seconds", "bytes"]);

export function table(shown, caption) {
  const kind = shown.columns.map((column) => (RIGHT.has(column.unit) ? "num" : undefined));
  const head = el("tr", {}, ...shown.columns.map((c, i) => el("th", { scope: "col", class: kind[i] }, c.title)));
  const rows = shown.texts.map((texts) => el("tr", {}, ...texts.map((text, i) =>
    el(i ? "td" : "th", { class: kind[i] ?? (text.length > 60 ? "words" : undefined), scope: i ? undefined : "row" }, text))));
  const more = shown.row_count - shown.texts.length;
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", { class: "answers pinned" }, el("thead", {}, head), el("tbody", {}, ...rows)),
    more > 0 && el("p", { class: "note" }, `${more.toLocaleString("en-GB")} more rows are in the CSV.`));
}

export function totals(shown) {
  if (!shown.totals.length) return undefined;
  return el("dl", { class: "totals" }, ...shown.totals.map((one) =>
    el("div", {}, el("dt", {}, one.title), el("dd", {}, one.text))));
}

// pictures: extension -> address of the answer in that format
export function menu(pictures, extensions = ["png", "svg", "pdf", "csv"]) {
  const links = extensions.map((e) => el("li", {}, el("a", { href: pictures(e), download: true }, e.toUpperCase())));
  const box = el("details", { class: "menu" }, el("summary", { "aria-label": "Take away" }, "Take away"), el("ul", {}, ...links));
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    box.open = false;
    box.querySelector("summary").focus();
  });
  return box;
}

const NOTHING = "Nothing matches. Choose other days, remove a filter, or look for the event’s name in the suggestions.";

// shown: what the server's `drawn` made. options: pictures, height, title, empty, compact
export async function show(box, shown, options = {}) {
  const title = options.title ?? "Answer";
  const chart = el("div", { class: "vega", id: fresh("chart") });
  const isEmpty = !shown.row_count && !shown.totals.length;
  const hasChart = Object.keys(shown.spec).length > 0;
  const trust = trustLine(shown, options.compact);
  const parts = options.compact ? [totals(shown)] : [trust, totals(shown)];
  if (isEmpty) parts.push(el("p", { class: "empty" }, options.empty ?? NOTHING));
  if (hasChart) parts.push(el("div", { class: "sideways", "data-title": title }, chart));
  if (shown.row_count && !hasChart) parts.push(table(shown, `${title}: table`));
  if (options.compact) parts.push(trust);
  else for (const note of shown.notes) parts.push(el("p", { class: "note" }, note));
  if (!options.compact) parts.push(noted(shown, true));
  parts.push(el("div", { class: "foot" },
    shown.row_count > 0 && hasChart && el("details", { class: "astable" }, el("summary", {}, "As a table"), table(shown, `${title}: table`)),
    options.compact && noted(shown, false),
    options.compact && about(shown),
    options.pictures && !isEmpty && menu(options.pictures)));
  box.querySelectorAll(".vega").forEach((old) => old.drawn?.finalize());
  box.replaceChildren(...parts.filter(Boolean));
  if (!hasChart) return;
  try {
    await draw(chart, shown.spec, options.height);
  } catch (error) {
    chart.replaceWith(el("p", { class: "error", role: "alert" }, error.message));
    box.querySelector(".astable")?.setAttribute("open", "");
  }
}
