// Files of a question. The gateway decides by the content what a file is; the kind found here
// chooses the preview and which fields are offered.

import { make, newId } from "./dom.js";

const HEAD = 64; // bytes that are looked at
const LONGEST = 100; // characters of a name
const UNPRINTABLE = /[\x00-\x1f\x7f\x85\ud800-\udfff/\\]+/gu;
const KINDS = { image: "image", video: "video", audio: "sound" };
const WORDS = { image: "Image", video: "Video", sound: "Sound", pdf: "PDF", file: "File" };

const IMAGE_BRANDS = ["avif", "avis", "heic", "heix", "hevc", "heim", "heis", "mif1", "msf1"];
const SOUND_BRANDS = ["M4A ", "M4B "];

function kindOfContent(bytes, declared) {
  const text = String.fromCharCode(...bytes);
  if (text.includes("%PDF-")) return "pdf";
  if (text.startsWith("\x89PNG") || text.startsWith("\xff\xd8\xff") || text.startsWith("GIF8")) return "image";
  if (text.startsWith("RIFF")) return { WEBP: "image", WAVE: "sound", "AVI ": "video" }[text.slice(8, 12)];
  if (text.startsWith("ID3") || text.startsWith("OggS") || text.startsWith("fLaC")) return "sound";
  if (text.slice(4, 8) === "ftyp") {
    const brand = text.slice(8, 12);
    if (IMAGE_BRANDS.includes(brand)) return "image";
    return declared === "sound" || SOUND_BRANDS.includes(brand) ? "sound" : "video"; // most brands hold both
  }
  return undefined;
}

// Returns an attachment: a plain object that can be kept in the browser's database.
export async function readAttachment(file, taken) {
  const head = new Uint8Array(await file.slice(0, HEAD).arrayBuffer()); // fails if it is a folder
  const declared = KINDS[file.type.split("/")[0]] || (file.type === "application/pdf" ? "pdf" : "file");
  const kind = kindOfContent(head, declared) || declared;
  const name = unused(cleaned(file.name) || "file", taken);
  return { id: newId(), name, type: file.type, size: file.size, kind, blob: file, remote: null };
}

// Returns the file under an id of its own, with a content that is released on its own.
export const copyOf = (file) => ({ ...file, id: newId(), blob: file.blob?.slice(0, file.size, file.type) });

// The gateway cleans names in the same way; what was heard in a file is found by its name.
const cleaned = (name) => [...name.replace(UNPRINTABLE, " ").trim()].slice(-LONGEST).join("").trim();

function unused(name, taken) {
  const [, stem, end] = /^(.*?)(\.[^.]{0,9})?$/s.exec(name);
  for (let number = 1; ; number += 1) {
    const found = number === 1 ? name : cleaned(`${stem}-${number}${end || ""}`);
    if (!taken.includes(found)) return found;
  }
}

const urls = new WeakMap();

function urlOf(blob) {
  if (!urls.has(blob)) urls.set(blob, URL.createObjectURL(blob));
  return urls.get(blob);
}

export function release({ blob }) {
  if (blob && urls.has(blob)) { URL.revokeObjectURL(urls.get(blob)); urls.delete(blob); }
}

function chip({ kind, name, blob }) {
  const end = /\.([a-z0-9]{1,4})$/i.exec(name)?.[1] || WORDS[kind];
  const it = make("span", "file");
  it.append(make("b", "", end.toUpperCase()), make("span", "", name));
  if (!blob) it.append(make("small", "", "not kept"));
  return it;
}

// Returns an element that shows a file; one that can be played if `controls` is set.
export function preview(file, controls) {
  const { kind, name, blob } = file;
  const shown = kind === "image" || kind === "video" || (kind === "sound" && controls);
  if (!blob || !shown) return chip(file);
  const it = make({ image: "img", video: "video", sound: "audio" }[kind]);
  it.onerror = () => it.replaceWith(chip(file)); // not what it seems, or not in a format of this browser
  it.src = urlOf(blob);
  if (kind === "image") { it.alt = name; return it; }
  it.preload = "metadata";
  if (controls) { it.controls = true; it.setAttribute("aria-label", name); } else it.muted = true;
  return it;
}

export function dataUri(blob) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(reader.error);
    reader.readAsDataURL(blob);
  });
}
