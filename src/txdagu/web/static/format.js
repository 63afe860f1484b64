// Values as words. Pure: no page, no clock.

/** Seconds as people say them: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "4 d 3 h". */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** Whole seconds, for things that are counted on the page. */
export function roundDuration(seconds) {
  return seconds < 10 ? `${Math.max(0, Math.floor(seconds))} s` : duration(seconds);
}

/** Time of day in the reader's zone; with the date when it is not the day of `now` (milliseconds). */
export function clockTime(milliseconds, now) {
  const time = new Date(milliseconds);
  const two = (number) => String(number).padStart(2, "0");
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  if (time.toDateString() === new Date(now).toDateString()) return clock;
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${clock}`;
}

const HEALTH = { healthy: "Healthy", warning: "Warning", unhealthy: "Unhealthy", offline: "Offline" };

/** One of the four words of health; what is unknown counts as unhealthy. */
export function healthKey(word) {
  return Object.hasOwn(HEALTH, word) ? word : "unhealthy";
}

export function healthWord(word) {
  return HEALTH[healthKey(word)];
}

/** The line of DAGs that led to a task: root, caller where it is another one, the task's own DAG. */
export function lineage(task) {
  const line = [];
  if (task.rootDagRunId && task.rootDagRunId !== task.dagRunId) line.push({ name: task.rootDagRunName, id: task.rootDagRunId });
  const parent = task.parentDagRunId;
  if (parent && parent !== task.rootDagRunId && parent !== task.dagRunId) {
    line.push({ name: task.parentDagRunName, id: parent });
  }
  line.push({ name: task.dagName, id: task.dagRunId });
  return line;
}

/** What the counters at the top say. A worker is up while its health is Healthy or Warning. */
export function totals(workers) {
  const sum = { workers: workers.length, up: 0, busy: 0, slots: 0, tasks: 0, healthy: 0, warning: 0, unhealthy: 0, offline: 0 };
  for (const worker of workers) {
    const health = healthKey(worker.healthStatus);
    sum[health] += 1;
    sum.tasks += worker.runningTasks.length;
    if (health === "healthy" || health === "warning") {
      sum.up += 1;
      sum.busy += worker.busyPollers;
      sum.slots += worker.totalPollers;
    }
  }
  return sum;
}

/** Whether every word of the search is found in the worker's id or in one of its labels, upper and lower case alike. */
export function matches(worker, search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const texts = [worker.id, ...Object.entries(worker.labels).map(([key, value]) => `${key}=${value}`)];
  const lowered = texts.map((text) => text.toLowerCase());
  return words.every((word) => lowered.some((text) => text.includes(word)));
}

/** Why a worker gets no new tasks: "draining until 10:52:00, since 10:42:00: disk swap (by ada@host1)". */
export function scheduling({ state, since, until, reason, by }, now) {
  const limit = until && state === "draining" ? ` until ${clockTime(Date.parse(until), now)},` : "";
  const begin = since ? ` since ${clockTime(Date.parse(since), now)}` : "";
  return `${state}${limit}${begin}${reason ? `: ${reason}` : ""}${by ? ` (by ${by})` : ""}`;
}

/** Which orders make sense for a worker in that state. */
export function orders(state) {
  if (state === "schedulable") return ["cordon", "drain"];
  return state === "cordoned" ? ["drain", "resume"] : ["resume"];
}
