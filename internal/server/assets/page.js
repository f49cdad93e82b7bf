// SPDX-License-Identifier: Apache-2.0

// The node page. It reads api/v1/status every two seconds. All text is set as text: nothing that the document says
// becomes HTML.

const find = (id) => document.getElementById(id);

// make returns a new element with properties and children; a string is a child of text.
function make(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((c) => c !== undefined && c !== null && c !== ""));
  return element;
}

const view = {
  status: null, // the last document
  search: "",
  verdicts: new Set(), // an empty set shows all
  act: "",
  sort: { key: "", descending: false }, // without a key, as the agent orders: what needs attention first
  opened: new Set(), // IDs of the endpoints with details
  rows: 200,
  entries: 50,
};

// Words.

const severity = {
  conflict: "bad", conflict_early: "bad", held: "bad", contested: "warn", leaked_local: "warn", orphan: "warn",
  orphan_pending: "warn", in_use: "", protected: "", foreign: "", local: "",
};
// severityOf is how much attention a verdict needs. A local endpoint that no pod can use has the verdict of any other.
const unusable = ["local-leaked", "local-left-behind", "local-beside-the-pod", "local-not-attached"];
const severityOf = (e) => (unusable.includes(e.reason) ? "warn" : severity[e.verdict]);
const faults = {
  "stale-record": "may delete a pod's own endpoint",
  "batch-leak": "leaves remote endpoints behind",
  duplicates: "leaves a remote endpoint alongside a pod's own",
  "given-up-leak": "leaves remote endpoints behind when a sync fails",
  "loses-load-balancers": "deletes load balancers when HNS fails for a moment",
  "builds-on-leaked-locals": "uses a local endpoint that was left behind",
};
// linked is a text with links to the documentation. No other address becomes a link: names come from the cluster.
const linked = (text) => (text ?? "").split(/(https:\/\/github\.com\/hnsguard\/hnsguard\/[\w./#-]*\w)/)
  .map((part, i) => (i % 2 ? make("a", { href: part, target: "_blank", rel: "noreferrer" }, part) : part)).filter(Boolean);
const spoken = (word) => word.replaceAll("_", " ");
const chip = (text, kind) => make("span", { className: ("chip " + (kind ?? "")).trim() }, text);

function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 120) return Math.round(seconds) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

// moment shows a time, with its day unless that is the day of the document.
function moment(text) {
  const at = new Date(text);
  const today = at.toDateString() === new Date(view.status.time).toDateString();
  return make("time", { dateTime: text, title: at.toISOString() }, (today ? "" : day.format(at) + ", ") + clock.format(at));
}

// ago is how long before the document a time was.
const ago = (text) => duration((new Date(view.status.time) - new Date(text)) / 1000) + " ago";

// Overview.

// describe fills a description list with pairs of a term and what it is; pairs without the latter are left out.
function describe(list, pairs) {
  list.replaceChildren(...pairs.filter(([, what]) => what !== undefined && what !== "" && what.length !== 0)
    .flatMap(([term, what]) => [make("dt", {}, term), make("dd", {}, ...(Array.isArray(what) ? what : [what]))]));
}

const states = {
  starting: ["starting", "warn"], guarding: ["guarding", "good"], observing: ["only observing", "warn"],
  idle: ["nothing to guard", ""], "network-gone": ["no pod network", "bad"], unknown: ["cannot observe the node", "bad"],
};

function showOverview(s) {
  document.title = `${s.node} · hnsguard`;
  find("node").textContent = s.node;
  const [text, kind] = states[s.state] ?? [s.state, ""];
  find("state").textContent = text;
  find("state").className = ("chip " + kind).trim();
  const kp = s.kubeProxy;
  describe(find("kube-proxy"), [
    ["Version", kp.known ? kp.version : `unknown${kp.version ? ` (${kp.version})` : ""}`],
    ["Faults", kp.faults.length ? kp.faults.map((f) => make("p", {}, chip(f, "warn"), faults[f] ?? "")) : "none known"],
    ["", kp.known ? "" : "An unknown version counts as having every fault."],
  ]);
  const last = s.hns.lastFailure;
  describe(find("hns"), [
    ["State", s.hns.failing.length ? chip("failing", "bad") : s.hns.answered ? chip("answers", "good") : chip("not asked yet")],
    ["Answered", s.hns.answered ? ago(s.hns.answered) : ""],
    ...s.hns.failing.map((f) => [spoken(f.operation), `${spoken(f.class)} since ${ago(f.since)}, ${f.count} times: ${f.message}`]),
    ["Hung calls", s.hns.hungCalls ? chip(String(s.hns.hungCalls), "bad") : "none"],
    ["Last failure", last ? `${spoken(last.operation)} ${ago(last.last)}: ${last.message}` : "none"],
  ]);
  const notRight = Object.entries(s.loadBalancerCounts).filter(([kind, n]) => n && kind !== "right")
    .map(([kind, n]) => `${n} ${spoken(kind)}`).join(", ");
  describe(find("network"), s.pass && s.network ? [
    ["Name", `${s.network.name} (${s.network.type})`],
    ["Ranges", (s.network.subnets ?? []).join(", ")],
    ["Endpoints", String(s.endpoints.length)],
    ["Load balancers", s.pass.loadBalancers === undefined ? "not read yet" : `${s.pass.loadBalancers}${notRight && ` (${notRight})`}`],
    ["Last pass", [moment(s.pass.ended), `, took ${Math.max(1, Math.round(s.pass.durationSeconds * 1000))} ms`]],
    ["", s.pass.waiting ? "A pod waits for its address: passes come fast." : ""],
  ] : [["", "not known"]]);
  const only = Object.entries(s.config).filter(([, c]) => c?.mode === "observe").map(([name]) => name);
  describe(find("agent"), [
    ["Version", s.agent.version],
    ["Mode", chip(s.mode, s.mode === "enforce" ? "good" : "warn")],
    ["Observes only", s.mode === "enforce" ? only.join(", ") : "everything"],
    ["Started", [moment(s.started), ` (${ago(s.started)})`]],
    ["State since", moment(s.since)],
  ]);
  find("config").textContent = JSON.stringify(s.config, null, 2);
}

// Findings.

// answered are the pairs of an answer.
const answered = (a) => [["Because", linked(a.because)], ["Next", linked(a.next)], ["What to do", linked(a.do)]];

// finding shows what is wrong with which objects, and what comes of it.
function finding(f) {
  const named = 10, objects = f.objects ?? [];
  const item = make("li", {}, make("h3", {}, f.title));
  if (f.since) item.firstChild.append(" · since ", moment(f.since));
  const left = objects.length - named;
  item.append(make("p", {}, ...spaced(objects.slice(0, named).map(only)), left > 0 ? ` and ${left} more` : ""));
  const said = make("dl", {});
  describe(said, answered(f));
  item.append(said);
  return item;
}

function showFindings(s) {
  find("findings").hidden = s.findings.length === 0;
  replaceRows(find("finding-list"), s.findings.map((f) => [`${f.kind} ${f.reason} ${f.title}`, finding(f)]));
}

// Endpoints.

const columns = {
  address: (e) => (e.addresses ?? []).map(sortable).join(","),
  verdict: (e) => e.verdict,
  reason: (e) => e.reason,
  pods: (e) => (e.pods ?? []).join(","),
  kind: (e) => e.kind,
  owner: (e) => e.owner,
  id: (e) => e.id,
};

// sortable makes the text of an address one that sorts as the address does, IPv4 before IPv6.
function sortable(address) {
  if (!address.includes(":")) return "4" + address.split(".").map((n) => n.padStart(3, "0")).join(".");
  const [head, tail] = address.split("::");
  const groups = (part) => (part ? part.split(":").map((g) => g.padStart(4, "0")) : []);
  const before = groups(head), after = groups(tail);
  return "6" + [...before, ...Array(8 - before.length - after.length).fill("0000"), ...after].join(":");
}

const matches = (text) => !view.search || text.toLowerCase().includes(view.search);

// textOf is all that a search looks at.
const textOf = (e) => [e.id, ...(e.addresses ?? []), e.kind, e.owner, e.verdict, e.reason, ...(e.pods ?? []),
  ...(e.slices ?? [])].join(" ");

function selected(s) {
  const rows = s.endpoints.filter((e) => (!view.verdicts.size || view.verdicts.has(e.verdict)) && matches(textOf(e)));
  const { key, descending } = view.sort;
  if (!key) return rows;
  const keyed = rows.map((e) => [columns[key](e), e]);
  keyed.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (descending ? -1 : 1));
  return keyed.map(([, e]) => e);
}

// only shows a value as a button that filters by it.
function only(value) {
  const button = make("button", { type: "button", className: "link" }, value);
  button.setAttribute("aria-label", `Show only ${value}`);
  button.addEventListener("click", () => {
    find("search").value = value;
    find("search").dispatchEvent(new Event("input"));
    find("search").focus();
  });
  return button;
}

function spaced(values) {
  return values.flatMap((v, i) => (i ? [", ", v] : [v]));
}

function row(e) {
  const open = view.opened.has(e.id);
  const toggle = make("button", { type: "button", className: "link", title: e.id }, e.id.slice(0, 8));
  toggle.setAttribute("aria-expanded", String(open));
  toggle.setAttribute("aria-label", `Details of endpoint ${e.id}`);
  toggle.addEventListener("click", () => {
    if (!view.opened.delete(e.id)) view.opened.add(e.id);
    showEndpoints(view.status);
  });
  const cells = [
    make("td", { className: "address" }, ...spaced((e.addresses ?? []).map(only))),
    make("td", {}, chip(spoken(e.verdict), severityOf(e))),
    make("td", {}, e.reason),
    make("td", {}, ...spaced((e.pods ?? []).map(only))),
    make("td", {}, e.kind),
    make("td", { className: "owner", title: e.owner }, e.owner),
    make("td", { className: "id" }, toggle),
  ];
  return make("tr", { className: open ? "opened" : "" }, ...cells);
}

function detail(e, s) {
  const answer = s.answers[`${e.verdict}/${e.reason}`] ?? {};
  const list = make("dl", {});
  describe(list, [
    ...answered(answer),
    ["Stale since", e.staleSince ? [moment(e.staleSince), ` (${ago(e.staleSince)})`] : ""],
    ["Grace period ends", e.due ? moment(e.due) : ""],
    ["Listed in", (e.slices ?? []).join(", ")],
    ["Kept for", (e.keptFor ?? []).join(", ")],
    ["Local endpoints", (e.localEndpoints ?? []).join(", ")],
    ["Load balancers", (e.loadBalancers ?? []).join(", ")],
    ["Attached", e.kind === "local" ? (e.attached ? "yes" : "no") : ""],
    ["Owner", e.owner],
    ["Endpoint", e.id],
    ["Network", e.network],
  ]);
  return make("tr", { className: "detail" }, make("td", { colSpan: 7 }, list));
}

// replaceRows puts rows in the place of those with the same key if they differ, and keeps the focus.
function replaceRows(parent, keyed) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const focusKey = focused?.closest("[data-key]")?.dataset.key;
  const focusAt = focusKey ? [...before.get(focusKey).querySelectorAll("button")].indexOf(focused) : -1;
  const after = keyed.map(([key, element]) => {
    element.dataset.key = key;
    const same = before.get(key);
    return same?.isEqualNode(element) ? same : element;
  });
  if (after.length !== parent.children.length || after.some((element, i) => element !== parent.children[i])) {
    parent.replaceChildren(...after);
    after.find((element) => element.dataset.key === focusKey)?.querySelectorAll("button")[focusAt]?.focus();
  }
}

