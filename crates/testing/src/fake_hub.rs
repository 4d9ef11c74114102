//! A Hub on this machine's loopback, with the troubles that networks have.
//!
//! It answers as the real one does, as far as a download can see: a listing with sizes and hashes, small files at once,
//! large ones (safetensors) by a redirect to another host, ranges, and headers that say what is missing.

use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong with the next request for the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The connection is closed after so many bytes.
    CutAfter(usize),
    /// Every byte that is sent is another one.
    Damaged,
    /// The range is ignored: the whole file is sent.
    NoRanges,
    /// A range that was not requested is sent.
    WrongRange,
    /// Nothing but a status.
    Status(u16),
    /// Half of the bytes, then silence for so long.
    Silence(Duration),
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The path with its query.
    pub path: String,
    /// The host that was addressed.
    pub host: String,
    /// The value of `range`.
    pub range: Option<String>,
    /// The value of `authorization`.
    pub authorization: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    /// By `owner/name`, then by revision.
    repositories: BTreeMap<String, BTreeMap<String, Commit>>,
    /// Tokens that are needed: to see a repository, or to download from it.
    private: BTreeMap<String, String>,
    gated: BTreeMap<String, String>,
    troubles: BTreeMap<String, VecDeque<Trouble>>,
    requests: Vec<Request>,
}

#[derive(Debug, Clone)]
struct Commit {
    hash: String,
    files: BTreeMap<String, Vec<u8>>,
    /// What the listing says instead of the hashes and sizes of files.
    hashes: BTreeMap<String, String>,
    sizes: BTreeMap<String, u64>,
}

