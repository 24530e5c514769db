// Conversations in the browser's IndexedDB; in memory where that is refused (private windows).
// A conversation: {id, title, updated, leaf, nodes: {id: {id, parent, role, content, reasoning, files, stats, error}}}.
// Nodes form a tree: an edited or repeated message is a sibling, the leaf says which branch is shown.
const store = (() => {
  let base = null;
  const memory = new Map();

  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const table = (mode) => base.transaction("chats", mode).objectStore("chats");

  return {
    async open() {
      try {
        const request = indexedDB.open("millrace", 1);
        request.onupgradeneeded = () => request.result.createObjectStore("chats", {keyPath: "id"});
        base = await done(request);
      } catch {
        base = null;
      }
    },
    async all() {
      const chats = base ? await done(table("readonly").getAll()) : [...memory.values()];
      return chats.sort((a, b) => b.updated - a.updated);
    },
    async save(chat) {
      chat.updated = Date.now();
      if (base) await done(table("readwrite").put(chat));
      else memory.set(chat.id, chat);
    },
    async remove(id) {
      if (base) await done(table("readwrite").delete(id));
      else memory.delete(id);
    },
  };
})();

const tree = {
  fresh_id: () => Date.now().toString(36) + Math.random().toString(36).slice(2, 8),
  fresh: () => ({id: tree.fresh_id(), title: "", updated: Date.now(), leaf: null, nodes: {}}),
  add(chat, parent, role, content) {
    const node = {id: tree.fresh_id(), parent, role, content, born: Date.now()};
    chat.nodes[node.id] = node;
    chat.leaf = node.id;
    return node;
  },
  // Root first.
  path(chat) {
    const out = [];
    for (let id = chat.leaf; id && chat.nodes[id] && out.length < 10000; id = chat.nodes[id].parent) out.unshift(chat.nodes[id]);
    return out;
  },
  siblings: (chat, node) => Object.values(chat.nodes).filter((n) => n.parent === node.parent).sort((a, b) => a.born - b.born),
  // Shows the branch of node: its newest descendant becomes the leaf.
  choose(chat, node) {
    for (;;) {
      const children = Object.values(chat.nodes).filter((n) => n.parent === node.id);
      if (!children.length) break;
      node = children.reduce((a, b) => (a.born > b.born ? a : b));
    }
    chat.leaf = node.id;
  },
  // What an imported file must look like; null when it does not.
  checked(chat) {
    if (!chat || typeof chat.id !== "string" || typeof chat.nodes !== "object" || !chat.nodes) return null;
    const out = {id: chat.id, title: String(chat.title || ""), updated: Number(chat.updated) || Date.now(), leaf: null, nodes: {}};
    for (const n of Object.values(chat.nodes)) {
      if (!n || typeof n.id !== "string" || !["user", "assistant"].includes(n.role)) return null;
      out.nodes[n.id] = {
        id: n.id, parent: typeof n.parent === "string" ? n.parent : null, role: n.role, content: String(n.content ?? ""),
        born: Number(n.born) || 0, reasoning: String(n.reasoning || ""), error: String(n.error || ""),
        stats: n.stats && typeof n.stats === "object" ? n.stats : undefined,
        files: Array.isArray(n.files) ? n.files.map((f) => ({name: String(f.name), text: String(f.text)})) : undefined,
      };
    }
    if (out.nodes[chat.leaf]) out.leaf = chat.leaf;
    return out;
  },
};
