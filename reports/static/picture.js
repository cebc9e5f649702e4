// How the rows of a query are drawn on a dashboard: the mark, and which columns it shows.

import { el, fresh } from "/static/dom.js";

const MARKS = { "": "Chosen by the columns", table: "Table", line: "Lines", bar: "Bars", number: "Number" };
const ROLES = { x: "Along", y: "Up", color: "Colour" };
const SHOWN = { "": [], table: [], number: ["y"] }; // of other marks all

export function pictureFields(place) {
  let kept = {}; // of a panel that is changed
  const known = el("datalist", { id: fresh("columns") });
  const mark = el("select", { name: "mark" });
  const fields = Object.entries(ROLES).map(([role, title]) => {
    const input = el("input", { type: "text", list: known.id, placeholder: "chosen", autocomplete: "off" });
    return { role, input, node: el("label", { class: "field" }, el("span", {}, title), input) };
  });
  place.replaceChildren(el("label", { class: "field" }, el("span", {}, "Picture"), mark), ...fields.map((one) => one.node), known);

  const show = () => {
    const roles = SHOWN[mark.value] ?? Object.keys(ROLES);
    for (const one of fields) one.node.hidden = !roles.includes(one.role);
  };
  mark.addEventListener("change", show);

  return {
    set(chart = {}) {
      kept = chart;
      const marks = { ...MARKS, ...(chart.mark && !(chart.mark in MARKS) ? { [chart.mark]: chart.mark.replace("_", " ") } : {}) };
      mark.replaceChildren(...Object.entries(marks).map(([name, text]) => el("option", { value: name }, text)));
      mark.value = chart.mark ?? "";
      for (const one of fields) one.input.value = chart[one.role] ?? "";
      show();
    },
    columns(names) {
      known.replaceChildren(...names.map((name) => el("option", { value: name })));
    },
    // undefined where nothing is said
    read() {
      if (!mark.value) return undefined;
      const said = fields.filter((one) => !one.node.hidden && one.input.value.trim());
      const row = kept.row && kept.mark === mark.value ? { row: kept.row } : {};
      return { mark: mark.value, ...row, ...Object.fromEntries(said.map((one) => [one.role, one.input.value.trim()])) };
    },
  };
}
