"use strict";
// One controller per episode: the slider, the map, the video and the play button all set one thing, the step.

const seconds = (t) => t.toFixed(1);

function span(entry) {
  const [start, end] = entry;
  return seconds(start) === seconds(end) ? `${seconds(start)} s` : `${seconds(start)} – ${seconds(end)} s`;
}

function moments([, , count]) {
  return count === 1 ? "one moment" : `${count} moments merged`;
}

function make(tag, className, parent) {
  const element = document.createElement(tag);
  element.className = className;
  parent.append(element);
  return element;
}

function drawTile(canvas, sheet, index) {
  if (canvas.dataset.tile === String(index)) return;
  const columns = Number(sheet.dataset.columns);
  const width = Number(sheet.dataset.width);
  const height = Number(sheet.dataset.height);
  const x = (index % columns) * width;
  const y = Math.floor(index / columns) * height;
  canvas.getContext("2d").drawImage(sheet, x, y, width, height, 0, 0, canvas.width, canvas.height);
  canvas.dataset.tile = index;
}

class Story {
  constructor(root) {
    this.find = (selector) => root.querySelector(selector);
    Object.assign(this, JSON.parse(this.find(".steps").textContent));
    this.root = root;
    this.memorySheet = this.find(".sheet-memory");
    this.cameraSheet = this.find(".sheet-camera");
    this.canvases = [...root.querySelectorAll(".camera")];
    this.slider = this.find(".step");
    this.video = this.find("video");
    this.map = this.find(".map");
    this.first = this.steps[0].t;
    this.length = this.steps.at(-1).t + this.period - this.first;
    this.speed = 1;
    this.playing = false;
    this.buildCards(Math.max(...this.steps.map((step) => step.entries.length)));
    this.listen();
    this.seek(this.mostTelling());
  }

  // The step that looks hardest at something it can no longer see: a good picture of what memory is for.
  mostTelling() {
    const past = (step) => step.entries.filter((entry) => entry[1] < step.t - this.length / 10);
    const most = (step) => (step.entries.length < this.cards.length / 2 ? 0 : Math.max(0, ...past(step).map((entry) => entry[4])));
    const values = this.steps.map(most);
    return values.indexOf(Math.max(...values));
  }

  buildCards(n) {
    const tray = this.find(".cards");
    tray.style.setProperty("--columns", Math.max(4, Math.ceil(n / Math.ceil(n / (n > 32 ? 12 : 8)))));
    this.cards = Array.from({ length: n }, () => {
      const card = make("div", "entry", tray);
      const picture = make("div", "picture", card);
      const canvas = make("canvas", "", picture);
      canvas.width = Number(this.memorySheet.dataset.width);
      canvas.height = Number(this.memorySheet.dataset.height);
      const count = make("b", "count", picture);
      const change = make("em", "change", picture);
      const bar = make("i", "attention", make("div", "gauge", card));
      const when = make("span", "when", card);
      const what = make("span", "what", card);
      card.addEventListener("pointerenter", () => this.point(card));
      card.addEventListener("pointerleave", () => this.point(null));
      return Object.assign(card, { canvas, count, change, bar, when, what, entry: null });
    });
  }

  listen() {
    this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
    this.find(".play").addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.find(".speed").addEventListener("click", () => this.changeSpeed());
    const scrub = (event) => {
      const box = this.map.getBoundingClientRect();
      this.seek(this.stepAt(this.first + ((event.clientX - box.left) / box.width) * this.length));
    };
    this.map.addEventListener("pointerdown", (event) => {
      this.map.setPointerCapture(event.pointerId);
      scrub(event);
    });
    this.map.addEventListener("pointermove", (event) => event.buttons && scrub(event));
    if (this.video) {
      this.video.controls = false;
      this.video.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
      this.video.addEventListener("ended", () => this.pause());
    }
  }

  stepAt(t) {
    let k = 0;
    while (k + 1 < this.steps.length && this.steps[k + 1].t <= t + 1e-6) k += 1;
    return k;
  }

