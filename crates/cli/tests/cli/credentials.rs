//! Content credentials: files that are signed, what is read of them, and what is refused.

use crate::clients::python;
use crate::media::joint;
use crate::support::{ProgramOutput, aquatint, model, room, text};
use aquatint::codec::Picture;
use insta::assert_snapshot;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the certificates of `aquatint-credentials`.
fn certificate(name: &str) -> String {
    format!("{}/../credentials/tests/certificates/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The flags of a signer.
fn signed_by(name: &str) -> [String; 4] {
    let [certificate, key] = ["pem", "key"].map(|ending| certificate(&format!("{name}.{ending}")));
    ["--sign-cert".to_owned(), certificate, "--sign-key".to_owned(), key]
}

fn generate(arguments: &[&str]) -> ProgramOutput {
    let signer = signed_by("es256");
    let signer: Vec<&str> = signer.iter().map(String::as_str).collect();
    aquatint(&[&["generate", "--seed", "7"], arguments, &signer].concat())
}

/// What is read of a file.
fn detected(path: &Path, more: &[&str]) -> Value {
    let output = aquatint(&[&["detect", text(path), "--format", "json"], more].concat()).expect(0).out;
    serde_json::from_str::<Value>(&output).unwrap()["credentials"].take()
}

/// What is shown of a file, without what differs between runs.
fn shown(path: &Path, more: &[&str]) -> String {
    let output = aquatint(&[&["detect", text(path)], more].concat()).expect(0).out;
    let times = |line: &str| match line.split_once("Z by the signer's clock") {
        Some((start, end)) => format!("{}TIME by the signer's clock{end}\n", &start[..start.len() - 19]),
        None => format!("{line}\n"),
    };
    output.lines().map(times).collect::<String>().replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

/// A signed text of the small model.
fn signed_text(name: &str) -> PathBuf {
    let path = room(name).join("story.txt");
    generate(&["The [[4]] saw.", "-m", model(), "--text-out", text(&path)]).expect(0);
    path
}

/// A picture of one colour.
fn red(name: &str) -> PathBuf {
    let path = room(name).join("red.png");
    Picture::new(8, 8, vec![[220, 30, 30, 255]; 64]).unwrap().save(&path).unwrap();
    path
}

#[test]
fn pictures_sounds_and_texts_say_what_made_them() {
    let room = room("credentials");
    let [fox, word, story] = ["fox.png", "word.wav", "story.txt"].map(|name| room.join(name));
    let template = "The fox [[4]]. [[picture]] [[sound]]";
    let files = ["--picture-out", text(&fox), "--sound-out", text(&word), "--text-out", text(&story)];
    let output = generate(&[&[template, "-m", joint()][..], &files].concat()).expect(0);
    for path in [&fox, &word, &story, &story.with_extension("c2pa")] {
        assert!(output.err.contains(&format!("wrote {}\n", path.display())), "{}", output.err);
    }
    let result = generate(&[&[template, "-m", joint(), "--format", "json"][..], &files].concat()).expect(0).out;
    let result: Value = serde_json::from_str(&result).unwrap();
    assert_eq!(fs::read_to_string(&story).unwrap(), format!("{}\n", result["text"].as_str().unwrap()));
    for path in [&fox, &word, &story] {
        let read = detected(path, &[]);
        assert_eq!((&read["validity"], &read["title"]), (&"valid".into(), &path.file_name().unwrap().to_str().into()));
        let generation = &read["generation"];
        for field in ["seed", "settings", "media_settings"] {
            assert_eq!(generation[field], result[field], "{field}");
        }
        assert_eq!(generation["model"]["name"], "model");
        let weights: Vec<&String> = generation["model"]["weights_sha256"].as_object().unwrap().keys().collect();
        assert_eq!(weights, ["model.safetensors", "picture/model.safetensors", "sound/model.safetensors"]);
        // Neither the prompt nor where anything lies is said.
        assert!(generation.get("prompt").is_none() && generation["prompt_sha256"].as_str().unwrap().len() == 64);
        assert!(!read.to_string().contains(text(&room)), "{read}");
        assert_eq!(detected(path, &["--trust-anchors", &certificate("root.pem")])["validity"], "trusted");
    }
    assert_snapshot!("credentials_of_a_picture", shown(&fox, &[]));
    assert_snapshot!("credentials_of_a_text", shown(&story, &["--trust-anchors", &certificate("root.pem")]));
}

#[test]
fn credentials_change_no_pixel() {
    let room = room("credentials-pixels");
    let [signed, plain] = ["signed.png", "plain.png"].map(|name| room.join(name));
    generate(&["[[picture]]", "-m", joint(), "--picture-out", text(&signed)]).expect(0);
    aquatint(&["generate", "[[picture]]", "-m", joint(), "--seed", "7", "--picture-out", text(&plain)]).expect(0);
    assert_eq!(Picture::open(&signed).unwrap(), Picture::open(&plain).unwrap());
    assert_eq!(detected(&plain, &[]), Value::Null);
}

#[test]
fn only_with_sign_prompt_a_prompt_is_stated() {
    let path = room("credentials-prompt").join("story.txt");
    let arguments = ["The [[4]] saw.", "-m", model(), "--text-out", text(&path), "--sign-prompt"];
    generate(&arguments).expect(0);
    let generation = &detected(&path, &[])["generation"];
    assert_eq!(generation["prompt"], "The [[4]] saw.");
    assert!(generation.get("prompt_sha256").is_none());
    // The model was trained here, and its recipe lies beside its weights.
    assert_eq!(generation["model"]["recipe_sha256"].as_str().unwrap().len(), 64);
    let model = aquatint(&["detect", text(&path)]).expect(0).out;
    assert!(model.contains("\nprompt      The [[4]] saw.\n"), "{model}");
}

#[test]
fn what_was_given_is_an_ingredient_and_what_is_painted_anew_a_parent() {
    let (room, red) = (room("credentials-given"), red("credentials-given"));
    let path = room.join("fox.png");
    let of = |template: String| {
        generate(&[&template, "-m", joint(), "--picture-out", text(&path)]).expect(0);
        let read = detected(&path, &[]);
        let actions: Vec<String> =
            read["actions"].as_array().unwrap().iter().map(|made| made["action"].to_string()).collect();
        assert_eq!(read["validity"], "valid", "{read}");
        (actions.join(" "), read["ingredients"].clone(), read["actions"].to_string())
    };
    let (actions, given, source) = of(format!("[[picture:{}]] [[picture]]", red.display()));
    assert_eq!(actions, "\"c2pa.created\"");
    assert_eq!(given, json!([{ "title": "red.png", "relation": "inputTo" }]));
    assert!(source.contains("/trainedAlgorithmicMedia"), "{source}");
    let (actions, given, source) = of(format!("[[picture:{},mask=2x1+1x0]]", red.display()));
    assert_eq!(actions, "\"c2pa.opened\" \"c2pa.edited\"");
    assert_eq!(given, json!([{ "title": "red.png", "relation": "parentOf" }]));
    assert!(source.contains("/compositeWithTrainedAlgorithmicMedia"), "{source}");
    assert_snapshot!("credentials_of_an_edit", shown(&path, &[]));
}

#[test]
fn each_of_many_has_its_own() {
    let path = room("credentials-many").join("story.txt");
    let arguments = ["The [[4]] saw.", "-m", model(), "--count", "2", "--text-out", text(&path)];
    generate(&arguments).expect(0);
    for (number, seed) in [(1, 7), (2, 8)] {
        let read = detected(&path.with_file_name(format!("story-{number}.txt")), &[]);
        assert_eq!((&read["validity"], &read["generation"]["seed"]), (&"valid".into(), &seed.into()));
    }
}

#[test]
fn a_changed_text_and_one_without_its_sidecar_are_found() {
    let path = signed_text("credentials-changed");
    let sidecar = path.with_extension("c2pa");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replacen("The", "the", 1)).unwrap();
    let read = detected(&path, &[]);
    assert_eq!(read["validity"], "invalid");
    assert!(read["reasons"].to_string().contains("assertion.dataHash.mismatch"), "{read}");
    assert!(shown(&path, &[]).starts_with("credentials invalid: "), "{}", shown(&path, &[]));
    fs::write(&path, &whole).unwrap();
    let elsewhere = path.with_file_name("elsewhere.c2pa");
    fs::rename(&sidecar, &elsewhere).unwrap();
    assert_eq!(detected(&path, &[]), Value::Null);
    let none = shown(&path, &[]);
    assert_eq!(
        none,
        format!("no content credentials in `{}`, nor beside it in `{}`\n", path.display(), sidecar.display())
    );
    assert_eq!(detected(&path, &["--sidecar", text(&elsewhere)])["validity"], "valid");
}

#[test]
fn credentials_that_cannot_be_read_are_said_to_be_damaged() {
    let path = signed_text("credentials-damaged");
    let sidecar = path.with_extension("c2pa");
    let bytes = fs::read(&sidecar).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], b"A fox.", b""] {
        fs::write(&sidecar, damaged).unwrap();
        let refused = aquatint(&["detect", text(&path)]).expect(2);
        let start = format!("error: `{}`: damaged content credentials: ", sidecar.display());
        assert!(refused.err.starts_with(&start) && refused.err.lines().count() == 1, "{}", refused.err);
        assert_eq!(refused.out, "");
    }
}

