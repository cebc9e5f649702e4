// Orders against a ledger file: sends the file as it is, shows what agrees and what differs.
import { $, el, fail } from "/static/dom.js";

const project = $("form").dataset.project;
const token = document.querySelector('meta[name="csrf"]')?.content ?? "";
const AMOUNTS = ["gross", "refunds", "ledger_gross", "ledger_refunds"];

async function send(format) {
  const given = new URLSearchParams();
  for (const name of ["first", "last", "currency"]) if ($(name).value) given.set(name, $(name).value);
  if (format) given.set("format", format);
  const headers = { "content-type": "text/csv", "x-csrf-token": token };
  let answer;
  try {
    answer = await fetch(`/p/${project}/api/reconcile?${given}`, { method: "POST", headers, body: $("ledger").files[0] });
  } catch {
    throw new Error("No answer from the report server; is it running?");
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message ?? `The server answered ${answer.status}.`);
  return answer;
}

// heads: titles with the class of their columns: num, or words for what wraps.
function table(id, heads, rows) {
  const head = el("thead", {}, el("tr", {}, ...heads.map(([title, kind]) => el("th", { scope: "col", class: kind === "num" ? kind : undefined }, title))));
  const body = el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell, at) => el("td", { class: heads[at][1] }, cell ?? "–")))));
  $(id).replaceChildren(head, body);
}

const SIDES = [["Here", "num"], ["Refunds here", "num"], ["Ledger", "num"], ["Refunds in ledger", "num"]];
const sides = (row) => AMOUNTS.map((name) => row[name]?.text);

async function compare(event) {
  event?.preventDefault();
  $("error").hidden = true;
  $("state").textContent = "Comparing…";
  try {
    const found = await (await send()).json();
    table("totals", [["Currency"], ["State"], ["Orders", "num"], ...SIDES],
      found.totals.map((row) => [row.currency, found.states[row.state], row.orders.toLocaleString("en-GB"), ...sides(row)]));
    table("differences", [["Order"], ["What differs"], ["Currency"], ...SIDES, ["Day"], ["Lines"]],
      found.differences.map((row) => [row.order_id, found.states[row.state], row.currency, ...sides(row), row.day, row.lines]));
    table("bad-lines", [["Line"], ["Why", "words"]], found.bad_lines.map((bad) => [String(bad.line), bad.reason]));
    $("found").hidden = false;
    $("bad").hidden = found.bad_lines.length === 0;
    $("download").hidden = found.differences_in_all === 0;
    const shown = found.differences.length < found.differences_in_all ? `, the first ${found.differences.length} below` : "";
    const differ = found.differences_in_all === 1 ? "1 difference" : `${found.differences_in_all} differences`;
    $("state").textContent = `${found.lines} lines of ${found.days.join(" to ")}: ${differ}${shown} · ${found.status} · as of ${(found.as_of ?? "–").slice(0, 19).replace("T", " ")}`;
  } catch (error) {
    $("state").textContent = "";
    fail($("error"), error);
  }
}

async function download() {
  try {
    const file = URL.createObjectURL(await (await send("csv")).blob());
    el("a", { href: file, download: "differences.csv" }).click();
    setTimeout(() => URL.revokeObjectURL(file), 60_000);
  } catch (error) {
    fail($("error"), error);
  }
}

$("form").addEventListener("submit", compare);
$("download").addEventListener("click", download);
