/** A worker that ticks every 250 ms, also while its page is in the background, where timers are slowed. */

setInterval(() => postMessage("tick"), 250);
