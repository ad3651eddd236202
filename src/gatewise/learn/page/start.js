// The first scene, when everything is known.

const before = memory.read();
takeOver(before);
choose(before.chosen);
memory.write();
writeFrame();
show(false);
addEventListener("hashchange", () => show());
addEventListener("resize", redraw);
for (const query of ["(prefers-color-scheme: dark)", "(prefers-reduced-motion: reduce)"]) {
  matchMedia(query).addEventListener("change", redraw);
}
