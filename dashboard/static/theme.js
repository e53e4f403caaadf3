// Light or dark before the first paint: what the reader chose, else what the system says.
(() => {
  "use strict";
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* storage may be off */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
