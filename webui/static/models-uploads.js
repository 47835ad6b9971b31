/** Uploads as rows: how far each is, what came of it, and the question where an input range is unknown. */

import { element, keep, setText } from "./models-dom.js";
import { describeUpload, speed, steering } from "./models-words.js";

const ON_THE_WAY = new Set(["queued", "uploading", "checking", "asking"]);

/** Show the uploads; `act` has `takeBack(upload)`, `choose(upload, range)` and `open(key)`. */
export function showUploads(list, uploads, act) {
  keep(list, uploads, (upload) => upload.id, (upload) => makeRow(upload, act), updateRow);
}

function makeRow(first, act) {
  const row = element("li", { class: "upload" });
  row.upload = first;
  const button = element("button", { type: "button", class: "small", onclick: () => act.takeBack(row.upload) });
  const open = element("button", { type: "button", class: "small open", hidden: true, onclick: () => act.open(row.upload.model.key) }, "Show");
  row.append(
    element("p", { class: "name" }, element("bdi")),
    element("p", { class: "words" }),
    element("progress", { max: "1" }),
    element("div", { class: "buttons" }, open, button),
    element("div", { class: "question", hidden: true }),
  );
  row.takeBack = button;
  row.act = act;
  return row;
}

function updateRow(row, upload) {
  row.upload = upload;
  const { words, share } = describeUpload(upload);
  row.dataset.state = upload.state;
  setText(row.querySelector(".name bdi"), upload.file_name ?? upload.name);
  const sentence = row.querySelector(".words");
  setText(sentence, words);
  if (upload.state === "refused") sentence.setAttribute("role", "alert");
  const bar = row.querySelector("progress");
  const goesOn = ON_THE_WAY.has(upload.state) && upload.state !== "asking";
  bar.hidden = !goesOn;
  bar.setAttribute("aria-label", `${upload.name}: ${upload.state}`);
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  setText(row.takeBack, ON_THE_WAY.has(upload.state) ? "Cancel" : "Dismiss");
  row.takeBack.setAttribute("aria-label", `${row.takeBack.textContent} ${upload.name}`);
  row.querySelector(".open").hidden = upload.state !== "done" || !upload.model;
  showQuestion(row.querySelector(".question"), upload, row.act);
}

/** Both answers side by side, and a button under each: the owner sees which one drives. */
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
  const frames = first.map(({ picture }, index) => [picture, index]).filter(([picture]) => /^(blank|frame \d+)$/.test(picture)).slice(0, 9);
  const head = element("tr", {}, element("th", { scope: "col" }, "Picture"), ranges.map(([range]) => element("th", { scope: "col" }, `With ${range}`)));
  const rows = frames.map(([picture, index]) =>
    element("tr", {}, element("th", { scope: "row" }, pictureCell(picture)), ranges.map(([, answers]) => answerCell(answers[index]))));
  place.append(
    element("p", {}, "Neither the network nor its metadata says which values its pictures had in training. Look at both answers: the right ones follow the road, the wrong ones are often all alike."),
    element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Answers with each range" }, element("table", {}, element("thead", {}, head), element("tbody", {}, rows))),
    element("div", { class: "choices" }, ranges.map(([range]) =>
      element("button", { type: "button", class: "action", onclick: () => act.choose(upload, range) }, `It is ${range.replace("..", " to ")}`))),
  );
}

/** The picture itself, or its name where there is none. */
export function pictureCell(picture) {
  const match = /^frame (\d+)/.exec(picture);
  if (!match) return element("span", { class: "blank" }, picture);
  return element("img", { src: `/api/check-pictures/${match[1]}.jpg`, alt: picture, width: 64, height: 48, loading: "lazy", decoding: "async" });
}

function answerCell(answer) {
  return element("td", {}, element("span", { class: "steer" }, steering(answer.steering_deg)), element("span", { class: "faint" }, speed(answer.speed_mps)));
}
