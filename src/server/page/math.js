// TeX to MathML for what models write: groups, scripts, fractions, roots, Greek, operators, matrices, text.
// An unknown command is shown by its name; nothing throws.
const mathml = (() => {
  const kSymbols = {
    alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ϵ", varepsilon: "ε", zeta: "ζ", eta: "η", theta: "θ",
    iota: "ι", kappa: "κ", lambda: "λ", mu: "μ", nu: "ν", xi: "ξ", pi: "π", rho: "ρ", sigma: "σ", tau: "τ",
    upsilon: "υ", phi: "ϕ", varphi: "φ", chi: "χ", psi: "ψ", omega: "ω", Gamma: "Γ", Delta: "Δ", Theta: "Θ",
    Lambda: "Λ", Xi: "Ξ", Pi: "Π", Sigma: "Σ", Phi: "Φ", Psi: "Ψ", Omega: "Ω", infty: "∞", partial: "∂", nabla: "∇",
    ell: "ℓ", hbar: "ℏ", emptyset: "∅", angle: "∠", dots: "…", ldots: "…", cdots: "⋯", vdots: "⋮", prime: "′",
  };
  const kOperators = {
    cdot: "⋅", times: "×", div: "÷", pm: "±", mp: "∓", le: "≤", leq: "≤", ge: "≥", geq: "≥", ne: "≠", neq: "≠",
    approx: "≈", equiv: "≡", sim: "∼", propto: "∝", in: "∈", notin: "∉", subset: "⊂", subseteq: "⊆", cup: "∪",
    cap: "∩", setminus: "∖", forall: "∀", exists: "∃", neg: "¬", land: "∧", wedge: "∧", lor: "∨", vee: "∨", to: "→",
    rightarrow: "→", leftarrow: "←", Rightarrow: "⇒", implies: "⇒", Leftrightarrow: "⇔", iff: "⇔", mapsto: "↦",
    circ: "∘", oplus: "⊕", otimes: "⊗", perp: "⊥", parallel: "∥", mid: "∣", ll: "≪", gg: "≫", langle: "⟨",
    rangle: "⟩", lfloor: "⌊", rfloor: "⌋", lceil: "⌈", rceil: "⌉", "{": "{", "}": "}", "|": "‖", star: "⋆", ast: "∗",
  };
  const kLarge = {sum: "∑", prod: "∏", int: "∫", iint: "∬", oint: "∮", bigcup: "⋃", bigcap: "⋂"};
  const kNames = new Set("sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan log ln exp det dim gcd".split(" "));
  const kLimits = new Set("lim max min sup inf argmax argmin limsup liminf".split(" "));
  const kAccents = {hat: "^", bar: "‾", overline: "‾", vec: "→", tilde: "~", dot: "˙", ddot: "¨", underline: "_"};
  const kFonts = {mathbb: "double-struck", mathcal: "script", mathbf: "bold", boldsymbol: "bold", mathfrak: "fraktur"};
  const kDoubleStruck = {R: "ℝ", N: "ℕ", Z: "ℤ", Q: "ℚ", C: "ℂ", P: "ℙ", E: "𝔼", F: "𝔽"};
  const kSpaces = {",": "0.17em", ":": "0.22em", ";": "0.28em", " ": "0.25em", quad: "1em", qquad: "2em", "!": "0"};
  const kFences = {matrix: ["", ""], pmatrix: ["(", ")"], bmatrix: ["[", "]"], vmatrix: ["|", "|"], cases: ["{", ""]};

  const node = (tag, attributes, ...children) => {
    const out = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
    for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
    out.append(...children);
    return out;
  };
  const row = (children) => (children.length === 1 ? children[0] : node("mrow", {}, ...children));

  function tokens(source) {
    return source.match(/\\[a-zA-Z]+\*?|\\.|\d+(?:\.\d+)?|\s+|[^]/gu) || [];
  }

  class Reader {
    constructor(source) {
      this.list = tokens(source);
      this.at = 0;
      this.depth = 0;
    }
    skip() {
      while (this.at < this.list.length && /^\s/.test(this.list[this.at])) ++this.at;
    }
    peek() {
      this.skip();
      return this.list[this.at];
    }
    next() {
      this.skip();
      return this.list[this.at++];
    }
    // The plain characters of a {group}.
    raw() {
      if (this.peek() !== "{") return this.next() || "";
      let text = "", depth = 0;
      do {
        const token = this.list[this.at++];
        if (token === undefined) break;
        if (token === "{" && depth++ === 0) continue;
        if (token === "}" && --depth === 0) break;
        text += token;
      } while (depth > 0);
      return text;
    }
    // Until one of the stops (not taken) or the end.
    list_until(...stops) {
      const out = [];
      if (++this.depth > 60) {
        this.at = this.list.length;
        return out;
      }
      for (let token = this.peek(); token !== undefined && !stops.includes(token); token = this.peek()) {
        const atom = this.scripted();
        if (atom) out.push(atom);
      }
      --this.depth;
      return out;
    }
    argument() {
      if (this.peek() === "{") {
        this.next();
        const inner = row(this.list_until("}"));
        this.next();
        return inner;
      }
      return this.atom() || node("mrow", {});
    }
    scripted() {
      const base = this.atom();
      if (!base) return base;
      let sub = null, sup = null;
      for (let token = this.peek(); token === "_" || token === "^" || token === "'"; token = this.peek()) {
        this.next();
        if (token === "_") sub = this.argument();
        else if (token === "^") sup = this.argument();
        else sup = node("mo", {}, "′");
      }
      if (!sub && !sup) return base;
      const under = base.hasAttribute("movablelimits") || base.dataset.limits;
      const names = under ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
      if (sub && sup) return node(names[2], {}, base, sub, sup);
      return sub ? node(names[0], {}, base, sub) : node(names[1], {}, base, sup);
    }
    fence(token) {
      if (token === undefined || token === ".") return "";
      return token.startsWith("\\") ? kOperators[token.slice(1)] || token.slice(1) : token;
    }
    atom() {
      const token = this.next();
      if (token === undefined) return null;
      if (token === "{") {
        const inner = row(this.list_until("}"));
        this.next();
        return inner;
      }
      if (token === "}" || token === "&") return null;
      if (/^\d/.test(token)) return node("mn", {}, token);
      if (token[0] === "\\" && token.length > 1) return this.command(token.slice(1).replace("*", ""));
      if (/^\p{L}$/u.test(token)) return node("mi", {}, token);
      return node("mo", {}, token === "-" ? "−" : token);
    }
    command(name) {
      if (name in kSymbols) return node("mi", {}, kSymbols[name]);
      if (name in kLarge) return node("mo", {movablelimits: name.endsWith("int") ? "false" : "true"}, kLarge[name]);
      if (kLimits.has(name)) return node("mi", {"data-limits": "1", mathvariant: "normal"}, name);
      if (kNames.has(name)) return node("mi", {}, name);
      if (name in kOperators) return node("mo", {stretchy: "false"}, kOperators[name]);
      if (name in kSpaces) return node("mspace", {width: kSpaces[name]});
      if (name in kAccents) {
        const tag = name === "underline" ? "munder" : "mover";
        return node(tag, {accent: "true"}, this.argument(), node("mo", {stretchy: name.includes("line")}, kAccents[name]));
      }
      if (name in kFonts) {
        const text = this.raw();
        if (name === "mathbb") return node("mi", {}, [...text].map((c) => kDoubleStruck[c] || c).join(""));
        return node("mi", {class: name.includes("bol") || name.endsWith("bf") ? "bold" : "", mathvariant: "normal"}, text);
      }
      switch (name) {
        case "frac": case "dfrac": case "tfrac":
          return node("mfrac", {}, this.argument(), this.argument());
        case "binom": {
          const inner = node("mfrac", {linethickness: "0"}, this.argument(), this.argument());
          return node("mrow", {}, node("mo", {}, "("), inner, node("mo", {}, ")"));
        }
        case "sqrt": {
          let index = null;
          if (this.peek() === "[") {
            this.next();
            index = row(this.list_until("]"));
            this.next();
          }
          const inner = this.argument();
          return index ? node("mroot", {}, inner, index) : node("msqrt", {}, inner);
        }
        case "text": case "textbf": case "mathrm": case "operatorname": case "mbox": case "textit": case "boxed":
          return node("mtext", {}, this.raw());
        case "left": {
          const open = this.fence(this.next());
          const inner = this.list_until("\\right");
          this.next();
          const close = this.fence(this.next());
          return node("mrow", {}, node("mo", {}, open), ...inner, node("mo", {}, close));
        }
        case "begin":
          return this.environment(this.raw().replace("*", ""));
        case "displaystyle": case "textstyle": case "limits": case "nolimits": case "end": case "right": case "big":
        case "Big": case "bigg": case "Bigg": case "\\":
          return null;
        default:
          return name.length === 1 ? node("mo", {}, name) : node("mtext", {}, "\\" + name);
      }
    }
    environment(name) {
      const rows = [[]];
      while (this.peek() !== undefined && this.peek() !== "\\end") {
        rows[rows.length - 1].push(node("mtd", {}, ...this.list_until("&", "\\\\", "\\end")));
        const stop = this.peek();
        if (stop === "\\\\") rows.push([]);
        if (stop === "&" || stop === "\\\\") this.next();
      }
      this.next();
      this.raw();
      const left = name.startsWith("align") || name === "cases" ? {class: "left"} : {};
      const table = node("mtable", left, ...rows.filter((r) => r.length).map((r) => node("mtr", {}, ...r)));
      const [open, close] = kFences[name] || ["", ""];
      return node("mrow", {}, ...(open ? [node("mo", {}, open)] : []), table, ...(close ? [node("mo", {}, close)] : []));
    }
  }

  return (source, block) => {
    const reader = new Reader(source);
    const children = [];
    while (reader.peek() !== undefined) children.push(...reader.list_until("}")), reader.next();
    return node("math", block ? {display: "block"} : {}, row(children));
  };
})();
