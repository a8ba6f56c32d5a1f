"use strict";
// Keeps the page fresh from the server's JSON. Text is only ever set as text, never as markup.

const REFRESH_MS = 2000;
const SAMPLE_MS = 5000;
const MATCHES_MAX = 20;
const EVENTS_SHOWN = 20;
const CHART_WIDTH = 600;
const CHART_HEIGHT = 90;
const byId = (id) => document.getElementById(id);
let lastSuccess = Date.now();
let searched = "";

// element("td", {class: "x"}, "text", child, ...)
function element(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

const number = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const code = (text) => element("code", {}, text);
const badge = (kind, text) => element("span", { class: "badge " + kind }, text);
const link = (uuid, text) => element("a", { href: "?uuid=" + encodeURIComponent(uuid) }, code(text));

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min"
    : s < 172800 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " d";
}

function ago(ms) {
  const stamp = new Date(ms).toISOString().slice(0, 19) + "Z";
  return element("time", { datetime: stamp, title: stamp }, duration(Date.now() - ms));
}

function capacity(subnet) {
  const prefix = Number(subnet.split("/")[1]);
  return prefix >= 8 && prefix <= 29 ? 2 ** (32 - prefix) - 4 : 0;
}

function instanceRow(i) {
  const most = capacity(i.subnet);
  const meter = element("meter", { min: 0, max: most || 1, value: i.sessions });
  const cells = [i.pool, code(i.subnet), null, badge("phase-" + i.phase, i.phase),
    i.connected ? badge("good", "live") : badge("bad", "lost"), ago(i.since),
    i.serviceId === null ? "" : String(i.serviceId), code(i.proxy)];
  const row = element("tr", {}, element("th", { scope: "row", title: i.epoch }, String(i.index)));
  for (const cell of cells) {
    row.append(cell !== null ? element("td", {}, cell)
      : element("td", { class: "fill" }, meter, number(i.sessions) + " ",
        element("small", {}, "of " + number(most))));
  }
  return row;
}

function missingRow(m) {
  return element("tr", { class: "missing" }, element("th", { scope: "row" }, String(m.index)),
    element("td", { colspan: 4 }, "expected, not heard yet"),
    element("td", {}, badge("wait", "missing")), element("td", { colspan: 3 }));
}

function eventItem(e) {
  const what = element("span", { class: "what" });
  const where = element("span", { class: "where" });
  if (e.type === "instance") {
    what.append("instance " + e.index + " " + e.what);
  } else {
    what.append(link(e.uuid, e.uuid.slice(0, 7)), " " + e.type);
    where.append("instance " + e.index);
    where.title = e.address;
  }
  return element("li", { class: e.type }, what, where, ago(e.at));
}

function drawChart(known) {
  const samples = known.length > 1 ? known : [...known, ...known]; // one is a level line
  const most = Math.max(...samples);
  const across = CHART_WIDTH / (samples.length - 1);
  const up = (CHART_HEIGHT - 6) / Math.max(1, most);
  const points = samples.map((n, i) =>
    (i * across).toFixed(1) + "," + (CHART_HEIGHT - n * up).toFixed(1));
  const [area, line] = byId("chart").children;
  line.setAttribute("points", points.join(" "));
  area.setAttribute("points",
    ["0," + CHART_HEIGHT, ...points, CHART_WIDTH + "," + CHART_HEIGHT].join(" "));
  byId("most").textContent = number(most);
  byId("span").textContent = duration((known.length - 1) * SAMPLE_MS);
}

function show(state, recent) {
  byId("devices").textContent = number(recent.devices);
  byId("count").textContent = number(state.instances.length);
  byId("came").textContent = number(recent.came);
  byId("went").textContent = number(recent.went);
  byId("ready").textContent = state.ready ? "ready" : "waiting for instances";
  byId("ready").className = "badge " + (state.ready ? "good" : "wait");
  byId("instances").replaceChildren(...state.instances.map(instanceRow),
    ...state.missing.map(missingRow));
  byId("events").replaceChildren(...recent.events.slice(0, EVENTS_SHOWN).map(eventItem));
  drawChart([...recent.samples, recent.devices]);
}

function oneDevice(d) {
  const row = (name, ...value) => [element("dt", {}, name), element("dd", {}, ...value)];
  return element("dl", { class: "device" },
    ...row("Device", code(d.uuid), " ", badge("good", "online")),
    ...row("Address", code(d.address)),
    ...row("Instance", d.instance.index + " of " + d.instance.pool),
    ...row("Session", d.session),
    ...row("Online for", ago(d.since)));
}

function manyDevices(devices) {
  if (devices.length === 0) {
    return element("p", {}, "No device online begins with this.");
  }
  const list = element("ul", { class: "matches" }, ...devices.map((d) =>
    element("li", {}, link(d.uuid, d.uuid), " at instance " + d.instance.index + " as " + d.address)));
  return devices.length < MATCHES_MAX ? list
    : element("div", {}, list, element("p", {}, "These are the first " + MATCHES_MAX + "."));
}

async function findOne(uuid) {
  const answer = await fetch("v1/devices/" + uuid);
  if (answer.ok) {
    return oneDevice(await answer.json());
  }
  return answer.status === 404
    ? element("p", {}, "This device is ", badge("", "offline"), ".")
    : element("p", {}, "This device is not known yet; not all instances have been heard.");
}

async function find(text) {
  if (!/^[0-9a-f]+$/.test(text)) {
    return element("p", {}, "That is no UUID: it has hexadecimal digits only.");
  }
  if (text.length === 32 || text.length === 62) {
    return findOne(text);
  }
  const answer = await fetch("v1/devices?limit=" + MATCHES_MAX + "&prefix=" + text);
  const lines = (await answer.text()).split("\n").filter((line) => line !== "");
  return manyDevices(lines.map((line) => JSON.parse(line)));
}

async function search() {
  byId("found").hidden = searched === "";
  if (searched !== "") {
    byId("result").replaceChildren(await find(searched));
  }
}

async function refresh() {
  try {
    const [state, recent] = await Promise.all(["v1/instances", "v1/recent"].map(
      async (url) => (await fetch(url)).json()));
    show(state, recent);
    await search();
    lastSuccess = Date.now();
    byId("fresh").textContent = "";
  } catch (error) {
    byId("fresh").textContent = "no answer for " + Math.round((Date.now() - lastSuccess) / 1000) + " s";
  }
  byId("fresh").className = byId("fresh").textContent === "" ? "" : "old";
  setTimeout(refresh, document.hidden ? 5 * REFRESH_MS : REFRESH_MS);
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  searched = byId("uuid").value.trim().toLowerCase();
  history.replaceState(null, "", searched === "" ? "." : "?uuid=" + encodeURIComponent(searched));
  search().catch(() => {}); // the refresh says so when the server does not answer
});
searched = byId("uuid").value.trim().toLowerCase();
refresh();
