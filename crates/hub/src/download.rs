//! One file from the Hub into the cache: on from where an interrupted download stopped, tried again where the connection
//! fails, and put under its name only when its hash is the Hub's.
//!
//! What is incomplete lies in `blobs/HASH.incomplete`, as huggingface_hub has it: either tool goes on where the other one
//! stopped. A lock in `.locks/` keeps them apart.

use crate::checksum::Hasher;
use crate::listing::RemoteFile;
use crate::{Hub, HubError, ModelName};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a pause asks whether to go on.
const POLL: Duration = Duration::from_millis(100);

/// Something that happens to a file on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FileEvent<'a> {
    /// Another process downloads the same file.
    Waiting,
    /// Bytes of it that are there.
    Progress(u64),
    /// It is tried again after a pause.
    Retrying { reason: &'a str, pause: Duration },
}

/// Hears of events and says whether to go on.
pub(crate) type Listener<'a> = &'a mut dyn FnMut(FileEvent<'_>) -> ControlFlow<()>;

/// Why an attempt ended.
enum Broken {
    /// Worth another attempt: the connection failed, or the server is busy.
    Transient(String),
    /// Not worth one.
    Final(HubError),
}

/// A file on its way.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    /// Bytes that are there.
    done: u64,
}

impl Hub {
    /// Where the bytes of a file are kept.
    pub(crate) fn blob(&self, name: &ModelName, file: &RemoteFile) -> PathBuf {
        self.cache.repo(name.repo()).blob_path(file.checksum.text())
    }

    /// Bytes of a file that are there already.
    pub(crate) fn present(&self, name: &ModelName, file: &RemoteFile) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |about| about.len());
        let blob = self.blob(name, file);
        match length(&blob) == file.size && blob.is_file() {
            true => file.size,
            false => length(&incomplete(&blob)).min(file.size),
        }
    }

    /// Brings a file of a commit into the cache.
    pub(crate) fn fetch(
        &self,
        (name, commit): (&ModelName, &str),
        file: &RemoteFile,
        listener: Listener<'_>,
    ) -> Result<(), HubError> {
        let blob = self.blob(name, file);
        let _lock = self.lock(name, file, listener)?;
        if fs::metadata(&blob).is_ok_and(|about| about.is_file() && about.len() == file.size) {
            return Ok(());
        }
        let mut partial = Partial::open(&blob, file, listener).map_err(|error| self.ended(name, error))?;
        let (mut failures, mut pause) = (0, self.settings.pause);
        // Bytes of an earlier attempt may be of another file, or damaged: these are given up once.
        let mut inherited = partial.done > 0;
        loop {
            let before = partial.done;
            match self.attempt((name, commit), file, &mut partial, listener) {
                Ok(()) => match partial.finish(&blob, file)? {
                    None => return Ok(()),
                    Some(found) if !inherited => {
                        let (file, expected) = (file.path.clone(), file.checksum.to_string());
                        return Err(HubError::Checksum { file, expected, found });
                    }
                    Some(_) => {
                        inherited = false;
                        partial = Partial::open(&blob, file, listener).map_err(|error| self.ended(name, error))?;
                    }
                },
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Transient(reason)) => {
                    if partial.done > before {
                        (failures, pause) = (0, self.settings.pause);
                    }
                    failures += 1;
                    if failures > self.settings.retries {
                        let (done, size) = (partial.done, file.size);
                        return Err(HubError::Stopped { file: file.path.clone(), done, size, reason });
                    }
                    let interrupted = || HubError::Interrupted { name: name.clone() };
                    wait(pause, &reason, listener).map_err(|()| interrupted())?;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Downloads what is missing of a file over one connection.
    fn attempt(
        &self,
        (name, commit): (&ModelName, &str),
        file: &RemoteFile,
        partial: &mut Partial,
        listener: Listener<'_>,
    ) -> Result<(), Broken> {
        if partial.done == file.size {
            return Ok(());
        }
        let io = |partial: &Partial, error| Broken::Final(HubError::io("write", &partial.path, error));
        let response = self.request(name, commit, file, partial.done)?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&response, partial.done) => {}
            // The server knows no ranges, or another range than it was asked for.
            StatusCode::OK => partial.restart(file).map_err(|error| io(partial, error))?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart(file).map_err(|error| io(partial, error))?;
                return Err(Broken::Transient("the server sent another range".to_owned()));
            }
            status => return Err(self.status(name, file, status)),
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER];
        while partial.done < file.size {
            let most = (file.size - partial.done).min(BUFFER as u64) as usize;
            let count = match body.read(&mut buffer[..most]) {
                Ok(0) => return Err(Broken::Transient("the connection was closed".to_owned())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Broken::Transient(error.to_string())),
            };
            partial.append(&buffer[..count]).map_err(|error| io(partial, error))?;
            if listener(FileEvent::Progress(partial.done)).is_break() {
                return Err(Broken::Final(HubError::Interrupted { name: name.clone() }));
            }
        }
        Ok(())
    }

    /// Asks for a file from a byte on.
    fn request(&self, name: &ModelName, commit: &str, file: &RemoteFile, start: u64) -> Result<Response<Body>, Broken> {
        let repo =
            hf_hub::Repo::with_revision(name.repository().to_owned(), hf_hub::RepoType::Model, commit.to_owned());
        let repo = self.api.repo(repo);
        // The request of the crate carries the token and the agent; only its address is another one. The file is wanted as
        // it is: of a compressed answer, a range would be one of other bytes.
        let request = repo
            .info_request()
            .uri(repo.url(&file.path))
            .header(header::RANGE, format!("bytes={start}-"))
            .header(header::ACCEPT_ENCODING, "identity");
        self.send(request).map_err(|error| Broken::Transient(error.to_string()))
    }

    /// Sends a request. Statuses are answers, not errors.
    pub(crate) fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithoutBody>,
    ) -> Result<Response<Body>, ureq::Error> {
        let patience = Some(self.settings.patience);
        request
            .config()
            .http_status_as_error(false)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .build()
            .call()
    }

    /// What a status means for a file that was listed.
    fn status(&self, name: &ModelName, file: &RemoteFile, status: StatusCode) -> Broken {
        let endpoint = self.settings.endpoint.clone();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Broken::Final(HubError::Gated {
                name: name.clone(),
                file: file.path.clone(),
                page: format!("{endpoint}/{}", name.repository()),
                signed_in: self.settings.token.is_some(),
            }),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Broken::Transient(format!("status {status}"))
            }
            status if status.is_server_error() => Broken::Transient(format!("status {status}")),
            status => Broken::Final(HubError::Status { what: file.path.clone(), endpoint, status: status.as_u16() }),
        }
    }

    /// Keeps other downloads of the same file away until the lock is dropped. The file of the lock stays: whoever waits
    /// for it holds it open.
    fn lock(&self, name: &ModelName, file: &RemoteFile, listener: Listener<'_>) -> Result<Option<File>, HubError> {
        let folder = self.locks(name);
        let path = folder.join(format!("{}.lock", file.checksum));
        let made = fs::create_dir_all(&folder)
            .and_then(|()| File::options().read(true).write(true).create(true).truncate(false).open(&path));
        let lock = made.map_err(|error| HubError::io("write", &path, error))?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(lock)),
                // Where the file system has no locks, nobody has one.
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) => {
                    if listener(FileEvent::Waiting).is_break() {
                        return Err(HubError::Interrupted { name: name.clone() });
                    }
                    thread::sleep(POLL);
                }
            }
        }
    }

    fn ended(&self, name: &ModelName, error: Opening) -> HubError {
        match error {
            Opening::Interrupted => HubError::Interrupted { name: name.clone() },
            Opening::Io(path, source) => HubError::io("write", &path, source),
        }
    }
}

