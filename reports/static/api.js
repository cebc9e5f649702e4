// Asking the server: JSON both ways, with the token that proves a request comes from our pages.

const token = document.querySelector('meta[name="csrf"]')?.content ?? "";

export class Problem extends Error {
  constructor(message, answer = {}) {
    super(message);
    this.answer = answer; // whatever the server said besides: line, column, field
  }
}

// What the server said. Of a refusal nothing but its number is needed; of all else every byte.
async function read(answer) {
  if (answer.status === 204) return {};
  try {
    return await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!answer.ok) return {};
    throw new Problem("The report server's answer is broken or breaks off; try again.");
  }
}

async function ask(method, url, body, signal) {
  const headers = { accept: "application/json" };
  if (method !== "GET") headers["x-csrf-token"] = token;
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("No answer from the report server; is it running?");
  }
  const found = await read(answer);
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  if (!answer.ok) throw new Problem(found.message ?? `The server answered ${answer.status}.`, found);
  return found;
}

export const get = (url, signal) => ask("GET", url, undefined, signal);
export const post = (url, body, signal) => ask("POST", url, body, signal);
export const put = (url, body) => ask("PUT", url, body);
export const remove = (url) => ask("DELETE", url);
