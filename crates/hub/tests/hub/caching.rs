//! What the cache holds, and how it is given up.

use crate::support::{Room, named, paths};
use aquatint_hub::HubError;
use std::fs;

#[test]
fn models_are_listed_by_the_names_that_open_them() {
    let (room, old) = Room::with_model();
    assert!(room.hub().list().unwrap().is_empty());
    room.pull("org/model").unwrap();
    let new = room.publish(1);
    room.pull("org/model").unwrap();
    room.fake.publish("org/other", "v1.0", &[("config.json", b"{ }"), ("model.safetensors", b"few")]);
    room.pull("org/other@v1.0").unwrap();
    // What the tools of the Hub put beside models, and folders of other repositories.
    for folder in
        ["datasets--org--data/snapshots", "models--org--empty/snapshots", ".locks/models--org--model", "models--x"]
    {
        fs::create_dir_all(room.settings.cache.join(folder)).unwrap();
    }
    let models = room.hub().list().unwrap();
    let listed: Vec<_> =
        models.iter().map(|model| (model.name.to_string(), model.commit.as_str(), model.bytes)).collect();
    assert_eq!(listed[0], ("org/model".to_owned(), new.as_str(), 700_020));
    assert_eq!(listed[1], (format!("org/model@{old}"), old.as_str(), 700_020));
    assert_eq!((listed[2].0.as_str(), listed[2].2), ("org/other@v1.0", 6));
    assert_eq!(listed.len(), 3);
    for model in models {
        assert_eq!(room.hub().snapshot(&model.name).unwrap(), model.folder);
    }
}

#[test]
fn a_revision_goes_with_what_no_other_one_has() {
    let (room, old) = Room::with_model();
    room.pull("org/model").unwrap();
    room.publish(1);
    let new = room.pull("org/model").unwrap();
    let removed = room.hub().remove(&named(&format!("org/model@{old}"))).unwrap();
    // The description and the tokenizer are the same in both.
    assert_eq!((removed.commits, removed.bytes), (1, 700_000));
    assert_eq!(room.hub().snapshot(&named("org/model")).unwrap(), new.folder);
    assert!(paths(&new.folder).iter().all(|path| path.exists()));
    let removed = room.hub().remove(&named("org/model@main")).unwrap();
    assert_eq!((removed.commits, removed.bytes), (1, 700_020));
    assert!(room.hub().list().unwrap().is_empty());
    assert!(matches!(room.hub().remove(&named("org/model@main")), Err(HubError::NotCached { .. })));
}

#[test]
fn a_model_goes_whole_where_no_revision_is_named() {
    let (room, _) = Room::with_model();
    room.pull("org/model").unwrap();
    room.publish(1);
    room.pull("org/model").unwrap();
    let removed = room.hub().remove(&named("org/model")).unwrap();
    assert_eq!((removed.commits, removed.bytes), (2, 1_400_020));
    assert_eq!(paths(&room.settings.cache), [room.settings.cache.join(".locks")]);
    assert!(matches!(room.hub().remove(&named("org/model")), Err(HubError::NotCached { .. })));
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_cache_is_not_followed_when_a_model_goes() {
    let (room, commit) = Room::with_model();
    let pulled = room.pull("org/model").unwrap();
    let outside = room.settings.cache.join("../mine.safetensors");
    fs::write(&outside, b"mine").unwrap();
    std::os::unix::fs::symlink(&outside, pulled.folder.join("extra.safetensors")).unwrap();
    room.hub().remove(&named(&format!("org/model@{commit}"))).unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
}

#[test]
fn another_revision_is_named_where_one_is_missing() {
    let (room, _) = Room::with_model();
    room.pull("org/model").unwrap();
    let error = room.hub().snapshot(&named("org/model@refs/pr/1")).unwrap_err();
    assert!(error.to_string().ends_with("it holds the revisions main"), "{error}");
    assert_eq!(error.hint().unwrap(), "aquatint pull org/model@refs/pr/1");
}
