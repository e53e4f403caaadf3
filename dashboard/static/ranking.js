// The slider of a ranking: it marks the services whose metrics are far from usual at the moment it stands on.
(() => {
  "use strict";
  const LOUD = 6;
  const slider = document.getElementById("moment");
  if (!slider) return;
  const times = JSON.parse(slider.dataset.times);
  const boxes = [...document.querySelectorAll("rect[data-scores]")].map((box) => [box, JSON.parse(box.dataset.scores)]);
  function show() {
    const step = Number(slider.value);
    document.getElementById("moment-text").textContent = times[step] || "without metrics";
    slider.setAttribute("aria-valuetext", times[step] || "without metrics");
    for (const [box, scores] of boxes) box.classList.toggle("loud", (scores[step] || 0) >= LOUD);
  }
  slider.addEventListener("input", show);
  show();
})();
