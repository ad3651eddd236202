// Change the cell: an edited LSTM trains beside the original, from the same weights, on the same sequences.

const EDITS = ["lstm_without_forget", "lstm_coupled", "lstm_without_input", "lstm_without_output", "lstm_without_tanh", "lstm_keeps_nothing"];
const [STEPS, UNITS, MOST] = [50, 32, 1500];
const WAIT = 250; // milliseconds after the last letter, before a text is compiled

/** How many vectors of x and h a cell computes: four for the LSTM. */
const blocksOf = (kernels) => kernels.beginning.blocks.weight_ih.length;

scene("change", {
  async build({ root, words, kit, engine }) {
    const kept = kit.kept;
    const given = { task: "adding", steps: STEPS, units: UNITS };
    kept.tries ??= []; // of the learner: { name, blocks, size, count, solved }
    if (kept.edit === undefined) kept.edit = EDITS[0]; // null for the learner's own text
    kept.original ??= new Runner("LSTM", "line-0", await engine.trainer({ cell: "lstm", ...given }));
    const nameOf = (edit) => (edit === null ? words("own") : words(edit));
    const use = async (edit, kernels) => {
      bench?.stop();
      kept.edit = edit;
      kept.kernels = kernels ?? (await engine.cell(edit));
      const trainer = await engine.trainer({ kernels: kept.kernels, ...given });
      kept.changed = new Runner(nameOf(edit), "line-1", trainer);
      kept.noted = false;
    };
    let bench = null;
    if (!kept.changed) await use(kept.edit);
    else kept.changed.name = nameOf(kept.edit);

    const lines = (text) => text.split("\n");
    const original = element("pre", { tabindex: "0", "aria-label": words("original") });
    const edited = element("pre", { tabindex: "0", "aria-label": words("edited") });
    const write = () => {
      const [a, b] = [lines(engine.text("lstm")), lines(kept.text ?? engine.text(kept.edit))];
      const differing = (mine, theirs, kind) =>
        mine.map((line) => element("span", { class: theirs.includes(line) ? null : kind }, line.replace(/lstm_\w+/, "lstm"), "\n"));
      const plainName = (all) => all.map((line) => line.replace(/lstm_\w+/, "lstm"));
      original.replaceChildren(...differing(a, plainName(b), "gone"));
      edited.replaceChildren(...differing(plainName(b), a, "new"));
    };
    const facts = kit.said();
    const status = kit.said();
    const state = (one) =>
      one.trainer.solved ? words("state_solved", { count: one.count }) : over(one) ? words("state_failed", { count: one.count })
      : one.count ? words("state_on", { count: one.count }) : words("state_ready");
    const over = ({ trainer }) => training.isOver(trainer, MOST);
    const changed = () => {
      status.say(words("status", { lstm: state(kept.original), changed: state(kept.changed) }));
      if (over(kept.changed) && !kept.noted) {
        kept.noted = true;
        const { trainer } = kept.changed;
        kept.tries.push({ edit: kept.edit, blocks: blocksOf(kept.kernels), size: trainer.size, count: kept.changed.count, solved: trainer.solved });
        writeTries();
      }
    };
    bench = watched(kit, { runners: () => [kept.original, kept.changed], most: MOST, said: status, on: changed });
    const fresh = () => {
      const blocks = blocksOf(kept.kernels);
      facts.say(words("facts", { blocks, size: whole(kept.changed.trainer.size), lstm: whole(kept.original.trainer.size) }));
      bench.redraw();
      changed();
    };
    const edits = kit.choice({
      label: words("edits"),
      choices: EDITS.map((edit) => ({ value: edit, text: words(edit) })),
      value: kept.edit,
      async on(edit) {
        if (edit === kept.edit) return;
        kept.text = null;
        await use(edit);
        write();
        if (own) {
          own.value = engine.text(edit);
          own.fault.say("");
          own.field.setAttribute("aria-invalid", "false");
        }
        fresh();
      },
    });

    let own = null;
    if (engine.live) {
      const fault = kit.said();
      let waiting = 0;
      own = kit.input({
        label: words("type"),
        lines: 7,
        value: kept.text ?? engine.text(kept.edit),
        on(text) {
          clearTimeout(waiting);
          if (text === (kept.text ?? engine.text(kept.edit))) return;
          waiting = setTimeout(async () => {
            const answer = await engine.compile(text);
            if (own.value !== text) return; // it has been changed meanwhile
            own.field.setAttribute("aria-invalid", String(Boolean(answer.error)));
            if (answer.error) {
              const { line, message, remedy } = answer.error;
              const sentences = [message, remedy].filter(Boolean).map((part) => part[0].toUpperCase() + part.slice(1).replace(/[^.\u3002]$/, "$&."));
              fault.say([line ? words("at_line", { line }) : "", ...sentences].filter(Boolean).join(" "));
              return;
            }
            fault.say("");
            kept.text = text;
            await use(null, answer.kernels);
            edits.value = null;
            write();
            fresh();
          }, WAIT);
        },
      });
      own = Object.assign(own, { fault });
    }

    const table = element("tbody");
    const writeTries = () => {
      const row = ({ edit, blocks, size, count, solved }) => [nameOf(edit), solved ? words("solved", { count }) : words("not_solved", { count }), blocks, whole(size)];
      table.replaceChildren(...kept.tries.map((one) =>
        element("tr", {}, row(one).map((part, k) => element(k ? "td" : "th", k ? {} : { scope: "row" }, rich(String(part)))))));
      results.hidden = kept.tries.length === 0;
    };
    const head = ["column_name", "column_result", "column_blocks", "column_weights"].map((key) => element("th", { scope: "col" }, words(key)));
    const results = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": textOf("kit", "results") },
      element("table", {}, element("caption", {}, words("table", { steps: STEPS, most: MOST })), element("thead", {}, element("tr", {}, head)), table));
    const fewer = () => kept.tries.filter(({ blocks }) => blocks < blocksOf(kept.original.trainer.kernels));
    const check = kit.goal({
      ask: words("check", { steps: STEPS }),
      button: words("check_button"),
      reached: () => fewer().some(({ solved }) => solved),
      said: (isRight) => {
        if (isRight) return words("check_right", { name: nameOf(fewer().find(({ solved }) => solved).edit) });
        return words(fewer().length ? "check_failed" : kept.tries.length ? "check_whole" : "check_none");
      },
    });
    const rest = element("div", {},
      kit.card(bench.element, status), results, kit.text("hint"), ...(engine.live ? [] : [kit.text("static")]), check);
    root.append(
      kit.text("lead"), kit.text("same", { steps: STEPS }),
      kit.card(
        edits,
        element("div", { class: "texts" },
          kit.stack(element("p", { class: "where" }, words("original")), original),
          kit.stack(element("p", { class: "where" }, words("edited")), edited)),
        chosen.notation === "code" ? "" : kit.text("letters"),
        facts,
        ...(own ? [own, own.fault] : [])),
      kit.question({
        ask: words("bet"),
        choices: [words("bet_yes"), words("bet_no")],
        said: () => words("betted"),
        hides: rest,
        then: () => bench.redraw(),
      }),
      rest);
    write();
    writeTries();
    fresh();
    return { hide: () => bench.stop() };
  },
});
