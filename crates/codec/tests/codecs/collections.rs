//! Collections: archives and folders give the same pictures, and hostile ones are refused within bounds.

use aquatint_codec::collection::Collection;
use aquatint_codec::{CodecError, Medium, Picture, PictureConfig, Pictures, Sound, Sounds};
use std::io::ErrorKind;
use std::path::Path;

fn plain(grey: u8) -> Picture {
    Picture::new(4, 2, vec![[grey, grey, grey, 255]; 8]).unwrap()
}

const TABLE: &str = "id\tfile\tconcept\n1\ta/one.png\tfox\n2\tb/two.png\tfox\n";

/// A folder with pictures, a table, and a file that is neither.
fn folder(path: &Path) {
    for (name, grey) in [("a/one.png", 10), ("b/two.png", 20), ("ab/three.png", 30)] {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        plain(grey).save(&file).unwrap();
    }
    std::fs::write(path.join("pictures.tsv"), TABLE).unwrap();
    std::fs::write(path.join("a/notes.txt"), "nothing to see").unwrap();
}

fn archive(folder: &Path, file: &Path) {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all(".", folder).unwrap();
    let bytes = archive.into_inner().unwrap();
    let compressed = file.extension().is_some_and(|extension| extension == "zst");
    std::fs::write(file, if compressed { zstd::encode_all(&bytes[..], 1).unwrap() } else { bytes }).unwrap();
}

/// What a codec of pictures of 4×4 pixels reads.
fn medium() -> Pictures {
    let config: PictureConfig = serde_json::from_str(r#"{"kind":"pictures","size":4,"patch":4,"overlap":1}"#).unwrap();
    Pictures::new(&config).unwrap()
}

fn collection(path: &Path) -> Collection {
    Collection { path: path.to_path_buf(), folders: Vec::new(), files: Pictures::FILES }
}

fn read(path: &Path, folders: &[&str]) -> Result<Vec<(String, String, u8)>, CodecError> {
    let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
    let pictures = Collection { folders, ..collection(path) }.read(&medium(), &mut |_| true)?;
    Ok(pictures
        .into_iter()
        .map(|named| {
            assert_eq!((named.samples.width(), named.samples.height()), (4, 4));
            (named.name, named.concept, named.samples.pixels()[4][0])
        })
        .collect())
}

#[test]
fn archives_and_folders_give_the_same_and_only_what_is_wanted() {
    let place = tempfile::tempdir().unwrap();
    let (pictures, plain, packed) =
        (place.path().join("pictures"), place.path().join("all.tar"), place.path().join("all.tar.zst"));
    folder(&pictures);
    archive(&pictures, &plain);
    archive(&pictures, &packed);
    let row = |name: &str, concept: &str, grey| (name.to_owned(), concept.to_owned(), grey);
    let (one, two, three) =
        (row("a/one.png", "fox", 10), row("b/two.png", "fox", 20), row("ab/three.png", "three", 30));
    for path in [&pictures, &plain, &packed] {
        assert_eq!(read(path, &[]).unwrap(), [one.clone(), three.clone(), two.clone()]);
        assert_eq!(read(path, &["a", "b"]).unwrap(), [one.clone(), two.clone()]);
        let error = read(path, &["c"]).unwrap_err().to_string();
        assert!(error.ends_with("has no pictures in its folders c"), "{error}");
        let stopped = collection(path).read(&medium(), &mut |count| count < 2);
        assert!(matches!(stopped, Err(CodecError::Stopped)));
    }
}

#[test]
fn a_fingerprint_changes_with_what_is_there_and_not_with_its_place() {
    let place = tempfile::tempdir().unwrap();
    let (here, there) = (place.path().join("here"), place.path().join("there"));
    folder(&here);
    let of = |path: &Path| collection(path).fingerprint(&mut || true).unwrap();
    let before = of(&here);
    assert!(before.starts_with("4 files, "), "{before}");
    std::fs::rename(&here, &there).unwrap();
    assert_eq!(of(&there), before);
    plain(11).save(&there.join("a/one.png")).unwrap();
    assert_ne!(of(&there), before);
}

#[test]
fn what_is_broken_is_named() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("broken.tar.zst");
    std::fs::write(&file, "this is no archive").unwrap();
    assert!(read(&file, &[]).unwrap_err().to_string().starts_with("could not read `"));
    let pictures = place.path().join("pictures");
    folder(&pictures);
    std::fs::write(pictures.join("a/one.png"), "no picture").unwrap();
    let error = read(&pictures, &[]).unwrap_err().to_string();
    assert_eq!(error, "`a/one.png` is not a picture of a known format; allowed: PNG, JPEG, WebP");
}

