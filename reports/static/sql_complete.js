// Completes tables, columns and functions below the box. Keys: Ctrl-Space opens, arrows move, Tab
// takes, Enter too after an arrow, Escape closes. While it is closed, Tab leaves the box as everywhere.
import { get } from "./api.js";

const MOST = 8;
const WORDS = ["SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING", "LIMIT", "JOIN", "LEFT JOIN", "WITH", "DISTINCT", "BETWEEN", "CASE", "WHEN", "THEN", "ELSE", "END", "UNION ALL", "QUALIFY", "PARTITION BY", "INTERVAL", "IS NOT NULL", "DESC"];

function aliases(sql, tables) {
  const found = new Map();
  for (const [, table, alias] of sql.matchAll(/\b(?:FROM|JOIN|,)\s*`?(\w+)`?(?:\s+(?:AS\s+)?(\w+))?/gi)) {
    const columns = tables.get(table.toLowerCase());
    if (!columns) continue;
    found.set(table.toLowerCase(), columns);
    if (alias) found.set(alias.toLowerCase(), columns);
  }
  return found;
}

export function complete(box, list, api) {
  let known = null;
  let asked = null; // the one request for what is known
  let start = 0; // where the word that is completed begins
  let chosen = -1;
  let moved = false; // by an arrow: only then Enter is no new line

  async function load() {
    const found = await get(`${api}/tables`);
    known = { tables: new Map(found.tables.map((one) => [one.name, one.columns])), functions: found.functions };
  }

  function candidates(word, owner) {
    const used = aliases(box.value, known.tables);
    const begins = (text) => text.toLowerCase().startsWith(word.toLowerCase());
    const columns = (of) => of.filter((one) => begins(one.name)).map((one) => ({ text: one.name, about: one.kind }));
    if (owner) return columns(used.get(owner.toLowerCase()) ?? []);
    const seen = new Set();
    const own = [...new Set(used.values())].flatMap(columns).filter((one) => !seen.has(one.text) && seen.add(one.text));
    return [
      ...own,
      ...[...known.tables.keys()].filter(begins).map((text) => ({ text, about: "table" })),
      ...known.functions.filter(begins).map((name) => ({ text: `${name}(`, about: "function" })),
      ...WORDS.filter(begins).map((text) => ({ text, about: "" })),
    ];
  }

  function hide() {
    list.hidden = true;
    chosen = -1;
    box.removeAttribute("aria-activedescendant");
  }

  function choose(at) {
    const items = [...list.children];
    chosen = (at + items.length) % items.length;
    items.forEach((item, i) => item.setAttribute("aria-selected", String(i === chosen)));
    items[chosen].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", items[chosen].id);
  }

  function take(text) {
    box.setRangeText(text, start, box.selectionStart, "end");
    hide();
    box.dispatchEvent(new Event("input", { bubbles: true }));
    hide();
    box.focus();
  }

  async function offer(wanted) {
    asked ??= load().catch(() => (asked = null));
    await asked;
    if (!known) return;
    const before = box.value.slice(0, box.selectionStart);
    const [, owner, word] = /(?:(\w+)\.)?(\w*)$/.exec(before);
    start = box.selectionStart - word.length;
    const quoted = (before.match(/'/g) ?? []).length % 2 === 1;
    const enough = wanted || owner || word.length > 1;
    const found = quoted || !enough || /@\w*$/.test(before) ? [] : candidates(word, owner);
    const fresh = found.filter((one) => one.text.toLowerCase() !== word.toLowerCase()).slice(0, MOST);
    if (!fresh.length) return hide();
    list.replaceChildren(
      ...fresh.map((one, i) => {
        const item = document.createElement("li");
        const about = document.createElement("small");
        item.id = `suggestion-${i}`;
        item.role = "option";
        item.setAttribute("aria-selected", "false");
        item.append(one.text, about);
        about.textContent = one.about;
        item.dataset.text = one.text;
        item.addEventListener("pointerdown", (event) => {
          event.preventDefault(); // the box keeps the focus
          take(one.text);
        });
        return item;
      }),
    );
    list.hidden = false;
    moved = false;
    choose(0);
  }

  box.addEventListener("input", (event) => {
    if (event.isTrusted) offer(false);
  });
  box.addEventListener("blur", hide);
  box.addEventListener("click", hide);
  box.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      offer(true);
    } else if (list.hidden || event.ctrlKey || event.metaKey) {
      return;
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      moved = true;
      choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if ((event.key === "Tab" && !event.shiftKey) || (event.key === "Enter" && moved)) {
      event.preventDefault();
      take(list.children[chosen].dataset.text);
    } else if (event.key === "Escape" || event.key === "Enter" || event.key.startsWith("Arrow")) {
      hide();
    }
  });
  return hide;
}
