// Keys of the page on which pairs are judged: 1, 2, t (tie), b (both bad), u (undo), and letters for the tags.
(() => {
  "use strict";
  const form = document.getElementById("verdict");
  if (!form) return;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text], input:not([type])")) return;
    const key = event.key.toLowerCase();
    const pressed = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!pressed || event.repeat) return;
    event.preventDefault();
    pressed.click();
  });
})();