function showVerdicts(s) {
  const kinds = Object.keys(severity).filter((kind) => s.counts[kind] || view.verdicts.has(kind));
  replaceRows(find("verdicts"), kinds.map((kind) => {
    const button = make("button", { type: "button" }, `${spoken(kind)} ${s.counts[kind] ?? 0}`);
    button.setAttribute("aria-pressed", String(view.verdicts.has(kind)));
    button.addEventListener("click", () => {
      if (!view.verdicts.delete(kind)) view.verdicts.add(kind);
      show();
    });
    return [kind, make("span", {}, button)];
  }));
}

// more shows a button for what a list leaves out.
function more(button, left, step, what) {
  button.hidden = left <= 0;
  button.textContent = `Show ${Math.min(left, step)} more ${what}`;
}

function showEndpoints(s) {
  const all = selected(s);
  replaceRows(find("rows"), all.slice(0, view.rows).flatMap((e) => (view.opened.has(e.id)
    ? [[e.id, row(e)], ["detail " + e.id, detail(e, s)]] : [[e.id, row(e)]])));
  const total = s.endpoints.length;
  find("endpoints-count").textContent = all.length === total ? `${total}` : `${all.length} of ${total}`;
  find("no-rows").hidden = all.length > 0;
  find("no-rows").textContent = total ? "No endpoint matches the filter." : "HNS has no endpoints, or they are not known yet.";
  more(find("more-rows"), all.length - view.rows, 200, "endpoints");
  for (const th of document.querySelectorAll("th[data-key]")) {
    if (th.dataset.key === view.sort.key) {
      th.setAttribute("aria-sort", view.sort.descending ? "descending" : "ascending");
    } else {
      th.removeAttribute("aria-sort");
    }
  }
}

