// Order matters: a small trained tagger reads a sentence, and the learner changes the order of its words.

const WORDS = 12; // of the vocabulary of examples/lesson_tagger.py, in its order
const LABELS = ["other", "from", "to", "leaves", "arrives"];
const COLOURS = ["soft", "data", "output", "write", "forget"];
const LEAVE = 2;
const REACH = 3;
const SENTENCE = [LEAVE, 4, REACH, 5, 7, 8]; // leave Taipei reach Paris on Monday
const SWAPPED = [REACH, 4, LEAVE, 5, 7, 8];
const LABELLED = [1, 3, 5]; // its two cities and its day
const READING = 0.45; // seconds for each word

/** The trained network: an ordinary RNN, a linear readout and softmax. */
class Tagger {
  constructor(kernels, { shapes, tensors }) {
    const units = shapes["layer.weight_hh_l0"][1];
    this.layer = new gatewise.Layer(kernels, { inputSize: WORDS, hiddenSize: units });
    for (const name in this.layer.weights) this.layer.weights[name].set(tensors[`layer.${name}_l0`]);
    this.units = units;
    this.readout = tensors["readout.weight"];
    this.bias = tensors["readout.bias"];
  }

  /** Read words: after each one the memory, the share of each label, and the label with the largest share. */
  read(sentence) {
    const x = new Float32Array(sentence.length * WORDS);
    sentence.forEach((word, t) => (x[t * WORDS + word] = 1));
    const { output } = this.layer.forward(x, { steps: sentence.length, rows: 1 });
    return sentence.map((_, t) => {
      const memory = [...output.subarray(t * this.units, (t + 1) * this.units)];
      const shares = softmax([...this.bias].map((b, k) => b + dot(this.readout, k * this.units, memory)));
      return { memory, shares, label: shares.indexOf(Math.max(...shares)) };
    });
  }

  /** How far the shares of the last label move if a word is exchanged: 0 to 1, the mean over all others. */
  influence(sentence, place) {
    const before = this.read(sentence).at(-1).shares;
    let moved = 0;
    for (let word = 0; word < WORDS; word++) {
      const changed = sentence.map((old, t) => (t === place ? word : old));
      const after = this.read(changed).at(-1).shares;
      moved += after.reduce((sum, share, k) => sum + Math.abs(share - before[k]) / 2, 0);
    }
    return moved / (WORDS - 1);
  }
}

function dot(row, first, vector) {
  return vector.reduce((sum, value, k) => sum + row[first + k] * value, 0);
}

