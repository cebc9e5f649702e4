// Saved queries with their links, and the history.
import { get, post, put, remove } from "./api.js";
import { $ } from "./dom.js";

export function shelf(api, { box, given, open, run, fail }) {
  const page = $("query").dataset.page;
  let current = null; // the saved query that is open
  let asOpened = ""; // as its text and values were then

  const stands = () => JSON.stringify([box.value, given.values()]);

  const address = (id) => `${location.origin}${page}?query=${encodeURIComponent(id)}`;

  function show(query) {
    current = query;
    $("title").hidden = !query;
    $("title").textContent = query ? `${query.name}${query.author ? ` · by ${query.author}` : ""}` : "";
    $("as-new").hidden = !query;
    history.replaceState(null, "", query ? address(query.id) : page);
  }

  function item(text, about, use) {
    const row = document.createElement("li");
    const button = document.createElement("button");
    const small = document.createElement("small");
    button.type = "button";
    button.className = "open";
    button.textContent = text;
    small.textContent = about;
    button.append(small);
    button.addEventListener("click", use);
    row.append(button);
    return row;
  }

  function fill(id, rows, nothing) {
    const empty = document.createElement("li");
    empty.textContent = nothing;
    $(id).querySelector("ul").replaceChildren(...(rows.length ? rows : [empty]));
  }

  async function loadSaved() {
    const { queries } = await get(`${api}/queries`);
    const rows = queries.map((query) => {
      const row = item(query.name, query.author, () => use(query));
      const gone = document.createElement("button");
      gone.type = "button";
      gone.textContent = "Remove";
      gone.setAttribute("aria-label", `Remove ${query.name}`);
      gone.addEventListener("click", async () => {
        if (gone.textContent === "Remove") {
          gone.textContent = "Really?";
          return;
        }
        await remove(`${api}/queries/${query.id}`).catch(fail);
        if (current?.id === query.id) show(null);
        loadSaved().catch(fail);
      });
      row.append(gone);
      return row;
    });
    fill("saved", rows, "Nothing saved yet: “Save…” keeps the query in the box under a name.");
  }

  async function loadHistory() {
    const { runs } = await get(`${api}/history`);
    const items = runs.map((one) => {
      const rows = one.rows === 1 ? "1 row" : `${one.rows.toLocaleString("en-GB")} rows`;
      const outcome = one.state === "done" ? rows : one.state;
      const about = `${one.at.slice(0, 16).replace("T", " ")} UTC · ${one.user} · ${outcome} · ${one.seconds.toFixed(1)} s`;
      return item(one.sql.length > 200 ? `${one.sql.slice(0, 200)} …` : one.sql, about, () => {
        show(null);
        open(one.sql, one.parameters);
      });
    });
    fill("history", items, "No query ran yet.");
  }

  function use(query) {
    show(query);
    open(query.sql, query.parameters);
    asOpened = stands();
  }

  async function save(event, asNew = false) {
    event.preventDefault();
    const body = { name: $("name").value, sql: box.value, parameters: given.values() };
    try {
      const replaces = current && !asNew;
      show(await (replaces ? put(`${api}/queries/${current.id}`, body) : post(`${api}/queries`, body)));
      asOpened = stands();
      const link = document.createElement("a");
      link.href = address(current.id);
      link.textContent = link.href;
      $("link").replaceChildren("Saved. Link to it: ", link);
      $("link").hidden = false;
      $("saving").hidden = true;
      $("save").focus();
      if ($("saved").open) await loadSaved();
    } catch (problem) {
      fail(problem);
    }
  }

  $("save").addEventListener("click", () => {
    $("saving").hidden = false;
    $("link").hidden = true;
    $("name").value = current?.name ?? "";
    $("name").focus();
  });
  $("not-saving").addEventListener("click", () => {
    $("saving").hidden = true;
    $("save").focus();
  });
  $("saving").addEventListener("submit", save);
  $("as-new").addEventListener("click", (event) => save(event, true));
  $("saved").addEventListener("toggle", () => $("saved").open && loadSaved().catch(fail));
  $("history").addEventListener("toggle", () => $("history").open && loadHistory().catch(fail));

  const asked = new URLSearchParams(location.search).get("query");
  if (asked) {
    get(`${api}/queries/${encodeURIComponent(asked)}`)
      .then((query) => {
        use(query);
        run();
      })
      .catch(fail);
  }
  return {
    ran: () => $("history").open && loadHistory().catch(fail),
    saved: () => (current && stands() === asOpened ? current : null),
  };
}