// History.

const brakes = {
  cap: "there are more orphans than a step may remove", rate: "the rate of removals is used up",
  backoff: "an earlier attempt was a short time ago", hung: "an earlier call has not returned",
  stale_watch: "the view of EndpointSlices is not known to be current", failure: "another removal of the pass failed",
};
const removals = {
  removed: "Removed", already_gone: "Was gone before it could be removed", refused: "Kept on fresh evidence",
  unconfirmed: "Not removed: fresh evidence is not available", still_listed: "HNS reported it as deleted, but still lists it",
  unknown: "The delete did not return", failed: "Could not be removed",
};
const worse = {
  removal: { removed: "good", already_gone: "good", refused: "" },
  flush: { written: "good", conflict: "", observed: "" },
  keep: { create_written: "good", create_present: "", create_observed: "", delete_written: "" }, reprogram: { done: "good", done_by_another: "", observed: "" },
  eviction: { evicted: "good", already_gone: "", blocked_by_budget: "warn" }, pass: { complete: "good" },
};
const after = (e) => (e.afterSeconds ? ` after ${e.afterSeconds < 10 ? e.afterSeconds.toFixed(1) + " s" : duration(e.afterSeconds)}` : "");

// sentences say what happened.
const sentences = {
  decision: (e) => `Verdict: ${spoken(e.verdict)}`,
  removal: (e) => (removals[e.result] ?? spoken(e.result)) + (e.result === "removed" ? after(e) : ""),
  brake: (e) => `Kept for now: ${brakes[e.result] ?? spoken(e.result)}`,
  flush: (e) => `Flush of kube-proxy's record, ${e.subject}: ${spoken(e.result)}`,
  keep: (e) => `Keep-slice for Service ${e.subject}: ${spoken(e.result)}`,
  reprogram: (e) => `Service ${e.subject || "unknown"}: ${spoken(e.result)}`,
  victim: () => "A running pod has lost its endpoint",
  eviction: (e) => `Eviction: ${spoken(e.result)}`,
  reuse: (e) => (e.result === "still_listed" ? "The address was reused while a slice listed it on another node"
    : `The address was reused${after(e)}`),
  pass: (e) => (e.result === "complete" ? "The node can be observed again" : `The node could not be observed: ${spoken(e.subject)}`),
};
const actNames = { victim: "pod without network", reuse: "reused address" };

