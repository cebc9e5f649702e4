// Nothing pressed is lost: a button, or Enter in a form, before the page's scripts are there takes
// effect when they are. They are modules, and have run once DOMContentLoaded is told; this is none.

{
  const held = new Map(); // pressed: how to press it again; once, however impatiently

  const hold = (event) => {
    const pressed = event.type === "submit" ? event.target : event.target.closest?.("button");
    if (!pressed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    held.set(pressed, () => (event.type === "submit" ? pressed.requestSubmit() : pressed.click()));
  };

  addEventListener("click", hold, true);
  addEventListener("submit", hold, true);
  addEventListener("DOMContentLoaded", () => {
    removeEventListener("click", hold, true);
    removeEventListener("submit", hold, true);
    for (const again of held.values()) again();
  });
}