/// What a collection of `fuzz/seeds` holds, or why it is refused.
fn seed(name: &str) -> Result<Vec<String>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/collection").join(name);
    let pictures = collection(&path).read(&medium(), &mut |_| true);
    let pictures = pictures.map_err(|error| error.to_string().replace(&path.display().to_string(), name))?;
    Ok(pictures.into_iter().map(|named| format!("{} {}", named.name, named.concept)).collect())
}

#[test]
fn hostile_archives_are_read_or_refused_within_bounds() {
    for name in ["plain.tar", "packed.tar.zst"] {
        assert_eq!(seed(name).unwrap(), ["grey.png stone"], "{name}");
    }
    // Names are names only, and of two entries with one name the second counts.
    assert_eq!(seed("climbing.tar").unwrap(), ["../../etc/grey.png grey", "/grey.png grey"]);
    assert_eq!(
        seed("twice.tar").unwrap_err(),
        "`grey.png` is not a picture of a known format; allowed: PNG, JPEG, WebP"
    );
    for name in ["link.tar", "empty.tar", "table_alone.tar"] {
        assert_eq!(seed(name).unwrap_err(), format!("`{name}` has no pictures"));
    }
    // It claims to be longer than what it is made of.
    let expected = "could not read `sparse.tar`: mismatch in sparse file chunks and size in header";
    assert_eq!(seed("sparse.tar").unwrap_err(), expected);
    for name in ["two_gigabytes.tar", "all_bytes_there_are.tar"] {
        assert_eq!(seed(name).unwrap_err(), format!("`huge.png` in `{name}` has more than 268435456 bytes"));
    }
    // Names of 64 MiB that are packed to two thousand bytes are not unpacked.
    for name in ["long_names.tar.zst", "long_pax.tar.zst"] {
        let expected = "an entry has a name or other headers of more than 1048576 bytes";
        assert_eq!(seed(name).unwrap_err(), format!("could not read `{name}`: {expected}"));
    }
    for name in ["cut.tar", "cut.tar.zst", "checksum.tar", "no_archive.tar", "not_a_picture.tar"] {
        let message = seed(name).unwrap_err();
        assert!(!message.contains('\n') && message.len() < 200, "{message}");
    }
}

#[test]
fn what_is_wrong_in_an_archive_is_not_the_systems_fault() {
    for name in ["cut.tar", "cut.tar.zst", "checksum.tar", "no_archive.tar", "sparse.tar", "long_names.tar.zst"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/collection").join(name);
        let error = collection(&path).read(&medium(), &mut |_| true).unwrap_err();
        let CodecError::Io { source, .. } = &error else { panic!("{name}: {error}") };
        let kinds = [ErrorKind::InvalidData, ErrorKind::InvalidInput, ErrorKind::UnexpectedEof];
        assert!(kinds.contains(&source.kind()), "{name}: {error}, {:?}", source.kind());
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("huge.png");
    std::fs::File::create(&path).unwrap().set_len((1 << 28) + 1).unwrap();
    let expected = format!("`{}` has more than 268435456 bytes", path.display());
    assert_eq!(Picture::open(&path).unwrap_err().to_string(), expected);
    assert_eq!(read(place.path(), &[]).unwrap_err().to_string(), expected);
    assert_eq!(collection(place.path()).fingerprint(&mut || true).unwrap_err().to_string(), expected);
}

#[test]
fn sounds_are_read_by_their_words_and_at_the_rate_of_the_codec() {
    let place = tempfile::tempdir().unwrap();
    let sounds = place.path().join("sounds");
    std::fs::create_dir(&sounds).unwrap();
    Sound::new(16_000, vec![0.25; 1600]).unwrap().save(&sounds.join("one.wav")).unwrap();
    std::fs::write(sounds.join("sounds.tsv"), "file\twords\tspeaker\none.wav\ta word\tsomebody\n").unwrap();
    plain(3).save(&sounds.join("cover.png")).unwrap();
    let packed = place.path().join("all.tar.zst");
    archive(&sounds, &packed);
    let medium = Sounds::new(&serde_json::from_str(r#"{"kind":"sounds"}"#).unwrap()).unwrap();
    for path in [&sounds, &packed] {
        let collection = Collection { path: path.clone(), folders: Vec::new(), files: Sounds::FILES };
        let found = collection.read(&medium, &mut |_| true).unwrap();
        assert_eq!((found.len(), &found[0].name[..], &found[0].concept[..]), (1, "one.wav", "a word"));
        // A tenth of a second at 8 kHz is four codes of 200 samples.
        assert_eq!((found[0].samples.rate(), found[0].samples.samples().len()), (8000, 800));
    }
}
