"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const steps = data.steps, first = data.first;
const byId = id => document.getElementById(id);
const [TIME, DEPTH, CODE, TEXT, A, B, C] = [0, 1, 2, 3, 4, 5, 6];

function time(nanos) {
  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]];
  for (const [unit, name] of units) if (Math.abs(nanos) >= unit) return +(nanos / unit).toPrecision(4) + name;
  return nanos + "ns";
}

// The state of the loop after some of the steps.
function begin() {
  return { at: -1, turn: 0, outer: 0, phase: "", running: [], ready: [], timers: new Map(), tasks: new Map(), jobs: new Map(),
    connections: new Map(), deferreds: new Map(), touched: null };
}
const phases = ["sources", "calls", "timers", "tasks", "phases"];
function apply(s, step) {
  const [, , code, text, a, b, c] = step;
  switch (code) {
    // A simulated host takes its turn inside a turn of the recorded reactor.
    case "T":
      s.turn = a; s.phase = ""; s.ready = s.ready.filter(source => source.host !== b);
      if (b === null) { s.outer = a; s.running = []; }
      // A crash ends the connections of a host without an event.
      if (a === "1 of " + b) for (const key of s.connections.keys()) if (String(key).endsWith(" of " + b)) s.connections.delete(key);
      break;
    case "W": s.phase = "wait"; break;
    case "w": s.phase = ""; break;
    case "R": s.ready.push({ source: a, text: b, host: c }); break;
    case "B":
      s.phase = phases[a]; s.running.push(text);
      if (a === 0) s.ready = s.ready.filter(source => source.source !== b);
      if (a === 2) s.timers.delete(b);
      break;
    case "E": s.running.pop(); break;
    case "S": s.timers.set(a, { due: b, place: c }); break;
    case "M": if (s.timers.has(a)) s.timers.get(a).due = b; break;
    case "C": s.timers.delete(a); break;
    case "K": s.tasks.set(a, b); break;
    case "k": s.tasks.delete(a); break;
    case "J": s.jobs.set(a, b); break;
    case "j": s.jobs.delete(a); break;
    case "N": if (b === null) s.connections.delete(a); else if (b !== "") s.connections.set(a, b); break;
    case "D": {
      const known = s.deferreds.get(a) || { side: "" };
      if (b) known.side = b;
      s.deferreds.set(a, known);
      if (isShown(a)) s.touched = a;
      break;
    }
    case "t": s.phase = ""; s.turn = s.outer; if (a === null) s.running = []; break;
  }
  s.at++;
}
let state = begin(), pinned = null;
// Deferreds that the library made for its own use are shown on request.
const internal = new Set(data.internal);
const isShown = id => byId("internal").checked || !internal.has(id);
function moveTo(index) {
  index = Math.max(0, Math.min(steps.length - 1, index));
  if (index < state.at) state = begin();
  while (state.at < index) apply(state, steps[state.at + 1]);
  show();
}

function list(id, items) {
  const ol = byId(id);
  ol.replaceChildren(...(items.length ? items : ["none"]).map(item => {
    const li = document.createElement("li");
    li.textContent = item;
    if (!items.length) li.className = "none";
    return li;
  }));
}

// The log is long: only the part around the current step is in the document.
const AROUND = 400;
let shown = [-1, -1];
function showLog() {
  const log = byId("log");
  if (state.at < shown[0] + 50 && shown[0] > 0 || state.at >= shown[1] - 50 && shown[1] < steps.length || shown[0] < 0) {
    shown = [Math.max(0, state.at - AROUND), Math.min(steps.length, state.at + AROUND)];
    log.replaceChildren(...steps.slice(...shown).map((step, offset) => {
      const li = document.createElement("li");
      li.style.paddingLeft = step[DEPTH] * 2 + 3 + "ch";
      li.textContent = step[TEXT];
      li.dataset.index = shown[0] + offset;
      if (step[CODE] === "T") li.classList.add("turn");
      if (step[CODE] === "P" || /panicked|failure: /.test(step[TEXT])) li.classList.add("bad");
      return li;
    }));
  }
  for (const li of log.children) {
    const index = +li.dataset.index;
    li.classList.toggle("later", index > state.at);
    li.classList.toggle("now", index === state.at);
    if (index === state.at) {
      li.setAttribute("aria-current", "step");
      const [top, height] = [li.offsetTop - log.offsetTop, log.clientHeight];
      if (top < log.scrollTop + 40 || top > log.scrollTop + height - 60) log.scrollTop = top - height / 2;
    } else li.removeAttribute("aria-current");
  }
}

