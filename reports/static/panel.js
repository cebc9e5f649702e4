// One panel of a dashboard: its frame, its states, and asking for what is in it.

import { show } from "/static/chart.js";
import { el } from "/static/dom.js";

export const heightOf = (h) => Math.max(90, h * 95);

export async function fill(box, ask, { title, h, pictures } = {}) {
  box.setAttribute("aria-busy", "true");
  if (!box.childElementCount) box.replaceChildren(el("div", { class: "loading", role: "status" }, "Loading…"));
  try {
    await put(box, await ask(), { title, h, pictures });
  } catch (error) {
    if (error.name === "AbortError") return;
    box.replaceChildren(
      el("p", { class: "error", role: "alert" }, error.message),
      el("button", { type: "button", onclick: () => fill(box, ask, { title, h, pictures }) }, "Try again"));
  } finally {
    box.removeAttribute("aria-busy");
  }
}

export async function put(box, shown, { title, h, pictures } = {}) {
  if ("text" in shown) box.replaceChildren(...shown.text.split(/\n{2,}/).map((part) => el("p", { class: "prose" }, part)));
  else await show(box, shown, { title, height: heightOf(h ?? 3), pictures, compact: true, empty: "Nothing in these days. Choose others above." });
}
