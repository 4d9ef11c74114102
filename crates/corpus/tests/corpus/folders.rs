//! Which files of a folder are read, and what is said of the others.

use crate::support::{said, snapshot, texts};
use aquatint_corpus::{CorpusError, Format, Source, UnreadReason};
use std::path::Path;

/// The unread files under a folder with their reasons, as people see them.
fn unread(folder: &Path) -> Vec<String> {
    let files = Source::new(folder).files().unwrap();
    files.unread.iter().map(|file| file.to_string().replace(&*folder.to_string_lossy(), "DIR")).collect()
}

fn fill(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn a_folder_is_read_at_any_depth_in_the_order_of_paths_and_the_rest_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), &[("z/deep/1.txt", "third"), ("b.txt", "second"), ("a.jsonl", "{\"text\": \"first\"}")]);
    fill(folder.path(), &[("README.md", "no"), (".hidden.txt", "no"), (".git/a.txt", "no"), ("z/info.json", "{}")]);
    fill(folder.path(), &[("z/a.tar.gz", "no"), ("z/empty.txt", "")]);
    assert_eq!(texts(&Source::new(folder.path())), ["first", "second", "third"]);
    assert_eq!(
        unread(folder.path()),
        [
            "`DIR/.git`: its name begins with a dot",
            "`DIR/.hidden.txt`: its name begins with a dot",
            "`DIR/README.md`: its name does not say how to read it",
            "`DIR/z/a.tar.gz`: .tar is not supported",
            "`DIR/z/empty.txt`: it is empty",
            "`DIR/z/info.json`: its name does not say how to read it",
        ]
    );
    // A format is for the names that do not say it.
    let source = Source { format: Some(Format::Text), ..Source::new(folder.path()) };
    assert_eq!(texts(&source), ["no", "first", "second", "third", "{}"]);
}

#[test]
fn a_folder_without_a_text_says_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let error = said(&Source::new(folder.path()), folder.path());
    assert!(
        error.starts_with("there is no file of text, JSON lines or Parquet under `DIR`, which is empty; `format` says")
    );
    fill(folder.path(), &[("a.md", "x"), ("b.rst", "x"), ("c.csv", "x")]);
    let error = said(&Source::new(folder.path()), folder.path());
    assert!(
        error.contains("under `DIR`: `DIR/a.md`: its name does not say how to read it; and 2 more; `format`"),
        "{error}"
    );
    let missing = Source::new(folder.path().join("none.txt"));
    assert!(said(&missing, folder.path()).starts_with("could not read `DIR/none.txt`: "));
}

#[cfg(unix)]
#[test]
fn links_are_followed_once_and_never_in_a_circle() {
    use std::os::unix::fs::symlink;
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(folder.path(), &[("m/a.txt", "a"), ("m/b.txt", "b")]);
    fill(outside.path(), &[("far/c.txt", "c"), ("blob", "d")]);
    let link = |target: &Path, name: &str| symlink(target, folder.path().join(name)).unwrap();
    link(&outside.path().join("far"), "z-linked");
    link(&outside.path().join("blob"), "d.txt");
    link(&folder.path().join("m"), "again");
    link(&folder.path().join("m/a.txt"), "a-again.txt");
    link(folder.path(), "m/up");
    link(&folder.path().join("nothing"), "dangling.txt");
    link(Path::new("itself"), "itself");
    // A linked folder may link back.
    symlink(folder.path(), outside.path().join("far/back")).unwrap();
    assert_eq!(texts(&Source::new(folder.path())), ["d", "a", "b", "c"]);
    assert_eq!(
        unread(folder.path()),
        [
            "`DIR/a-again.txt`: it is `DIR/m/a.txt`, which is read already",
            "`DIR/again`: it is `DIR/m`, which is read already",
            "`DIR/dangling.txt`: it is a link to nothing",
            "`DIR/itself`: it is a link to nothing",
            "`DIR/m/up`: it is `DIR`, which is read already",
            "`DIR/z-linked/back`: it is `DIR`, which is read already",
        ]
    );
}

#[cfg(unix)]
#[test]
fn names_may_be_of_any_bytes_and_only_files_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::{ffi::OsStrExt, net::UnixListener};
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), &[("a.txt", "a")]);
    std::fs::write(folder.path().join(OsStr::from_bytes(b"caf\xE9.txt")), "b").unwrap();
    let _socket = UnixListener::bind(folder.path().join("s.txt")).unwrap();
    assert_eq!(texts(&Source::new(folder.path())), ["a", "b"]);
    assert_eq!(unread(folder.path()), ["`DIR/s.txt`: it is not a regular file"]);
    let socket = Source::new(folder.path().join("s.txt")).files();
    assert!(matches!(socket, Err(CorpusError::NotRead { reason: UnreadReason::NotAFile, .. })));
}

#[test]
fn a_fingerprint_is_of_what_is_read_and_not_of_its_place() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(here.path(), &[("a.txt", "one"), ("b.txt", "two"), ("notes.md", "no")]);
    fill(there.path(), &[("x/1.txt", "one"), ("x/2.txt", "two")]);
    let (first, moved) = (snapshot(&Source::new(here.path())), snapshot(&Source::new(there.path())));
    assert_eq!(first.fingerprint(), moved.fingerprint());
    assert_eq!(first.file_fingerprints(), moved.file_fingerprints());
    assert_eq!((first.files().len(), first.unread().len()), (2, 1));
    let repeated = Source { repeat: 3, max_bad_share: 0.5, ..Source::new(here.path()) };
    assert_eq!(snapshot(&repeated).fingerprint(), first.fingerprint());
    let mut filtered = Source::new(here.path());
    filtered.filter.insert("lang".to_owned(), "en".to_owned());
    let source = Source::new(here.path());
    for other in [
        filtered,
        Source { field: "body".to_owned(), ..source.clone() },
        Source { separator: String::new(), ..source.clone() },
        Source { encoding: Some("latin1".parse().unwrap()), ..source.clone() },
        Source { format: Some(Format::Text), ..source },
    ] {
        assert_ne!(snapshot(&other).fingerprint(), first.fingerprint(), "{other:?}");
    }
    fill(there.path(), &[("x/2.txt", "too")]);
    assert_ne!(snapshot(&Source::new(there.path())).fingerprint(), first.fingerprint());
    fill(there.path(), &[("x/1.txt", "two"), ("x/2.txt", "one")]);
    assert_ne!(snapshot(&Source::new(there.path())).fingerprint(), first.fingerprint(), "the order counts");
}
