"""Reference ids for the tokenizers in src/text, from the `tokenizers` and `transformers` packages.

usage: tokenizers.py MODELS_FOLDER OUT_FOLDER

For each family a small tokenizer is trained (or built), OUT_FOLDER/<family>.json is its tokenizer.json and
OUT_FOLDER/<family>.ref.json the reference: per chunk of the corpus the number of ids and their 64-bit FNV-1a hash.
The corpus is tools/golden/token_corpus.py, the same text as src/text/tokenizer_corpus_test.h makes.
Two references come from real GGUF files in MODELS_FOLDER, as transformers converts them; see real_families().
"""
import importlib.util
import json
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != HERE]  # this file has the package's name

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

corpus_spec = importlib.util.spec_from_file_location("token_corpus", os.path.join(HERE, "token_corpus.py"))
token_corpus = importlib.util.module_from_spec(corpus_spec)
corpus_spec.loader.exec_module(token_corpus)

N_CHUNKS = 256
MARK = "\u2581"
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + SUFFIX +
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + SUFFIX +
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=invert)


def byte_level(*steps):
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train_text():
    return [token_corpus.chunk(10_000 + i) for i in range(48)]


def add_specials(tokenizer):
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    tokenizer.add_tokens([AddedToken("<h1>", normalized=False), AddedToken("Hello World", normalized=True),
                          AddedToken("foo", single_word=True, normalized=False),
                          AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False)])


def train_byte_bpe(pre, normalizer=None, ignore_merges=False, n=1500):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(train_text(), trainers.BpeTrainer(
        vocab_size=n, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    add_specials(tokenizer)
    return tokenizer


def byte_pieces():
    return ["<0x%02X>" % b for b in range(256)]


def train_char_bpe(normalizer, pre, decoder):
    """BPE over characters with byte fallback, as Llama 2 and Gemma have it."""
    trainer_tok = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer_tok.normalizer = normalizer
    if pre is not None:
        trainer_tok.pre_tokenizer = pre
    words = pre_tokenizers.Split(" ", "merged_with_next")
    text = [w for t in train_text() for w, _ in words.pre_tokenize_str(t)]
    trainer_tok.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<unk>", "<s>", "</s>"] + byte_pieces(), limit_alphabet=300,
        show_progress=False))
    model = json.loads(trainer_tok.to_str())["model"]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=[tuple(m) for m in model["merges"]],
                                     unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizer
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    add_specials(tokenizer)
    return tokenizer


def unigram(normalizer, pre, decoder, byte_fallback):
    # The pieces of a BPE with made-up scores: longer is better, so that paths compete.
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizer
    trained.pre_tokenizer = pre
    trained.train_from_iterator(train_text(), trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<unk>", "<s>", "</s>"], limit_alphabet=300, show_progress=False))
    pieces = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    # multiples of 1/1024 below 16 in size: exact in the f32 of a GGUF file too
    vocab = [(piece, round((-12 + 1.1 * min(len(piece), 8)) * 1024 - i) / 1024) for piece, i in pieces]
    if byte_fallback:
        vocab += [(piece, -30.0) for piece in byte_pieces()]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=byte_fallback))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoder
    add_specials(tokenizer)
    return tokenizer


