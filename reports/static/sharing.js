// Links to a dashboard: make, list, take back.

import { get, post, remove } from "/static/api.js";
import { $, el, fail } from "/static/dom.js";

export function shareDialog(address) {
  const dialog = $("share-dialog");
  const problem = dialog.querySelector(".error");

  async function list() {
    const { shares } = await get(address);
    $("shares").replaceChildren(...shares.map((share) => {
      const ends = share.expires_at ? `ends ${share.expires_at.slice(0, 10)}` : "never ends";
      const by = share.author ? ` by ${share.author}` : "";
      const back = el("button", { type: "button", onclick: () => attempt(async () => { await remove(`${address}/${share.id}`); $("link").hidden = true; await list(); }) }, "Take back");
      return el("li", {}, el("span", {}, `Made ${share.created_at.slice(0, 16).replace("T", " ")} UTC${by}, ${ends}`), back);
    }));
    if (!shares.length) $("shares").replaceChildren(el("li", { class: "empty" }, "There are no links."));
  }

  async function attempt(run) {
    problem.hidden = true;
    try {
      await run();
    } catch (error) {
      fail(problem, error);
    }
  }

  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const days = event.target.elements.days.value;
    attempt(async () => {
      const made = await post(address, days ? { days: Number(days) } : {});
      $("link").hidden = false;
      $("link").querySelector("code").textContent = location.origin + made.path;
      await list();
    });
  });
  return () => {
    $("link").hidden = true;
    dialog.showModal();
    attempt(list);
  };
}
