/** Uploads as rows: how far each is, what came of it, and the question where an input range is unknown. */

import { element, keep, part, setText } from "./dom.js";
import { describeUpload, speed, steering } from "./models-words.js";

/** @typedef {HTMLLIElement & {upload: ShownUpload, act: UploadActs}} UploadRow */

const ON_THE_WAY = new Set(["queued", "uploading", "checking", "asking"]);

/** Show the uploads; `act` has `takeBack(upload)`, `choose(upload, range)` and `open(key)`. @param {HTMLElement} list @param {ShownUpload[]} uploads @param {UploadActs} act */
export function showUploads(list, uploads, act) {
  keep(list, uploads, (upload) => upload.id, (upload) => makeRow(upload, act), updateRow);
}

/** @param {ShownUpload} first @param {UploadActs} act */
function makeRow(first, act) {
  const row = /** @type {UploadRow} */ (Object.assign(element("li", { class: "upload" }), { upload: first, act }));
  const button = element("button", { type: "button", class: "small", onclick: () => act.takeBack(row.upload) });
  const open = element("button", { type: "button", class: "small open", hidden: true, onclick: () => act.open(/** @type {UploadState} */ (row.upload).model?.key ?? "") }, "Show");
  row.append(
    element("p", { class: "name" }, element("bdi")),
    element("p", { class: "words" }),
    element("progress", { max: "1" }),
    element("div", { class: "buttons" }, open, button),
    element("div", { class: "question", hidden: true }),
  );
  return row;
}

/** @param {UploadRow} row @param {any} upload of the server, or of this page */
function updateRow(row, upload) {
  row.upload = upload;
  const { words, share } = describeUpload(upload);
  row.dataset.state = upload.state;
  setText(part(row, ".name bdi"), upload.file_name ?? upload.name);
  const sentence = part(row, ".words");
  setText(sentence, words);
  if (upload.state === "refused") sentence.setAttribute("role", "alert");
  const bar = part(row, "progress");
  const goesOn = ON_THE_WAY.has(upload.state) && upload.state !== "asking";
  bar.hidden = !goesOn;
  bar.setAttribute("aria-label", `${upload.name}: ${upload.state}`);
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  const takeBack = part(row, ".buttons .small:not(.open)");
  setText(takeBack, ON_THE_WAY.has(upload.state) ? "Cancel" : "Dismiss");
  takeBack.setAttribute("aria-label", `${takeBack.textContent} ${upload.name}`);
  part(row, ".open").hidden = upload.state !== "done" || !upload.model;
  showQuestion(part(row, ".question"), upload, row.act);
}

/** Both answers side by side, and a button under each: the owner sees which one drives. @param {HTMLElement} place @param {UploadState} upload @param {UploadActs} act */
function showQuestion(place, upload, act) {
  const isAsked = upload.state === "asking";
  place.hidden = !isAsked;
  if (!isAsked) {
    place.replaceChildren();
    return;
  }
  if (place.childElementCount) return;
  const ranges = Object.entries(upload.responses);
  const [, first] = ranges[0];
  const frames = first.map(({ picture }, index) => ({ picture, index })).filter(({ picture }) => /^(blank|frame \d+)$/.test(picture)).slice(0, 9);
  const head = element("tr", {}, element("th", { scope: "col" }, "Picture"), ranges.map(([range]) => element("th", { scope: "col" }, `With ${range}`)));
  const rows = frames.map(({ picture, index }) =>
    element("tr", {}, element("th", { scope: "row" }, pictureCell(picture)), ranges.map(([, answers]) => answerCell(answers[index]))));
  place.append(
    element("p", {}, "Neither the network nor its metadata says which values its pictures had in training. Look at both answers: the right ones follow the road, the wrong ones are often all alike."),
    element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Answers with each range" }, element("table", {}, element("thead", {}, head), element("tbody", {}, rows))),
    element("div", { class: "choices" }, ranges.map(([range]) =>
      element("button", { type: "button", class: "action", onclick: () => act.choose(upload, range) }, `It is ${range.replace("..", " to ")}`))),
  );
}

/** The picture itself, or its name where there is none. @param {string} picture */
export function pictureCell(picture) {
  const match = /^frame (\d+)/.exec(picture);
  if (!match) return element("span", { class: "blank" }, picture);
  return element("img", { src: `/api/check-pictures/${match[1]}.jpg`, alt: picture, width: 64, height: 48, loading: "lazy", decoding: "async" });
}

/** @param {PictureAnswer} answer */
function answerCell(answer) {
  return element("td", {}, element("span", { class: "steer" }, steering(answer.steering_deg)), element("span", { class: "faint" }, speed(answer.speed_mps)));
}
