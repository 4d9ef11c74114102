//! What is refused, and what is said of it.

use crate::support::{Room, named, paths};
use aquatint_hub::{HubError, HubSettings};
use aquatint_testing::{Trouble, sha256};

const WEIGHTS: &str = "model.safetensors";

#[test]
fn bytes_with_another_hash_never_get_a_name() {
    let (room, _) = Room::with_model();
    room.fake.trouble(WEIGHTS, &[Trouble::Damaged]);
    let error = room.pull("org/model").unwrap_err();
    assert!(matches!(&error, HubError::Checksum { file, .. } if file == WEIGHTS), "{error}");
    assert!(room.incomplete().is_empty() && !room.repository().join("snapshots").exists());
    // The next time it comes whole.
    room.pull("org/model").unwrap();

    let (room, _) = Room::with_model();
    room.fake.claim_hash("org/model", WEIGHTS, &sha256(b"another file"));
    assert!(matches!(room.pull("org/model"), Err(HubError::Checksum { .. })));
    let (room, _) = Room::with_model();
    room.fake.claim_hash("org/model", "config.json", &"0".repeat(40));
    assert!(matches!(room.pull("org/model"), Err(HubError::Checksum { .. })));
}

#[test]
fn a_hash_that_is_a_path_writes_nothing() {
    let (room, _) = Room::with_model();
    room.fake.claim_hash("org/model", "config.json", "../../../../escaped");
    assert!(matches!(room.pull("org/model"), Err(HubError::Listing { .. })));
    assert!(paths(&room.settings.cache).is_empty());
}

#[test]
fn unknown_models_and_unknown_revisions_have_different_errors() {
    let (mut room, _) = Room::with_model();
    let said = |room: &Room, name: &str| {
        let error = room.pull(name).unwrap_err();
        (error.to_string().replace(&room.settings.endpoint, "HUB"), error.hint().unwrap_or_default())
    };
    let (message, hint) = said(&room, "org/nothing");
    assert_eq!(message, "`HUB` has no model `org/nothing`, or none that may be seen without a token");
    assert_eq!(hint, "check the name; a private model needs a token in HF_TOKEN");
    assert_eq!(said(&room, "org/model@v9").0, "`org/model` has no revision `v9`");
    room.fake.make_private("org/model", "hf_mine");
    assert!(said(&room, "org/model").0.ends_with("or none that may be seen without a token"));
    room.settings.token = Some("hf_other".to_owned());
    assert!(said(&room, "org/model").0.ends_with("or none that may be seen with this token"));
    room.settings.token = Some("hf_mine".to_owned());
    room.pull("org/model").unwrap();
}

#[test]
fn a_gated_model_says_where_access_is_requested() {
    let (mut room, _) = Room::with_model();
    room.fake.make_gated("org/model", "hf_mine");
    let error = room.pull("org/model").unwrap_err();
    assert_eq!(error.to_string(), "`org/model` is gated: `config.json` may not be downloaded without a token");
    assert!(error.hint().unwrap().contains(&format!("{}/org/model", room.settings.endpoint)));
    room.settings.token = Some("hf_other".to_owned());
    let error = room.pull("org/model").unwrap_err();
    assert!(error.to_string().ends_with("may not be downloaded with this token"), "{error}");
    room.settings.token = Some("hf_mine".to_owned());
    room.pull("org/model").unwrap();
}

#[test]
fn a_token_does_not_follow_a_redirect_to_another_host() {
    let (mut room, _) = Room::with_model();
    room.settings.token = Some("hf_mine".to_owned());
    room.pull("org/model").unwrap();
    let request = room.fake.requests();
    let (storage, own): (Vec<_>, Vec<_>) = request.iter().partition(|request| request.path.contains("/storage/"));
    assert!(!storage.is_empty() && storage.iter().all(|request| request.authorization.is_none()), "{storage:?}");
    assert!(own.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_mine")), "{own:?}");
}

#[test]
fn offline_nothing_is_sent_and_the_cache_answers() {
    let (mut room, _) = Room::with_model();
    let pulled = room.pull("org/model").unwrap();
    let before = room.fake.requests().len();
    room.settings.offline = true;
    assert!(matches!(room.pull("org/model"), Err(HubError::Offline { .. })));
    assert_eq!(room.hub().snapshot(&named("org/model")).unwrap(), pulled.folder);
    assert_eq!(room.fake.requests().len(), before);
}

#[test]
fn a_hub_that_does_not_answer_is_named() {
    let room = Room::new();
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = HubSettings { endpoint: format!("http://127.0.0.1:{port}"), ..room.settings.clone() };
    let hub = aquatint_hub::Hub::new(settings).unwrap();
    let error = hub.pull(&named("org/model"), &mut |_| std::ops::ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, HubError::Request { .. }) && error.is_failure(), "{error}");
}

#[test]
fn a_model_without_safetensors_says_what_it_has() {
    let room = Room::new();
    room.fake.publish("org/model", "main", &[("config.json", b"{}"), ("pytorch_model.bin", b"pickled")]);
    let error = room.pull("org/model").unwrap_err().to_string();
    assert!(error.ends_with("weights in other formats: pytorch_model.bin"), "{error}");
}

#[test]
fn a_model_that_the_disk_has_no_room_for_is_not_begun() {
    let room = Room::new();
    room.fake.publish("org/model", "main", &[("config.json", b"{}"), (WEIGHTS, b"weights")]);
    room.fake.claim_size("org/model", WEIGHTS, 1 << 60);
    let error = room.pull("org/model").unwrap_err();
    assert!(matches!(error, HubError::Space { needed, .. } if needed >= 1 << 60), "{error}");
    assert!(room.fake.ranges(WEIGHTS).is_empty());
}
