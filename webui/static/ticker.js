/** A worker that ticks 30 times a second, also while its page is in the background, where timers are slowed. */

setInterval(() => postMessage("tick"), 33);
