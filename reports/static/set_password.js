// Sets a password with the secret behind the # of a link, which no server ever sees in an address.
import { post } from "/static/api.js";
import { $ } from "/static/dom.js";

const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname); // not for whoever looks over a shoulder, or back

function fail(text) {
  $("problem").hidden = false;
  $("problem").textContent = text;
}

if (!token) fail("This link is not whole; open it as it was sent to you.");
$("set").addEventListener("submit", async (event) => {
  event.preventDefault();
  if ($("password").value !== $("again").value) return fail("The two are not the same.");
  try {
    const { next } = await post("/api/set-password", { token, password: $("password").value });
    location.assign(next);
  } catch (error) {
    fail(error.message);
  }
});
