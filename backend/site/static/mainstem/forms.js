// What forms do beyond the browser: fields that belong to a choice, drafts that outlive a login, an editor's lines.

const DRAFT = "mainstem-draft";
const NEVER = new Set(["password", "file", "hidden"]);

// ------------------------------------------------------------ fields of choices: data-when="mode=sync&selection=uniform speed"
function chosen(form, name) {
  const field = form.elements.namedItem(name);
  if (field === null) return "";
  if (field instanceof RadioNodeList) return field.value;
  return field.type === "checkbox" ? String(field.checked) : field.value;
}

function show(form) {
  for (const part of form.querySelectorAll("[data-when]")) {
    part.hidden = !part.dataset.when.split("&").every((choice) => {
      const [name, values] = choice.split("=");
      return values.split(" ").includes(chosen(form, name));
    });
  }
}

// ------------------------------------------------------------ drafts: what was typed survives a login in between
function typed(form) {
  return [...form.elements].filter((field) => field.name && !NEVER.has(field.type) && field.type !== "submit")
    .map((field) => [field.name, field.value, field.checked ?? null, field.type]);
}

function keep(form) {
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify({ path: location.pathname, fields: typed(form) }));
  } catch { /* no room: then nothing is kept */ }
}

function restore(form) {
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  sessionStorage.removeItem(DRAFT);
  const before = document.referrer ? new URL(document.referrer).pathname : "";
  if (draft === null || draft.path !== location.pathname || before !== "/login/") return;
  for (const [name, value, checked, type] of draft.fields) {
    for (const field of form.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
      if (type === "radio" || type === "checkbox") {
        if (field.value === value) field.checked = checked;
      } else if (field.type === type) field.value = value;
    }
  }
}

// ------------------------------------------------------------ the editor: numbers of lines, and the one to blame
function lines(area) {
  const gutter = area.parentElement.querySelector(".gutter");
  const said = document.getElementById(`${area.id}-wrong`)?.textContent.match(/\bline (\d+)/);
  const wrong = said ? Number(said[1]) : 0;
  gutter.replaceChildren(...area.value.split("\n").flatMap((_, index) => {
    const number = document.createElement(index + 1 === wrong ? "b" : "span");
    number.textContent = index + 1 === wrong ? `✕ ${index + 1}` : String(index + 1);
    return [number, "\n"];
  }));
  gutter.style.setProperty("max-height", `${area.offsetHeight}px`);
  gutter.scrollTop = area.scrollTop;
}

function edit(area) {
  area.addEventListener("input", () => lines(area));
  area.addEventListener("scroll", () => { area.parentElement.querySelector(".gutter").scrollTop = area.scrollTop; });
  new ResizeObserver(() => lines(area)).observe(area);
  lines(area);
}

// ------------------------------------------------------------ files: too large is said before it is sent
function weigh(field) {
  const file = field.files[0];
  const most = Number(field.dataset.mostBytes);
  const slot = document.getElementById(`${field.id}-wrong`);
  slot.replaceChildren();
  if (!file || file.size <= most) return true;
  const said = document.createElement("p");
  said.className = "wrong";
  said.setAttribute("role", "alert");
  said.textContent = `The file has ${file.size.toLocaleString("en")} bytes; at most ${most.toLocaleString("en")} are taken: choose another one.`;
  slot.append(said);
  return false;
}

// ------------------------------------------------------------ errors that htmx has put in their places
function mark() {
  for (const slot of document.querySelectorAll(".wrongs")) {
    const fields = slot.parentElement.querySelectorAll("input, select, textarea");
    for (const field of fields) {
      if (slot.children.length) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
  }
  for (const area of document.querySelectorAll("[data-editor]")) lines(area);
  for (const part of document.querySelectorAll("details.more")) if (part.querySelector(".wrong")) part.open = true;
}

for (const form of document.querySelectorAll("main form[method=post]")) {
  if (form.hasAttribute("data-keep")) {
    restore(form);
    form.addEventListener("input", () => keep(form));
    form.addEventListener("submit", (event) => {
      const heavy = [...form.querySelectorAll("[data-most-bytes]")].filter((field) => !field.closest("[hidden]") && !weigh(field));
      if (heavy.length) { event.preventDefault(); event.stopImmediatePropagation(); heavy[0].focus(); }
    }, { capture: true });
  }
  form.addEventListener("change", () => show(form));
  show(form);
}
for (const area of document.querySelectorAll("[data-editor]")) edit(area);
for (const field of document.querySelectorAll("[data-most-bytes]")) field.addEventListener("change", () => weigh(field));
document.addEventListener("htmx:oobAfterSwap", mark);
document.addEventListener("htmx:afterSettle", mark);
const first = document.querySelector("main form .wrongs .wrong");
if (first) first.closest(".field, fieldset")?.querySelector("input, select, textarea")?.focus();
