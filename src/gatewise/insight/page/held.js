// Values that the reader holds: a gate at a number, a unit at zero, over chosen steps.

/** What can be held of the chosen layer: gates first, then what is computed, then states. */
function holdable(layer) {
  const runner = network.layers.get(layer.name);
  if (!runner) return [];
  const order = ["gate", "value", "state"];
  const named = layer.values.filter(({ name: called }) => runner.holds.includes(called));
  return named.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)).map(({ name: called }) => called);
}

/** Hold one more value; what is held goes on being held. */
function hold(edit) {
  begin();
  changeOwn({ held: [...own.held, edit] });
}

function release(edit) {
  changeOwn({ held: own.held.filter((other) => other !== edit) });
}

function change(edit, number) {
  Object.assign(edit, { number });
  changeOwn({ held: own.held });
}

/** An edit in words. */
function heldWords({ layer, name: called, unit, first, stop: last }) {
  const among = layers.length > 1 ? ` of ${titleOf(layer)}` : "";
  const who = unit === null ? "all units" : `unit ${unit}`;
  const steps = `step ${page.first + first}` + (last > first + 1 ? ` to ${page.first + last - 1}` : "");
  return `${called} of ${who}${among}, ${steps}`;
}

let shownHolds = null;

function showHeld() {
  const { layer, row } = view;
  if (!network) return;
  const names = holdable(layer);
  byId("hold").hidden = !names.length;
  byId("silence").hidden = !names.includes(layer.output.state);
  byId("hold-not").hidden = names.length > 0;
  byId("hold-not").textContent = `The page does not run ${titleOf(layer.name)}.`;
  if (shownHolds !== layer) {
    options(byId("hold-value"), names);
    for (const option of byId("hold-value").options) option.value = option.text;
  }
  shownHolds = layer;
  options(byId("hold-unit"), [`unit ${layer.units[view.unit]}`, "all units"], byId("hold-unit").value || "0");
  for (const id of ["hold-first", "hold-last"]) {
    byId(id).min = String(page.first);
    byId(id).max = String(page.first + Math.max(0, end(row) - 1));
  }
  if (!byId("hold-last").dataset.chosen) byId("hold-last").value = byId("hold-last").max;
  if (!byId("hold-first").dataset.chosen) byId("hold-first").value = byId("hold-first").min;
  showHeldList();
}

let shownHeld = null;

/** The list of what is held, each with its number and a button that lets it go. */
function showHeldList() {
  const held = isOwn(view.row) ? own.held : [];
  if (shownHeld === held) return;
  shownHeld = held;
  byId("held").replaceChildren(...held.map((edit) => {
    const number = element("input", { type: "number", step: "any", "aria-label": `The number at which ${heldWords(edit)} is held` });
    number.value = String(edit.number);
    number.addEventListener("input", () => isNumber(number) && change(edit, number.valueAsNumber));
    const button = element("button", { type: "button", "aria-label": `Let go of ${heldWords(edit)}` }, "Let go");
    button.addEventListener("click", () => release(edit));
    return element("li", {}, `${heldWords(edit)}: held at `, number, " ", button);
  }));
}

/** Whether a field has a number that is finite as float32; else the field says so when it is sent. */
function isNumber(field) {
  const found = Number.isFinite(Math.fround(field.valueAsNumber));
  field.setCustomValidity(found || Number.isNaN(field.valueAsNumber) ? "" : "The number must be between -3.4e38 and 3.4e38.");
  return found;
}

function heldControls() {
  byId("hold-number").addEventListener("input", () => isNumber(byId("hold-number")));
  byId("hold").addEventListener("submit", (event) => {
    event.preventDefault();
    const [first, last] = ["hold-first", "hold-last"].map((id) => byId(id).valueAsNumber - page.first);
    const unit = byId("hold-unit").value === "1" ? null : view.layer.units[view.unit];
    const edit = { layer: view.layer.name, name: byId("hold-value").value, unit, number: byId("hold-number").valueAsNumber };
    hold({ ...edit, first: Math.min(first, last), stop: Math.max(first, last) + 1 });
  });
  byId("silence").addEventListener("click", () => {
    const { layer, unit } = view;
    hold({ layer: layer.name, name: layer.output.state, unit: layer.units[unit], number: 0, first: 0, stop: end(view.row) });
  });
  for (const id of ["hold-first", "hold-last"]) {
    byId(id).addEventListener("input", () => (byId(id).dataset.chosen = "true"));
  }
  onChange(showHeld);
}