function kindOf(e) {
  if (e.act === "decision") return severityOf(e);
  if (e.act === "brake") return "warn";
  if (e.act === "reuse") return "";
  return worse[e.act]?.[e.result] ?? "bad";
}

function entry(e) {
  const about = [e.address ? only(e.address) : "", ...(e.pods ?? []).map((p) => (p === "…" ? p : only(p)))].filter(Boolean);
  const what = make("div", {}, (sentences[e.act] ?? ((x) => `${x.act} ${x.result ?? ""}`))(e));
  if (about.length) what.append(" · ", ...spaced(about));
  const details = [
    e.act === "decision" ? e.reason : e.verdict && `${spoken(e.verdict)} (${e.reason ?? ""})`.replace(" ()", ""),
    e.endpoint && `endpoint ${e.endpoint}`, e.detail,
    e.before && `before: ${e.before.join("; ") || "none"}`, e.after && `after: ${e.after.join("; ") || "none"}`,
    e.count > 1 && `${e.count} times since ${clock.format(new Date(e.first))}`,
  ].filter(Boolean).join(" · ");
  what.append(make("div", { className: "more-of-it" }, details));
  return make("li", {}, moment(e.last), make("div", {}, chip(actNames[e.act] ?? e.act, kindOf(e))), what);
}

