//! What a repository holds: the Hub's answer about a revision, with sizes and hashes.

use crate::checksum::Checksum;
use crate::name::is_commit;
use crate::{Hub, HubError, ModelName};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of an answer; a repository of ten thousand files has three million.
const LONGEST_ANSWER: u64 = 64 << 20;
/// The header with which the Hub says what is missing.
const ERROR_CODE: &str = "x-error-code";

/// A commit with its files.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    /// By path.
    pub(crate) files: BTreeMap<String, RemoteFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

/// The part of the Hub's answer that is read.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// Asks the Hub what a revision holds.
    pub(crate) fn listing(&self, name: &ModelName) -> Result<Listing, HubError> {
        let request = self.api.repo(name.repo()).info_request().query("blobs", "true");
        let mut response = self.send(request).map_err(|source| HubError::Request {
            what: name.to_string(),
            endpoint: self.settings.endpoint.clone(),
            source: Box::new(source),
        })?;
        let status = response.status().as_u16();
        if status != 200 {
            let code = response.headers().get(ERROR_CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
            return Err(self.refused(name, status, code));
        }
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec().map_err(|source| {
            HubError::Request {
                what: name.to_string(),
                endpoint: self.settings.endpoint.clone(),
                source: Box::new(source),
            }
        })?;
        Listing::parse(&text).map_err(|reason| HubError::Listing { name: name.clone(), reason })
    }

    fn refused(&self, name: &ModelName, status: u16, code: &str) -> HubError {
        let (name, endpoint) = (name.clone(), self.settings.endpoint.clone());
        match status {
            401 | 403 => HubError::Unknown { name, endpoint, signed_in: self.settings.token.is_some() },
            404 if code == "RevisionNotFound" => HubError::NoRevision { name },
            404 => HubError::Unknown { name, endpoint, signed_in: self.settings.token.is_some() },
            _ => HubError::Status { what: name.to_string(), endpoint, status },
        }
    }
}

impl Listing {
    /// Reads the Hub's answer.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !is_commit(&answer.sha) {
            return Err(format!("`{}` is no commit", answer.sha));
        }
        let mut files = BTreeMap::new();
        for Sibling { rfilename: path, size, blob_id, lfs } in answer.siblings {
            let (size, checksum) = match lfs {
                Some(lfs) => (Some(lfs.size), Checksum::sha256(&lfs.sha256)),
                None => (size, blob_id.as_deref().and_then(Checksum::git_blob)),
            };
            let (Some(size), Some(checksum)) = (size, checksum) else {
                return Err(format!("`{path}` has no size or no hash"));
            };
            files.insert(path.clone(), RemoteFile { path, size, checksum });
        }
        Ok(Self { commit: answer.sha, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn large_files_are_known_by_sha256_and_small_ones_by_their_git_hash() {
        let sha256 = "ab".repeat(32);
        let text = format!(
            r#"{{"id": "a/b", "sha": "{COMMIT}", "siblings": [
                {{"rfilename": "config.json", "size": 3, "blobId": "{COMMIT}"}},
                {{"rfilename": "model.safetensors", "size": 130, "blobId": "{COMMIT}",
                  "lfs": {{"sha256": "{sha256}", "size": 9000000000, "pointerSize": 130}}}}]}}"#
        );
        let listing = Listing::parse(text.as_bytes()).unwrap();
        assert_eq!(listing.commit, COMMIT);
        let weights = &listing.files["model.safetensors"];
        assert_eq!((weights.size, &weights.checksum), (9_000_000_000, &Checksum::Sha256(sha256)));
        assert_eq!(listing.files["config.json"].checksum, Checksum::GitBlob(COMMIT.to_owned()));
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let sibling = |text: &str| format!(r#"{{"sha": "{COMMIT}", "siblings": [{text}]}}"#);
        for (text, part) in [
            ("<html>".to_owned(), "expected value"),
            (r#"{"sha": "../../x", "siblings": []}"#.to_owned(), "no commit"),
            (sibling(r#"{"rfilename": "config.json"}"#), "no size"),
            (sibling(r#"{"rfilename": "a", "size": 1, "blobId": "../../../etc/passwd"}"#), "no hash"),
            (sibling(r#"{"rfilename": "a", "lfs": {"sha256": "/etc/passwd", "size": 1}}"#), "no hash"),
            (sibling(r#"{"rfilename": "a", "size": -1, "blobId": ""}"#), "invalid value"),
        ] {
            let error = Listing::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
