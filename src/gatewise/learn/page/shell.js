// The frame: one scene at a time, the list of all, the choices of the learner and what they have done.

const scenes = new Map();

/** Make a scene known. */
function scene(id, made) {
  scenes.set(id, { ...made, kept: { own: {}, values: {} } });
}

// What is kept on the learner's machine. Browsers may refuse to keep anything for pages from files.
const KEY = "gatewise.learn";
const progress = { done: {}, answers: {} };
let shown = null; // the scene on the page
const memory = {
  refused: false,
  read() {
    try {
      return this.content(localStorage.getItem(KEY));
    } catch {
      this.refused = true;
      return {};
    }
  },
  content(text) {
    try {
      return Object(JSON.parse(text));
    } catch {
      return {}; // another program wrote it
    }
  },
  write() {
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...progress, chosen, last: shown?.id }));
    } catch {
      this.refused = true;
    }
  },
};

/** Take over what a file or the browser kept; only what this lesson knows. Returns whether it was that at all. */
function takeOver(kept) {
  if (typeof kept?.done !== "object" || kept.done === null) return false;
  for (const id of data.scenes) {
    if (typeof kept.done[id] === "string") progress.done[id] = kept.done[id];
    if (Array.isArray(kept.answers?.[id])) progress.answers[id] = kept.answers[id];
  }
  return true;
}

const CHOICES = {
  language: () => Object.entries(data.texts).map(([code, { name }]) => [code, name]),
  notation: () => ["seed", "book", "code"].map((name) => [name, shellText(`notation_${name}`)]),
  colours: () => ["", "light", "dark"].map((name) => [name, shellText(`colours_${name || "system"}`)]),
};

/** The choices at the start: those of the address, else those that were kept, else those of the browser. */
function choose(kept) {
  const asked = new URLSearchParams(location.search);
  const spoken = [data.language, ...navigator.languages.map((name) => name.split("-")[0])];
  chosen.language = spoken.find((name) => name in data.texts) ?? "en";
  for (const [name, all] of Object.entries(CHOICES)) {
    for (const value of [kept?.[name], asked.get(name)]) {
      if (all().some(([known]) => known === value)) chosen[name] = value;
    }
  }
}

function shellText(key, values) {
  return textOf("shell", key, values);
}

function byId(id) {
  return document.getElementById(id);
}

/** Write the frame, in the chosen language. */
function writeFrame() {
  document.documentElement.lang = chosen.language;
  if (chosen.colours) document.documentElement.dataset.theme = chosen.colours;
  else delete document.documentElement.dataset.theme;
  byId("lesson").replaceChildren(
    element("a", { class: "skip", href: "#scene", onclick: skip }, shellText("skip")),
    element("header", {},
      element("h1", {}, shellText("title")),
      element("button", { type: "button", id: "menu", "aria-controls": "side", "aria-expanded": "false", onclick: openMenu }, shellText("contents"), " ", element("span", { id: "place" }))),
    element("aside", { id: "side", "aria-label": shellText("side"), onkeydown: closeMenu },
      element("nav", { "aria-label": shellText("contents") }, element("ol", { id: "scenes" })),
      element("p", { id: "count" }),
      settings()),
    element("main", { id: "scene", tabindex: "-1" }),
    element("nav", { id: "steps", "aria-label": shellText("steps") }),
  );
  writeList();
}

function skip(event) {
  event.preventDefault();
  byId("scene").focus();
}

function openMenu(event, open = byId("menu").getAttribute("aria-expanded") === "false") {
  byId("menu").setAttribute("aria-expanded", String(open));
  byId("side").classList.toggle("open", open);
}

function closeMenu({ key }) {
  if (key !== "Escape" || !byId("side").classList.contains("open")) return;
  openMenu(null, false);
  byId("menu").focus();
}

/** The list of scenes, with what is done. */
function writeList() {
  const entry = (id, k) => {
    const done = id in progress.done;
    const title = textOf(id, "title");
    const mark = element("span", { class: "number", "aria-hidden": "true" }, done ? "\u2713" : String(k + 1));
    const link = element("a", { href: `#${id}`, "aria-current": shown?.id === id ? "page" : null, class: done ? "done" : null }, mark, title);
    if (done) link.append(element("span", { class: "unseen" }, ` (${shellText("done")})`));
    return element("li", {}, link);
  };
  byId("scenes").replaceChildren(...data.scenes.map(entry));
  byId("count").textContent = shellText("progress", { count: Object.keys(progress.done).length, all: data.scenes.length });
  byId("place").textContent = `${data.scenes.indexOf(shown?.id) + 1}/${data.scenes.length}`;
  writeSteps();
}

/** To the scene before and the one after. */
function writeSteps() {
  const place = data.scenes.indexOf(shown?.id);
  const link = (id, kind) =>
    id === undefined
      ? element("span")
      : element("a", { href: `#${id}`, class: kind, rel: kind },
          element("span", { class: "where" }, shellText(kind)), element("span", {}, textOf(id, "title")));
  byId("steps").replaceChildren(link(data.scenes[place - 1], "prev"), link(data.scenes[place + 1], "next"));
}

