//! Models in GGUF files of llama.cpp, opened by every command.

use crate::support::aquatint;
use insta::assert_snapshot;

/// A file or a folder of the golden files.
fn golden(name: &str) -> String {
    format!("{}/../../golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_file_writes_what_its_folder_writes() {
    let written = |model: &str| {
        let model = golden(model);
        let settings = ["-n", "16", "--seed", "7", "--precision", "f32", "--device", "cpu"];
        aquatint(&[&["generate", "the river and", "-m", &model], &settings[..]].concat()).expect(0).out
    };
    assert_eq!(written("gguf/llada-f32.gguf"), written("llada"));
    assert!(!written("gguf/dream-q4_k_m.gguf").trim().is_empty());
}

#[test]
fn show_tells_how_a_file_is_quantised() {
    let shown = |model: &str| aquatint(&["show", &golden(model)]).expect(0).out.replace(&golden(""), "");
    assert_snapshot!("show_gguf", shown("gguf/llada-q4_0.gguf") + "\n" + &shown("gguf/dream-q4_k_m.gguf"));
}

#[test]
fn a_folder_of_files_asks_for_one_of_them() {
    let output = aquatint(&["show", &golden("gguf")]).expect(2);
    let folder = golden("gguf");
    assert_eq!(
        output.err,
        format!(
            "error: `{folder}` holds 4 GGUF files and no config.json\n\nhint: give the path of one of them: \
             {folder}/dream-q4_k_m.gguf, {folder}/llada-f32.gguf, {folder}/llada-q4_0.gguf, {folder}/llada-q8_0.gguf\n"
        )
    );
}
