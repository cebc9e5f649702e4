// Annotations of a project: adds one, removes one.
import { post, remove } from "/static/api.js";
import { $, fail } from "/static/dom.js";

const form = $("annotate");
const api = form && `/p/${form.dataset.project}/api/annotations`;

// Does something and shows the list anew; what goes wrong is said at the top of the page.
async function attempt(action) {
  $("problem").hidden = true;
  try {
    await action();
    location.reload();
  } catch (error) {
    fail($("problem"), error);
  }
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => post(api, { date: $("date").value, text: $("text").value }));
});
for (const button of document.querySelectorAll(".forget")) {
  button.addEventListener("click", () => {
    if (!confirm(`Remove “${button.dataset.text}”? Charts will not show it any more.`)) return;
    attempt(() => remove(`${api}/${button.dataset.id}`));
  });
}