def wordpiece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.train_from_iterator(train_text(), trainers.WordPieceTrainer(
        vocab_size=2500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def charsmap(table):
    """A SentencePiece normalisation table: darts-clone units, each node's children in a block of their own."""
    strings, root = b"", {}
    for key, value in sorted(table.items()):
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node["value"] = len(strings)
        strings += value.encode() + b"\0"
    units, next_base = {}, [256]

    def place(node, at, label):
        base = next_base[0]
        next_base[0] += 256
        units[at] = ((at ^ base) << 10) | (int("value" in node) << 8) | label
        if "value" in node:
            units[base] = node["value"] | (1 << 31)
        for byte, child in node.items():
            if byte != "value":
                place(child, base ^ byte, byte)

    place(root, 0, 0)
    n = next_base[0]
    blob = struct.pack("<%dI" % n, *[units.get(i, 0) for i in range(n)])
    return struct.pack("<I", len(blob)) + blob + strings


def charsmap_table():
    table = {"\ufb01": "fi", "\u00bd": "1/2", "\u2167": "VIII", "\u3000": " ", "\t": " ", "\n": " ", "\u00a0": " ",
             "e\u0301": "\u00e9", "a\u0300": "\u00e0", "\u200b": "", "\u00ad": "", "\u0130": "I"}
    table.update({chr(0xff21 + i): chr(0x41 + i) for i in range(26)})
    return table


def replace_spaces(prefix):
    steps = [normalizers.Replace(" ", MARK)]
    return normalizers.Sequence([normalizers.Prepend(MARK)] + steps if prefix else steps)


def fallback_decoder(strip):
    steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence(steps + [decoders.Strip(" ", 1, 0)] if strip else steps)


def odd_pre_tokenizers():
    """One BPE per splitter, to cover the behaviours; names say what differs."""
    p = pre_tokenizers
    return {
        "odd_whitespace": p.Sequence([p.Whitespace(), p.ByteLevel(add_prefix_space=False, use_regex=False)]),
        "odd_removed": byte_level(split(r"\w+|[^\w\s]+", "removed", True), p.Punctuation("merged_with_previous")),
        "odd_next": byte_level(split(r"[aeiou ]", "merged_with_next"), p.Digits(individual_digits=True)),
        "odd_previous": byte_level(split(r"[aeiou\d]+", "merged_with_previous"), p.Punctuation("removed")),
        "odd_contiguous": byte_level(split(r"\s", "contiguous"), p.Punctuation("contiguous")),
        "odd_prefix": p.Sequence([p.WhitespaceSplit(), p.ByteLevel(add_prefix_space=True, use_regex=True)]),
    }


def families():
    """name -> (tokenizer, GGUF pre name or None)"""
    p = pre_tokenizers
    llama3 = train_byte_bpe(byte_level(split(LLAMA3)), ignore_merges=True)
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B",
                                      special_tokens=[("<s>", llama3.token_to_id("<s>"))])])
    roberta = train_byte_bpe(p.ByteLevel(add_prefix_space=True))
    roberta.post_processor = processors.RobertaProcessing(("</s>", roberta.token_to_id("</s>")),
                                                          ("<s>", roberta.token_to_id("<s>")))
    falcon = p.Sequence([p.Punctuation("contiguous"), p.ByteLevel(add_prefix_space=False), p.Digits(False),
                         split("[0-9][0-9][0-9]")])
    meta = p.Metaspace(replacement=MARK, prepend_scheme="always", split=True)
    first = p.Metaspace(replacement=MARK, prepend_scheme="first", split=False)
    table = normalizers.Precompiled(charsmap(charsmap_table()))
    t5 = unigram(table, p.Sequence([p.WhitespaceSplit(), meta]), decoders.Metaspace(MARK, "always", True), False)
    t5.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                      special_tokens=[("</s>", t5.token_to_id("</s>"))])
    out = {
        "gpt2": (train_byte_bpe(p.ByteLevel(add_prefix_space=False)), "gpt-2"),
        "smollm": (train_byte_bpe(p.Sequence([p.Digits(True), p.ByteLevel(add_prefix_space=False)])), "smollm"),
        "llama3": (llama3, "llama-bpe"),
        "qwen2": (train_byte_bpe(byte_level(split(QWEN2)), normalizers.NFC()), "qwen2"),
        "tekken": (train_byte_bpe(byte_level(split(TEKKEN)), ignore_merges=True), "tekken"),
        "gpt4o": (train_byte_bpe(byte_level(split(GPT4O))), "gpt-4o"),
        "deepseek_v3": (train_byte_bpe(byte_level(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
                                                  split(DEEPSEEK3))), "deepseek-v3"),
        "deepseek_coder": (train_byte_bpe(byte_level(
            split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
            split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), p.Digits(True))), "deepseek-coder"),
        "falcon": (train_byte_bpe(falcon), "falcon"),
        "bloom": (train_byte_bpe(byte_level(split(BLOOM))), "bloom"),
        "roberta": (roberta, None),
        "llama2": (train_char_bpe(replace_spaces(True), None, fallback_decoder(True)), None),
        "gemma": (train_char_bpe(replace_spaces(False), p.Split(" ", "merged_with_previous"), fallback_decoder(False)),
                  None),
        "metaspace_first": (train_char_bpe(normalizers.NFKD(), first, fallback_decoder(True)), None),
        "t5": (t5, None),
        "unigram_bytes": (unigram(normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(left=False),
                                                        normalizers.Replace(Regex(" {2,}"), " ")]),
                                  meta, decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(MARK, "always", True)]),
                                  True), None),
        "bert_uncased": (wordpiece(True), None),
        "bert_cased": (wordpiece(False), None),
    }
    odd_normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    for name, pre in odd_pre_tokenizers().items():
        out[name] = (train_byte_bpe(pre, odd_normalizer if name == "odd_next" else None, n=800), None)
    return out


