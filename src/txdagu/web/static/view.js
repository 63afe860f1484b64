// The workers as elements. What comes from outside is only ever put in as text, never as HTML.

import { clockTime, duration, healthKey, healthWord, lineage, matches, orders, roundDuration, scheduling, totals } from "./format.js";

const byId = (id) => document.getElementById(id);

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** The children of `parent` become one for each item, in order. Those that are there already stay and keep focus and selection. */
function keep(parent, items, keyOf, make, update) {
  const old = new Map();
  for (const child of parent.children) old.set(child.dataset.key, child);
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let child = old.get(key);
    old.delete(key);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = key;
    }
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
    update(child, item);
  }
  for (const gone of old.values()) gone.remove();
}

function makeWorker(worker) {
  const row = element("li", "worker");
  row.dataset.workerId = worker.id;
  row.setAttribute("aria-label", `Worker ${worker.id}`);
  const health = element("span", "health");
  const dot = element("span", "dot");
  dot.setAttribute("aria-hidden", "true");
  health.append(dot, element("span", "word"));
  const meter = element("span", "meter");
  meter.setAttribute("role", "meter");
  meter.setAttribute("aria-label", "Busy slots");
  meter.setAttribute("aria-valuemin", "0");
  meter.append(element("span", "fill"));
  const slots = element("span", "slots");
  slots.append(meter, element("span", "use"));
  const labels = element("ul", "labels");
  labels.setAttribute("aria-label", "Labels");
  const tasks = element("ul", "tasks");
  tasks.setAttribute("aria-label", "Running tasks");
  const standing = element("div", "standing");
  const orders = element("span", "orders");
  for (const [order, text] of [["cordon", "Cordon"], ["drain", "Drain"], ["resume", "Resume"]]) {
    const button = element("button", "", text);
    button.type = "button";
    button.dataset.order = order;
    button.setAttribute("aria-label", `${text} ${worker.id}`);
    orders.append(button);
  }
  standing.append(element("span", "state"), orders);
  row.append(health, element("span", "id", worker.id), labels, slots, element("span", "age"), standing, tasks);
  return row;
}

function updateWorker(row, worker, now) {
  row.dataset.health = healthKey(worker.healthStatus);
  setText(row.querySelector(".word"), healthWord(worker.healthStatus));
  const { busyPollers: busy, totalPollers: slots } = worker;
  const share = slots > 0 ? Math.min(1, busy / slots) : 0;
  const meter = row.querySelector(".meter");
  meter.setAttribute("aria-valuemax", String(slots));
  meter.setAttribute("aria-valuenow", String(busy));
  meter.setAttribute("aria-valuetext", `${busy} of ${slots} busy`);
  meter.classList.toggle("full", slots > 0 && busy >= slots);
  meter.firstElementChild.style.inlineSize = `${share * 100}%`;
  setText(row.querySelector(".use"), `${busy}/${slots} busy`);
  const { state } = worker.scheduling;
  row.dataset.state = state;
  setText(row.querySelector(".state"), state === "schedulable" ? "" : scheduling(worker.scheduling, now));
  for (const button of row.querySelectorAll("[data-order]")) {
    button.hidden = !orders(state).includes(button.dataset.order);
  }
  const age = worker.heartbeatAgeSeconds;
  setText(row.querySelector(".age"), age === null ? "no beat yet" : `beat ${duration(age)} ago`);
  keep(row.querySelector(".labels"), Object.entries(worker.labels).sort(), ([key]) => key, makeLabel, updateLabel);
  const tasks = row.querySelector(".tasks");
  keep(tasks, worker.runningTasks, taskKey, makeTask, (item, task) => updateTask(item, task, now));
  tasks.hidden = worker.runningTasks.length === 0;
}

function makeLabel([key]) {
  const chip = element("li", "chip");
  chip.append(element("span", "key", `${key}=`), element("span", "value"));
  return chip;
}

function updateLabel(chip, [, value]) {
  setText(chip.querySelector(".value"), value);
}

const taskKey = (task) => JSON.stringify([task.rootDagRunId, task.dagName, task.dagRunId]);

function makeTask(task) {
  const item = element("li", "task");
  item.dataset.taskRunId = task.dagRunId;
  const line = element("span", "lineage");
  const steps = lineage(task);
  steps.forEach((dag, position) => {
    if (position > 0) {
      const arrow = element("span", "arrow", " › ");
      arrow.setAttribute("aria-label", " calls ");
      arrow.setAttribute("role", "img");
      line.append(arrow);
    }
    const name = element("span", position === steps.length - 1 ? "dag own" : "dag", dag.name);
    name.title = `run ${dag.id}`;
    line.append(name);
  });
  const since = element("span", "since");
  since.append(element("time"), element("span", "for"));
  item.append(line, element("span", "run", task.dagRunId), since);
  return item;
}

function updateTask(item, task, now) {
  const time = item.querySelector("time");
  const began = Date.parse(task.startedAt);
  if (Number.isNaN(began)) {
    setText(time, "not started");
    setText(item.querySelector(".for"), "");
    return;
  }
  time.dateTime = task.startedAt;
  setText(time, `since ${clockTime(began, now)}`);
  setText(item.querySelector(".for"), ` · ${roundDuration((now - began) / 1000)}`);
}

/** Show the answer of the API as it is at `now` (the server's time, in milliseconds), narrowed to what the search asks for. */
export function show(answer, now, search) {
  const { workers, errors } = answer;
  const sum = totals(workers);
  setText(byId("count-workers"), String(sum.workers));
  setText(byId("count-up"), String(sum.up));
  setText(byId("count-slots"), `${sum.busy}/${sum.slots}`);
  setText(byId("count-tasks"), String(sum.tasks));
  for (const item of document.querySelectorAll(".legend [data-health]")) {
    setText(item.querySelector("b"), String(sum[item.dataset.health]));
  }
  document.title = `Workers (${sum.up}/${sum.workers} up) – dagu`;

  const shown = workers.filter((worker) => matches(worker, search));
  keep(byId("workers"), shown, (worker) => worker.id, makeWorker, (row, worker) => updateWorker(row, worker, now));
  byId("workers").hidden = shown.length === 0;
  byId("empty").hidden = workers.length > 0;
  const hiding = workers.length > 0 && shown.length === 0;
  byId("no-match").hidden = !hiding;
  const count = workers.length === 1 ? "The one worker" : `None of the ${workers.length} workers`;
  setText(byId("no-match"), hiding ? `${count} ${workers.length === 1 ? "does not match" : "matches"} “${search.trim()}”.` : "");

  const box = byId("errors");
  keep(box.querySelector("ul"), errors.map((text, place) => ({ text, key: `${place} ${text}` })), (error) => error.key,
    (error) => element("li", "", error.text), () => {});
  box.hidden = errors.length === 0;
}

/** Say what went wrong with an order, or with an empty text nothing. */
export function showRefusal(text) {
  const place = byId("refusal");
  setText(place, text);
  place.hidden = text === "";
}

/** Say how it stands with the server: "live", "lost", "paused" or "starting", and a sentence. */
export function showConnection(state, sentence) {
  const place = byId("connection");
  place.dataset.state = state;
  setText(place, sentence);
  document.body.classList.toggle("stale", state === "lost");
}
