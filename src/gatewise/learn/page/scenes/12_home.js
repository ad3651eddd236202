scene("home", {
  build({ root, words, kit }) {
    root.append(kit.text("lead"));
  },
});
