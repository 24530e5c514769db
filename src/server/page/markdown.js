// Markdown to elements. split() cuts a text into blocks; a growing text changes only its last ones, so a streamed
// message draws again from the first block that differs.
const markdown = (() => {
  const kList = /^( *)([-*+]|\d{1,9}[.)]) +/;
  const kRule = /^ {0,3}([-*_])( *\1){2,} *$/;
  const kFence = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)/;
  const kTableLine = /^ *\|?( *:?-+:? *\|)+( *:?-+:? *)?$/;

  // Blocks as strings; a fence or display formula is one block, closed or not.
  function split(text) {
    const lines = text.replace(/\r\n?/g, "\n").split("\n");
    const blocks = [];
    let block = [];
    const close = () => {
      if (block.length) blocks.push(block.join("\n"));
      block = [];
    };
    for (let i = 0; i < lines.length; ++i) {
      const line = lines[i];
      const fence = line.match(kFence);
      const math = line.match(/^ {0,3}(\$\$|\\\[)/);
      if (!block.length && (fence || math)) {
        const end = fence ? new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},} *$`) : math[1] === "$$" ? /\$\$\s*$/ : /\\\]\s*$/;
        block.push(line);
        const one_line = math && line.trim().length > 3 && end.test(line);
        while (!one_line && ++i < lines.length) {
          block.push(lines[i]);
          if (end.test(lines[i])) break;
        }
        close();
        continue;
      }
      const in_list = block.length && kList.test(block[0]);
      if (!line.trim()) {
        const next = lines[i + 1] || "";
        if (in_list && (kList.test(next) || /^ {2,}\S/.test(next))) block.push(line);
        else close();
        continue;
      }
      if (!in_list && (fence || math)) {
        close();
        --i;
        continue;
      }
      if (/^ {0,3}#{1,6} /.test(line) || (kRule.test(line) && !block.length)) {
        close();
        blocks.push(line);
        continue;
      }
      if (block.length && !in_list && kList.test(line) && !block[0].startsWith(">")) close();
      block.push(line);
    }
    close();
    return blocks;
  }

  function safe_link(href) {
    return /^(https?:\/\/|mailto:)/i.test(href) ? href : null;
  }

  // Inline markup: the earliest match of any rule, its inside again, the rest in the loop.
  const kInline = [
    [/(`+)([^]*?[^`])\1(?!`)/, (m) => el("code", {}, m[2].trim() || m[2])],
    [/\\\(([^]+?)\\\)/, (m) => mathml(m[1], false)],
    [/\$\$([^$]+)\$\$/, (m) => mathml(m[1], true)],
    [/\$(?=\S)((?:[^$\\\n]|\\.)*?[^\s\\$])\$(?!\d)/, (m) => mathml(m[1], false)],
    [/\\([\\`*_{}[\]()#+\-.!$|>~])/, (m) => m[1]],
    [/!?\[([^\]]*)\]\(\s*<?([^\s)>]+)>?(?:\s+["'][^"']*["'])?\s*\)/, (m, depth) => link(m[2], inline(m[1] || m[2], depth), m[0])],
    [/<(https?:\/\/[^\s>]+)>/, (m) => link(m[1], [m[1]], m[0])],
    [/https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"*_]/, (m) => link(m[0], [m[0]], m[0])],
    [/\*\*(?=\S)([^]*?\S)\*\*(?!\*)/, (m, depth) => el("strong", {}, ...inline(m[1], depth))],
    [/(?<![\w])__(?=\S)([^]*?\S)__(?!\w)/, (m, depth) => el("strong", {}, ...inline(m[1], depth))],
    [/\*(?=[^\s*])([^*]*?[^\s*])\*/, (m, depth) => el("em", {}, ...inline(m[1], depth))],
    [/(?<![\w])_(?=[^\s_])([^_]*?[^\s_])_(?!\w)/, (m, depth) => el("em", {}, ...inline(m[1], depth))],
    [/~~(?=\S)([^]*?\S)~~/, (m, depth) => el("del", {}, ...inline(m[1], depth))],
    [/ {2,}\n/, () => el("br")],
  ];
  function link(href, children, source) {
    const safe = safe_link(href);
    return safe ? el("a", {href: safe, target: "_blank", rel: "noopener noreferrer"}, ...children) : source;
  }
  const kLongest = 20000;  // characters of one paragraph that are searched for markup
  function inline(text, depth = 0) {
    const out = [];
    if (depth > 8 || text.length > kLongest) return [text];
    while (text) {
      let best = null, rule = null;
      for (const candidate of kInline) {
        const match = text.match(candidate[0]);
        if (match && (!best || match.index < best.index)) [best, rule] = [match, candidate];
      }
      if (!best) break;
      if (best.index) out.push(text.slice(0, best.index));
      out.push(rule[1](best, depth + 1));
      text = text.slice(best.index + best[0].length);
    }
    if (text) out.push(text);
    return out;
  }

  function fence(lines, language) {
    const code = lines.join("\n");
    const copy = el("button", {type: "button", onclick: () => {
      navigator.clipboard?.writeText(code).then(() => copy.textContent = "Copied", () => copy.textContent = "Failed");
    }}, "Copy");
    return el("div", {class: "fence"}, el("div", {class: "bar"}, language || "code", copy), el("pre", {}, el("code", {}, code)));
  }

  function list(lines, depth) {
    const first = lines[0].match(kList);
    const ordered = /\d/.test(first[2]);
    const out = el(ordered ? "ol" : "ul", ordered ? {start: parseInt(first[2], 10)} : {});
    let item = null;
    const close = () => {
      if (!item) return;
      const loose = item.some((line) => !line.trim());
      const task = item[0].match(/^\[([ xX])\] /);
      if (task) item[0] = item[0].slice(4);
      const blocks = split(item.join("\n")).flatMap((part) => {
        const block = render(part, depth + 1);
        return block.tagName === "P" && !loose ? [...block.childNodes] : [block];
      });
      const box = task ? el("input", {type: "checkbox", disabled: true, checked: task[1] !== " "}) : null;
      out.append(el("li", {}, box, ...blocks));
    };
    const base = first[1].length;
    for (const line of lines) {
      const match = line.match(kList);
      if (match && match[1].length <= base + 1) {
        close();
        item = [line.slice(match[0].length)];
      } else {
        item.push(line.replace(new RegExp(`^ {0,${first[0].length}}`), ""));
      }
    }
    close();
    return out;
  }

  function table(lines) {
    const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
    const align = cells(lines[1]).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : ""));
    const row = (line, tag) => el("tr", {}, ...cells(line).map((cell, i) => {
      const node = el(tag, {}, ...inline(cell));
      if (align[i]) node.style.textAlign = align[i];
      return node;
    }));
    return el("div", {class: "table"}, el("table", {}, el("thead", {}, row(lines[0], "th")),
      el("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")))));
  }

  // One block of split() as one element.
  function render(block, depth = 0) {
    const lines = block.split("\n");
    const opened = lines[0].match(kFence);
    if (opened) {
      const closed = lines.length > 1 && new RegExp(`^ {0,3}${opened[1][0]}{${opened[1].length},} *$`).test(lines[lines.length - 1]);
      return fence(lines.slice(1, closed ? -1 : undefined), opened[2]);
    }
    const math = block.match(/^\s*(?:\$\$|\\\[)([^]*?)(?:\$\$|\\\])?\s*$/);
    if (math && /^\s*(\$\$|\\\[)/.test(block)) return mathml(math[1], true);
    const heading = block.match(/^ {0,3}(#{1,6}) +(.*?)(?: +#+)?$/);
    if (heading && lines.length === 1) return el("h" + heading[1].length, {}, ...inline(heading[2]));
    if (kRule.test(block)) return el("hr");
    if (depth < 12) {
      if (/^ {0,3}>/.test(block)) {
        const inner = lines.map((line) => line.replace(/^ {0,3}> ?/, "")).join("\n");
        return el("blockquote", {}, ...split(inner).map((part) => render(part, depth + 1)));
      }
      if (kList.test(block)) return list(lines, depth);
    }
    if (lines.length > 1 && lines[0].includes("|") && kTableLine.test(lines[1])) return table(lines);
    return el("p", {}, ...inline(block));
  }

  // Shows text in node, keeping the blocks that did not change since the last call.
  function show(node, text) {
    const blocks = split(text);
    const old = node.blocks || [];
    let same = 0;
    while (same < blocks.length && same < old.length && blocks[same] === old[same]) ++same;
    while (node.childNodes.length > same) node.lastChild.remove();
    for (const block of blocks.slice(same)) node.append(render(block));
    node.blocks = blocks;
  }

  return {show};
})();
