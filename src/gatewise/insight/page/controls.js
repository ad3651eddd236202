// The current choice, and the controls that change it. Drawing functions register with `onChange`.

const view = { layer: layers[0], row: 0, unit: 0, step: 0, value: "", zoom: [0, page.steps], axis: page.steps, order: "number" };
const listeners = [];
let waiting = false;

function byId(id) {
  return document.getElementById(id);
}

/** Call `draw` now and after every change. */
function onChange(draw) {
  listeners.push(draw);
}

function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    listeners.forEach((draw) => draw());
  });
}

/** Choose; what no longer fits is brought within bounds. */
function choose(changes) {
  Object.assign(view, changes);
  const { layer } = view;
  view.row = clamp(view.row, 0, rowCount() - 1);
  view.unit = clamp(view.unit, 0, layer.units.length - 1);
  view.step = clamp(view.step, 0, Math.max(0, end(view.row) - 1));
  if (!layer.values.some(({ name }) => name === view.value)) view.value = firstValue(layer);
  if (axisSteps(view.row) !== view.axis) view.zoom = [0, axisSteps(view.row)];
  view.axis = axisSteps(view.row);
  if ("step" in changes) follow();
  redraw();
}

function firstValue(layer) {
  const memory = layer.kind?.state ?? layer.output.state;
  return memory;
}

/** Keep the step within the zoom. */
function follow() {
  const [first, stop] = view.zoom;
  const wide = stop - first;
  if (view.step < first) view.zoom = [view.step, view.step + wide];
  if (view.step >= stop) view.zoom = [view.step + 1 - wide, view.step + 1];
}

/** Show `wide` steps around the middle, or around the chosen step if that is visible. */
function zoomTo(first, wide) {
  const steps = Math.round(clamp(wide, Math.min(8, view.axis), view.axis));
  const from = Math.round(clamp(first, 0, view.axis - steps));
  choose({ zoom: [from, from + steps] });
}

function zoomBy(factor) {
  const [first, stop] = view.zoom;
  const wide = (stop - first) * factor;
  const centre = view.step >= first && view.step < stop ? view.step + 0.5 : (first + stop) / 2;
  zoomTo(centre - ((centre - first) / (stop - first)) * wide, wide);
}

function clamp(x, low, high) {
  return Math.max(low, Math.min(high, x));
}

function options(select, words, chosen) {
  select.replaceChildren(...words.map((text, k) => new Option(text, String(k))));
  if (chosen !== undefined) select.value = chosen;
}

