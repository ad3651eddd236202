// The first scene, when everything is known.

const before = memory.read();
takeOver(before);
choose(before.chosen);
writeFrame();
show(false, before.last);
addEventListener("hashchange", () => show());
addEventListener("resize", redraw);
for (const query of ["(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]) {
  matchMedia(query).addEventListener("change", redraw);
}

// For the console of the browser: `await lesson.engine.cell("lstm")`, and so on.
globalThis.lesson = { engine, gatewise, scenes, progress, letter, textOf };
