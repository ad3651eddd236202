scene("race", {
  build({ root, words, kit }) {
    root.append(kit.text("lead"));
  },
});
