// Text: an LSTM has read stories letter by letter. One of its units knows whether a bracket is open.

const OFF = 100; // a bias of -OFF shuts a gate for good
const QUOTES = ["“", "”"], BRACKETS = ["(", ")"];
// Signs of other keyboards, and what the network knows instead.
const KNOWN = {
  "「": "“", "」": "”", "『": "“", "』": "”", "«": "“", "»": "”", "‘": "'", "’": "'", "（": "(", "）": ")", "，": ",", "。": ".", "、": ",",
  "！": "!", "？": "?", "：": ":", "；": ";", "–": "-", "—": "-", "…": ".",
};

/** A trained network that reads and writes letters. */
class Reader {
  constructor(kernels, { about, tensors, shapes }) {
    this.letters = [...about.letters];
    this.unseen = about.unseen;
    this.gates = about.gates.split(" ");
    this.units = shapes.weight_hh[1];
    this.weight = tensors["readout.weight"];
    this.bias = tensors["readout.bias"];
    this.layer = new gatewise.Layer(kernels, { inputSize: this.letters.length, hiddenSize: this.units });
    this.trained = Object.fromEntries(Object.keys(this.layer.weights).map((name) => [name, tensors[name]]));
    this.silence(null);
  }

  /** Keep the memory of a unit at 0: it forgets everything and writes nothing. Without a unit, nothing is silenced. */
  silence(unit) {
    for (const [name, numbers] of Object.entries(this.layer.weights)) {
      numbers.set(this.trained[name]);
      if (unit === null) continue;
      const part = numbers.length / this.gates.length, width = part / this.units;
      for (const gate of ["f", "i"]) {
        const start = this.gates.indexOf(gate) * part + unit * width;
        numbers.fill(name === "bias_ih" ? -OFF : 0, start, start + width);
      }
    }
  }

