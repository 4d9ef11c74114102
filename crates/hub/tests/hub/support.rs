//! A small model on a fake Hub, and a cache of its own.

use aquatint_hub::{Hub, HubError, HubSettings, ModelName, Pulled};
use aquatint_testing::FakeHub;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Weights of a few reads.
pub(crate) fn weights(first: u8) -> Vec<u8> {
    (0..700_000_u32).map(|index| (index / 7) as u8 ^ first).collect()
}

pub(crate) struct Room {
    pub(crate) fake: FakeHub,
    pub(crate) settings: HubSettings,
    _folder: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        let (fake, folder) = (FakeHub::start(), tempfile::tempdir().unwrap());
        let settings = HubSettings {
            endpoint: fake.endpoint(),
            patience: Duration::from_millis(400),
            pause: Duration::from_millis(1),
            retries: 2,
            ..HubSettings::new(folder.path().join("hub"))
        };
        Self { fake, settings, _folder: folder }
    }

    /// With `org/model`: a description, a tokenizer, weights and what nobody needs.
    pub(crate) fn with_model() -> (Self, String) {
        let room = Self::new();
        let commit = room.publish(0);
        (room, commit)
    }

    pub(crate) fn publish(&self, first: u8) -> String {
        self.fake.publish(
            "org/model",
            "main",
            &[
                ("README.md", b"# A model"),
                ("config.json", b"{}"),
                ("model.safetensors", &weights(first)),
                ("modeling.py", b"import os"),
                ("pytorch_model.bin", b"pickled"),
                ("tokenizer.json", b"{\"version\": \"1.0\"}"),
            ],
        )
    }

    pub(crate) fn hub(&self) -> Hub {
        Hub::new(self.settings.clone()).unwrap()
    }

    pub(crate) fn pull(&self, name: &str) -> Result<Pulled, HubError> {
        self.hub().pull(&named(name), &mut |_| ControlFlow::Continue(()))
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.settings.cache.join("models--org--model")
    }

    /// Files whose download is not finished.
    pub(crate) fn incomplete(&self) -> Vec<PathBuf> {
        let blobs = paths(&self.repository().join("blobs"));
        blobs.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "incomplete")).collect()
    }
}

pub(crate) fn named(name: &str) -> ModelName {
    name.parse().unwrap()
}

/// What a folder holds, by name; nothing where it is not there.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
