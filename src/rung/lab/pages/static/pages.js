// What all pages share: elements by id, text as text, and requests that answer in words when they fail.

export const by = (id) => document.getElementById(id);

/** An element with text and attributes. Text goes through textContent only: nothing here makes markup of a string. */
export function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** The server did not answer at all: what was asked may or may not have been done, so ask again. */
export class Unanswered extends Error {}

/** The server answered, and its answer is no: `status` says which kind, the message is for people. */
export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

/** GET, or POST when there is something to say; returns what the JSON answer holds. */
export async function ask(address, message = null, seconds = 15) {
  const timer = new AbortController();
  const alarm = setTimeout(() => timer.abort(), seconds * 1000);
  const options = message === null ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(message),
  };
  try {
    const answer = await fetch(address, { ...options, signal: timer.signal, redirect: "error" });
    if (answer.ok) return await answer.json();
    throw new Refused(answer.status, await answer.text());
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Unanswered(String(error));
  } finally {
    clearTimeout(alarm);
  }
}
