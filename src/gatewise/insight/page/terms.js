// Evaluates, labels and analyses terms of the cell in the form of expressions.py.

const OPERATIONS = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => -a,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  abs: Math.abs,
  tanh: Math.tanh,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
  softplus: (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))),
  relu: (a) => Math.max(a, 0),
  maximum: Math.max,
  minimum: Math.min,
  less: (a, b) => a < b,
  less_equal: (a, b) => a <= b,
  where: (condition, a, b) => (condition ? a : b),
  // In evaluation mode dropout does nothing, and zoneout has its expected value.
  dropout: (a) => a,
  zoneout: (old, fresh, rate) => rate * old + (1 - rate) * fresh,
};

/** The value of a term at a step of a row, for a unit. */
function compute(term, layer, t, row, unit) {
  if (typeof term === "number") return term;
  const [op, ...args] = term;
  if (op === "v") return layer.value(args[0], t, row, unit);
  if (op === "s") return layer.entering(args[0], t, row, unit);
  if (op === "p") return at(layer.vectors[args[0]], unit);
  return OPERATIONS[op](...args.map((arg) => compute(arg, layer, t, row, unit)));
}

const BINDING = { less: 0, less_equal: 0, add: 1, sub: 1, mul: 2, div: 2, neg: 3 };
const SIGNS = { add: "+", sub: MINUS, mul: "×", div: "/", less: "<", less_equal: "≤" };
const FUNCTIONS = { sigmoid: "σ", maximum: "max", minimum: "min" };

/** A term written out; `leaf` writes names, by default as they are. */
function label(term, leaf = name, tightly = 0) {
  if (typeof term === "number") return String(Number(term.toPrecision(6))).replace("-", MINUS);
  const [op, ...args] = term;
  if (op === "v" || op === "s" || op === "p") return leaf(term);
  const binding = BINDING[op] ?? 4;
  let written;
  if (op === "neg") written = MINUS + label(args[0], leaf, 3);
  else if (SIGNS[op]) {
    const right = binding + (op === "sub" || op === "div");
    written = `${label(args[0], leaf, binding)} ${SIGNS[op]} ${label(args[1], leaf, right)}`;
  } else written = `${FUNCTIONS[op] ?? op}(${args.map((arg) => label(arg, leaf)).join(", ")})`;
  return binding < tightly ? `(${written})` : written;
}

function name([op, called]) {
  return op === "s" ? `old ${called}` : called;
}

/** A term with the numbers of a unit in the place of names; negative ones in brackets. */
function filled(term, ...place) {
  return label(term, (leaf) => {
    const number = short(compute(leaf, ...place));
    return number.startsWith(MINUS) ? `(${number})` : number;
  });
}

/** What a name stands for, if that can be written. */
function spelled(term, layer) {
  if (!Array.isArray(term) || term[0] !== "v") return term;
  return layer.lines.find((line) => line.name === term[1])?.term ?? term;
}

/** The factors of a term: gates, which let through, and the rest, which is what goes through. */
function factors(term, layer) {
  const found = [];
  const split = (part) => {
    if (Array.isArray(part) && part[0] === "mul") part.slice(1).forEach(split);
    else found.push(part);
  };
  split(term);
  const gates = found.filter((part) => isGate(part, layer));
  const rest = found.filter((part) => !isGate(part, layer));
  if (!rest.length) return { gates: gates.slice(0, -1), content: gates.at(-1) };
  return { gates, content: rest.reduce((a, b) => ["mul", a, b]) };
}

/** Whether a term is between 0 and 1: a gate, or 1 less a gate. */
function isGate(term, layer) {
  if (!Array.isArray(term)) return false;
  if (term[0] === "v") return layer.byName.get(term[1]).kind === "gate";
  return term[0] === "sigmoid" || (term[0] === "sub" && term[1] === 1 && isGate(term[2], layer));
}