function softmax(numbers) {
  const most = Math.max(...numbers);
  const powers = numbers.map((value) => Math.exp(value - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** The sentence on the page: a button for each word, the memory after it, its label. */
class Sentence {
  constructor(kit, tagger, changed) {
    Object.assign(this, { kit, tagger, changed, picked: null });
    this.vocabulary = kit.words("vocabulary").split(" ");
    this.now = kit.kept.sentence ?? [...SENTENCE];
    this.heard = this.now.length; // the words that have been read aloud
    this.columns = this.now.map((_, t) => this.column(t));
    this.tray = element("div", { class: "order-tray", hidden: true });
    this.element = element(
      "ol",
      { class: "order-sentence", "aria-label": kit.words("sentence") },
      this.columns.map(({ item }) => item),
    );
    this.clock = 0;
    this.loop = kit.loop(
      (seconds) => this.tick(seconds),
      () => this.hear(this.now.length),
    );
    this.read();
  }

  column(t) {
    const word = element("button", {
      type: "button",
      class: "order-word",
      "aria-pressed": "false",
      onclick: () => this.pick(t),
    });
    const memory = element("div", { class: "order-memory", role: "img" });
    memory.append(...Array.from({ length: this.tagger.units }, () => element("i")));
    const label = element("p", { class: "order-label" });
    const shares = element(
      "div",
      { class: "order-shares", role: "img" },
      LABELS.map((_, k) => {
        const part = element("i");
        part.style.background = `var(--${COLOURS[k]})`;
        return part;
      }),
    );
    const item = element("li", {}, word, memory, element("div", { class: "order-verdict" }, label, shares));
    item.addEventListener("keydown", (event) => event.key === "Escape" && this.pick(null));
    return { item, word, memory, label, shares };
  }

  words(sentence = this.now) {
    return sentence.map((word) => this.vocabulary[word]).join(" ");
  }

  label(k) {
    return this.kit.words(`label_${LABELS[k]}`);
  }

  /** Whether no label of a word has most of the shares. */
  torn(t) {
    return this.seen[t].shares[this.seen[t].label] < 0.75;
  }

  /** The label of a word as it is shown: one, or the two that the network hesitates between. */
  verdict(t) {
    const { shares, label } = this.seen[t];
    if (!this.torn(t)) return this.label(label);
    const pair = [...shares.keys()]
      .sort((a, b) => shares[b] - shares[a])
      .slice(0, 2)
      .sort();
    return this.kit.words("torn", { one: this.label(pair[0]), other: this.label(pair[1]) });
  }

  enable(on) {
    for (const { word } of this.columns) word.disabled = !on;
  }

  /** A word is pressed: the first is picked, the second changes places with it. */
  pick(t) {
    if (this.picked === null || t === null || t === this.picked) {
      this.picked = this.picked === t ? null : t;
    } else {
      const swapped = [...this.now];
      [swapped[t], swapped[this.picked]] = [swapped[this.picked], swapped[t]];
      this.picked = null;
      this.change(swapped);
    }
    this.showPicked();
  }

  showPicked() {
    const { kit, picked } = this;
    this.columns.forEach(({ word }, t) => word.setAttribute("aria-pressed", String(t === picked)));
    this.tray.hidden = picked === null;
    if (picked === null) return;
    const exchange = (word) => {
      const back = this.columns[picked].word;
      this.picked = null;
      this.change(this.now.map((old, t) => (t === picked ? word : old)));
      this.showPicked();
      back.focus();
    };
    const choices = this.vocabulary.map((text, word) =>
      kit.button({ label: text, on: () => exchange(word) }),
    );
    const about = kit.words("exchange", { word: this.vocabulary[this.now[picked]] });
    this.tray.replaceChildren(element("p", {}, kit.rich(about)), element("div", { class: "row" }, choices));
  }

  /** Another sentence; it is read aloud, and what has changed is said. */
  change(sentence) {
    const before = this.now.map((word, t) => ({ word, label: this.verdict(t) }));
    this.now = this.kit.kept.sentence = sentence;
    this.read();
    const moved = [];
    sentence.forEach((word, t) => {
      const old = before.find((one) => one.word === word);
      if (!old || old.label === this.verdict(t)) return;
      moved.push(
        this.kit.words("moved", { word: this.vocabulary[word], old: old.label, now: this.verdict(t) }),
      );
    });
    this.changed(this.words(), moved);
    this.play();
  }

  read() {
    this.seen = this.tagger.read(this.now);
    this.show();
  }

  /** Read word by word, as far as the learner wants motion. */
  play() {
    if (this.kit.calm) return;
    this.loop.stop();
    this.clock = 0;
    this.hear(0);
    this.loop.start();
  }

  tick(seconds) {
    this.clock += seconds;
    this.hear(Math.min(this.now.length, Math.floor(this.clock / READING)));
    return this.heard < this.now.length;
  }

  hear(count) {
    this.heard = count;
    this.columns.forEach(({ item }, t) => {
      item.classList.toggle("unheard", t >= count);
      item.classList.toggle("hearing", this.loop.running && t === count);
    });
  }

  show() {
    const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
    this.columns.forEach(({ word, memory, label, shares }, t) => {
      const seen = this.seen[t];
      word.textContent = this.vocabulary[this.now[t]];
      [...memory.children].forEach((square, k) => {
        const strong = Math.round(100 * Math.abs(seen.memory[k]));
        const colour = seen.memory[k] < 0 ? "negative" : "positive";
        square.style.background = `color-mix(in srgb, var(--${colour}) ${strong}%, var(--empty))`;
      });
      memory.setAttribute(
        "aria-label",
        this.kit.words("memory", { numbers: seen.memory.map((value) => number(value, 2)).join(", ") }),
      );
      label.textContent = this.verdict(t);
      label.style.color = this.torn(t) ? "" : `var(--${COLOURS[seen.label]})`;
      [...shares.children].forEach((part, k) => (part.style.width = `${100 * seen.shares[k]}%`));
      const said = seen.shares
        .map((share, k) => [share, k])
        .filter(([share]) => share >= 0.01)
        .map(([share, k]) => `${this.label(k)} ${percent(share)}`);
      shares.setAttribute("aria-label", said.join(", "));
      shares.title = said.join(", ");
    });
  }
}

scene("order", {
  async build({ root, words, kit, engine }) {
    const [kernels, weights] = await Promise.all([engine.cell("rnn"), engine.weights("tagger")]);
    const tagger = new Tagger(kernels, weights);
    const news = kit.said();
    const sentence = new Sentence(kit, tagger, (text, moved) => {
      news.say(moved.length ? moved.join(" ") : words("unmoved", { sentence: text }));
      table.redraw();
    });
    sentence.enable(false);
    const table = numbersOf(kit, sentence);
    const again = kit.calm ? [] : [kit.row(kit.button({ label: words("play"), on: () => sentence.play() }))];
    const hint = element("div", {}, kit.text("hint"), sentence.tray, again, news);
    const check = checkOf(kit, tagger, sentence);
    const rest = element("div", {}, kit.text("after"), check);
    const guess = kit.question({
      ask: words("ask", { sentence: sentence.words(SWAPPED) }),
      choices: ["nobody", "cities", "day", "all"].map((key) => words(`ask_${key}`)),
      right: () => changedLabels(tagger),
      said: () => words("asked"),
      hides: [hint, rest, table],
      then() {
        sentence.enable(true);
        if (kit.kept.sentence) return;
        sentence.change(SWAPPED);
        sentence.element.scrollIntoView({ block: "nearest" });
      },
    });
    root.append(
      kit.text("lead"),
      kit.text("network", { units: tagger.units, words: WORDS }),
      kit.card(sentence.element, kit.caption(words("legend")), hint),
      guess,
      rest,
      kit.formula(["$h$ = tanh(W $x$ + R $h_$ + b)", "$y$ = softmax(V $h$ + d)"]),
      table,
    );
    return { hide: () => sentence.loop.stop() };
  },
});

/** The place of the right choice: which labels of the sentence change with the two verbs. */
function changedLabels(tagger) {
  const [before, after] = [SENTENCE, SWAPPED].map((sentence) =>
    tagger.read(sentence).map(({ label }) => label),
  );
  const changed = LABELLED.map((t) => before[t] !== after[t]);
  if (changed.every(Boolean)) return 3;
  return changed.some(Boolean) ? (changed[2] ? 2 : 1) : 0;
}

/** Which word decided the last label? The answer is measured, by exchanging each word for all others. */
function checkOf(kit, tagger, sentence) {
  const asked = [...SENTENCE];
  const last = asked.length - 1;
  const influences = asked.slice(0, last).map((_, t) => tagger.influence(asked, t));
  const points = (t) => String(Math.round(100 * influences[t]));
  const name = (t) => sentence.vocabulary[asked[t]];
  const most = influences.indexOf(Math.max(...influences));
  const label = sentence.label(tagger.read(asked)[last].label);
  const list = () =>
    influences
      .map((_, t) => kit.words("influence", { word: name(t), points: points(t) }))
      .join(kit.words("comma"));
  return kit.check({
    ask: kit.words("check", { sentence: sentence.words(asked), word: name(last), label }),
    choices: influences.map((_, t) => name(t)),
    right: () => most,
    said: (answer, right) =>
      right
        ? kit.words("check_right", { word: name(most), label, list: list() })
        : kit.words("check_wrong", { word: name(answer), last: name(last), points: points(answer) }),
  });
}

function numbersOf(kit, sentence) {
  const { units } = sentence.tagger;
  const columns = [
    kit.words("word"),
    ...Array.from({ length: units }, (_, k) => kit.words("cell", { number: k + 1 })),
    ...LABELS.map((_, k) => sentence.label(k)),
  ];
  const rows = () =>
    sentence.seen.map(({ memory, shares }, t) => [
      sentence.vocabulary[sentence.now[t]],
      ...memory,
      ...shares,
    ]);
  return kit.numbers({ columns, rows, caption: kit.words("caption") });
}