  /** A text in the letters that the network knows; what it does not know becomes a space. */
  known(text) {
    const letters = [];
    for (const letter of text.normalize("NFD").replace(/\p{M}/gu, "")) {
      const open = letters.length === 0 || /[\s(“-]/.test(letters.at(-1));
      const own = letter === '"' ? QUOTES[open ? 0 : 1] : KNOWN[letter] ?? letter;
      letters.push(this.letters.includes(own) ? own : " ");
    }
    return letters.join("");
  }

  /** Read a known text: the memory `c` [T, H], the outputs `h` [T, H], and the states after it. */
  read(text, states) {
    const letters = [...text], wide = this.letters.length;
    const x = new Float32Array(letters.length * wide);
    letters.forEach((letter, t) => (x[t * wide + this.letters.indexOf(letter)] = 1));
    const run = this.layer.forward(x, { states, watch: ["c"] });
    return { c: run.values.c, h: run.output, states: run.states };
  }

  /** How likely each letter is to follow, from `h` [H]. */
  guesses(h, temperature = 1) {
    const sums = this.letters.map((_, k) => {
      let sum = this.bias[k];
      for (let u = 0; u < this.units; u++) sum += this.weight[k * this.units + u] * h[u];
      return sum / temperature;
    });
    return shares(sums);
  }

  /** How likely a letter is after a text. */
  chance(text, letter) {
    const { h } = this.read(this.known(text));
    return this.guesses(h.slice(-this.units))[this.letters.indexOf(letter)];
  }

  /**
   * How well the memory of each unit tells whether something is open. A threshold is chosen on the first half of the
   * marks, and marked on the second: the mean of the share that is right inside and the share that is right outside.
   */
  tells(c, marks) {
    const half = Math.floor(marks.length / 2);
    return Array.from({ length: this.units }, (_, unit) => {
      const values = Float32Array.from(marks, (_, t) => c[t * this.units + unit]);
      const { limit, above } = threshold(values.subarray(0, half), marks.slice(0, half));
      let [inside, outside, rightInside, rightOutside] = [0, 0, 0, 0];
      for (let t = half; t < marks.length; t++) {
        const says = values[t] > limit === above;
        if (marks[t]) [inside, rightInside] = [inside + 1, rightInside + says];
        else [outside, rightOutside] = [outside + 1, rightOutside + !says];
      }
      return { unit, inside: rightInside / inside, outside: rightOutside / outside, right: (rightInside / inside + rightOutside / outside) / 2 };
    });
  }
}

/** The limit that divides numbers best, and whether numbers above it are marked. */
function threshold(values, marks) {
  const order = [...values.keys()].sort((a, b) => values[a] - values[b]);
  const [all, none] = [marks.filter(Boolean).length, marks.filter((mark) => !mark).length];
  let [below, belowNone, best, limit] = [0, 0, 0, 0];
  for (let k = 0; k < order.length; k++) {
    if (marks[order[k]]) below += 1;
    else belowNone += 1;
    const gain = belowNone / none - below / all; // above 0: marked numbers lie above
    const next = values[order[k + 1]] ?? values[order[k]];
    if (Math.abs(gain) > Math.abs(best)) [best, limit] = [gain, (values[order[k]] + next) / 2];
  }
  return { limit, above: best > 0 };
}

/** For each letter of a text, whether something is open after it. */
function inside(text, [open, close]) {
  let now = false;
  return [...text].map((letter) => (now = letter === open || (now && letter !== close)));
}

/** Softmax. */
function shares(sums) {
  const most = Math.max(...sums), powers = sums.map((sum) => Math.exp(sum - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** The place that a number in [0, 1) draws, from shares. */
function drawn(parts, number) {
  let left = number;
  const place = parts.findIndex((part) => (left -= part) < 0);
  return place < 0 ? parts.indexOf(Math.max(...parts)) : place;
}

/** Learning to write a text: the letters after each of its letters, from random places on. */
function taskOf(text) {
  const letters = [...new Set(text)], places = [...text].map((letter) => letters.indexOf(letter));
  return {
    letters, inputs: letters.length, outputs: letters.length, loss: "classes", every: true,
    draw(random, T, B) {
      const x = new Float32Array(T * B * letters.length), target = new Int32Array(T * B);
      for (let b = 0; b < B; b++) {
        const start = Math.floor(random.next() * places.length);
        for (let t = 0; t < T; t++) {
          x[(t * B + b) * letters.length + places[(start + t) % places.length]] = 1;
          target[t * B + b] = places[(start + t + 1) % places.length];
        }
      }
      return { x, target };
    },
  };
}

/** What the parts of the scene share: the network, what its units know of brackets, and the unit that is shown. */
class Study {
  constructor(kit, net) {
    Object.assign(this, { kit, words: kit.words, net });
    const { c } = net.read(net.unseen);
    const brackets = inside(net.unseen, BRACKETS), third = Math.floor(brackets.length / 3);
    this.byBrackets = net.tells(c, brackets);
    this.knows = best(this.byBrackets);
    this.byQuotes = once(() => net.tells(c, inside(net.unseen, QUOTES)));
    this.chance = once(() => best(net.tells(c, [...brackets.slice(third), ...brackets.slice(0, third)])).right);
    this.suspects = suspectsOf(net, c, this.byBrackets);
    this.unit = this.suspects[0];
  }

  percent(share) {
    return `${this.kit.number(100 * share, share > 0.995 ? 3 : 2)}\u00a0%`;
  }

  named(unit) {
    return this.words("unit", { unit: unit + 1 });
  }

  /** How likely a closing bracket is after a text, with a unit silenced or none. */
  closes(text, silent = null) {
    this.net.silence(silent);
    const share = this.net.chance(text, ")");
    this.net.silence(null);
    return this.percent(share);
  }
}

/** What comes next after an open bracket? */
function guessOf(kit, study) {
  const { words, net } = study, [open, shut] = [words("question_open"), words("question_shut")];
  const likely = [".", ")", " ", "”"];
  return kit.question({
    ask: words("ask", { text: open }),
    choices: likely.map((_, k) => words(`letter_${k}`)),
    right: () => likely.map((letter) => net.chance(open, letter)).reduce((top, share, k, all) => (share > all[top] ? k : top), 0),
    said: () => words("ask_said", { open: study.closes(open), shut: study.closes(shut), text: shut }),
  });
}

/** The text that the network reads, in the colours of a unit, and what it guesses after a letter. */
function readingOf(kit, study) {
  const { words, net, suspects } = study;
  const written = (letter) => ({ "\n": "↵", " ": "␣" })[letter] ?? letter;
  const read = { text: "", at: Infinity };
  const follow = () => {
    read.text = net.known(reading.value).slice(0, 1000) || " ";
    Object.assign(read, net.read(read.text));
    place.querySelector("input").max = read.text.length;
    look(Math.min(read.at, read.text.length - 1));
  };
  const look = (at) => {
    read.at = at;
    place.value = at + 1;
    const shares = net.guesses(read.h.subarray(at * net.units, (at + 1) * net.units));
    read.likely = net.letters.map((letter, k) => [written(letter), shares[k]]).sort((a, b) => b[1] - a[1]).slice(0, 5);
    [picture, bars].forEach((view) => view.redraw());
  };
  const show = (unit) => {
    study.unit = units.value = unit;
    any.value = unit + 1;
    picture.redraw();
  };
  const reading = kit.input({ label: words("type"), value: words("example"), lines: 4, on: follow });
  const picture = page(kit, {
    label: () => words("picture", { unit: study.unit + 1 }),
    text: () => read.text,
    colour: (t) => Math.tanh(read.c[t * net.units + study.unit]),
    at: () => read.at,
    on: look,
  });
  const units = kit.choice({
    label: words("colour"), value: study.unit, choices: suspects.map((unit) => ({ value: unit, text: study.named(unit) })), on: show,
  });
  const any = kit.slider({
    label: words("any", { units: net.units }), min: 1, max: net.units, step: 1, value: study.unit + 1, shown: String, on: (x) => show(x - 1),
  });
  const place = kit.slider({
    label: words("place"), min: 1, max: 1000, step: 1, value: 1000, shown: (x) => written(read.text[x - 1] ?? ""), on: (x) => look(x - 1),
  });
  const bars = guessesOf(kit, { label: words("guesses"), rows: () => read.likely, percent: (share) => study.percent(share) });
  const element = kit.card(kit.stack(reading, picture.element, kit.text("colours"), units, any, place, bars.element));
  return { element, follow, text: () => read.text };
}

/** Which unit knows? And, once it is found, how the page knows that. */
function huntOf(kit, study) {
  const { words, net, byBrackets, knows, suspects } = study, letters = net.unseen.length;
  const share = (part) => study.percent(part);
  const picture = scoresOf(kit, {
    label: words("scores_label", { unit: knows.unit + 1 }), scores: () => byBrackets.map(({ right }) => right), chance: study.chance, words,
  });
  const table = kit.numbers({
    columns: ["unit", "inside", "outside", "quotes"].map((name) => words(`${name}_column`)),
    rows: () =>
      [...byBrackets].sort((a, b) => b.right - a.right).map((one) =>
        [study.named(one.unit), share(one.inside), share(one.outside), share(study.byQuotes()[one.unit].right)]),
  });
  const scores = kit.stack(picture.element, table);
  const check = kit.check({
    ask: words("check"),
    choices: suspects.map((unit) => study.named(unit)),
    right: () => suspects.flatMap((unit, k) => (byBrackets[unit].right > knows.right - 0.05 ? [k] : [])),
    said: (answer, isRight) => {
      const { unit, inside: within, outside } = byBrackets[suspects[answer]], open = words("question_open");
      const told = { unit: unit + 1, inside: share(within), outside: share(outside) };
      if (!isRight) return words("check_wrong", told);
      const quotes = best(study.byQuotes());
      return words("check_right", {
        ...told, letters: Math.ceil(letters / 2), with: study.closes(open), silent: study.closes(open, unit),
        quotes: quotes.unit + 1, sure: share(quotes.right),
      });
    },
    then: (answer, isRight) => {
      scores.hidden = !isRight;
      if (isRight) scores.prepend(kit.text("scores", { letters, chance: share(study.chance()) }));
    },
  });
  scores.hidden = true;
  return [check, scores];
}

scene("text", {
  async build({ root, words, kit, engine }) {
    const net = new Reader(await engine.cell("lstm"), await engine.weights("text"));
    const study = new Study(kit, net), question = guessOf(kit, study), reading = readingOf(kit, study);
    root.append(
      kit.text("lead", { units: net.units }),
      question,
      kit.text("look", { units: net.units }),
      reading.element,
      kit.text("hunt"),
      ...huntOf(kit, study),
      kit.heading(words("writes")),
      kit.text("writes_text"),
      writing(kit, study, reading.text),
      kit.heading(words("own")),
      kit.text("own_text"),
      await learning(kit, { words, engine }),
      kit.formula(["$c$ = $f$ · $c_$ + $i$ · $g$", "$h$ = $o$ · tanh($c$)", words("formula")]),
    );
    reading.follow();
    return {};
  },
});

/** What a function gives, computed when it is first asked for. */
function once(make) {
  let kept;
  return () => (kept ??= make());
}

function best(scores) {
  return scores.reduce((top, score) => (score.right > top.right ? score : top));
}

/** Six units: the one that knows most about brackets, and five that move much and know little. */
function suspectsOf(net, c, scores) {
  const T = c.length / net.units, knows = best(scores);
  const moves = scores.map(({ unit }) => {
    let [sum, squares] = [0, 0];
    for (let t = 0; t < T; t++) [sum, squares] = [sum + c[t * net.units + unit], squares + c[t * net.units + unit] ** 2];
    return squares / T - (sum / T) ** 2;
  });
  const others = scores.filter(({ right }) => right < (knows.right + 0.5) / 2).map(({ unit }) => unit);
  others.sort((a, b) => moves[b] - moves[a]);
  return [knows.unit, ...others.slice(0, 5)].sort((a, b) => a - b);
}

/** A text whose letters are coloured: from -1 to 1. */
function page(kit, { label, text, colour, at, on }) {
  const [WIDE, TALL] = [10, 27];
  let places = [];
  const lay = (width) => {
    const most = Math.max(8, Math.floor(width / WIDE));
    const letters = [...text()];
    places = [];
    let [row, column] = [0, 0];
    letters.forEach((letter, t) => {
      const word = letters.slice(t).findIndex((next) => next === " " || next === "\n");
      const long = word < 0 ? letters.length - t : word;
      const begins = t === 0 || /\s/.test(letters[t - 1]);
      if ((column >= most && letter !== " ") || (begins && column > 0 && column + long > most && long <= most)) [row, column] = [row + 1, 0];
      places.push({ row, column, letter });
      if (letter === "\n") [row, column] = [row + 1, 0];
      else column += 1;
    });
    return row + 1;
  };
  return kit.canvas({
    label,
    height: (width) => TALL * lay(width) + 4,
    draw(pen, width) {
      lay(width);
      pen.font = `15px ${style("--code")}`;
      pen.textAlign = "center";
      places.forEach(({ row, column, letter }, t) => {
        const value = colour(t), [x, y] = [column * WIDE, row * TALL + 2];
        pen.globalAlpha = 0.6 * Math.abs(value);
        pen.fillStyle = kit.colour(value > 0 ? "positive" : "negative");
        pen.fillRect(x, y, WIDE, TALL - 4);
        pen.globalAlpha = 1;
        pen.fillStyle = pen.strokeStyle = kit.colour("ink");
        pen.fillText(letter === "\n" ? "" : letter, x + WIDE / 2, y + TALL / 2 - 2);
        if (t === at()) {
          pen.lineWidth = 2;
          pen.strokeRect(x, y, WIDE, TALL - 4);
        }
      });
    },
    on: ({ x, y }) => {
      const [row, column] = [Math.floor((y - 2) / TALL), Math.floor(x / WIDE)];
      const t = places.findIndex((place) => place.row === row && place.column === column);
      if (t >= 0) on(t);
    },
  });
}

/** Letters and how likely they are, as bars. */
function guessesOf(kit, { label, rows, percent }) {
  return kit.canvas({
    label: () => `${label} ${rows().map(([letter, share]) => `${letter} ${percent(share)}`).join(", ")}`,
    height: 150,
    draw(pen, width) {
      pen.fillStyle = kit.colour("ink");
      pen.fillText(label, 0, 12);
      rows().forEach(([letter, share], k) => {
        const y = 38 + k * 24;
        pen.font = `16px ${style("--code")}`;
        pen.fillStyle = kit.colour("ink");
        pen.fillText(letter, 4, y);
        pen.font = `13px ${style("--font")}`;
        pen.fillStyle = kit.colour("data");
        pen.fillRect(28, y - 8, Math.max(1, share * (width - 110)), 16);
        pen.fillStyle = kit.colour("soft");
        pen.fillText(percent(share), 36 + share * (width - 110), y);
      });
    },
  });
}

/** The accuracy of each unit as a bar, and that of the best unit on brackets in other places as a line. */
function scoresOf(kit, { label, scores, chance, words }) {
  return kit.canvas({
    label,
    height: 190,
    draw(pen, width, tall) {
      const all = scores(), top = Math.max(...all), line = chance(), [left, bottom] = [50, tall - 30];
      const y = (share) => bottom - (Math.max(0, share - 0.5) / 0.5) * (bottom - 14);
      const wide = (width - left) / all.length;
      pen.textAlign = "right";
      for (const share of [0.5, 0.75, 1]) {
        pen.fillStyle = kit.colour("line");
        pen.fillRect(left, Math.round(y(share)), width - left, 1);
        pen.fillStyle = kit.colour("soft");
        pen.fillText(`${100 * share} %`, left - 6, y(share));
      }
      all.forEach((share, unit) => {
        pen.fillStyle = kit.colour(share === top ? "output" : "data");
        pen.fillRect(left + unit * wide + 1, y(share), Math.max(1, wide - 2), Math.max(1, bottom - y(share)));
      });
      pen.fillStyle = kit.colour("ink");
      pen.fillRect(left, Math.round(y(line)), width - left, 2);
      pen.fillRect(width - 24, 30, 24, 2);
      pen.fillText(words("by_chance"), width - 30, 31);
      pen.fillStyle = kit.colour("soft");
      pen.fillText(words("units_axis", { units: all.length }), width, tall - 10);
    },
  });
}

/** The network goes on writing the text. */
function writing(kit, study, start) {
  const { net, words } = study;
  const shown = kit.said();
  shown.classList.add("text-written");
  const silent = kit.toggle({ label: words("silence"), on: () => {} });
  const temperature = kit.slider({ label: words("temperature"), min: 0.1, max: 1.5, step: 0.1, value: 0.6, shown: (x) => kit.number(x, 2) });
  let turn = 0, random = null, text = "", states = null, h = null;
  const letter = () => {
    const next = net.letters[drawn(net.guesses(h, temperature.value), random.next())];
    net.silence(silent.value ? study.unit : null);
    ({ states, h } = net.read(next, states));
    net.silence(null);
    text += next;
  };
  const loop = kit.loop(() => {
    for (let k = 0; k < (kit.calm ? 300 : 3) && text.length < 300; k++) letter();
    shown.replaceChildren(text);
    return text.length < 300;
  });
  const button = kit.button({
    label: words("write"), main: true,
    on: () => {
      turn += 1;
      random = new training.Random(turn, "write");
      text = "";
      net.silence(silent.value ? study.unit : null);
      const run = net.read(start());
      net.silence(null);
      [states, h] = [run.states, run.h.slice(-net.units)];
      loop.start();
    },
  });
  return kit.card(kit.stack(temperature, silent, kit.row(button), shown));
}

/** A network learns the learner's own text in the page. */
async function learning(kit, { words, engine }) {
  const STEPS = 32, UNITS = 48, MOST = 3000, SAMPLE = 90;
  const kernels = await engine.cell("lstm");
  let trainer = null, task = null, bits = [], since = 0;
  const shown = kit.said(), sample = kit.stack();
  sample.classList.add("text-written");
  const own = kit.input({ label: words("own_label"), value: words("own_example"), lines: 6, on: () => renew() });
  const guessing = () => {
    const counts = task.letters.map((letter) => [...own.value].filter((other) => other === letter).length / [...own.value].length);
    return -counts.reduce((sum, share) => sum + share * Math.log2(share), 0);
  };
  const chart = kit.chart({
    label: () => words("bits_label", { bits: kit.number(bits.at(-1) ?? NaN, 2) }),
    height: 180, across: words("iteration"), range: () => [0, Math.max(1, ...bits, task ? guessing() : 1)],
    lines: () => [
      { name: words("bits"), colour: "state", values: bits },
      { name: words("bits_guess"), colour: "soft", values: Array(Math.max(2, bits.length)).fill(task ? guessing() : NaN), dash: [4, 4] },
    ],
  });
  const say = () => shown.say(words("learned", { count: bits.length, bits: kit.number(bits.at(-1) ?? NaN, 3), letters: task.letters.length, choices: kit.number(2 ** (bits.at(-1) ?? NaN), 2) }));
  const write = () => {
    const random = new training.Random(trainer.losses.length, "write");
    let states, place = Math.floor(random.next() * task.letters.length), text = task.letters[place];
    for (let k = 0; k < SAMPLE; k++) {
      const x = new Float32Array(task.letters.length);
      x[place] = 1;
      const run = trainer.layer.forward(x, { states });
      states = run.states;
      place = drawn(shares(Array.from(trainer.readout.forward(run.output), (y) => y / 0.7)), random.next());
      text += task.letters[place];
    }
    sample.replaceChildren(text);
  };
  const renew = () => {
    loop.stop();
    task = [...own.value].length > 1 ? taskOf(own.value) : null;
    const before = kit.kept.learned; // as after a change of language
    [trainer, bits, since] = before?.text === own.value ? [before.trainer, before.bits, 0] : [null, [], 0];
    sample.replaceChildren();
    if (bits.length) [write, say].forEach((part) => part());
    else shown.say(words(task ? "ready" : "too_short"));
    chart.redraw();
  };
  const step = (seconds) => {
    const end = performance.now() + 12;
    do bits.push(trainer.iteration() / Math.LN2);
    while (performance.now() < end && bits.length < MOST);
    since += seconds;
    if (since < 0.5 && bits.length > 1 && bits.length < MOST) return true;
    since = 0;
    write();
    say();
    chart.redraw();
    return bits.length < MOST;
  };
  const loop = kit.loop(step, () => (button.firstChild.textContent = words("train")));
  const button = kit.button({
    label: words("train"), main: true,
    on: () => {
      if (loop.running || !task) return loop.stop();
      trainer ??= new training.Trainer({ kernels, task, steps: STEPS, rows: 8, units: UNITS, rate: 0.01 });
      kit.kept.learned = { text: own.value, trainer, bits };
      loop.start();
      button.firstChild.textContent = words("pause");
    },
  });
  const again = kit.button({ label: words("again"), on: () => ((kit.kept.learned = null), renew()) });
  renew();
  return kit.card(kit.stack(own, kit.row(button, again), chart.element, shown, sample));
}