function showLadders() {
  const known = [...state.deferreds.keys()].filter(isShown);
  const wanted = pinned !== null && state.deferreds.has(pinned) ? pinned : state.touched;
  const chips = byId("chips");
  const all = known.slice(-40).map(id => {
    const button = document.createElement("button"), [name, place] = data.ladders[id] || ["", ""];
    button.textContent = "#" + id + (name && " " + name);
    if (place) button.title = "made at " + place;
    if (state.deferreds.get(id).side) button.className = state.deferreds.get(id).side;
    button.setAttribute("aria-pressed", id === wanted);
    button.onclick = () => { pinned = pinned === id ? null : id; show(); };
    return button;
  });
  chips.replaceChildren(...all);
  const step = first + state.at;
  let drawn = false;
  for (const box of document.querySelectorAll(".ladder")) {
    const on = +box.dataset.id === wanted;
    box.classList.toggle("hidden", !on);
    if (!on) continue;
    drawn = true;
    for (const part of box.querySelectorAll("[data-at],[data-until]")) {
      const { at, until } = part.dataset;
      part.classList.toggle("future", (at !== undefined && +at > step) || (until !== undefined && +until <= step));
    }
  }
  byId("no-ladder").classList.toggle("hidden", drawn);
  byId("no-ladder").textContent = wanted === null ? "No Deferred has been made yet."
    : `The ladder of Deferred #${wanted} is not on this page, which has the last ${Object.keys(data.ladders).length}.`;
}

function show() {
  const step = steps[state.at], now = step[TIME];
  byId("slider").value = state.at;
  const turn = state.turn ? `turn ${state.turn}` : first > 1 ? "in an earlier turn" : "before the first turn";
  byId("where").textContent = `${turn}, step ${state.at + 1} of ${steps.length}, at ${time(now)}`;
  for (const li of byId("loop").children) li.classList.toggle("on", li.dataset.phase === state.phase);
  byId("running").textContent = state.running.length ? "running " + state.running[state.running.length - 1]
    : state.phase === "wait" ? "waiting until a source is ready or a timer is due" : step[TEXT];
  const when = timer => timer.due === null ? Infinity : timer.due;
  const due = [...state.timers].sort((x, y) => when(x[1]) === when(y[1]) ? (x[0] - y[0] || 0) : when(x[1]) - when(y[1]));
  list("ready", state.ready.map(source => `source ${source.source}: ${source.text}`));
  list("timers", due.map(([id, timer]) => {
    const left = when(timer) - now;
    return `${left === Infinity ? "never due" : left > 0 ? "in " + time(left) : "due"}: timer ${id}, ${timer.place}`;
  }));
  list("tasks", [...state.tasks].map(([id, place]) => `task ${id}, ${place}`)
    .concat([...state.jobs].map(([id, place]) => `job ${id} on a thread, ${place}`)));
  list("connections", [...state.connections].map(([id, peer]) => `connection ${id}, ${peer}`));
  showLog();
  showLadders();
  let current = null;
  for (const bar of document.querySelectorAll(".tw-timeline [data-at]")) {
    const ahead = +bar.dataset.at > first + state.at;
    bar.classList.toggle("ahead", ahead);
    bar.classList.remove("current");
    if (!ahead) current = bar;
  }
  if (current) current.classList.add("current");
  document.body.dataset.step = state.at + 1;
}

function turn(direction) {
  let at = state.at + direction;
  while (at > 0 && at < steps.length - 1 && steps[at][CODE] !== "T") at += direction;
  moveTo(at);
}
let timer = null;
function play() {
  if (timer) { clearInterval(timer); timer = null; byId("play").textContent = "Play"; return; }
  if (state.at >= steps.length - 1) moveTo(0);
  byId("play").textContent = "Pause";
  timer = setInterval(() => state.at >= steps.length - 1 ? play() : moveTo(state.at + 1), 250);
}

byId("slider").max = steps.length - 1;
byId("slider").oninput = event => moveTo(+event.target.value);
byId("turn-back").onclick = () => turn(-1);
byId("back").onclick = () => moveTo(state.at - 1);
byId("forward").onclick = () => moveTo(state.at + 1);
byId("turn-forward").onclick = () => turn(1);
byId("internal").onchange = () => { state.touched = null; const at = state.at; state = begin(); moveTo(at); };
byId("play").onclick = play;
byId("log").onclick = event => { const li = event.target.closest("li"); if (li) moveTo(+li.dataset.index); };
document.querySelector(".tw-timeline").onclick = event => {
  const bar = event.target.closest("[data-at]");
  if (bar) moveTo(+bar.dataset.at - first);
};
document.onkeydown = event => {
  if (event.target.tagName === "INPUT" && event.key.startsWith("Arrow")) return;
  const keys = { ArrowRight: () => moveTo(state.at + 1), ArrowLeft: () => moveTo(state.at - 1),
    ArrowDown: () => turn(1), ArrowUp: () => turn(-1), Home: () => moveTo(0), End: () => moveTo(steps.length - 1) };
  if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
};
const asked = /step=(\d+)/.exec(location.hash);
if (steps.length) {
  moveTo(asked ? +asked[1] - 1 : 0);
  document.body.dataset.played = "yes";
} else byId("where").textContent = "nothing was recorded";
