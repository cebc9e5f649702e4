// Making elements. Text always goes in as text: nothing that people sent becomes markup.

export const $ = (id) => document.getElementById(id);

const PLAIN = new Set(["value", "checked", "selected", "disabled", "hidden", "textContent", "open", "required"]);

export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (PLAIN.has(name)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

let made = 0;
export const fresh = (word) => `${word}-${++made}`;

export function fail(box, error) {
  box.textContent = error.message ?? String(error);
  box.hidden = false;
}

// Wait for a pause: a question is not asked at every letter.
export function settled(run, ms) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), ms);
  };
}