/// Why a file on its way could not be opened.
enum Opening {
    Interrupted,
    Io(PathBuf, io::Error),
}

impl Partial {
    /// Opens what is there of a file and hashes it.
    fn open(blob: &Path, file: &RemoteFile, listener: Listener<'_>) -> Result<Self, Opening> {
        let path = incomplete(blob);
        let io = |error| Opening::Io(path.clone(), error);
        let folder = blob.parent().unwrap_or(blob);
        fs::create_dir_all(folder).map_err(io)?;
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let hasher = file.checksum.hasher(file.size);
        let mut partial = Self { file: options.map_err(io)?, hasher, done: 0, path: path.clone() };
        let length = partial.file.metadata().map_err(io)?.len();
        if length > file.size {
            partial.restart(file).map_err(io)?;
            return Ok(partial);
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = partial.file.read(&mut buffer).map_err(io)?;
            if count == 0 {
                return Ok(partial);
            }
            partial.hasher.update(&buffer[..count]);
            partial.done += count as u64;
            if listener(FileEvent::Progress(partial.done)).is_break() {
                return Err(Opening::Interrupted);
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        Ok(())
    }

    /// Gives up what is there.
    fn restart(&mut self, file: &RemoteFile) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hasher, self.done) = (file.checksum.hasher(file.size), 0);
        Ok(())
    }

    /// Puts the file under its name if its hash is right; otherwise what came is removed and its hash returned.
    fn finish(&mut self, blob: &Path, file: &RemoteFile) -> Result<Option<String>, HubError> {
        let hasher = std::mem::replace(&mut self.hasher, file.checksum.hasher(file.size));
        let found = hasher.finish();
        if found == file.checksum.text() {
            let done = self.file.sync_all().and_then(|()| fs::rename(&self.path, blob));
            return done.map(|()| None).map_err(|error| HubError::io("write", blob, error));
        }
        fs::remove_file(&self.path).map_err(|error| HubError::io("remove", &self.path, error))?;
        Ok(Some(found))
    }
}

/// Where the bytes of a blob lie until all of them are there.
fn incomplete(blob: &Path) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".incomplete");
    name.into()
}

/// Whether an answer begins at the byte that was asked for.
fn begins_at(response: &Response<Body>, start: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
    first == Some(start)
}

/// Waits before another attempt, unless the caller wants no more.
fn wait(pause: Duration, reason: &str, listener: Listener<'_>) -> Result<(), ()> {
    let mut left = pause;
    loop {
        if listener(FileEvent::Retrying { reason, pause: left }).is_break() {
            return Err(());
        }
        if left.is_zero() {
            return Ok(());
        }
        let step = left.min(POLL);
        thread::sleep(step);
        left -= step;
    }
}
