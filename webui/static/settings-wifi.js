/** The card of the car's Wi-Fi: networks in reach, joining and forgetting one, the car's own. It asks in place: nothing covers the stop. */

import { change } from "./requests.js";
import { element, keep, setText } from "./dom.js";
import { fetchGently } from "./link.js";

const LOOK_MS = 5000;
const CHANGING_MS = 1000;
const LOOK_TIMEOUT_MS = 25000; // a radio that looks around takes its time
const NAMESPACE = "http://www.w3.org/2000/svg";

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** Four bars, of which as many are lit as the signal is strong. @param {number | null} percent */
function strength(percent) {
  const image = document.createElementNS(NAMESPACE, "svg");
  image.setAttribute("viewBox", "0 0 26 22");
  image.setAttribute("class", "strength");
  image.setAttribute("role", "img");
  image.setAttribute("aria-label", percent === null ? "not in reach" : `strength ${percent} %`);
  for (const step of [0, 1, 2, 3]) {
    const bar = document.createElementNS(NAMESPACE, "rect");
    for (const [name, value] of Object.entries({ x: step * 7, y: 15 - step * 5, width: 5, height: 7 + step * 5, rx: 1.5 })) bar.setAttribute(name, String(value));
    if (percent !== null && percent > 8 + step * 22) bar.setAttribute("class", "is-lit");
    image.append(bar);
  }
  return image;
}

