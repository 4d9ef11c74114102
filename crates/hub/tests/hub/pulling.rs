//! Downloads: what comes, in which layout, and how they go on after whatever interrupted them.

use crate::support::{Room, named, paths, weights};
use aquatint_hub::{HubError, PullEvent};
use aquatint_testing::{Trouble, git_hash, sha256};
use std::fs;
use std::ops::ControlFlow;
use std::time::Duration;

const WEIGHTS: &str = "model.safetensors";

#[test]
fn a_model_comes_in_the_layout_of_the_hubs_own_tools() {
    let (room, commit) = Room::with_model();
    let mut events = Vec::new();
    let pulled = room.hub().pull(&named("org/model"), &mut |event| {
        if let PullEvent::Planned { files, bytes, present, .. } = event {
            events.push((files, bytes, present));
        }
        ControlFlow::Continue(())
    });
    let pulled = pulled.unwrap();
    assert_eq!((pulled.files, pulled.downloaded, &pulled.commit), (3, 700_020, &commit));
    assert_eq!(events, [(3, 700_020, 0)]);

    let repository = room.repository();
    assert_eq!(pulled.folder, repository.join("snapshots").join(&commit));
    assert_eq!(fs::read_to_string(repository.join("refs/main")).unwrap(), commit);
    // Only what is needed, under the names that the Hub gives to blobs.
    let names = ["config.json", WEIGHTS, "tokenizer.json"].map(|name| pulled.folder.join(name));
    assert_eq!(paths(&pulled.folder), names);
    let mut blobs = [git_hash(b"{}"), sha256(&weights(0)), git_hash(b"{\"version\": \"1.0\"}")]
        .map(|hash| repository.join("blobs").join(hash));
    blobs.sort();
    assert_eq!(paths(&repository.join("blobs")), blobs);
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights(0));
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(pulled.folder.join("config.json")).unwrap(),
        std::path::Path::new("../../blobs").join(git_hash(b"{}"))
    );
}