#[test]
fn what_cannot_sign_is_refused_before_any_work() {
    let room = room("credentials-refused");
    let path = room.join("story.txt");
    let of = |name: [&str; 2], more: &[&str]| {
        let [certificate, key] = name.map(certificate);
        let arguments =
            ["generate", "The [[4]] saw.", "-m", "nowhere", "--sign-cert", &certificate, "--sign-key", &key];
        aquatint(&[&arguments[..], more].concat()).expect(2).err.replace(&*self::certificate(""), "")
    };
    let out = ["--text-out", text(&path)];
    let refused = [
        of(["es256.pem", "other.key"], &out),
        of(["expired.pem", "es256.key"], &out),
        of(["self-signed.pem", "es256.key"], &out),
        of(["server.pem", "es256.key"], &out),
        of(["es256.pem", "encrypted.key"], &out),
        of(["es256.pem", "sec1.key"], &out),
        of(["es256.pem", "es256.pem"], &out),
        of(["es256.key", "es256.key"], &out),
        of(["missing.pem", "es256.key"], &out),
        of(["es256.pem", "es256.key"], &[]),
        of(["es256.pem", "es256.key"], &["--text-out", "story.c2pa"]),
    ];
    assert_snapshot!("credentials_that_are_refused", refused.join("\n"));
    assert!(!path.exists());
    let alone = aquatint(&["generate", "A", "--sign-cert", "a.pem"]).expect(2).err;
    assert!(alone.contains("--sign-key <FILE>"), "{alone}");
    let ids = aquatint(&["generate", "--tokens", "1 2", "--text-out", "a.txt"]).expect(2).err;
    assert!(ids.contains("cannot be used with"), "{ids}");
}

