// What all parts use: elements by name, the reader's wishes, and the line that says what happens.

/** The page as it was served; a replay is made of it. */
const pageMarkup = document.body.innerHTML;

const byId = (id) => document.getElementById(id);

/** Whether the reader wants no motion. */
const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

/** Whether everything stands in one column. */
const narrow = window.matchMedia("(max-width: 760px)");

/** Says what happens, also to screen readers. */
function say(text) {
  byId("status").textContent = text;
}

function showError(error) {
  byId("error").textContent = error ? error.message : "";
  byId("error").hidden = !error;
  if (error?.status === 401) {
    byId("key-field").hidden = false;
    byId("key").focus();
  }
}