def real_families(folder):
    """The two GGUF files of the tests, as transformers converts them.

    SmolLM2: transformers maps every "gpt2" file without a row of its own to the plain GPT-2 splitter, also "smollm".
    The model's published tokenizer.json has Sequence[Digits(individual_digits=true), ByteLevel], so that is put back
    here; without it "2024" would be one pre-token.
    """
    from transformers import AutoTokenizer
    smol_file, gemma_file = "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"
    smol = AutoTokenizer.from_pretrained(folder, gguf_file=smol_file)._tokenizer
    smol.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    gemma = AutoTokenizer.from_pretrained(folder, gguf_file=gemma_file)._tokenizer
    return {"real_smollm2": (smol, smol_file), "real_gemma3": (gemma, gemma_file)}


def fnv1a(ids):
    value = 0xcbf29ce484222325
    for byte in struct.pack("<%di" % len(ids), *ids):
        value = ((value ^ byte) * 0x100000001b3) & 0xffffffffffffffff
    return value


def reference(tokenizer, extra):
    chunks, decoded = [], []
    for i in range(N_CHUNKS):
        ids = tokenizer.encode(token_corpus.chunk(i)).ids
        chunks.append([len(ids), "%016x" % fnv1a(ids)])
        if i < 16:
            text = tokenizer.decode(ids, skip_special_tokens=i % 2 == 0)
            decoded.append("%016x" % fnv1a(list(text.encode())))
    sample = "Hello World, it's 2024!  <|im_start|>caf\u00e9 \u4f60\u597d<h1>"
    return {**extra, "chunks": chunks, "decoded": decoded, "sample": sample,
            "sample_ids": tokenizer.encode(sample).ids,
            "sample_plain_ids": tokenizer.encode(sample, add_special_tokens=False).ids}


def main():
    models_folder, out = sys.argv[1], sys.argv[2]
    only = set(sys.argv[3:])

    def write(name, data):
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            f.write(data)

    os.makedirs(out, exist_ok=True)
    for name, (tokenizer, pre) in families().items():
        if only and name not in only:
            continue
        write(name + ".json", json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=True, separators=(",", ":")))
        write(name + ".ref.json", json.dumps(reference(tokenizer, {"gguf_pre": pre})))
        print(name, tokenizer.get_vocab_size())
    if only and not only & {"real"}:
        return
    for name, (tokenizer, file) in real_families(models_folder).items():
        write(name + ".ref.json", json.dumps(reference(tokenizer, {"gguf_file": file})))
        print(name, tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
