// The analysis dialog, the theme switch, and what is said when a request fails. No text of a response is ever used as markup here.
(() => {
  "use strict";
  const dialog = document.getElementById("analysis");
  const body = document.getElementById("analysis-body");
  const said = document.getElementById("said");
  let opener = null;

  const say = (text) => { said.textContent = text; };

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target === body) opener = event.detail.elt;
  });

  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target === body && !dialog.open) {
      dialog.showModal();
      body.querySelector("[data-close]")?.focus();
    } else if (event.detail.target?.id === "results") {
      const count = document.querySelector("#results .pager span");
      say(count ? `${count.textContent} results` : "no results");
    }
  });

  const failed = (target, text) => {
    say(text);
    if (!target || (target !== body && target.id !== "results")) return;
    const note = document.createElement("div");
    note.className = "trouble";
    note.setAttribute("role", "alert");
    note.textContent = text;
    if (target === body) {
      const close = document.createElement("button");
      close.type = "button";
      close.className = "button";
      close.dataset.close = "";
      close.textContent = "Close";
      const title = document.createElement("h2");
      title.id = "analysis-title";
      title.textContent = "The analysis cannot be shown";
      body.replaceChildren(title, note, close);
      if (!dialog.open) dialog.showModal();
      close.focus();
    } else {
      target.querySelector(":scope > .trouble")?.remove();
      target.prepend(note);
    }
  };
  document.body.addEventListener("htmx:responseError", (event) => {
    failed(event.detail.target, `The server answered ${event.detail.xhr.status}. Reload the page.`);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(name, (event) => failed(event.detail.target, "The server does not answer. Is it still running?"));
  }

  dialog.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) { dialog.close(); return; }
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!inside) dialog.close();
  });

  // A modal dialog keeps focus off the page behind it; this keeps it from leaving for the browser's own bars as well.
  dialog.addEventListener("keydown", (event) => {
    if (event.key !== "Tab") return;
    const stops = [...dialog.querySelectorAll("a[href], button, input, select, [tabindex='0']")];
    const first = stops[0], last = stops[stops.length - 1];
    if (event.shiftKey && document.activeElement === first) { event.preventDefault(); last.focus(); }
    else if (!event.shiftKey && document.activeElement === last) { event.preventDefault(); first.focus(); }
  });

  dialog.addEventListener("close", () => {
    body.replaceChildren();
    if (opener?.isConnected) opener.focus();
  });

  document.querySelector("[data-theme-switch]")?.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* then only this page */ }
    say(`${root.dataset.theme} theme`);
    document.dispatchEvent(new Event("theme"));
  });
})();
