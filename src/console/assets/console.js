// The console's one script: live lines, a payment's progress, phone numbers as they are typed, forms that are sent once.
// Every page works without it.
"use strict";

const ROWS_MAX = 50;
const ANNOUNCE_EVERY = 8000;

const wholeTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

// Times are written in UTC by the server; pointing at one tells it in the reader's own zone.
function localTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.title = `${wholeTime.format(new Date(time.dateTime))} (your time)`;
  }
}

// Told to screen readers, not too often.
const announce = (() => {
  const place = document.getElementById("announce");
  let waiting = 0;
  let timer = null;
  return (changes) => {
    waiting += changes;
    if (timer) return;
    timer = setTimeout(() => {
      place.textContent = waiting === 1 ? "1 line changed" : `${waiting} lines changed`;
      waiting = 0;
      timer = null;
    }, ANNOUNCE_EVERY);
  };
})();

// The HTML that the server sent, as elements. Nothing in it runs: the policy forbids it.
function parse(html, wrap) {
  const page = new DOMParser().parseFromString(wrap ? `<table><tbody>${html}</tbody></table>` : html, "text/html");
  return page;
}

// A list whose lines change by themselves.
function followRows(body) {
  const badge = document.getElementById("live");
  const badgeText = document.getElementById("live-text");
  let isReady = false;
  const source = new EventSource(body.dataset.stream);
  const show = (text, isLive) => {
    if (!badge) return;
    badge.hidden = false;
    badge.classList.toggle("off", !isLive);
    badgeText.textContent = text;
  };
  source.addEventListener("ready", () => {
    isReady = true;
    show("Live", true);
  });
  source.addEventListener("error", () => {
    isReady = false;
    show(source.readyState === EventSource.CLOSED ? "Not live: load the page again" : "Connecting…", false);
  });
  source.addEventListener("row", (event) => {
    const row = parse(event.data, true).querySelector("tr");
    if (!row) return;
    const old = body.querySelector(`tr[data-id="${CSS.escape(row.dataset.id)}"]`);
    if (old && old.dataset.version === row.dataset.version) return;
    localTimes(row);
    if (isReady) row.classList.add("fresh");
    if (old) {
      const hadFocus = old.contains(document.activeElement);
      old.replaceWith(row);
      if (hadFocus) row.querySelector("a").focus();
    } else {
      const empty = body.querySelector(".empty");
      if (empty) empty.closest("tr").remove();
      const created = row.querySelector("time").dateTime;
      const next = [...body.rows].find((other) => other.querySelector("time").dateTime <= created);
      body.insertBefore(row, next || null);
      while (body.rows.length > ROWS_MAX) body.lastElementChild.remove();
    }
    if (isReady) announce(1);
  });
  source.addEventListener("gone", (event) => {
    const old = body.querySelector(`tr[data-id="${CSS.escape(event.data)}"]`);
    if (old) old.remove();
  });
}

// A transaction's story is fetched anew when its line changes.
function followStory(story) {
  const source = new EventSource(story.dataset.follow);
  source.addEventListener("row", async (event) => {
    const row = parse(event.data, true).querySelector("tr");
    const current = document.getElementById("story");
    if (!row || row.dataset.version === current.dataset.version) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = parse(await answer.text(), false).getElementById("story");
    if (!fresh) return;
    for (const open of current.querySelectorAll("details[open]")) {
      const same = fresh.querySelector(`#${CSS.escape(open.id)}`);
      if (same) same.open = true;
    }
    localTimes(fresh);
    current.replaceWith(fresh);
    announce(1);
  });
}

// A payment's progress: asked with a wait, until it is final.
async function followProgress(place) {
  let failures = 0;
  for (;;) {
    const card = place.querySelector("[data-wait]");
    if (!card || "final" in card.dataset) return;
    try {
      const answer = await fetch(`${card.dataset.wait}?known=${encodeURIComponent(card.dataset.version)}`);
      if (answer.status === 401) return location.assign("/console/sign-in");
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = parse(await answer.text(), false).querySelector("[data-wait]");
      if (fresh && fresh.dataset.version !== card.dataset.version) card.replaceWith(fresh);
      failures = 0;
    } catch {
      failures += 1;
      await new Promise((done) => setTimeout(done, Math.min(1000 * 2 ** failures, 15000)));
    }
  }
}

// 0712 345 678, +254 712 345 678: spaces as one types, the caret where it was.
function groups(text) {
  const plus = text.trimStart().startsWith("+") ? "+" : "";
  const digits = text.replace(/\D/g, "");
  const isWhole = plus !== "" || digits.startsWith("254") || digits.startsWith("255");
  const first = isWhole ? 3 : digits.startsWith("0") ? 4 : 3;
  const parts = [digits.slice(0, first)];
  for (let at = first; at < digits.length; at += 3) parts.push(digits.slice(at, at + 3));
  return plus + parts.filter(Boolean).join(" ");
}

function formatPhone(input) {
  input.addEventListener("input", () => {
    const before = input.value.slice(0, input.selectionStart).replace(/\D/g, "").length;
    input.value = groups(input.value);
    let caret = 0;
    for (let seen = 0; caret < input.value.length && seen < before; caret += 1) {
      if (/\d/.test(input.value[caret])) seen += 1;
    }
    if (before === 0) caret = input.value.startsWith("+") ? 1 : 0;
    input.setSelectionRange(caret, caret);
  });
  if (input.value) input.value = groups(input.value);
}

// A second click must not send a form twice.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
});

// A page out of the browser's memory may be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

// On a phone the navigation is wider than the window.
document.querySelector(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

localTimes(document);
for (const body of document.querySelectorAll("[data-stream]")) followRows(body);
for (const story of document.querySelectorAll("[data-follow]")) followStory(story);
for (const place of document.querySelectorAll("#progress")) followProgress(place);
for (const input of document.querySelectorAll("[data-phone]")) formatPhone(input);
