// Below a funnel: keep who dropped out after a step, or took it, as a cohort.

import { post } from "/static/api.js";
import { $, el, fail } from "/static/dom.js";

const name = (step) => step.label || step.name || "Any event";

// Each step with who can be kept of it. After the last one nobody drops out.
function choices({ steps = [], mode }) {
  const titles = steps.map((step, i) => (mode === "any_order" ? `${i + 1} of ${steps.length} steps` : `${i + 1}. ${name(step)}`));
  const dropped = titles.slice(0, -1).map((title, i) => ({ step: i + 1, outcome: "dropped", text: `Dropped out after ${title}` }));
  const reached = titles.map((title, i) => ({ step: i + 1, outcome: "reached", text: `Took ${title}` }));
  return [...dropped, ...reached];
}

// question: reads the funnel that is asked now. Nothing where the page has no button for it.
export function keepPeople({ project, question }) {
  const button = $("keep-people");
  if (!button) return;
  const dialog = $("keeping");
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".error");
  const fields = form.elements;
  let asked;
  let offered = [];
  let suggested = "";

  // A name of one's own stays when another step is chosen.
  function suggest() {
    if (fields.name.value !== suggested) return;
    suggested = fields.name.value = offered[fields.who.value].text.slice(0, 200);
  }

  button.addEventListener("click", () => {
    asked = question();
    offered = choices(asked);
    if (!offered.length) return;
    problem.hidden = true;
    fields.who.replaceChildren(...offered.map((one, i) => el("option", { value: i }, one.text)));
    fields.name.value = suggested = "";
    suggest();
    dialog.showModal();
  });
  fields.who.addEventListener("change", suggest);
  dialog.querySelector('[value="cancel"]').addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { step, outcome } = offered[fields.who.value];
    const saving = form.querySelector(".primary");
    problem.hidden = true;
    saving.disabled = true;
    try {
      const made = await post(`/p/${project}/api/cohorts/funnel`, { name: fields.name.value, question: { ...asked, step, outcome } });
      dialog.close();
      const people = made.size === 1 ? "1 person" : `${made.size.toLocaleString("en-GB")} people`;
      $("state").replaceChildren(`Saved ${people} as `, el("a", { href: `/p/${project}/cohorts/${made.id}` }, made.name));
    } catch (error) {
      fail(problem, error);
    } finally {
      saving.disabled = false;
    }
  });
}
