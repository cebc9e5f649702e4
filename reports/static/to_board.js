// Puts a panel onto a dashboard, one that is there or a new one; a query's is looked at before.

import { get, post } from "/static/api.js";
import { $, el, fail } from "/static/dom.js";
import { put } from "/static/panel.js";
import { pictureFields } from "/static/picture.js";

// panel: () => what is in it; about: () => { title, note, columns }; done: (link) => shows it
export function boardDialog(project, { panel, about, done }) {
  const api = `/p/${project}/api`;
  const dialog = $("to-board");
  const form = dialog.querySelector("form");
  const fields = form.elements;
  const problem = dialog.querySelector(".error");
  const preview = dialog.querySelector(".preview");
  const place = dialog.querySelector(".picture"); // questions know how they are drawn
  const picture = place && pictureFields(place);
  let suggested = "";

  const isNew = () => { $("new-board").hidden = fields.board.value !== ""; };

  function read() {
    const chart = picture?.read();
    return { title: fields.title.value, ...panel(), ...(chart ? { chart } : {}) };
  }

  async function look() {
    const shown = await post(`${api}/boards/preview`, read());
    picture.columns(shown.columns.map((one) => one.name));
    return shown;
  }

  async function attempt(run) {
    const buttons = form.querySelectorAll("button:not([value=cancel])");
    problem.hidden = true;
    for (const one of buttons) one.disabled = true;
    try {
      await run();
    } catch (error) {
      fail(problem, error);
      problem.scrollIntoView({ block: "nearest" });
    } finally {
      for (const one of buttons) one.disabled = false;
    }
  }

  fields.board.addEventListener("change", isNew);
  form.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
  form.querySelector(".look")?.addEventListener("click", () => attempt(async () => {
    preview.replaceChildren();
    await put(preview, await look(), { h: 2, title: "Preview" });
    preview.scrollIntoView({ block: "nearest" });
  }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      if (picture) await look(); // one that cannot be shown is not put there
      const made = fields.board.value
        ? await post(`${api}/boards/${fields.board.value}/panels`, read())
        : await post(`${api}/boards`, { title: fields.name.value || fields.title.value, panels: [read()] });
      dialog.close();
      done(el("a", { href: `/p/${project}/boards/${made.id}` }, made.title));
    });
  });

  return async () => {
    const { title, note, columns } = about();
    if (!fields.title.value || fields.title.value === suggested) fields.title.value = title;
    suggested = title;
    if (note) dialog.querySelector(".note").textContent = note;
    if (picture && !fields.mark.options.length) picture.set();
    picture?.columns(columns ?? []);
    preview?.replaceChildren();
    await attempt(async () => {
      const { boards } = await get(`${api}/boards`);
      const own = boards.filter((board) => !board.built_in);
      fields.board.replaceChildren(...own.map((board) => el("option", { value: board.id }, board.title)), el("option", { value: "" }, "A new dashboard"));
    });
    isNew();
    dialog.showModal();
  };
}
