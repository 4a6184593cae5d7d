"use strict";
/* Shows one contrast at a time, and brings its tables and clouds to life when it is shown. */
(function (own) {
  function wake(part) {
    part.querySelectorAll("[data-table]").forEach(own.table);
    part.querySelectorAll("[data-cloud]").forEach((holder) => {
      const image = holder.querySelector("img");
      if (image) image.classList.add("still");
      own.cloud(holder);
    });
  }
  document.documentElement.classList.add("live");
  const results = Array.from(document.querySelectorAll("section.result"));
  const choice = document.getElementById("choice");
  function show(id) {
    for (const section of results) section.hidden = section.id !== id;
    const shown = document.getElementById(id);
    if (shown) wake(shown);
    if (choice) choice.value = id;
  }
  if (choice) choice.addEventListener("change", () => show(choice.value));
  document.querySelectorAll("a[data-result]").forEach((link) => {
    link.addEventListener("click", () => show(link.dataset.result));
  });
  document.querySelectorAll("[data-table]").forEach((holder) => {
    if (!holder.closest("section.result")) own.table(holder);
  });
  document.querySelectorAll("button[data-copy]").forEach((button) => {
    button.addEventListener("click", async () => {
      const code = document.getElementById(button.dataset.copy);
      const range = document.createRange();
      range.selectNodeContents(code);
      window.getSelection().removeAllRanges();
      window.getSelection().addRange(range);
      try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
      catch { button.textContent = "Selected: copy with Ctrl-C"; }
    });
  });
  const asked = decodeURIComponent(location.hash.slice(1));
  if (results.length) show(results.some((section) => section.id === asked) ? asked : results[0].id);
})(window.xdelnx);