#[test]
fn what_is_there_is_not_downloaded_again() {
    let (room, _) = Room::with_model();
    let first = room.pull("org/model").unwrap();
    let before = room.fake.requests().len();
    let second = room.pull("org/model").unwrap();
    assert_eq!((second.folder, second.downloaded), (first.folder, 0));
    // Only the listing.
    assert_eq!(room.fake.requests().len(), before + 1);
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let (room, commit) = Room::with_model();
    let mut total = 0;
    let error = room.hub().pull(&named("org/model"), &mut |event| match event {
        PullEvent::Progress { file: WEIGHTS, done, total_done } => {
            (total, _) = (done, assert!(total_done >= done));
            if done > 200_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(error, Err(HubError::Interrupted { .. })), "{error:?}");
    assert!(total > 200_000 && total < 700_000, "{total}");
    // Nothing leads to half of a model.
    assert!(!room.repository().join("refs/main").exists());
    assert!(matches!(room.hub().snapshot(&named("org/model")), Err(HubError::NotCached { .. })));
    let [incomplete] = room.incomplete().try_into().unwrap();
    assert_eq!(fs::metadata(incomplete).unwrap().len(), total);

    let pulled = room.pull("org/model").unwrap();
    assert_eq!(pulled.downloaded, 700_000 - total);
    assert_eq!(room.fake.ranges(WEIGHTS), ["bytes=0-".to_owned(), format!("bytes={total}-")]);
    assert_eq!((fs::read(pulled.folder.join(WEIGHTS)).unwrap(), pulled.commit), (weights(0), commit));
    assert!(room.incomplete().is_empty());
}

#[test]
fn a_model_that_nobody_can_read_is_given_up_before_its_weights() {
    let (room, _) = Room::with_model();
    let mut config = Vec::new();
    let error = room.hub().pull(&named("org/model"), &mut |event| match event {
        PullEvent::Described { config: path } => {
            config = fs::read(path).unwrap();
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(error, Err(HubError::Interrupted { .. })), "{error:?}");
    assert_eq!(config, b"{}");
    assert!(room.fake.ranges(WEIGHTS).is_empty());
}

#[test]
fn a_connection_that_breaks_is_made_again_from_the_last_byte() {
    let (room, _) = Room::with_model();
    room.fake.trouble(
        WEIGHTS,
        &[
            Trouble::CutAfter(100_000),
            Trouble::Status(503),
            Trouble::CutAfter(150_000),
            Trouble::Silence(Duration::from_millis(1500)),
            Trouble::CutAfter(1),
        ],
    );
    let mut reasons = Vec::new();
    let pulled = room.hub().pull(&named("org/model"), &mut |event| {
        if let PullEvent::Retrying { reason, pause, .. } = event
            && !pause.is_zero()
        {
            reasons.push(reason.to_owned());
        }
        ControlFlow::Continue(())
    });
    assert_eq!(fs::read(pulled.unwrap().folder.join(WEIGHTS)).unwrap(), weights(0));
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    assert!(reasons[1].contains("503"), "{reasons:?}");
    let ranges = room.fake.ranges(WEIGHTS);
    assert_eq!(ranges[..4], ["bytes=0-", "bytes=100000-", "bytes=100000-", "bytes=250000-"]);
    assert_eq!(ranges[5], "bytes=475001-", "half of what was left came before the silence, then one byte");
}

#[test]
fn a_server_without_ranges_sends_the_file_from_its_beginning() {
    let (room, _) = Room::with_model();
    room.fake.trouble(WEIGHTS, &[Trouble::CutAfter(300_000), Trouble::NoRanges]);
    let pulled = room.pull("org/model").unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights(0));
}

#[test]
fn a_range_that_was_not_requested_is_not_appended() {
    let (room, _) = Room::with_model();
    room.fake.trouble(WEIGHTS, &[Trouble::CutAfter(300_000), Trouble::WrongRange]);
    let pulled = room.pull("org/model").unwrap();
    assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights(0));
    assert_eq!(room.fake.ranges(WEIGHTS).last().map(String::as_str), Some("bytes=0-"));
}

#[test]
fn a_beginning_that_was_damaged_is_given_up_once() {
    let (room, _) = Room::with_model();
    let blobs = room.repository().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    // Of another file, of this file but too long, or complete but wrong.
    for length in [1000, 700_001, 700_000] {
        fs::write(blobs.join(format!("{}.incomplete", sha256(&weights(0)))), vec![7; length]).unwrap();
        let pulled = room.pull("org/model").unwrap();
        assert_eq!(fs::read(pulled.folder.join(WEIGHTS)).unwrap(), weights(0));
        room.hub().remove(&named("org/model")).unwrap();
        fs::create_dir_all(&blobs).unwrap();
    }
}

#[test]
fn a_new_commit_replaces_the_old_one_only_when_it_is_whole() {
    let (room, old) = Room::with_model();
    let first = room.pull("org/model").unwrap();
    let new = room.publish(1);
    assert_ne!(old, new);
    room.fake
        .trouble(WEIGHTS, &[Trouble::CutAfter(9), Trouble::Status(500), Trouble::Status(500), Trouble::Status(500)]);
    let error = room.pull("org/model").unwrap_err();
    assert!(matches!(&error, HubError::Stopped { done: 9, size: 700_000, .. }), "{error}");
    assert_eq!(room.hub().snapshot(&named("org/model")).unwrap(), first.folder);
    let second = room.pull("org/model").unwrap();
    assert_eq!(room.hub().snapshot(&named("org/model")).unwrap(), second.folder);
    // The old one is still there by its name.
    assert_eq!(room.hub().snapshot(&named(&format!("org/model@{old}"))).unwrap(), first.folder);
    assert_eq!(fs::read(first.folder.join(WEIGHTS)).unwrap(), weights(0));
}

#[test]
fn shards_are_those_of_the_index() {
    let room = Room::new();
    let index = br#"{"metadata": {}, "weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}"#;
    room.fake.publish(
        "org/model",
        "main",
        &[
            ("config.json", b"{}"),
            ("model.safetensors.index.json", index),
            ("model-1.safetensors", b"one"),
            ("model-2.safetensors", b"two"),
            ("consolidated.safetensors", b"all"),
        ],
    );
    let pulled = room.pull("org/model").unwrap();
    assert_eq!(pulled.files, 4);
    assert!(!pulled.folder.join("consolidated.safetensors").exists());
}

#[test]
fn two_downloads_of_one_model_share_the_work() {
    let (room, _) = Room::with_model();
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..2).map(|_| scope.spawn(|| room.pull("org/model").unwrap())).collect();
        for pull in pulls {
            assert_eq!(fs::read(pull.join().unwrap().folder.join(WEIGHTS)).unwrap(), weights(0));
        }
    });
    assert_eq!(room.fake.ranges(WEIGHTS), ["bytes=0-"]);
}
