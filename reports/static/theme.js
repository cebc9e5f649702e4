// The theme of all pages: the system's, or the one chosen here. It runs before anything is drawn, so
// that no page shows in the wrong one first; hence it is no module, which would wait for the page.

window.theme = (() => {
  const KEY = "headwater.theme";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  // A browser that keeps nothing for pages refuses by an error: then the choice lasts for the page.
  function kept() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function keep(name) {
    try {
      if (name === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, name);
    } catch { /* as above */ }
  }

  function show(name) {
    if (name === "light" || name === "dark") root.dataset.theme = name;
    else delete root.dataset.theme;
    document.dispatchEvent(new Event("theme"));
  }

  const chosen = () => root.dataset.theme ?? "system";
  const shown = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");

  show(kept());
  dark.addEventListener("change", () => document.dispatchEvent(new Event("theme")));
  addEventListener("storage", (event) => event.key === KEY && show(event.newValue));
  return { chosen, shown, choose(name) { keep(name); show(name); } };
})();
