// Asks the API once a second and shows the answer; rests while nobody looks; goes on by itself when the server is back.

import { clockTime } from "./format.js";
import { show, showConnection, showRefusal } from "./view.js";

const EVERY = 1000;
const PATIENCE = 8000;
const api = new URL("../api/v2/workers", import.meta.url);
const search = document.getElementById("search");

let answer = null;      // the last answer of the API
let serverTime = 0;     // the server's time of that answer, in milliseconds
let seenAt = 0;         // the same moment, by the browser's clock
let timer = 0;
let asking = null;

function draw() {
  if (answer !== null) show(answer, serverTime, search.value);
}

function take(fresh, at) {
  answer = fresh;
  seenAt = Date.now();
  serverTime = Number.isNaN(at) ? seenAt : at;
  draw();
  showConnection("live", "live");
}

function lost(reason) {
  const since = answer === null ? "no answer yet" : `last seen ${clockTime(seenAt, Date.now())}`;
  showConnection("lost", reason === "" ? `connection lost, ${since}` : `${reason}; ${since}`);
}

async function ask() {
  const controller = new AbortController();
  const patience = setTimeout(() => controller.abort(), PATIENCE);
  asking = controller;
  let response;
  try {
    response = await fetch(api, { cache: "no-store", signal: controller.signal, headers: { Accept: "application/json" } });
    const body = await response.json();
    if (asking !== controller) return;
    if (!response.ok) lost(`the server says: ${body.message}`);
    else take(body, Date.parse(response.headers.get("Date")));
  } catch {
    if (asking !== controller) return;
    lost(response === undefined || response.ok ? "" : `the server answers with status ${response.status}`);
  } finally {
    clearTimeout(patience);
    if (asking === controller) asking = null;
  }
}

async function turn() {
  const began = Date.now();
  await ask();
  if (!document.hidden) {
    clearTimeout(timer);
    timer = setTimeout(turn, Math.max(100, EVERY - (Date.now() - began)));
  }
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) {
    turn();
    return;
  }
  if (asking !== null) {
    const controller = asking;
    asking = null;
    controller.abort();
  }
  if (document.getElementById("connection").dataset.state === "live") showConnection("paused", "paused");
});

search.addEventListener("input", draw);

/** What goes with an order, asked of the reader; null if they think better of it. */
function details(order, id) {
  if (order === "resume") return {};
  const reason = prompt(`${order === "drain" ? "Drain" : "Cordon"} ${id}: no new tasks. Why? (shown to others)`, "");
  if (reason === null || order === "cordon") return reason === null ? null : { reason };
  const minutes = prompt("After how many minutes shall it hand back what still runs? Leave it empty to wait without limit.", "");
  if (minutes === null) return null;
  const deadlineSeconds = Number(minutes) * 60;
  return minutes.trim() === "" ? { reason } : { reason, deadlineSeconds };
}

document.getElementById("workers").addEventListener("click", async (event) => {
  const button = event.target.closest("[data-order]");
  if (button === null) return;
  const { order } = button.dataset;
  const id = button.closest(".worker").dataset.workerId;
  const body = details(order, id);
  if (body === null) return;
  button.disabled = true;
  try {
    const response = await fetch(`${api}/${encodeURIComponent(id)}/${order}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const told = await response.json();
    showRefusal(response.ok ? told.errors.join("; ") : `${order} ${id}: ${told.message}`);
    await ask();
  } catch {
    showRefusal(`${order} ${id}: the server does not answer`);
  } finally {
    button.disabled = false;
  }
});

const first = document.getElementById("first-view");
const embedded = JSON.parse(first.textContent);
if (embedded !== null) take(embedded, Date.parse(first.dataset.at));
if (document.hidden) showConnection("paused", "paused");
else timer = setTimeout(turn, embedded === null ? 0 : EVERY);
