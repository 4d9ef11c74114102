//! Model folders that other tools wrote or did not download whole, and folders that are no model.

use crate::support::{aquatint, copy_of_model, program, room, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The text that a model writes, with what was said on standard error.
#[track_caller]
fn written(model: &[&str], folder: &Path) -> (String, String) {
    let arguments = [&["generate", "The fox", "-n", "4", "--seed", "7", "--steps", "2"], model].concat();
    let output = program().args(arguments).current_dir(folder).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    (String::from_utf8(output.stdout).unwrap(), err)
}

#[test]
fn a_folder_called_like_the_built_in_model_hides_nothing() {
    let elsewhere = room("hidden");
    let folder = room("hidden/tales");
    fs::write(folder.join("a.txt"), "once").unwrap();
    let (expected, _) = written(&[], &room("hidden/empty"));
    for model in [&[][..], &["-m", "tales"]] {
        let (text, err) = written(model, &elsewhere);
        assert!(text == expected && !err.contains("warning"), "{text} {err}");
    }
    // A model of that name is told of, and reached by its path.
    copy_of_model("hidden/tales");
    let (text, err) = written(&["-m", "tales"], &elsewhere);
    assert_eq!(text, expected);
    assert!(err.contains("warning: `tales` is the built-in model; the folder of that name is `./tales`\n"), "{err}");
    let (own, err) = written(&["-m", "./tales"], &elsewhere);
    assert!(own != expected && !err.contains("warning"), "{own} {err}");
}

#[test]
fn a_folder_saved_again_by_hugging_face_tools_writes_the_same() {
    let folder = copy_of_model("resaved");
    let before = written(&["-m", text(&folder)], &room("work")).0;
    for (file, added) in [
        ("config.json", &["dtype", "transformers_version", "auto_map", "_name_or_path"][..]),
        ("generation_config.json", &["_from_model_config", "transformers_version", "cache_implementation"]),
    ] {
        let path = folder.join(file);
        let mut object: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        added.iter().for_each(|key| object[key] = "written again".into());
        object["rope_scaling"] = Value::Null;
        fs::write(&path, object.to_string()).unwrap();
    }
    assert_eq!(written(&["-m", text(&folder)], &room("work")).0, before);
}

#[test]
fn a_git_lfs_pointer_is_called_that() {
    let folder = copy_of_model("pointer");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 54832\n";
    fs::write(folder.join("model.safetensors"), pointer).unwrap();
    let output = aquatint(&["generate", "The fox", "-m", text(&folder)]).expect(2);
    let expected = format!(
        "error: `{0}/model.safetensors` is a Git LFS pointer: the file of 54832 bytes that it stands for was not \
         downloaded\n\nhint: download it: git -C {0} lfs pull\n",
        folder.display()
    );
    assert_eq!(output.err, expected);
}