#[test]
fn what_belongs_to_the_prompt_is_stated_with_it_alone() {
    let path = room("credentials-private").join("story.txt");
    let arguments = ["The [[4]] saw.", "-m", model(), "--text-out", text(&path), "--guidance-scale", "2"];
    for (flag, field) in
        [("--unconditional-prompt", "unconditional_prompt"), ("--classifier-target", "classifier_target")]
    {
        let arguments = match field {
            "classifier_target" => [&arguments[..5], &[flag, "The"]].concat(),
            _ => [&arguments[..], &[flag, "7"]].concat(),
        };
        generate(&arguments).expect(0);
        assert!(detected(&path, &[])["generation"]["settings"].get(field).is_none(), "{field}");
        generate(&[&arguments[..], &["--sign-prompt"]].concat()).expect(0);
        assert!(detected(&path, &[])["generation"]["settings"][field].is_array(), "{field}");
    }
}

#[test]
fn two_files_of_one_name_are_refused_before_any_work() {
    let room = room("credentials-one-name");
    let [picture, story, sidecar] = ["x.png", "a.txt", "a.c2pa"].map(|name| room.join(name));
    let of = |more: &[&str]| generate(&[&["A", "-m", "nowhere"][..], more].concat()).expect(2).err;
    let both = of(&["--picture-out", text(&picture), "--text-out", text(&picture)]);
    assert!(
        both.starts_with(&format!("error: --text-out and --picture-out are both {}; allowed: two", picture.display()))
    );
    let trace = of(&["--text-out", text(&story), "--trace", text(&sidecar)]);
    assert!(trace.starts_with("error: the sidecar of --text-out and --trace are both "), "{trace}");
    let nowhere = of(&["--text-out", "/dev/null"]);
    assert!(nowhere.contains("`--text-out` is /dev/null; allowed: an ordinary file with --sign-cert"), "{nowhere}");
}

#[test]
fn a_text_and_its_sidecar_get_their_names_together() {
    let path = room("credentials-together").join("story.txt");
    fs::create_dir_all(path.with_extension("c2pa").join("full")).unwrap();
    generate(&["The [[4]] saw.", "-m", model(), "--text-out", text(&path)]).expect(2);
    assert!(!path.exists());
}

#[test]
fn a_sidecar_of_another_file_is_said_to_be_that() {
    let path = signed_text("credentials-another");
    let sidecar = path.with_extension("c2pa");
    let picture = path.with_extension("png");
    fs::copy(red("credentials-another-red"), &picture).unwrap();
    assert_eq!(detected(&picture, &[]), Value::Null);
    let of_another = format!(
        "no content credentials in `{}`; those in `{}` are of another file, `story.txt`\n",
        picture.display(),
        sidecar.display()
    );
    assert_eq!(shown(&picture, &[]), of_another);
    // Named, they are held against it all the same.
    assert_eq!(detected(&picture, &["--sidecar", text(&sidecar)])["validity"], "invalid");
    let arguments = ["generate", "The [[4]] saw.", "-m", model(), "--seed", "8", "--text-out", text(&path)];
    let (sidecar, file) = (sidecar.display(), path.display());
    let warning = format!("warning: {sidecar} has the content credentials of another file than {file}\n");
    for format in ["human", "json"] {
        let again = aquatint(&[&arguments[..], &["--format", format]].concat()).expect(0).err;
        assert!(again.contains(&warning), "{again}");
    }
}