export class WifiCard {
  constructor() {
    /** @type {WifiDocument | null} */
    this.known = null;
    /** @type {{kind: "join" | "on" | "off", ssid: string} | null} */
    this.asked = null;
    this.isLooking = false;
    this.again = false;
    this.timer = 0;
    this.hasRadio = false; // whether one was ever seen: one look may fail, and in the middle of a change they do
    /** @type {string[]} */
    this.addresses = [];
    byId("wifi-look").addEventListener("click", () => this.look(true));
    byId("wifi-radio").addEventListener("click", () => this.ask("/api/wifi/radio", {}));
    byId("wifi-hotspot").addEventListener("click", () => this.askForOwn());
    byId("wifi-leave").addEventListener("click", () => this.close());
    byId("wifi-ask").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.go();
    });
    this.look();
  }

  /** @param {boolean} scans whether the radio is to look around first @returns {Promise<void>} */
  async look(scans = false) {
    this.again = this.isLooking;
    if (this.isLooking) return;
    clearTimeout(this.timer);
    this.isLooking = true;
    byId("wifi-look").disabled = true;
    if (scans) setText(byId("wifi-look"), "Looking …");
    try {
      const { response, body } = await fetchGently(`/api/wifi${scans ? "?scan=true" : ""}`, { timeoutMs: LOOK_TIMEOUT_MS });
      if (response.ok && body) this.show(JSON.parse(await body.text()));
    } catch {
      if (this.isChanging) this.tell("This page has lost the car, as was to be expected. Find it again as shown below.", false);
    }
    this.isLooking = false;
    if (this.again) return this.look();
    byId("wifi-look").disabled = this.isChanging;
    setText(byId("wifi-look"), "Look for networks");
    if (this.hasRadio || this.isChanging) this.timer = setTimeout(() => this.look(), this.isChanging ? CHANGING_MS : LOOK_MS);
  }

  /** What the radio sees; only where there is one. */
  get sight() {
    return /** @type {WifiSight} */ (this.known?.sight);
  }

  get isChanging() {
    return this.known?.change.state === "going on";
  }

  /** @param {WifiDocument} document_ */
  show(document_) {
    const was = this.known;
    this.known = document_;
    this.hasRadio ||= Boolean(document_.sight);
    const { sight, problem, change: newest } = document_;
    if (document_.addresses.length) this.addresses = document_.addresses;
    byId("wifi-own").hidden = !sight?.device;
    setText(byId("wifi-words"), problem || wordsOf(sight));
    if (newest.state === "none") this.tell("", false);
    else this.tell(newest.words, newest.state === "failed");
    if (was?.change.state === "going on" && newest.state !== "going on") this.close();
    if (!sight?.device) return;
    byId("wifi-radio").hidden = sight.is_radio_on;
    byId("wifi-look").hidden = byId("wifi-hotspot").hidden = !sight.is_radio_on;
    for (const button of byId("wifi").querySelectorAll("button")) if (button.id !== "wifi-leave") button.disabled = this.isChanging;
    keep(byId("wifi-list"), sight.networks, (each) => each.ssid, () => element("li"), (item, each) => this.showNetwork(item, each));
  }

  /** @param {HTMLElement} item @param {WifiNetwork} network */
  showNetwork(item, network) {
    const key = JSON.stringify([network, this.isChanging]);
    if (item.dataset.shown === key) return;
    item.dataset.shown = key;
    item.className = network.is_joined ? "is-joined" : "";
    const inReach = network.signal_percent !== null;
    const about = [network.is_joined ? "the car is in it" : "", inReach ? network.security || "open, for everybody to read" : "not in reach", network.is_known && !network.is_joined ? "known" : ""];
    const hands = element("span", { class: "hands" },
      network.is_known && !network.is_joined ? element("button", { type: "button", class: "small", disabled: this.isChanging, "aria-label": `Forget ${network.ssid}`, onclick: () => this.ask("/api/wifi/forget", { ssid: network.ssid }) }, "Forget") : null,
      inReach && !network.is_joined && !network.obstacle ? element("button", { type: "button", class: "small", disabled: this.isChanging, "aria-label": `Join ${network.ssid}`, onclick: () => this.askToJoin(network) }, "Join") : null);
    item.replaceChildren(strength(network.signal_percent), element("span", {}, element("span", { class: "ssid" }, network.ssid), " ", element("span", { class: "about" }, about.filter(Boolean).join(", "))), hands);
    if (network.obstacle) item.append(element("p", { class: "obstacle" }, network.obstacle));
  }

  // ---- asking before this page is cut off ----

  /** @param {WifiNetwork} network */
  askToJoin(network) {
    this.asked = { kind: "join", ssid: network.ssid };
    const isLocked = network.security !== "" && network.security !== "OWE";
    byId("wifi-password-row").hidden = !isLocked;
    byId("wifi-password").required = isLocked && !network.is_known;
    byId("wifi-password").placeholder = network.is_known ? "as it is known" : "";
    this.open(`Join ${network.ssid}?`, "Join", `${this.leaving()} Then bring this device into ${network.ssid} too, and open`);
  }

  async askForOwn() {
    const { hotspot } = this.sight;
    byId("wifi-password-row").hidden = true;
    byId("wifi-password").required = false;
    const own = await this.ask("/api/wifi/hotspot/prepare", {});
    if (!own) return;
    if (hotspot.is_on) {
      this.asked = { kind: "off", ssid: own.ssid };
      this.open("Switch the car's own network off?", "Switch off", "The car goes back to a network that it knows, and this page loses it; where none comes in reach within half a minute, its own is on again. Then open");
    } else {
      this.asked = { kind: "on", ssid: own.ssid };
      this.open("Switch the car's own network on?", "Switch on", `${this.leaving()} It is there after a start too, where no network that the car knows is in reach. Bring this device into it with the password or the first code, then open`, own.address);
    }
    setText(byId("wifi-secret-name"), own.ssid);
    setText(byId("wifi-secret-password"), own.password);
    byId("wifi-secret").hidden = false;
    this.showCode("wifi-join-code", hotspot.is_on ? "" : "/api/wifi/hotspot.svg");
  }

  leaving() {
    const { joined, hotspot } = this.sight;
    const left = hotspot.is_on ? "its own network" : joined;
    return left ? `The car leaves ${left}, its address changes, and this page loses it.` : "The car's address changes, and this page may lose it.";
  }

  /** @param {string} title @param {string} word @param {string} words */
  open(title, word, words, address = "") {
    setText(byId("wifi-ask-title"), title);
    setText(byId("wifi-go"), word);
    const there = [...this.addresses.slice(0, 1), address].filter(Boolean);
    setText(byId("wifi-ask-words"), there.length ? `${words}:` : "This page is served to this computer alone, so nobody loses it.");
    setText(byId("wifi-ask-address"), there.join("  or  "));
    byId("wifi-secret").hidden = true;
    this.showCode("wifi-join-code", "");
    this.showCode("wifi-page-code", this.addresses.length ? "/api/wifi/address.svg" : "");
    setText(byId("wifi-page-code").querySelector("figcaption"), this.asked?.kind === "on" ? "2. Open its page" : "Its page, afterwards");
    byId("wifi-password").value = "";
    byId("wifi-ask").hidden = false;
    byId("wifi-leave").hidden = false;
    byId("wifi-ask").scrollIntoView({ block: "nearest" });
    (byId("wifi-password-row").hidden ? byId("wifi-leave") : byId("wifi-password")).focus();
  }

  /** @param {string} id @param {string} source */
  showCode(id, source) {
    const figure = byId(id);
    figure.hidden = !source;
    if (source) figure.querySelector("img").src = source;
  }

  close() {
    this.asked = null;
    byId("wifi-ask").hidden = true;
    byId("wifi-password").value = "";
  }

  async go() {
    if (!this.asked) return;
    const { kind, ssid } = this.asked;
    const answer = kind === "join"
      ? await this.ask("/api/wifi/join", { ssid, password: byId("wifi-password-row").hidden ? "" : byId("wifi-password").value })
      : await this.ask("/api/wifi/hotspot", { on: kind === "on" });
    if (!answer) return;
    byId("wifi-password").value = "";
    byId("wifi-leave").hidden = true; // on its way; how to find the car again stays in sight
  }

  /** Ask for a change, say what became of it, and look again. @param {string} url @param {object} body */
  async ask(url, body) {
    const answer = await change("POST", url, body);
    if (!answer.ok) this.tell(answer.error, true);
    else if (url !== "/api/wifi/hotspot/prepare") await this.look();
    return answer.ok ? answer : null;
  }

  /** @param {string} words @param {boolean} isBad */
  tell(words, isBad) {
    const place = byId("wifi-change");
    place.classList.toggle("is-bad", isBad);
    setText(place, words);
  }
}

/** @param {WifiSight | null} sight */
function wordsOf(sight) {
  if (!sight?.is_radio_on) return "The radio is off.";
  if (sight.hotspot.is_on) return `The car makes its own network, ${sight.hotspot.ssid}.`;
  return sight.joined ? `The car is in ${sight.joined}.` : "The car is in no network by Wi-Fi.";
}
