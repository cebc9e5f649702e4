// An input for every @parameter of the query, with its type. Values stay while the text changes.

const TYPES = ["STRING", "INT64", "FLOAT64", "NUMERIC", "BOOL", "DATE", "DATETIME", "TIMESTAMP", "ARRAY<STRING>", "ARRAY<INT64>"];
// What no parameter can stand in: comments and quoted texts and names.
const ASIDE = /--[^\n]*|#[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'''[\s\S]*?(?:'''|$)|"""[\s\S]*?(?:"""|$)|'(?:\\.|[^'\\\n])*'?|"(?:\\.|[^"\\\n])*"?|`[^`]*`?/g;

export function names(sql) {
  const found = new Map();
  for (const [, name] of sql.replace(ASIDE, " ").matchAll(/(?<![@\w])@([A-Za-z_]\w*)/g)) {
    if (!found.has(name.toLowerCase())) found.set(name.toLowerCase(), name);
  }
  return found;
}

function typed(type, text) {
  if (type.startsWith("ARRAY<")) {
    const parts = text.split(",").map((part) => part.trim());
    return { type, value: parts.filter((part) => part !== "") };
  }
  return { type, value: text === "" && type !== "STRING" ? null : text };
}

// aside: names, in lower case, that get their values elsewhere
export function parameters(box, place, aside = new Set()) {
  const fields = new Map(); // name in lower case -> { row, input, type }
  const asked = () => new Map([...names(box.value)].filter(([key]) => !aside.has(key)));

  function field(key, name) {
    const row = document.createElement("div");
    const label = document.createElement("label");
    const input = document.createElement("input");
    const type = document.createElement("select");
    input.id = `parameter-${key}`;
    input.autocomplete = "off";
    label.htmlFor = input.id;
    label.textContent = `@${name}`;
    type.setAttribute("aria-label", `Type of @${name}`);
    for (const one of TYPES) type.append(new Option(one, one));
    type.addEventListener("change", () => {
      input.placeholder = { DATE: "2026-01-31", TIMESTAMP: "2026-01-31 12:30:00+00:00", DATETIME: "2026-01-31 12:30:00", BOOL: "true" }[type.value] ?? (type.value.startsWith("ARRAY") ? "a, b, c" : "");
    });
    row.append(label, input, type);
    return { row, input, type };
  }

  function refresh(values) {
    const wanted = asked();
    for (const [key, name] of wanted) if (!fields.has(key)) fields.set(key, field(key, name));
    if (values) {
      for (const [name, one] of Object.entries(values)) {
        const own = fields.get(name.toLowerCase());
        if (!own) continue;
        const isTyped = one !== null && typeof one === "object" && !Array.isArray(one);
        const value = isTyped ? one.value : one;
        own.type.value = isTyped && TYPES.includes(one.type) ? one.type : "STRING";
        own.input.value = Array.isArray(value) ? value.join(", ") : String(value ?? "");
      }
    }
    const rows = [...wanted.keys()].map((key) => fields.get(key).row);
    const present = [...place.querySelectorAll("div")];
    if (rows.length !== present.length || rows.some((row, i) => row !== present[i])) {
      for (const row of present) row.remove();
      place.append(...rows);
    }
    place.hidden = rows.length === 0;
  }

  function values() {
    const found = {};
    for (const [key, name] of asked()) {
      const own = fields.get(key);
      if (own) found[name] = typed(own.type.value, own.input.value);
    }
    return found;
  }

  box.addEventListener("input", () => refresh());
  refresh();
  return { refresh, values };
}
