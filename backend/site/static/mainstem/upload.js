// A file on its way: how much of it is sent. Without this script the form sends itself.

const form = document.querySelector("form[data-upload]");
const bar = form.querySelector("progress");
const said = form.querySelector("[data-sent]");

function shown(bytes) {
  return `${(bytes / 1048576).toLocaleString("en", { maximumFractionDigits: 1 })} MiB`;
}

function busy(yes) {
  bar.hidden = !yes;
  form.querySelector("button[type=submit]").disabled = yes;
}

/** Follows a redirect, or shows the page that came instead. */
function arrived(request) {
  if (request.status < 400 && request.responseURL && new URL(request.responseURL).pathname !== location.pathname) {
    location.assign(request.responseURL);
    return;
  }
  busy(false);
  const page = new DOMParser().parseFromString(request.responseText, "text/html");
  const wrong = page.querySelector("main .wrong, main .note.bad") ?? page.querySelector("main p");
  said.className = "wrong";
  said.textContent = wrong?.textContent ?? `The server answered ${request.status}.`;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    bar.value = total ? loaded / total : 0;
    said.textContent = loaded < total ? `${shown(loaded)} of ${shown(total)} sent` : "Sent; it is being read.";
  });
  request.addEventListener("load", () => arrived(request));
  request.addEventListener("error", () => {
    busy(false);
    said.className = "wrong";
    said.textContent = "The connection was lost: send it again.";
  });
  request.open("POST", form.action);
  said.className = "hint";
  busy(true);
  request.send(new FormData(form));
});
