// The theme, before anything is painted: light, dark, or as the system has it. No module: it must not wait.
"use strict";
(() => {
  let chosen = null;
  try { chosen = localStorage.getItem("ecm-theme"); } catch { chosen = null; }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
