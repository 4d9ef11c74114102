// The player: which frame is shown. Steps may come faster than an eye can follow, so it goes through them at a pace of
// its own, and holds where the reader puts the scrubber.

class Player {
  constructor({ length, draw }) {
    this.length = length;
    this.draw = draw;
    this.shown = 0;
    this.playing = false;
    this.scrubber = byId("scrubber");
    this.button = byId("play");
    this.scrubber.addEventListener("input", () => this.hold(Number(this.scrubber.value)));
    this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    byId("pace").value = calm.matches ? "0" : "12";
  }

  get pace() { return Number(byId("pace").value); }

  /** Shows a frame and stays there. */
  hold(frame) {
    this.pause();
    this.show(frame);
  }

  show(frame) {
    this.shown = Math.max(0, Math.min(frame, this.length()));
    this.refresh();
  }

  /** Draws what is shown, after frames were added or dropped. */
  refresh() {
    this.scrubber.max = this.length();
    this.button.disabled = this.scrubber.disabled = this.length() === 0;
    this.scrubber.value = this.shown;
    this.draw(this.shown);
  }

  pause() {
    this.playing = false;
    this.button.textContent = "Play";
    document.body.classList.remove("playing");
  }

  /** Goes on to the end, from the beginning where the end is shown, and waits there for what is still to come. */
  play() {
    if (this.shown >= this.length()) this.shown = 0;
    this.follow();
  }

  follow() {
    if (this.playing) return;
    this.playing = true;
    this.button.textContent = "Pause";
    document.body.classList.add("playing");
    this.since = performance.now();
    requestAnimationFrame((now) => this.tick(now));
  }

  /** Nothing more will come: at the end the player rests. */
  finished = () => true;

  tick(now) {
    if (!this.playing) return;
    const steps = this.pace === 0 ? Infinity : Math.floor(((now - this.since) * this.pace) / 1000);
    if (steps >= 1) {
      this.since = this.pace === 0 ? now : this.since + (steps * 1000) / this.pace;
      const next = Math.min(this.shown + steps, this.length());
      // Time spent at the end, waiting for the server, is not made up for with a leap.
      if (next === this.length()) this.since = now;
      if (next !== this.shown) this.show(next);
    }
    if (this.shown >= this.length() && this.finished()) {
      this.pause();
      this.refresh();
    } else {
      requestAnimationFrame((later) => this.tick(later));
    }
  }
}
