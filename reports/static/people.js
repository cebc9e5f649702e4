// People of everything, and of a project: invite, give roles, disable, remove.
import { post, put, remove } from "/static/api.js";
import { $ } from "/static/dom.js";

// Does something; what goes wrong is said at the top, and fields show again what holds.
async function attempt(action) {
  $("problem").hidden = true;
  try {
    await action();
    return true;
  } catch (error) {
    $("problem").hidden = false;
    $("problem").textContent = error.message;
    $("problem").scrollIntoView({ block: "center" });
    return false;
  }
}

function show(link, email) {
  $("secret").textContent = link;
  $("whom").textContent = email;
  $("made").hidden = false;
  $("made").scrollIntoView({ block: "center" });
  $("copy").focus();
}

$("copy").addEventListener("click", () =>
  attempt(async () => {
    await navigator.clipboard.writeText($("secret").textContent);
    $("copy").textContent = "Copied";
  }),
);
$("invite")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const made = await post("/api/people", {
      email: $("email").value,
      name: $("name").value,
      is_admin: $("is-admin").checked,
    });
    $("invite").reset();
    show(made.link, made.email);
  });
});
$("member")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const made = await put(`/p/${$("member").dataset.project}/api/people`, {
      email: $("email").value,
      role: $("role").value,
      invite: true,
    });
    if (!made.link) return location.reload();
    $("member").reset();
    show(made.link, made.email);
  });
});
for (const select of document.querySelectorAll(".role")) {
  let before = select.value;
  select.addEventListener("change", async () => {
    const email = select.closest("tr").dataset.email;
    const url = `/p/${select.dataset.project}/api/people`;
    if (await attempt(() => put(url, { email, role: select.value || null }))) before = select.value;
    else select.value = before;
  });
}
for (const box of document.querySelectorAll(".admin")) {
  box.addEventListener("change", async () => {
    const url = `/api/people/${box.closest("tr").dataset.id}`;
    if (!(await attempt(() => put(url, { is_admin: box.checked })))) box.checked = !box.checked;
  });
}
for (const button of document.querySelectorAll("tbody button")) {
  const { id, email } = button.closest("tr").dataset;
  button.addEventListener("click", () =>
    attempt(async () => {
      if (button.classList.contains("link")) {
        show((await post(`/api/people/${id}/link`, {})).link, email);
        return;
      }
      if (button.classList.contains("remove")) {
        if (!confirm(`Remove ${email}, with roles and tokens?`)) return;
        await remove(`/api/people/${id}`);
      } else {
        await put(`/api/people/${id}`, { disabled: button.dataset.disabled !== "true" });
      }
      location.reload();
    }),
  );
}
