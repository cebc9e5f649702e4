// One's own account: makes and revokes tokens, changes the password, signs browsers out.
import { post, remove } from "/static/api.js";
import { $ } from "/static/dom.js";

// Does something; what goes wrong is said at the top of the page.
async function attempt(action) {
  $("problem").hidden = true;
  try {
    await action();
  } catch (error) {
    $("problem").hidden = false;
    $("problem").textContent = error.message;
    $("problem").scrollIntoView({ block: "center" });
  }
}

$("token")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const scopes = [...document.querySelectorAll('[name="scope"]:checked')].map((box) => box.value);
    const made = await post("/api/account/tokens", {
      name: $("token-name").value,
      project: $("token-project").value,
      scopes,
      days: Number($("token-days").value),
    });
    $("secret").textContent = made.token;
    $("made").hidden = false;
    $("token").hidden = true; // until the page is loaded again: one secret on it at a time
    $("copy").focus();
  });
});
$("copy").addEventListener("click", () =>
  attempt(async () => {
    await navigator.clipboard.writeText($("secret").textContent);
    $("copy").textContent = "Copied";
  }),
);
for (const button of document.querySelectorAll(".revoke")) {
  button.addEventListener("click", () => {
    if (!confirm(`Revoke the token “${button.dataset.name}”? Programs that send it are refused at once.`)) return;
    attempt(async () => {
      await remove(`/api/account/tokens/${button.dataset.id}`);
      location.reload();
    });
  });
}
$("change")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    await post("/api/account/password", { old: $("old").value, new: $("new").value });
    location.reload(); // the page's proof belonged to the old session
  });
});
for (const button of document.querySelectorAll(".end")) {
  button.addEventListener("click", () =>
    attempt(async () => {
      await remove(`/api/account/sessions/${button.dataset.id}`);
      location.reload();
    }),
  );
}
$("everywhere").addEventListener("click", () =>
  attempt(async () => {
    const { next } = await post("/api/account/sign-out-everywhere", {});
    location.assign(next);
  }),
);
