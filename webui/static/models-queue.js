/**
 * The uploads of this page: some are sent, the others wait for their turn.
 *
 * A browser opens six connections to a server for all its tabs, and an emergency stop needs one of them.
 * So few files are sent at once, and a stop ends them all; they start over once it has been confirmed.
 */

export const AT_ONCE = 2;

/** `io` has `room(bytes)`, `send(file, id, progress)`, `outcome(id)`, `takeBack(id)` and `draw()` for an id. */
export class Queue {
  /** @param {QueueIo} io @param {() => void} changed */
  constructor(io, changed) {
    this.io = io;
    this.changed = changed;
    /** @type {QueuedUpload[]} */
    this.entries = [];
    this.held = false;
  }

  /** Line up files; returns their entries. @param {Iterable<File>} files */
  add(files) {
    /** @type {QueuedUpload[]} */
    const added = [...files].map((file) => ({
      id: this.io.draw(), name: file.name, file, state: "queued", share: 0, size_bytes: file.size, error: "", crowded: false, sending: null, abandoned: "",
    }));
    this.entries.push(...added);
    this.changed();
    this.next();
    return added;
  }

  /** Send what may be sent now. */
  next() {
    if (this.held) return;
    for (const entry of this.entries) {
      if (this.entries.filter(({ sending }) => sending !== null).length >= AT_ONCE) return;
      if (entry.state === "queued" && entry.sending === null) this.start(entry);
    }
  }

  /** @param {QueuedUpload} entry */
  async start(entry) {
    entry.sending = { abort: () => {} };
    const room = await this.io.room(entry.size_bytes);
    if (!this.entries.includes(entry)) return;
    if (room === null || room.error || room.crowded || this.held) {
      entry.sending = null;
      entry.crowded = Boolean(room?.crowded);
      if (room?.error) Object.assign(entry, { state: "refused", error: room.error });
      this.changed();
      if (room?.error) this.next();
      return; // `next` is called again when something has changed
    }
    Object.assign(entry, { state: "uploading", crowded: false, share: 0 });
    const sending = this.io.send(entry.file, entry.id, (share) => {
      entry.share = share;
      this.changed();
    });
    entry.sending = sending;
    this.changed();
    const answer = await sending.done;
    entry.sending = null;
    if (!this.entries.includes(entry)) return; // taken back
    if (entry.state === "queued") {
      this.next(); // ended for a stop
      return;
    }
    const outcome = answer?.id ? answer : await this.io.outcome(entry.id);
    if (outcome) this.drop(entry); // from now on the server's list tells of it
    else Object.assign(entry, { state: "refused", error: answer?.error ?? "The connection was lost; nothing of it was kept. Upload it again." });
    this.changed();
    this.next();
  }

  /** Take an upload back, or forget what came of it. @param {QueuedUpload} entry */
  async takeBack(entry) {
    this.drop(entry);
    entry.sending?.abort();
    this.changed();
    if (entry.state === "uploading") await this.io.takeBack(entry.id);
    this.next();
  }

  /** End all that is being sent, for a stop; `release` starts it over. */
  hold() {
    this.held = true;
    for (const entry of this.entries) {
      if (entry.sending === null) continue;
      if (entry.state === "uploading") {
        const old = entry.id;
        Object.assign(entry, { state: "queued", share: 0, id: this.io.draw() });
        entry.abandoned = old;
      }
      entry.sending.abort();
    }
    this.changed();
  }

  /** Go on after a stop. */
  release() {
    if (!this.held) return;
    this.held = false;
    for (const entry of this.entries) {
      if (entry.abandoned) this.io.takeBack(entry.abandoned);
      entry.abandoned = "";
    }
    this.next();
  }

  /** Whether leaving the page would lose something. */
  get isBusy() {
    return this.entries.some(({ state }) => state === "queued" || state === "uploading");
  }

  /** @param {QueuedUpload} entry */
  drop(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
  }
}