/// The server, which runs until the process ends.
#[derive(Debug)]
pub struct FakeHub {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl FakeHub {
    /// Starts a hub without any model.
    ///
    /// # Panics
    /// When there is no loopback.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a loopback");
        let port = listener.local_addr().expect("it has an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away is what some tests are about.
                std::thread::spawn(move || drop(answer(stream, port, &shared)));
            }
        });
        Self { port, state }
    }

    /// What `HF_ENDPOINT` is to be.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a commit under a branch, and returns its hash.
    pub fn publish(&self, repository: &str, revision: &str, files: &[(&str, &[u8])]) -> String {
        let files: BTreeMap<String, Vec<u8>> =
            files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let mut hash = Sha1::new().chain_update(repository);
        files.iter().for_each(|(name, bytes)| hash.update([name.as_bytes(), bytes].concat()));
        let hash = hexadecimal(&hash.finalize());
        let commit = Commit { hash: hash.clone(), files, hashes: BTreeMap::new(), sizes: BTreeMap::new() };
        self.state().repositories.entry(repository.to_owned()).or_default().insert(revision.to_owned(), commit);
        hash
    }

    /// Lets the listing of the main branch name another hash of a file.
    ///
    /// # Panics
    /// When there is no such repository.
    pub fn claim_hash(&self, repository: &str, file: &str, hash: &str) {
        self.change(repository, |commit| drop(commit.hashes.insert(file.to_owned(), hash.to_owned())));
    }

    /// Lets the listing of the main branch name another size of a file.
    ///
    /// # Panics
    /// When there is no such repository.
    pub fn claim_size(&self, repository: &str, file: &str, size: u64) {
        self.change(repository, |commit| {
            commit.sizes.insert(file.to_owned(), size);
        });
    }

    fn change(&self, repository: &str, change: impl FnOnce(&mut Commit)) {
        let mut state = self.state();
        let commit = state.repositories.get_mut(repository).and_then(|revisions| revisions.get_mut("main"));
        change(commit.expect("it was published"));
    }

    /// Makes a repository invisible without a token.
    pub fn make_private(&self, repository: &str, token: &str) {
        self.state().private.insert(repository.to_owned(), token.to_owned());
    }

    /// Makes the files of a repository, which everybody sees, need a token.
    pub fn make_gated(&self, repository: &str, token: &str) {
        self.state().gated.insert(repository.to_owned(), token.to_owned());
    }

    /// Lets the next downloads of a file go wrong, one after another.
    pub fn trouble(&self, file: &str, troubles: &[Trouble]) {
        self.state().troubles.entry(file.to_owned()).or_default().extend(troubles.iter().cloned());
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The ranges with which the content of a file was requested.
    pub fn ranges(&self, file: &str) -> Vec<String> {
        let content = |request: &Request| request.path.contains("/storage/") || !is_large(file);
        let requests = self.requests().into_iter().filter(|request| request.path.ends_with(file) && content(request));
        requests.map(|request| request.range.unwrap_or_default()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SHA-256 of bytes in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// The hash that git gives to a file with these bytes.
pub fn git_hash(bytes: &[u8]) -> String {
    hexadecimal(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors")
}

/// Reads one request and answers it.
fn answer(stream: TcpStream, port: u16, state: &Mutex<State>) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, host: String::new(), range: None, authorization: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "host" => request.host = value,
            "range" => request.range = Some(value),
            "authorization" => request.authorization = Some(value),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests.push(request.clone());
    let reply = state.reply(&request, port);
    drop(state);
    reply.write(stream)
}

/// An answer before it is written.
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// How many bytes are written before what happens then.
    cut: Option<(usize, Duration)>,
}

impl Reply {
    fn new(status: u16, headers: &[(&str, String)], body: Vec<u8>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Self { status, headers, body, cut: None }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status, &[("x-error-code", code.to_owned())], b"no".to_vec())
    }

    fn write(self, mut stream: TcpStream) -> io::Result<()> {
        write!(stream, "HTTP/1.1 {} .\r\ncontent-length: {}\r\nconnection: close\r\n", self.status, self.body.len())?;
        for (name, value) in &self.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        let (count, silence) = self.cut.unwrap_or((self.body.len(), Duration::ZERO));
        stream.write_all(&self.body[..count.min(self.body.len())])?;
        stream.flush()?;
        std::thread::sleep(silence);
        Ok(())
    }
}

impl State {
    fn reply(&mut self, request: &Request, port: u16) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "models", owner, name, "revision", revision] => {
                let repository = format!("{owner}/{name}");
                match self.find(&repository, &revision.replace("%2F", "/"), &request.authorization) {
                    Ok(commit) => Reply::new(200, &[], listing(&repository, commit).into_bytes()),
                    Err(refusal) => refusal,
                }
            }
            [owner, name, "resolve", revision, file] => {
                let repository = format!("{owner}/{name}");
                let location = format!("http://localhost:{port}/storage/{repository}/{revision}/{file}");
                if let Err(refusal) = self.find(&repository, revision, &request.authorization) {
                    return refusal;
                }
                if !allowed(&self.gated, &repository, &request.authorization) {
                    let status = if request.authorization.is_some() { 403 } else { 401 };
                    return Reply::error(status, "GatedRepo");
                }
                match is_large(file) {
                    true => Reply::new(302, &[("location", location)], Vec::new()),
                    false => self.content(&repository, revision, file, request),
                }
            }
            ["storage", owner, name, revision, file] => {
                self.content(&format!("{owner}/{name}"), revision, file, request)
            }
            _ => Reply::error(404, "EntryNotFound"),
        }
    }

    /// A commit by a branch or by its hash, for whoever may see it.
    fn find(&self, repository: &str, revision: &str, token: &Option<String>) -> Result<&Commit, Reply> {
        let revisions = self.repositories.get(repository).filter(|_| allowed(&self.private, repository, token));
        let revisions = revisions.ok_or_else(|| match token {
            Some(_) => Reply::error(404, "RepoNotFound"),
            None => Reply::error(401, "RepoNotFound"),
        })?;
        let commit = revisions.get(revision).or_else(|| revisions.values().find(|commit| commit.hash == revision));
        commit.ok_or_else(|| Reply::error(404, "RevisionNotFound"))
    }

    fn content(&mut self, repository: &str, revision: &str, file: &str, request: &Request) -> Reply {
        let revisions = self.repositories.get(repository);
        let commit = revisions.and_then(|all| all.values().find(|commit| commit.hash == revision));
        let Some(bytes) = commit.and_then(|commit| commit.files.get(file)).cloned() else {
            return Reply::error(404, "EntryNotFound");
        };
        let first =
            request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let first: usize = first.unwrap_or(0);
        if first >= bytes.len() {
            return Reply::error(416, "");
        }
        let partial = |first: usize, bytes: &[u8]| {
            let range = format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len());
            Reply::new(206, &[("content-range", range)], bytes[first..].to_vec())
        };
        match self.troubles.get_mut(file).and_then(VecDeque::pop_front) {
            None => partial(first, &bytes),
            Some(Trouble::CutAfter(count)) => Reply { cut: Some((count, Duration::ZERO)), ..partial(first, &bytes) },
            Some(Trouble::Silence(time)) => {
                let reply = partial(first, &bytes);
                Reply { cut: Some((reply.body.len() / 2, time)), ..reply }
            }
            Some(Trouble::Damaged) => {
                let mut reply = partial(first, &bytes);
                reply.body.iter_mut().for_each(|byte| *byte ^= 1);
                reply
            }
            Some(Trouble::NoRanges) => Reply::new(200, &[], bytes),
            Some(Trouble::WrongRange) => partial(first / 2, &bytes),
            Some(Trouble::Status(status)) => Reply::error(status, ""),
        }
    }
}

fn allowed(tokens: &BTreeMap<String, String>, repository: &str, authorization: &Option<String>) -> bool {
    tokens.get(repository).is_none_or(|token| authorization.as_deref() == Some(&format!("Bearer {token}")))
}

/// The listing with `blobs=true`.
fn listing(repository: &str, commit: &Commit) -> String {
    let siblings = commit.files.iter().map(|(name, bytes)| {
        let claimed = commit.hashes.get(name).cloned();
        let size = commit.sizes.get(name).copied().unwrap_or(bytes.len() as u64);
        match is_large(name) {
            true => serde_json::json!({
                "rfilename": name, "size": size, "blobId": git_hash(b"a pointer"),
                "lfs": { "sha256": claimed.unwrap_or_else(|| sha256(bytes)), "size": size, "pointerSize": 130 },
            }),
            false => serde_json::json!({
                "rfilename": name, "size": size, "blobId": claimed.unwrap_or_else(|| git_hash(bytes)),
            }),
        }
    });
    let siblings: Vec<_> = siblings.collect();
    serde_json::json!({ "id": repository, "sha": commit.hash, "siblings": siblings }).to_string()
}
