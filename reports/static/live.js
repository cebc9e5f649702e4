// The live page: numbers come by themselves, as server-sent events; where no stream is to be had,
// it asks for them every second and for the ledger every three. Numbers that are not known to be of
// now are never shown as if they were: the server says with each beat what stands.

import { $ } from "/static/dom.js";

const number = new Intl.NumberFormat("en-GB");

function text(id, value) {
  if ($(id).textContent !== String(value)) $(id).textContent = value;
}

function clock(iso) {
  return iso ? iso.slice(11, 19) : "–";
}

// The time alone while it is of today, which is a day of the site's zone.
function moment(iso, today) {
  return iso.startsWith(today) ? clock(iso) : `${iso.slice(0, 10)} ${clock(iso)}`;
}

function drawMinutes(minutes) {
  const peak = Math.max(1, ...minutes.map((m) => m.events));
  const step = 600 / minutes.length;
  const bars = minutes.map((m, i) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = m.events ? Math.max(3, (m.events / peak) * 118) : 2;
    const at = { x: i * step + 1, width: step - 2, y: 120 - height, height, rx: 1.5 };
    for (const [name, value] of Object.entries(at)) bar.setAttribute(name, value);
    if (!m.events) bar.setAttribute("class", "zero");
    return bar;
  });
  $("chart").replaceChildren(...bars);
  text("axis-first", clock(minutes[0].minute).slice(0, 5));
  text("axis-peak", `peak ${number.format(Math.max(...minutes.map((m) => m.events)))} a minute`);
  text("axis-last", "now");
  $("minutes").replaceChildren(...minutes.map((m) => {
    const row = document.createElement("tr");
    const minute = row.insertCell();
    minute.textContent = clock(m.minute).slice(0, 5);
    const events = row.insertCell();
    events.className = "num";
    events.textContent = number.format(m.events);
    return row;
  }));
}

function drawTop(events) {
  if (!events.length) return;
  const peak = events[0].events;
  $("top_events").replaceChildren(...events.map((event) => {
    const line = document.createElement("li");
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.width = `${(event.events / peak) * 100}%`;
    const name = document.createElement("span");
    name.textContent = event.name;
    const count = document.createElement("span");
    count.textContent = number.format(event.events);
    line.append(bar, name, count);
    return line;
  }));
}

function showLive(live) {
  for (const id of ["active_users_now", "active_users_recent", "events_today", "events_recent", "orders_today"]) {
    text(id, number.format(live[id]));
  }
  const amounts = live.revenue_today.map((r) => r.text);
  text("revenue_today", amounts.join("\n") || "–");
  $("revenue_today").classList.toggle("several", amounts.length > 1);
  text("conversion_today", live.conversion_today === null
    ? live.conversion_reason : `${(live.conversion_today * 100).toFixed(1)} %`);
  text("status", live.as_of ? `${live.status} · as of ${moment(live.as_of, live.today)}` : `${live.status} · no events yet`);
  text("precision", live.distinct_error
    ? `Distinct counts ± ${(live.distinct_error * 100).toFixed(1)} %.` : "Distinct counts are exact so far.");
  drawMinutes(live.minutes);
  drawTop(live.top_events);
}

function verdict(ledger) {
  if (ledger.balanced) return "✓ Every event answered 200 is counted.";
  if (ledger.in_flight === null) return "No books were drawn up of this project yet.";
  const underWay = ledger.in_flight + ledger.uncounted;
  return underWay > 0
    ? `${number.format(underWay)} events are under way.`
    : "The books do not add up: see the health page.";
}

function showLedger(ledger) {
  for (const id of ["accepted", "imported", "archived", "in_flight", "counted", "repeats", "uncounted", "dead_lettered"]) {
    text(id, ledger[id] === null ? "–" : number.format(ledger[id]));
  }
  const books = ledger.books_as_of ? ` · books of ${clock(ledger.books_as_of)}` : "";
  text("ledger-stamp", `${ledger.status} · as of ${clock(ledger.as_of)}${books}`);
  text("ledger-note", ledger.note);
  $("ledger-note").hidden = !ledger.note;
  $("verdict").classList.toggle("good", ledger.balanced);
  text("verdict", verdict(ledger));
}

// late: ms without a word until it is said that what is shown is not of now.
const SECTIONS = {
  live: { show: showLive, place: "status", late: 5000, wrong: "The live numbers cannot be read now; these are older" },
  ledger: { show: showLedger, place: "ledger-stamp", late: 8000, wrong: "The ledger cannot be read now; this is older" },
};
for (const section of Object.values(SECTIONS)) Object.assign(section, { heard: Date.now(), isStreamed: false, isWrong: false });

function draw(section) {
  if (document.hidden || !section.last || section.isWrong) return;
  section.show(section.last);
  $(section.place).closest(".stamp").classList.remove("stale");
}

// found: nothing where what came last still stands.
function seen(section, found) {
  section.heard = Date.now();
  section.isWrong = false;
  if (found) section.last = found;
  if (found || $(section.place).closest(".stamp").classList.contains("stale")) draw(section);
}

function stale(section) {
  section.isStreamed = false;
  $(section.place).closest(".stamp").classList.add("stale");
  text(section.place, section.isWrong ? section.wrong : "No answer from the report server; trying again");
}

function failed(section) {
  section.isWrong = true;
  stale(section);
}

function look() {
  for (const section of Object.values(SECTIONS)) {
    if (section.isWrong || Date.now() - section.heard > section.late) stale(section);
  }
}

async function ask(name) {
  const answer = await fetch($(name).dataset.api, { headers: { accept: "application/json" } });
  if (answer.ok) seen(SECTIONS[name], await answer.json());
  else failed(SECTIONS[name]);
}

async function every(ms, name) {
  for (;;) {
    // No answer at all is found out by look().
    if (!document.hidden && !SECTIONS[name].isStreamed) await ask(name).catch(() => {});
    await new Promise((next) => setTimeout(next, ms));
  }
}

function follow() {
  const stream = new EventSource(`${$("live").dataset.api}/events`);
  const heard = (name, found) => {
    SECTIONS[name].isStreamed = true;
    seen(SECTIONS[name], found);
  };
  for (const name of Object.keys(SECTIONS)) {
    stream.addEventListener(name, (event) => heard(name, JSON.parse(event.data)));
  }
  stream.addEventListener("beat", (event) => JSON.parse(event.data).forEach((name) => heard(name)));
  stream.addEventListener("problem", (event) => failed(SECTIONS[JSON.parse(event.data).event]));
  // The browser opens the next stream by itself, unless it was refused: then try again later.
  stream.addEventListener("error", () => {
    for (const section of Object.values(SECTIONS)) section.isStreamed = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, 30_000);
  });
}

follow();
every(1000, "live");
every(3000, "ledger");
setInterval(look, 1000);
document.addEventListener("visibilitychange", () => Object.values(SECTIONS).forEach(draw));
