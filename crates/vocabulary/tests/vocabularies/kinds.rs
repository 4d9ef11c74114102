//! A small tokenizer of each kind that models come with.

use serde_json::{Value, json};

/// The words that every one of them has, most of them in pieces.
pub(crate) const WORDS: [&str; 6] = ["the", "king", "saw", "a", "bird", "sang"];

/// The names of the kinds.
pub(crate) const KINDS: [&str; 6] = ["metaspace", "unigram", "wordpiece", "byte-fallback", "suffix", "byte-level"];

/// The file of a kind. The first ids are `<unk>`, `<mask>` and `</s>`.
pub(crate) fn json_of(kind: &str) -> Value {
    match kind {
        "metaspace" => {
            let words = WORDS.iter().map(|word| format!("▁{word}"));
            let vocab = ids(words.chain(WORDS.iter().map(|word| format!("▁{word}."))));
            let blank = metaspace();
            let split = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, blank]});
            file(split, blank, json!({"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}))
        }
        "unigram" => {
            let pieces = ["▁", "▁the", "▁king", "▁bird", "s", "ang", "aw", "a", "l", "y", ".", "é"];
            let pieces = ["<unk>", "<mask>", "</s>"].into_iter().chain(pieces);
            let vocab: Vec<Value> =
                pieces.enumerate().map(|(index, piece)| json!([piece, -(index as f64) / 4.0])).collect();
            file(metaspace(), metaspace(), json!({"type": "Unigram", "unk_id": 0, "vocab": vocab}))
        }
        "wordpiece" => {
            let pieces = ["the", "king", "saw", "a", "bird", "s", "##ang", "##ly", ".", "'", "x"];
            let model = json!({"type": "WordPiece", "vocab": ids(pieces.map(str::to_owned)), "unk_token": "<unk>",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": 100});
            let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
            file(json!({"type": "BertPreTokenizer"}), decoder, model)
        }
        "byte-fallback" => {
            let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
            let pieces = ["▁", "t", "h", "e", "k", "i", "n", "g", "he", "▁t", "▁the", "in", "ing", "king"];
            let merges = [["h", "e"], ["▁", "t"], ["▁t", "he"], ["i", "n"], ["in", "g"], ["k", "ing"]];
            let model = json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
                "vocab": ids(bytes.chain(pieces.map(str::to_owned))), "merges": merges});
            let blank = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
            let decoder = json!({"type": "Sequence", "decoders": [blank, {"type": "ByteFallback"}, {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
            let mark = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
            let mut file = file(Value::Null, decoder, model);
            file["normalizer"] =
                json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, mark]});
            file
        }
        "suffix" => {
            let letters = "abdeghiknrstw.".chars().map(String::from);
            let ends = "abdeghiknrstw.".chars().map(|letter| format!("{letter}</w>"));
            let pieces = ["th", "the</w>", "ki", "ng</w>"].map(str::to_owned);
            let merges = [["t", "h"], ["th", "e</w>"], ["k", "i"], ["n", "g</w>"]];
            let model = json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
                "vocab": ids(letters.chain(ends).chain(pieces)), "merges": merges});
            file(json!({"type": "WhitespaceSplit"}), json!({"type": "BPEDecoder", "suffix": "</w>"}), model)
        }
        _ => {
            let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let others = (0..256).filter(|byte| !printable(byte)).count() as u32;
            let alphabet = (0..256u32).filter(printable).chain(256..256 + others).filter_map(char::from_u32);
            let level =
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
            let model = json!({"type": "BPE", "dropout": 0.5, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "vocab": ids(alphabet.map(String::from).chain(["th".to_owned(), "the".to_owned()])),
                "merges": [["t", "h"], ["th", "e"]]});
            let decoder = json!({"type": "Sequence", "decoders": [level, {"type": "Fuse"}]});
            file(level, decoder, model)
        }
    }
}

/// The same as the bytes of a file.
pub(crate) fn bytes_of(kind: &str) -> Vec<u8> {
    json_of(kind).to_string().into_bytes()
}

fn metaspace() -> Value {
    json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})
}

fn ids(pieces: impl IntoIterator<Item = String>) -> Value {
    let names = ["<unk>", "<mask>", "</s>"].map(str::to_owned);
    Value::Object(names.into_iter().chain(pieces).zip((0..).map(Value::from)).collect())
}

fn file(pre_tokenizer: Value, decoder: Value, model: Value) -> Value {
    let special = |(id, content): (usize, &str)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let added: Vec<Value> = ["<unk>", "<mask>", "</s>"].into_iter().enumerate().map(special).collect();
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder, "model": model})
}