function controls() {
  options(byId("layer"), layers.map(({ name }) => titleOf(name)));
  byId("layer").parentElement.hidden = layers.length < 2;
  byId("layer").addEventListener("change", () => {
    const number = view.layer.units[view.unit];
    const layer = layers[Number(byId("layer").value)];
    choose({ layer, unit: Math.max(0, layer.place(number)) });
  });
  byId("row").addEventListener("change", () => choose({ row: Number(byId("row").value) }));
  byId("unit").addEventListener("change", () => choose({ unit: Number(byId("unit").value) }));
  byId("order").addEventListener("change", () => choose({ order: byId("order").value }));
  byId("at").addEventListener("input", () => stepTo(Number(byId("at").value)));
  byId("back").addEventListener("click", () => stepTo(view.step - 1));
  byId("forward").addEventListener("click", () => stepTo(view.step + 1));
  byId("play").addEventListener("click", play);
  byId("zoom-in").addEventListener("click", () => zoomBy(0.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(2));
  byId("zoom-all").addEventListener("click", () => zoomTo(0, view.axis));
  byId("zoom-left").addEventListener("click", () => move(-1));
  byId("zoom-right").addEventListener("click", () => move(1));
  document.addEventListener("keydown", key);
  byId("player").addEventListener("submit", (event) => event.preventDefault());
  theme();
  onChange(showControls);
}

function rowWords(row) {
  if (isOwn(row)) return "yours";
  if (page.row_names) return page.row_names[row];
  const last = page.times?.[row]?.[end(row) - 1];
  return row + (page.lengths ? ` (${end(row)} steps)` : "") + (last === undefined ? "" : `, to ${last}`);
}

let shownLayer = null;
let shownRows = 0;

function showControls() {
  const { layer, row, unit, step } = view;
  if (shownLayer !== layer) options(byId("unit"), layer.units.map(String));
  shownLayer = layer;
  if (shownRows !== rowCount()) {
    shownRows = rowCount();
    byId("row").parentElement.hidden = shownRows < 2;
    options(byId("row"), range(0, shownRows).map(rowWords));
  }
  byId("layer").value = String(layers.indexOf(layer));
  byId("row").value = String(row);
  byId("unit").value = String(unit);
  byId("at").max = String(Math.max(0, end(row) - 1));
  byId("at").value = String(step);
  byId("at").setAttribute("aria-valuetext", stepName(step, row));
  byId("at-words").textContent = stepName(step, row);
}

function move(by) {
  const [first, stop] = view.zoom;
  zoomTo(first + (by * (stop - first)) / 2, stop - first);
}

let playing = 0;
let stepped = false; // whether the reader has chosen a step

function stepTo(step) {
  stepped = true;
  choose({ step });
}

/** Go on by itself, from the first step unless the reader has chosen another, or stop. */
function play() {
  const going = playing !== 0;
  clearInterval(playing);
  playing = 0;
  if (!going) {
    if (!stepped || view.step >= end(view.row) - 1) choose({ step: 0 });
    stepped = true;
    playing = setInterval(() => {
      choose({ step: view.step + 1 });
      if (view.step >= end(view.row) - 1) play();
    }, 600);
  }
  byId("play").textContent = going ? "Play" : "Stop";
  byId("play").setAttribute("aria-pressed", String(!going));
}

const KEYS = {
  ArrowLeft: () => stepTo(view.step - 1),
  ArrowRight: () => stepTo(view.step + 1),
  ArrowUp: () => choose({ unit: view.unit + 1 }),
  ArrowDown: () => choose({ unit: view.unit - 1 }),
  Home: () => stepTo(0),
  End: () => stepTo(end(view.row)),
  p: play,
};

/** Keys, except where they have another meaning already. */
function key(event) {
  const taken = event.target.closest?.("select, input, textarea, [tabindex]");
  if (taken || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
}

function theme() {
  const select = byId("theme");
  const put = () => {
    if (select.value) document.documentElement.dataset.theme = select.value;
    else delete document.documentElement.dataset.theme;
    redraw();
  };
  select.addEventListener("change", put);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
}

/** Let a canvas choose: a click chooses a place, a drag zooms to a stretch of steps; `words` gives the text on
hovering. */
function pointing(canvas, axisOf, pick, words) {
  let from = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const axis = axisOf();
    return { x, t: axis.step(x), r: axis.row ? axis.row(y) : 0 };
  };
  canvas.addEventListener("pointerdown", (event) => (from = place(event)));
  canvas.addEventListener("pointerup", (event) => {
    const to = place(event);
    if (from && Math.abs(to.x - from.x) > 12 && event.pointerType === "mouse") {
      zoomTo(Math.min(from.t, to.t), Math.abs(to.t - from.t) + 1);
    } else pick(to.t, to.r);
    from = null;
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "mouse") return;
    const { t, r } = place(event);
    tip(event, words(t, r));
  });
  canvas.addEventListener("pointerleave", () => (byId("tip").hidden = true));
}

function tip(event, words) {
  const box = byId("tip");
  box.hidden = false;
  box.textContent = words;
  const left = Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8);
  const above = event.clientY + box.offsetHeight + 24 > innerHeight;
  box.style.left = `${left}px`;
  box.style.top = `${above ? event.clientY - box.offsetHeight - 12 : event.clientY + 16}px`;
}