const entryKey = (e) => [e.act, e.result, e.endpoint, e.address, e.subject, e.pods, e.verdict, e.reason, e.first].join("|");
const entryText = (e) => [e.act, e.result, e.endpoint, e.address, e.subject, ...(e.pods ?? []), e.verdict, e.reason,
  e.detail].join(" ");

function showHistory(s) {
  const all = s.history.filter((e) => (!view.act || e.act === view.act) && matches(entryText(e)));
  replaceRows(find("history"), all.slice(0, view.entries).map((e) => [entryKey(e), entry(e)]));
  find("history-count").textContent = all.length === s.history.length ? `${all.length}` : `${all.length} of ${s.history.length}`;
  find("no-history").hidden = all.length > 0;
  find("no-history").textContent = s.history.length ? "No entry matches the filter."
    : "Nothing has happened since the agent started.";
  more(find("more-history"), all.length - view.entries, 50, "entries");
}

function show() {
  if (!view.status) return;
  showOverview(view.status);
  showFindings(view.status);
  showVerdicts(view.status);
  showEndpoints(view.status);
  showHistory(view.status);
}

// Connection.

// The document is read every two seconds. A pass that is a minute old is too old: usually they come every five seconds.
const refreshEvery = 2, tooOld = 60;

async function refresh() {
  try {
    const response = await fetch("api/v1/status", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (!response.ok) throw new Error(`the agent answered ${response.status}`);
    view.status = await response.json();
    setConnection("live", "Live");
    show();
  } catch (error) {
    setConnection("lost", `Disconnected (${error.message})`);
  }
  showAge();
  setTimeout(refresh, refreshEvery * 1000);
}

function setConnection(kind, text) {
  find("connection").className = "connection " + kind;
  if (find("connection-text").textContent !== text) find("connection-text").textContent = text;
}

// banner says what makes the page untrustworthy, if anything does.
function banner(passAge) {
  const s = view.status;
  const disconnected = find("connection").classList.contains("lost");
  if (disconnected && s) return ["", `The agent does not answer. What follows is as of ${clock.format(new Date(s.time))}.`];
  if (disconnected) return ["", "The agent does not answer."];
  if (!s) return null;
  if (s.state === "unknown") {
    return ["", `The node cannot be observed (${spoken(s.class || "error")}), and nothing is touched. `
      + `What follows is of the last complete pass. ${s.message}`];
  }
  if (s.state === "network-gone") return ["", `Pods run on this node, and HNS has no network for them: drain the node and restart it. ${s.message}`];
  if (s.state === "idle") return ["mild", `There is nothing to guard: ${s.message}`];
  if (s.state === "starting") return ["mild", "The agent is starting: caches are syncing, or HNS is being read."];
  if (passAge > tooOld) return ["mild", `The last complete pass was ${duration(passAge)} ago.`];
  return null;
}

// showAge shows how old the last complete pass is, and the banner.
function showAge() {
  const ended = view.status?.pass?.ended;
  const passAge = ended ? (new Date(view.status.time) - new Date(ended)) / 1000 : 0;
  find("age").textContent = ended ? `· last pass ${duration(passAge)} ago` : "";
  const [kind, text] = banner(passAge) ?? [];
  const now = find("banner").firstChild;
  if ((now?.textContent ?? "") !== (text ?? "")) {
    find("banner").replaceChildren(...(text ? [make("p", { className: ("banner " + kind).trim() }, text)] : []));
  }
}

// Controls.

function listen() {
  find("search").addEventListener("input", (event) => {
    view.search = event.target.value.trim().toLowerCase();
    if (view.status) {
      showEndpoints(view.status);
      showHistory(view.status);
    }
  });
  find("act").addEventListener("change", (event) => {
    view.act = event.target.value;
    if (view.status) showHistory(view.status);
  });
  for (const th of document.querySelectorAll("th[data-key]")) {
    th.firstElementChild.addEventListener("click", () => {
      const again = view.sort.key === th.dataset.key;
      if (again && view.sort.descending) {
        view.sort = { key: "", descending: false };
      } else {
        view.sort = { key: th.dataset.key, descending: again };
      }
      if (view.status) showEndpoints(view.status);
    });
  }
  find("more-rows").addEventListener("click", () => {
    view.rows += 200;
    showEndpoints(view.status);
  });
  find("more-history").addEventListener("click", () => {
    view.entries += 50;
    showHistory(view.status);
  });
}

listen();
refresh();
