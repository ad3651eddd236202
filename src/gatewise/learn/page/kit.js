// The things that scenes are made of. One kit a scene: `kitOf(id)`.
//
// After a change of language or notation a scene is built again from nothing: its texts then are right without a
// word of code. The kit carries what the learner had set over: values of sliders, choices and switches, answers
// (in the order in which they were made), and whatever the scene puts into `kit.kept`.

const CALM = matchMedia("(prefers-reduced-motion: reduce)");

/** The value of a custom property: a colour, say. */
function style(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

let names = 0;

/** A name for an element that no other has. */
function unique(word) {
  names += 1;
  return `${word}-${names}`;
}

class Kit {
  constructor(id, kept) {
    this.id = id;
    this.kept = kept.own;
    this._kept = kept.values;
    this._count = 0;
    this._restored = [];
    this._views = []; // what is drawn again when colours or the width change
    this._loops = [];
    for (const name of Object.getOwnPropertyNames(Kit.prototype)) {
      if (name !== "constructor" && typeof this[name] === "function") this[name] = this[name].bind(this);
    }
  }

  /** The text of a key of this scene. */
  words(key, values) {
    return textOf(this.id, key, values);
  }

  /** A paragraph with the text of a key; `values` as for `words`. */
  text(key, values) {
    return element("p", {}, rich(this.words(key, values)));
  }

  /** Any text, with **strong**, `code` and $letters$, as nodes. */
  rich(text) {
    return rich(text);
  }

  /** A heading inside a scene. */
  heading(text) {
    return element("h3", {}, rich(text));
  }

  letter(name) {
    return letter(name);
  }

  symbol(name) {
    return symbol(name);
  }

  number(x, digits) {
    return number(x, digits);
  }

  /** A colour by name: ink soft line card forget write data speak state output positive negative line-0 ... line-6. */
  colour(name) {
    return style(`--${name}`);
  }

  /** Whether the learner wants little motion: then nothing moves by itself. */
  get calm() {
    return CALM.matches;
  }

  /** Things side by side, one below the other where there is no room. */
  row(...children) {
    return element("div", { class: "row" }, children);
  }

  /** Three sliders, say, side by side. */
  three(...children) {
    return element("div", { class: "three" }, children);
  }

  /** A few words to a picture, smaller. */
  caption(text) {
    return element("p", { class: "caption" }, rich(text));
  }

  /** Things one below the other. */
  stack(...children) {
    return element("div", { class: "stack" }, children);
  }

  /** The picture of a scene with what moves it, on a card. */
  card(...children) {
    return element("div", { class: "card" }, children);
  }

  /** A button. `main` for the one that is pressed first. */
  button({ label, on, main = false }) {
    return element("button", { type: "button", class: main ? "main" : null, onclick: on }, rich(label));
  }

  /**
   * A slider with its number. `shown(value)` writes the number. The element has `value`, to read and to set;
   * setting it does not call `on`.
   */
  slider({ label, min, max, step = 0.01, value, shown = (x) => number(x), on = () => {} }) {
    const input = element("input", { type: "range", min, max, step, id: unique("slider") });
    const output = element("output", { for: input.id });
    const show = () => {
      output.textContent = shown(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
    };
    const name = element("label", { for: input.id }, rich(label));
    const whole = element("div", { class: "slider" }, name, output, input);
    Object.defineProperty(whole, "value", {
      get: () => Number(input.value),
      set: (x) => ((input.value = x), show(), keep(x)),
    });
    const keep = this._keeps((kept) => ((whole.value = kept), on(kept)));
    input.value = value;
    show();
    input.addEventListener("input", () => {
      whole.value = Number(input.value);
      on(whole.value);
    });
    return whole;
  }

  /** A choice of one of a few: `choices` are texts, or `{ value, text }`. The element has `value`. */
  choice({ label, choices, value, on = () => {} }) {
    const all = choices.map((choice) => (typeof choice === "object" ? choice : { value: choice, text: choice }));
    const group = unique("choice");
    const inputs = all.map((choice, k) => element("input", { type: "radio", name: group, value: k }));
    const whole = element(
      "fieldset",
      { class: "choice" },
      element("legend", {}, rich(label)),
      element("div", {}, inputs.map((input, k) => element("label", {}, input, element("span", {}, rich(all[k].text))))),
    );
    Object.defineProperty(whole, "value", {
      get: () => all[inputs.findIndex((input) => input.checked)]?.value,
      set: (wanted) => {
        inputs.forEach((input, k) => (input.checked = all[k].value === wanted));
        keep(wanted);
      },
    });
    const keep = this._keeps((kept) => ((whole.value = kept), on(kept)));
    if (value !== undefined) inputs.forEach((input, k) => (input.checked = all[k].value === value));
    whole.addEventListener("change", () => {
      keep(whole.value);
      on(whole.value);
    });
    return whole;
  }

  /** A switch, on or off. The element has `value`. */
  toggle({ label, value = false, on = () => {} }) {
    const input = element("input", { type: "checkbox" });
    const whole = element("label", { class: "toggle" }, input, element("span", {}, rich(label)));
    Object.defineProperty(whole, "value", {
      get: () => input.checked,
      set: (wanted) => ((input.checked = wanted), keep(wanted)),
    });
    const keep = this._keeps((kept) => ((whole.value = kept), on(kept)));
    input.checked = value;
    input.addEventListener("change", () => {
      keep(input.checked);
      on(input.checked);
    });
    return whole;
  }

  /** A line of text that the learner types. The element has `value`; `on(value)` at every letter. */
  input({ label, value = "", on = () => {}, lines = 1 }) {
    const id = unique("input");
    const field = element(lines > 1 ? "textarea" : "input", { id, rows: lines > 1 ? lines : null, spellcheck: "false" });
    const whole = element("div", { class: "input" }, element("label", { for: id }, rich(label)), field);
    Object.defineProperty(whole, "value", {
      get: () => field.value,
      set: (wanted) => ((field.value = wanted), keep(wanted)),
    });
    const keep = this._keeps((kept) => ((whole.value = kept), on(kept)));
    field.value = value;
    field.addEventListener("input", () => {
      keep(field.value);
      on(field.value);
    });
    whole.field = field;
    return whole;
  }

  /**
   * A picture. `draw(pen, width, height)` in CSS pixels; `label` (a text, or a function called at each drawing)
   * says in words what is to be seen. `on({ x, y })`: a press or a drag. Returns { element, redraw }.
   */
  canvas({ label, height, draw, on = null }) {
    const view = { element: element("canvas", { role: "img" }) };
    const paint = () => {
      const canvas = view.element;
      const width = canvas.clientWidth;
      if (!width) return;
      const tall = typeof height === "function" ? height(width) : height;
      const scale = devicePixelRatio || 1;
      canvas.style.height = `${tall}px`;
      [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(tall * scale)];
      const pen = canvas.getContext("2d");
      pen.scale(scale, scale);
      pen.font = `13px ${style("--font")}`;
      pen.textBaseline = "middle";
      draw(pen, width, tall);
      canvas.setAttribute("aria-label", plain(typeof label === "function" ? label() : label));
    };
    view.redraw = () => {
      if (view.waiting) return;
      view.waiting = true;
      requestAnimationFrame(() => {
        view.waiting = false;
        paint();
      });
    };
    if (on) pointed(view.element, on);
    this._views.push(view);
    return view;
  }

  /** Lines over steps, with their names: see charts.js. Returns { element, redraw }. */
  chart(options) {
    return chart(this, options);
  }

  /** A question: see question.js. */
  question(options) {
    return question(this, options);
  }

  /** The check of the scene: a question that may be answered again, and calls `done` when right. */
  check(options) {
    return question(this, { ...options, again: true, check: true });
  }

  /** A check that is passed by setting something up in the picture: see question.js. */
  goal(options) {
    return goal(this, options);
  }

  /** A formula, one click away. Lines are texts with $letters$. */
  formula(lines) {
    const shown = element("div", { class: "formula" }, lines.map((line) => element("p", {}, rich(line))));
    return element("details", {}, element("summary", {}, textOf("kit", "formula")), shown);
  }

  /**
   * The true numbers, one click away: `{ columns: [text], rows: () => [[text or number]] }`. They are written when
   * opened and at every redraw. Returns the element; it has `redraw()`.
   */
  numbers({ columns, rows, caption = "" }) {
    const body = element("tbody");
    const head = element("tr", {}, columns.map((column) => element("th", { scope: "col" }, rich(column))));
    const table = element("table", {}, caption ? element("caption", {}, rich(caption)) : null, element("thead", {}, head), body);
    const scroll = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": textOf("kit", "numbers") }, table);
    const whole = element("details", {}, element("summary", {}, textOf("kit", "numbers")), scroll);
    const cell = (part, k) => {
      const text = typeof part === "number" ? number(part, 5) : rich(String(part));
      return k ? element("td", {}, text) : element("th", { scope: "row" }, text);
    };
    whole.redraw = () => {
      if (whole.open) body.replaceChildren(...rows().map((row) => element("tr", {}, row.map(cell))));
    };
    whole.addEventListener("toggle", whole.redraw);
    this._views.push(whole);
    return whole;
  }

  /** A place for a sentence that changes, read aloud when it does. The element has `say(text)`. */
  said() {
    const whole = element("p", { class: "said", role: "status" });
    whole.say = (text) => whole.replaceChildren(rich(text));
    return whole;
  }

  /**
   * Something that goes on by itself: `frame(seconds)` is called for each frame until it returns false. It stops
   * when the learner leaves the scene. Returns { start, stop, running }.
   */
  loop(frame, stopped = () => {}) {
    const loop = { running: false };
    const turn = (then) => (now) => {
      if (!loop.running) return;
      if (frame(Math.min(0.1, (now - then) / 1000)) === false) loop.stop();
      else requestAnimationFrame(turn(now));
    };
    loop.start = () => {
      if (loop.running) return;
      loop.running = true;
      requestAnimationFrame((now) => turn(now - 16)(now));
    };
    loop.stop = () => {
      if (!loop.running) return;
      loop.running = false;
      stopped();
    };
    this._loops.push(loop);
    return loop;
  }

  /** A place in what is kept; `restore` is called after the scene is built if there is something from before. */
  _keeps(restore) {
    const place = this._count;
    this._count += 1;
    if (place in this._kept) this._restored.push(() => restore(this._kept[place]));
    return Object.assign((value) => (this._kept[place] = value), { place });
  }

  /** After the scene is built: what the learner had set. */
  _restore() {
    this._restored.splice(0).forEach((restore) => restore());
  }

  _redraw() {
    this._views.forEach((view) => view.redraw());
  }

  _stop() {
    this._loops.forEach((loop) => loop.stop());
  }
}

/** Presses and drags on an element, as places on it. */
function pointed(target, on) {
  const place = (event) => {
    const box = target.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  target.classList.add("pointed");
  target.addEventListener("pointerdown", (event) => {
    target.setPointerCapture(event.pointerId);
    on(place(event));
  });
  target.addEventListener("pointermove", (event) => {
    if (event.buttons) on(place(event));
  });
}
