// The list of dashboards: make one, import one.

import { post } from "/static/api.js";
import { $, fail } from "/static/dom.js";

const { project } = $("boards").dataset;
const making = $("making");

async function make(definition) {
  const made = await post(`/p/${project}/api/boards`, definition);
  location.assign(`/p/${project}/boards/${made.id}`);
}

$("new")?.addEventListener("click", () => making.showModal());
making.querySelector(".cancel").addEventListener("click", () => making.close());
making.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { title, description } = event.target.elements;
  try {
    await make({ title: title.value, description: description.value });
  } catch (error) {
    fail(making.querySelector(".error"), error);
  }
});

$("import")?.addEventListener("change", async (event) => {
  $("error").hidden = true;
  const [file] = event.target.files;
  if (!file) return;
  try {
    let definition;
    try {
      definition = JSON.parse(await file.text());
    } catch {
      throw new Error(`${file.name} is no JSON. Take a definition that “Take away, JSON” of a dashboard gave.`);
    }
    await make(definition);
  } catch (error) {
    fail($("error"), error);
  } finally {
    event.target.value = "";
  }
});
