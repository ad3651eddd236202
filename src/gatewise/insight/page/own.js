// A sequence of the reader's own: another input, values that are held, and what the network makes of them.
// It is one more row of the page, after those that Python ran.

const MOST_STEPS = 5000;

const own = {
  exists: false,
  version: 0, // grows with every change
  ran: -1, // the version that the network has computed
  base: 0, // the row that it began as
  input: new Float32Array(), // [T, I], or token ids [T]
  words: null, // [T], or null
  times: null, // [T], or null
  changed: false, // whether the input is another one
  held: [], // { layer, name, unit (null for all), number, first, stop }
  found: null, // what the network computes
  without: null, // the same with nothing held
};

let network = null;
const answered = new Map(); // what the network computes for rows that Python ran

function isOwn(row) {
  return row === page.rows;
}

/** The row that Python ran and that a row is, or began as. */
function baseOf(row) {
  return isOwn(row) ? own.base : row;
}

/** What the network computes for a row. */
function foundOf(row) {
  if (isOwn(row)) return ownRun().found;
  if (!answered.has(row)) answered.set(row, network.run(network.given(row), row));
  return answered.get(row);
}

/** The input of a row. */
function inputOf(row) {
  return isOwn(row) ? own.input : network.given(row);
}

/** Begin a sequence of the reader's as a copy of the row that is shown, unless it is shown already. */
function begin() {
  if (isOwn(view.row)) return;
  const row = view.row;
  const words = page.tokens?.[row]?.slice(0, end(row)) ?? null;
  const times = page.times?.[row] ?? null;
  Object.assign(own, { exists: true, base: row, input: network.given(row), words, times, held: [], changed: false });
}

/** Show what follows from a change of the reader's sequence. */
function changeOwn(changes) {
  begin();
  Object.assign(own, changes, { version: own.version + 1 });
  own.changed ||= "input" in changes;
  choose({ row: page.rows, step: view.step });
}

/** What the network computes for the reader's sequence as it is now: `found`, and `without` what is held. */
function ownRun() {
  if (own.ran !== own.version) {
    own.without = network.run(own.input, own.base);
    own.found = own.held.length ? network.run(own.input, own.base, own.held) : own.without;
    own.ran = own.version;
  }
  return own;
}

/** Give the reader's sequence up. */
function discard() {
  Object.assign(own, { exists: false, held: [], version: own.version + 1 });
  choose({ row: own.base });
}

/** A value of the reader's sequence; NaN of layers that do not run here. */
function ownValue(layer, called, t, unit) {
  const run = ownRun().found.layers.get(layer.name);
  const values = run && Object.hasOwn(run.values, called) ? run.values[called] : null;
  return values ? values[(t * values.length) / run.steps + layer.units[unit]] : NaN;
}

/** A state of the reader's sequence as it enters a step. */
function ownEntering(layer, state, t, unit) {
  const before = layer.before(t);
  if (before >= 0 && before < end(page.rows)) return ownValue(layer, state, before, unit);
  return ownRun().found.layers.get(layer.name)?.begin[state][layer.units[unit]] ?? NaN;
}

/** What each step of a row wrote to a unit's memory, times what later gates keep of it, and what was there before. */
function ownLedger(layer, unit) {
  const { kind } = layer;
  const row = page.rows;
  const order = range(0, end(row));
  if (!layer.reverse) order.reverse();
  const written = new Float64Array(end(row));
  let kept = 1;
  for (const t of order) {
    const fixed = isHeld(layer, kind.state, unit, t);
    const now = layer.value(kind.state, t, row, unit);
    written[t] = kept * (fixed ? now : compute(kind.write, layer, t, row, unit));
    kept *= fixed ? 0 : compute(kind.keep, layer, t, row, unit);
  }
  const first = layer.reverse ? end(row) - 1 : 0;
  const last = layer.reverse ? 0 : end(row) - 1;
  return {
    written,
    start: kept * layer.entering(kind.state, first, row, unit),
    total: layer.value(kind.state, last, row, unit),
  };
}

function isHeld(layer, called, unit, t) {
  const number = layer.units[unit];
  return own.held.some(
    (edit) => edit.layer === layer.name && edit.name === called && (edit.unit ?? number) === number && edit.first <= t && t < edit.stop,
  );
}

const ledgers = new Map();

/** The ledger of a unit in a row. */
function ledgerOf(layer, row, unit) {
  const { kind } = layer;
  if (!isOwn(row)) {
    return {
      of: (t) => (t < end(row) ? at(kind.ledger, t, row, unit) : NaN),
      start: at(kind.start, row, unit),
      total: at(kind.total, row, unit),
    };
  }
  const key = `${own.version} ${layer.name} ${layer.memory} ${unit}`;
  if (!ledgers.has(key)) {
    ledgers.clear();
    ledgers.set(key, ownLedger(layer, unit));
  }
  const { written, ...rest } = ledgers.get(key);
  return { of: (t) => written[t] ?? NaN, ...rest };
}
