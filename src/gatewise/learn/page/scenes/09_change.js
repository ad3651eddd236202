// Change the cell: an edited LSTM trains beside the original, from the same weights, on the same sequences.

const EDITS = ["lstm_without_forget", "lstm_coupled", "lstm_without_input", "lstm_without_output", "lstm_without_tanh", "lstm_keeps_nothing"];
const [STEPS, UNITS, MOST] = [50, 32, 1500];
const WAIT = 250; // milliseconds after the last letter, before a text is compiled

/** How many vectors of x and h a cell computes: four for the LSTM. */
const blocksOf = (kernels) => kernels.beginning.blocks.weight_ih.length;

/** The LSTM and the changed cell in training, and what earlier trials have shown. */
class Trials {
  constructor(engine, original) {
    Object.assign(this, { engine, original, list: [], text: null, changed: null });
  }

  /** The trainer of a cell. */
  static trainer(engine, kernels) {
    return engine.trainer({ kernels, task: "adding", steps: STEPS, units: UNITS });
  }

  /** Take another cell: `edit` is its name, or null for a text of the learner. */
  async use(edit, kernels, text = null) {
    const trainer = await Trials.trainer(this.engine, kernels);
    Object.assign(this, { edit, text, noted: false, changed: new Runner("", "line-1", trainer) });
  }

  /** The lines of the changed cell. */
  get lines() {
    return this.text ?? this.engine.text(this.edit);
  }

  /** Note the trial when it has come to its end. Returns whether it is new. */
  note() {
    const { trainer, count } = this.changed;
    if (this.noted || !training.isOver(trainer, MOST)) return false;
    this.noted = true;
    this.list.push({ edit: this.edit, blocks: blocksOf(trainer.kernels), size: trainer.size, count, solved: trainer.solved });
    return true;
  }

  /** The trials with fewer gates than the LSTM. */
  get fewer() {
    return this.list.filter(({ blocks }) => blocks < blocksOf(this.original.trainer.kernels));
  }
}

scene("change", {
  async build({ root, words, kit, engine }) {
    const original = async () => new Runner("LSTM", "line-0", await Trials.trainer(engine, await engine.cell("lstm")));
    const trials = (kit.kept.trials ??= new Trials(engine, await original()));
    if (!trials.changed) await trials.use(EDITS[0], await engine.cell(EDITS[0]));
    const [texts, results] = [textsOf(kit, words, trials), resultsOf(words, trials)];
    const [facts, status] = [kit.said(), kit.said()];
    const changed = () => {
      const [lstm, own] = [trials.original, trials.changed].map((one) => stateOf(words, one, MOST));
      status.say(words("status", { lstm, changed: own }));
      if (trials.note()) results.write();
    };
    const bench = watched(kit, { runners: () => [trials.original, trials.changed], most: MOST, said: status, on: changed });
    const fresh = () => {
      const both = [trials.changed, trials.original];
      const [size, lstm] = both.map(({ trainer }) => whole(trainer.size));
      const [blocks, all] = both.map(({ trainer }) => blocksOf(trainer.kernels));
      trials.changed.name = nameOf(words, trials.edit);
      facts.say(words("facts", { blocks, all, size, lstm }));
      texts.write();
      bench.redraw();
      changed();
    };
    const use = async (...cell) => {
      bench.stop();
      await trials.use(...cell);
      fresh();
    };
    const edits = kit.choice({
      label: words("edits"),
      choices: EDITS.map((edit) => ({ value: edit, text: words(edit) })),
      value: trials.edit,
      async on(edit) {
        if (edit === trials.edit) return;
        const kernels = await engine.cell(edit).catch((error) => {
          facts.say(error.message);
          return null;
        });
        if (edits.value !== edit) return; // another was chosen meanwhile
        if (kernels === null) edits.value = trials.edit;
        else await use(edit, kernels);
        own?.reset();
      },
    });
    const own = engine.live ? ownText(kit, words, { engine, trials, async use(kernels, text) {
      await use(null, kernels, text);
      edits.value = null;
    } }) : null;
    const rest = element("div", {},
      kit.card(bench.element, status), results.element, kit.text("hint"),
      ...(engine.live ? [] : [kit.text("static")]), checkOf(kit, words, trials));
    const bet = kit.question({
      ask: words("bet"), choices: [words("bet_yes"), words("bet_no")], said: () => words("betted"), hides: rest, then: () => bench.redraw(),
    });
    root.append(
      kit.text("lead"), kit.text("same", { steps: STEPS }),
      kit.card(edits, texts.element, chosen.notation === "code" ? "" : kit.text("letters"), facts, ...(own ? own.elements : [])),
      bet, rest);
    results.write();
    fresh();
    return { hide: () => bench.stop() };
  },
});

