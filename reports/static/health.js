// The health page looks again by itself.

import { get } from "/static/api.js";

const parts = document.querySelector("#parts");
const every = 10_000; // ms
const verdicts = {
  ok: "All parts are well.",
  unknown: "Nothing is known to be wrong, but not all is known.",
  late: "Something is late.",
  down: "Something is down.",
};

function made(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}

function part(check) {
  const item = made("li", "card", "");
  item.id = `part-${check.name}`;
  const title = made("h2", "", `${check.title} `);
  title.append(made("span", `state ${check.state}`, check.state));
  const remedy = made("p", "remedy", check.remedy);
  remedy.hidden = !check.remedy;
  item.append(title, made("p", "said", check.said), remedy);
  const figures = Object.entries(check.figures);
  if (figures.length) {
    const list = made("dl", "figures", "");
    for (const [name, value] of figures) {
      const text = value === null ? "–" : typeof value === "number" ? value.toLocaleString("en-GB", { maximumFractionDigits: 4 }) : value;
      list.append(made("dt", "", name), made("dd", "", text));
    }
    item.append(list);
  }
  return item;
}

async function look() {
  const problem = document.querySelector("#problem");
  try {
    const found = await get(`/p/${parts.dataset.project}/api/health`);
    parts.replaceChildren(...found.checks.map(part));
    const verdict = document.querySelector("#verdict");
    verdict.textContent = verdicts[found.state];
    verdict.className = found.state === "ok" ? "verdict good" : "verdict";
    const time = document.querySelector("#as-of");
    time.dateTime = found.as_of;
    time.textContent = found.as_of.slice(0, 19).replace("T", " ");
    problem.hidden = true;
  } catch (error) {
    // What was well a while ago is not known to be well now.
    for (const state of parts.querySelectorAll(".state")) {
      state.className = "state unknown";
      state.textContent = "unknown";
    }
    document.querySelector("#verdict").textContent = verdicts.unknown;
    document.querySelector("#verdict").className = "verdict";
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

setInterval(() => document.hidden || look(), every);
