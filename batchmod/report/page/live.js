/* Keeps the page at what the run is now: the whole document once, then what is new, until the run's last word.
   `data-live` of the root says how that goes: connecting, connected, lost or ended. */
"use strict";
(() => {
  const AGAIN = 2000; // milliseconds
  const LOOKS = {
    connecting: ["open", "connecting …"],
    connected: ["good", "following the run"],
    lost: ["doubt", "no connection: trying again; what is shown may be old"],
    ended: ["open", "the run has ended; nothing more will change"],
  };
  const link = document.createElement("p");
  link.id = "link";
  link.setAttribute("role", "status");
  document.querySelector("header").append(link);
  let source = null;

  function show(state) {
    const [tone, text] = LOOKS[state];
    document.documentElement.dataset.live = state;
    link.className = `badge ${tone}`;
    if (link.textContent !== text) link.textContent = text;
  }

  async function begin() {
    source?.close();
    try {
      const answer = await fetch("data");
      if (!answer.ok) throw new Error(`data: ${answer.status}`);
      const whole = await answer.json();
      batchmod.load(whole);
      if (whole.live.state.phase === "ended") show("ended");
      else follow(whole.live.known);
    } catch {
      later();
    }
  }

  function later() {
    source?.close();
    show("lost");
    setTimeout(begin, AGAIN);
  }

  function follow(known) {
    source = new EventSource(`events?after=${encodeURIComponent(known)}`);
    source.addEventListener("open", () => show("connected"));
    source.addEventListener("update", (event) => batchmod.update(JSON.parse(event.data)));
    source.addEventListener("reload", begin);
    source.addEventListener("end", (event) => {
      source.close();
      batchmod.update(JSON.parse(event.data));
      show("ended");
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) later();
      else show("lost");
    });
  }

  show("connecting");
  begin();
})();
