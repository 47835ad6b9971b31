/** A worker that ticks every 100 ms, also while its page's own timers are slowed. */

setInterval(() => postMessage("tick"), 100);
