//! Codecs: pictures and sounds of the sample are learned, measured and written back, and what is something else is refused.

use crate::support::{aquatint, room, text};
use std::fs;
use std::path::{Path, PathBuf};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A codec after two steps of the repository's recipe, made small.
fn trained(kind: &str, name: &str, size: &[&str]) -> PathBuf {
    let (recipe, out) = (repository(&format!("recipes/codec/{kind}.toml")), room("codecs").join(name));
    let train = format!("data.train=[{{ path = '{}' }}]", text(&repository(&format!("data/sample/{kind}"))));
    let small = ["codec.width=16", "codec.encoder_layers=1", "codec.decoder_layers=1", "codec.heads=2", "run.steps=2"];
    let mut arguments = vec!["train", text(&recipe), "--out", text(&out), "--threads", "1", "--set", &train];
    arguments.extend(small.iter().chain(size).flat_map(|set| ["--set", *set]));
    let trained = aquatint(&arguments).expect(0);
    assert_eq!(trained.out.trim_end(), text(&out));
    assert!(trained.err.contains(&format!("\n{kind}: ")) && trained.err.contains(", of 1000\n"), "{}", trained.err);
    out
}

/// Figures with `N` in place of each number.
fn without_numbers(figures: &str) -> String {
    let mut shape = String::new();
    for character in figures.chars() {
        match character {
            '0'..='9' | '.' if shape.ends_with('N') => {}
            '0'..='9' => shape.push('N'),
            other => shape.push(other),
        }
    }
    shape
}

#[test]
fn pictures_are_learned_measured_and_written_back() {
    let codec = trained("pictures", "pictures", &["codec.size=16", "codec.patch=4", "codec.overlap=1"]);
    let (sheet, back) = (room("codecs").join("sheet.png"), room("codecs").join("pictures-back"));
    let sample = repository("data/sample/pictures");
    let measure = ["eval", "codec", text(&codec), "--data", text(&sample), "--threads", "1"];
    let measured = aquatint(&[&measure[..], &["--sheet", text(&sheet), "--limit", "8"]].concat()).expect(0);
    assert_eq!(
        without_numbers(&measured.out),
        "pictures        N\n\
         quality         PSNR N dB over white, N dB of alpha, SSIM N\n\
         without codes   PSNR N dB over white, N dB of alpha, SSIM N\n\
         codes           N codes a picture, of N; N % of them used, perplexity N\n\
         weights         N\n\
         time            N ms each, to codes and back\n"
    );
    assert!(measured.err.starts_with("sheet of 8 pictures: ") && sheet.is_file(), "{}", measured.err);
    let object = aquatint(&[&measure[..], &["--format", "json", "--returned", text(&back)]].concat()).expect(0).out;
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!(
        (&object["kind"], &object["pictures"], &object["codes_per_picture"]),
        (&"pictures".into(), &40.into(), &16.into())
    );
    assert_eq!(fs::read_dir(&back).unwrap().count(), 40);
    // Names in an archive lead out of no folder.
    let (climbing, inside) = (repository("fuzz/seeds/collection/climbing.tar"), room("codecs").join("a/b/c"));
    let arguments = ["eval", "codec", text(&codec), "--data", text(&climbing), "--returned", text(&inside)];
    aquatint(&arguments).expect(0);
    assert!(inside.join("etc/grey.png").is_file() && inside.join("grey.png").is_file());
    assert!(!room("codecs").join("a/etc").exists());
}

#[test]
fn sounds_are_learned_measured_and_written_back_and_others_refused() {
    let codec = trained("sounds", "sounds", &["codec.bands=16", "codec.window=128"]);
    let (sample, back) = (repository("data/sample/sounds"), room("codecs").join("sounds-back"));
    let measure = |data: &Path, more: &[&str]| {
        aquatint(&[&["eval", "codec", text(&codec), "--data", text(data), "--threads", "1"][..], more].concat())
    };
    let measured = measure(&sample, &["--limit", "3", "--returned", text(&back)]).expect(0);
    assert_eq!(
        without_numbers(&measured.out),
        "sounds          N, N s\n\
         quality         log-spectral distance N dB\n\
         without codes   log-spectral distance N dB\n\
         codes           N codes a second, of N; N % of them used, perplexity N\n\
         weights         N\n\
         time            N ms each, to codes and back\n"
    );
    let written: Vec<_> = fs::read_dir(&back).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(written.len(), 3);
    assert!(written.iter().all(|path| path.extension().is_some_and(|extension| extension == "wav")), "{written:?}");
    // What came back is a sound that the codec reads.
    measure(&back, &[]).expect(0);

    let strange = room("codecs").join("strange");
    fs::create_dir_all(&strange).unwrap();
    fs::write(strange.join("song.wav"), "OggS and more").unwrap();
    let nothing = room("codecs").join("nothing");
    let refused = measure(&strange, &["--returned", text(&nothing)]).expect(2);
    assert_eq!(
        (refused.out.as_str(), refused.err.as_str()),
        ("", "error: `song.wav` is not a sound of a known format; allowed: WAV, FLAC\n\nhint: convert it to WAV\n")
    );
    assert!(!nothing.exists());
    let refused = measure(&repository("data/sample/pictures"), &[]).expect(2).err;
    assert!(refused.ends_with("has no sounds\n"), "{refused}");
    let (smells, config) = (room("codecs/smells"), fs::read_to_string(codec.join("config.json")).unwrap());
    fs::write(smells.join("config.json"), config.replace("\"sounds\"", "\"smells\"")).unwrap();
    let refused = aquatint(&["eval", "codec", text(&smells), "--data", text(&sample)]).expect(2).err;
    assert!(refused.contains("is \"smells\"; allowed: \"pictures\", \"sounds\"\n"), "{refused}");
}
