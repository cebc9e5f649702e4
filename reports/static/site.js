// Every page: the choice of theme, and the menu on narrow screens.

const themes = document.getElementById("theme");
if (themes) {
  const show = () => { themes.value = window.theme.chosen(); };
  themes.addEventListener("change", () => window.theme.choose(themes.value));
  document.addEventListener("theme", show);
  show();
  themes.closest("label").hidden = false; // it does nothing without scripts
}

const button = document.getElementById("menu");
const pages = document.getElementById("pages");

function open(isOpen) {
  button.setAttribute("aria-expanded", String(isOpen));
  pages.classList.toggle("open", isOpen);
}

if (button && pages) {
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") !== "true";
    open(isOpen);
    if (isOpen) (pages.querySelector("[aria-current]") ?? pages.querySelector("a"))?.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    open(false);
    button.focus();
  });
}