function nameOf(words, edit) {
  return words(edit ?? "own");
}

/** Both cells, with the lines that differ marked. */
function textsOf(kit, words, trials) {
  const [original, edited] = ["original", "edited"].map((key) => element("pre", { tabindex: "0", "aria-label": words(key) }));
  const side = (key, text) => kit.stack(element("p", { class: "where" }, words(key)), text);
  const lines = (text) => text.split("\n").map((line) => line.replace(/lstm_\w+/, "lstm"));
  const marked = (mine, others, kind) => mine.map((line) => element("span", { class: others.includes(line) ? null : kind }, line, "\n"));
  return {
    element: element("div", { class: "texts" }, side("original", original), side("edited", edited)),
    write() {
      const [a, b] = [lines(trials.engine.text("lstm")), lines(trials.lines)];
      original.replaceChildren(...marked(a, b, "gone"));
      edited.replaceChildren(...marked(b, a, "new"));
    },
  };
}

/** The equations as the learner types them: compiled when they pause, faults at their line. */
function ownText(kit, words, { engine, trials, use }) {
  const fault = kit.said();
  let waiting = 0;
  const compile = async (text) => {
    fault.say(words("compiling"));
    const { kernels, error } = await engine.compile(text);
    if (field.value !== text) return; // it has been changed meanwhile
    show(error);
    if (!error) await use(kernels, text);
  };
  const show = (error) => {
    field.field.setAttribute("aria-invalid", String(Boolean(error)));
    fault.say(error ? sentencesOf(words, error) : "");
  };
  const field = kit.input({
    label: words("type"),
    lines: 7,
    value: trials.lines,
    on(text) {
      clearTimeout(waiting);
      if (text !== trials.lines) waiting = setTimeout(compile, WAIT, text);
    },
  });
  return {
    elements: [field, fault],
    reset() {
      field.value = trials.lines;
      show(null);
    },
  };
}

/** An error of the language, as sentences. */
function sentencesOf(words, { line, message, remedy }) {
  const sentences = [message, remedy].filter(Boolean).map((part) => part[0].toUpperCase() + part.slice(1).replace(/[^.\u3002]$/, "$&."));
  return [line ? words("at_line", { line }) : "", ...sentences].filter(Boolean).join(" ");
}

/** The table of trials. */
function resultsOf(words, trials) {
  const columns = ["column_name", "column_result", "column_blocks", "column_weights"].map((key) => words(key));
  const table = resultTable(words("table", { steps: STEPS, most: MOST }), columns);
  const row = ({ edit, blocks, size, count, solved }) =>
    [nameOf(words, edit), words(solved ? "solved" : "not_solved", { count }), blocks, whole(size)];
  return {
    element: table.element,
    write() {
      table.write(trials.list.map(row));
      table.element.hidden = trials.list.length === 0;
    },
  };
}

function checkOf(kit, words, trials) {
  const found = () => trials.fewer.find(({ solved }) => solved);
  return kit.goal({
    ask: words("check", { steps: STEPS }),
    button: words("check_button"),
    reached: () => found() !== undefined,
    said(isRight) {
      if (isRight) return words("check_right", { name: nameOf(words, found().edit) });
      return words(trials.fewer.length ? "check_failed" : trials.list.length ? "check_whole" : "check_none");
    },
  });
}