#[test]
fn what_is_no_file_of_its_format_may_have_a_sidecar() {
    let path = signed_text("credentials-format");
    let broken = path.with_extension("png");
    fs::write(&broken, "").unwrap();
    assert_eq!(detected(&broken, &[]), Value::Null);
    fs::remove_file(path.with_extension("c2pa")).unwrap();
    let refused = aquatint(&["detect", text(&broken)]).expect(2).err;
    assert!(refused.starts_with(&format!("error: `{}`: no whole file of its format: ", broken.display())), "{refused}");
}

#[test]
fn what_has_no_credentials_to_read_is_refused() {
    let input = aquatint(&["detect", "-"]).expect(2).err;
    assert!(input.starts_with("error: `FILE` is -; allowed: with --key, or the name of a file\n"), "{input}");
    let path = signed_text("credentials-unread");
    let sidecar = path.with_extension("c2pa");
    let refused = aquatint(&["detect", text(&sidecar)]).expect(2).err;
    assert!(refused.contains("has the content credentials of another file"), "{refused}");
    let missing = aquatint(&["detect", text(&path), "--sidecar", "nowhere.c2pa"]).expect(2).err;
    assert!(missing.starts_with("error: could not read `nowhere.c2pa`"), "{missing}");
    let anchors = aquatint(&["detect", text(&path), "--trust-anchors", text(&path)]).expect(2).err;
    assert!(anchors.contains("story.txt`: no certificates in PEM that could be trusted"), "{anchors}");
    for flag in ["--level", "--model"] {
        let alone = aquatint(&["detect", text(&path), flag, "1"]).expect(2).err;
        assert!(alone.contains("--key <KEYFILE>"), "{alone}");
    }
}

/// What the reference reader says of a file: its state, and the seed that it finds in the statement.
const REFERENCE: &str = r#"
import json, sys, c2pa
def said(path, sidecar=None):
    media_type = {"png": "image/png", "wav": "audio/wav", "txt": "text/plain"}[path.rsplit(".", 1)[1]]
    with open(path, "rb") as stream:
        data = open(sidecar, "rb").read() if sidecar else None
        reader = c2pa.Reader(media_type, stream, data) if data else c2pa.Reader(media_type, stream)
        store = json.loads(reader.json())
    manifest = store["manifests"][store["active_manifest"]]
    own = [a["data"] for a in manifest["assertions"] if a["label"] == "io.github.aquatint.generation"]
    codes = sorted({status["code"] for status in store.get("validation_status", [])})
    return {"state": store["validation_state"], "codes": codes, "seed": own[0]["seed"]}
print(json.dumps([said(*paths.split("+")) for paths in sys.argv[1:]]))
"#;

/// `c2pa-python` has a build of its own of another version, with OpenSSL.
#[test]
fn the_reference_reader_agrees() {
    let Some(python) = python() else { return };
    let room = room("credentials-reference");
    let [fox, word, story] = ["fox.png", "word.wav", "story.txt"].map(|name| room.join(name));
    let files = ["--picture-out", text(&fox), "--sound-out", text(&word), "--text-out", text(&story)];
    generate(&[&["The fox [[4]]. [[picture]] [[sound]]", "-m", joint()][..], &files].concat()).expect(0);
    let changed = room.join("changed.txt");
    fs::write(&changed, fs::read_to_string(&story).unwrap().to_uppercase()).unwrap();
    let sidecar = story.with_extension("c2pa");
    let beside = |path: &Path| format!("{}+{}", path.display(), sidecar.display());
    let output = Command::new(python)
        .args(["-c", REFERENCE, text(&fox), text(&word), &beside(&story), &beside(&changed)])
        .env("NO_PROXY", "*")
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    for (path, said) in [&fox, &word, &story, &changed].into_iter().zip(&said) {
        let ours = match path == &changed {
            true => detected(path, &["--sidecar", text(&sidecar)]),
            false => detected(path, &[]),
        };
        let state = said["state"].as_str().unwrap().to_lowercase();
        assert_eq!((&state, &said["codes"]), (&ours["validity"].as_str().unwrap().to_owned(), &ours["reasons"]));
        assert_eq!(said["seed"], 7, "{}", path.display());
    }
}