  seek(k) {
    this.pause();
    if (this.video) this.video.currentTime = Math.max(0, this.steps[k].t - this.videoStart);
    this.show(k);
  }

  changeSpeed() {
    this.speed = this.speed >= 4 ? 1 : this.speed * 2;
    this.find(".speed").textContent = `${this.speed}×`;
    if (this.video) this.video.playbackRate = this.speed;
  }

  play() {
    if (this.k === this.steps.length - 1 || this.video?.ended) this.seek(0);
    this.playing = true;
    this.root.classList.add("playing");
    this.video?.play().catch(() => this.pause());
    let t = this.steps[this.k].t;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      t = this.video ? this.videoStart + this.video.currentTime : t + ((now - before) / 1000) * this.speed;
      before = now;
      this.show(this.stepAt(t));
      if (!this.video && t > this.first + this.length) this.pause();
      else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  pause() {
    this.playing = false;
    this.root.classList.remove("playing");
    this.video?.pause();
  }

  // What happened while the entry was being seen.
  eventDuring([start, end]) {
    const event = this.events.find(([t]) => t >= start && t < end + this.period);
    return event ? event[1] : "";
  }

  show(k) {
    if (k === this.k) return;
    this.k = k;
    const step = this.steps[k];
    this.slider.value = k;
    step.pictures.forEach((index, i) => drawTile(this.canvases[i], this.cameraSheet, index));
    this.cards.forEach((card, i) => this.fill(card, step.entries[i]));
    this.find(".held-now").textContent = `${step.entries.length} entries at ${seconds(step.t)} s`;
    this.focus(step.entries);
    this.caption(step);
    const playhead = this.find(".playhead");
    playhead.style.left = `${(100 * (step.t - this.first)) / this.length}%`;
    playhead.style.width = `${(100 * this.period) / this.length}%`;
  }

  fill(card, entry) {
    card.entry = entry ?? null;
    card.classList.toggle("empty", !entry);
    if (!entry) return;
    const [, , count, tile, attention, change] = entry;
    drawTile(card.canvas, this.memorySheet, tile);
    card.style.setProperty("--look", Math.min(1, attention / this.strongest).toFixed(3));
    card.count.textContent = count > 1 ? `×${count}` : "";
    card.change.textContent = change;
    card.change.className = `change chip-${change}`;
    card.when.textContent = span(entry);
    card.what.textContent = this.eventDuring(entry);
    card.title = `${span(entry)}, ${moments(entry)}, attention ${(100 * attention).toFixed(0)} %`;
  }

  // The entry that is looked at most, large.
  focus(entries) {
    const most = entries.reduce((best, entry) => (entry[4] > (best?.[4] ?? 0) ? entry : best), null);
    this.find(".focus").classList.toggle("nothing", !most);
    if (!most) return;
    drawTile(this.find(".focus canvas"), this.memorySheet, most[3]);
    const [when, what, how] = this.root.querySelectorAll(".focus b, .focus em, .focus span:last-child");
    when.textContent = span(most);
    what.textContent = this.eventDuring(most);
    how.textContent = `${(100 * most[4]).toFixed(0)} % of its attention, ${moments(most)}`;
  }

  caption(step) {
    const now = this.find(".now");
    if (!now) return;
    const recent = this.events.filter(([t]) => t <= step.t && t > step.t - 1.5).at(-1);
    now.textContent = recent ? recent[1] : "";
    now.hidden = now.textContent === "";
  }

  point(card) {
    const pointer = this.find(".pointer");
    pointer.hidden = !card?.entry;
    if (pointer.hidden) return;
    const [start, end] = card.entry;
    pointer.style.bottom = `${(100 * (start - this.first)) / this.length}%`;
    pointer.style.height = `${(100 * (end + this.period - start)) / this.length}%`;
  }
}

async function open(root) {
  const sheets = [...root.querySelectorAll("img[hidden]")];
  await Promise.all(sheets.map((sheet) => sheet.decode()));
  new Story(root);
}

document.querySelectorAll("[data-story]").forEach(open);