function settings() {
  const select = (name) => {
    const options = CHOICES[name]().map(([value, text]) => element("option", { value, selected: value === chosen[name] }, text));
    const changed = (event) => change(name, event.target.value);
    return element("label", {}, shellText(name), element("select", { id: name, onchange: changed }, options));
  };
  const file = element("input", { type: "file", accept: ".json,application/json", id: "file", hidden: true, onchange: readFile });
  return element("div", { id: "settings" },
    Object.keys(CHOICES).map(select),
    element("p", { class: "buttons" },
      element("button", { type: "button", class: "link", id: "export", onclick: writeFile }, shellText("export")),
      element("button", { type: "button", class: "link", id: "import", onclick: () => file.click() }, shellText("import")),
      element("button", { type: "button", class: "link", id: "again", onclick: beginAgain }, shellText("again"))),
    file,
    element("p", { id: "kept", role: "status" }, memory.refused ? shellText("refused") : ""),
    element("p", { id: "bits" }, shellText(engine.simd.sameBits ? "bits_same" : "bits_other")));
}

/** Another language, notation or colours. */
function change(name, value) {
  chosen[name] = value;
  memory.write();
  rewrite();
  byId(name).focus();
}

/** Everything again from nothing, as after a change of language. */
function rewrite() {
  for (const made of scenes.values()) leave(made);
  for (const made of scenes.values()) made.section = null;
  const open = byId("menu")?.getAttribute("aria-expanded") === "true";
  writeFrame();
  openMenu(null, open);
  show(false);
}

function leave(made) {
  if (!made.section) return;
  made.kit._stop();
  made.handle?.hide?.();
}

/** Show the scene of the address, or `otherwise`; `arrive`: move the focus and the page to its beginning. */
function show(arrive = true, otherwise = shown?.id) {
  const id = [location.hash.slice(1), otherwise, data.scenes[0]].find((name) => data.scenes.includes(name));
  const made = scenes.get(id);
  if (shown && shown !== made) leave(shown);
  shown = Object.assign(made, { id });
  const fresh = !made.section;
  if (fresh) prepare(made);
  byId("scene").replaceChildren(made.section);
  document.title = `${textOf(id, "title")} \u2013 ${shellText("title")}`;
  writeList();
  memory.write();
  if (arrive) {
    openMenu(null, false);
    scrollTo(0, 0);
    made.section.querySelector("h2").focus({ preventScroll: true });
  }
  made.ready = fresh ? build(made) : made.ready.then(() => redraw());
}

/** The section of a scene, with its title. */
function prepare(made) {
  const { id } = made;
  const title = element("h2", { tabindex: "-1", id: `${id}-title` }, textOf(id, "title"));
  const where = element("p", { class: "where" }, shellText("scene", { number: data.scenes.indexOf(id) + 1, count: data.scenes.length }));
  made.section = element("section", { "aria-labelledby": title.id, "data-scene": id }, where, title);
  made.kit = new Kit(id, made.kept);
  made.kit._done = () => finish(id);
}

async function build(made) {
  const { section, kit, id } = made;
  const root = element("div", { class: "body" });
  const waiting = element("p", { class: "waiting" }, shellText("loading"));
  section.append(waiting);
  try {
    made.handle = await made.build({ root, words: kit.words, kit, done: kit._done, engine });
    if (made.section !== section) return; // the language changed meanwhile
    waiting.replaceWith(root);
    kit._restore();
    redraw();
    section.dataset.ready = "";
  } catch (error) {
    waiting.replaceWith(element("p", { class: "failed", role: "alert" }, shellText("failed", { message: error.message })));
    console.error(id, error);
  }
}

function redraw() {
  if (!shown?.section) return;
  shown.kit._redraw();
  shown.handle?.redraw?.();
}

/** A scene is done. */
function finish(id) {
  if (id in progress.done) return;
  progress.done[id] = new Date().toISOString();
  memory.write();
  writeList();
}

/** An answer, for the file that a teacher reads. */
function noteAnswer(id, place, answer) {
  progress.answers[id] ??= [];
  progress.answers[id][place] = answer;
  memory.write();
}

/** The progress as a file. */
function writeFile() {
  const content = JSON.stringify({ lesson: KEY, written: new Date().toISOString(), ...progress }, null, 2);
  const address = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  element("a", { href: address, download: "gatewise-lesson.json" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

async function readFile(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  let kept = null;
  try {
    kept = JSON.parse(await file.text());
  } catch {
    // It is no JSON: said below.
  }
  const read = kept?.lesson === KEY && takeOver(kept);
  if (read) {
    memory.write();
    writeList();
  }
  const count = Object.keys(progress.done).length;
  byId("kept").textContent = read ? shellText("imported", { count }) : shellText("unreadable", { name: file.name });
}

function beginAgain() {
  if (!confirm(shellText("again_sure"))) return;
  for (const part of [progress.done, progress.answers]) Object.keys(part).forEach((id) => delete part[id]);
  for (const made of scenes.values()) made.kept = { own: {}, values: {} };
  memory.write();
  rewrite();
}
