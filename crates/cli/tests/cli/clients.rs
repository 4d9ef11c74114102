//! The server as other people's clients use it: scripts in `clients/` speak to it through PyPI's `openai` and `ollama`, and
//! `schemathesis` compares it with its own description, which `openapi-spec-validator` holds against OpenAPI's own schema.
//!
//! They need Python with what `clients/requirements.txt` pins. `.ci/run` installs it in `target/clients`; by hand:
//! `python3 -m venv target/clients && target/clients/bin/pip install -r crates/cli/tests/cli/clients/requirements.txt`.

use crate::support::{program, room};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server, which ends with its owner.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// A small model by the name of the built-in one, ready to answer.
    fn start(arguments: &[&str]) -> Self {
        let model = concat!("tales=", env!("CARGO_MANIFEST_DIR"), "/tests/cli/fixtures/tales-3m");
        let mut command = program();
        command.args(["serve", "-m", model, "--port", "0", "--no-page"]).args(arguments).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("there is a pipe")).lines().map(Result::unwrap);
        let address = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        // What it says later is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("it says where it listens") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Python with the pinned packages; `None` where it is not installed, which `.ci/run` does not allow.
pub(crate) fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients").join("bin/python");
    if python.is_file() {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing; `.ci/run` installs it", python.display());
    let say =
        "skipped: Python with the packages of crates/cli/tests/cli/clients/requirements.txt is not in target/clients";
    writeln!(std::io::stderr(), "{say}").expect("it can be said");
    None
}

/// A program of Python's under way, with what it prints.
fn started(program: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.env_clear().env("NO_PROXY", "*").env("PYTHONDONTWRITEBYTECODE", "1").current_dir(room("clients"));
    let piped = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    piped.spawn().expect("Python starts")
}

/// What schemathesis holds each answer against, by the server's own description. A body may match its schema and still not
/// fit the model, so that a refusal is no fault.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// A few requests of each kind, the same each time.
const FEW: [&str; 13] = [
    "--checks",
    CHECKS,
    "--phases",
    "fuzzing",
    "--max-examples",
    "2",
    "--mode",
    "positive",
    "--seed",
    "1",
    "--suppress-health-check",
    "all",
    "--no-shrink",
];

/// Holds the description at an address against OpenAPI.
const VALIDATE: &str = "import json, sys, urllib.request, openapi_spec_validator
openapi_spec_validator.validate(json.load(urllib.request.urlopen(sys.argv[1])))";

/// All clients at once: at one server for everybody, one with keys and room for one request, and one for random requests.
#[test]
fn clients_of_other_protocols_are_served_as_they_expect() {
    let Some(python) = python() else { return };
    let open = Server::start(&[]);
    let guarded = Server::start(&["--api-key", "one", "--api-key", "two", "--queue", "1"]);
    let described = Server::start(&[]);
    let description = format!("{}/openapi.json", described.address);
    let random = [&["run", &description, "--request-timeout", "20"], FEW.as_slice()].concat();
    let script = |name: &str| format!("{}/tests/cli/clients/{name}", env!("CARGO_MANIFEST_DIR"));
    let running = [
        ("openai", started(&python, &[&script("openai_client.py"), &open.address, &guarded.address])),
        ("schemathesis", started(&python.with_file_name("schemathesis"), &random)),
        ("openapi", started(&python, &["-c", VALIDATE, &description])),
        ("ollama", started(&python, &[&script("ollama_client.py"), &open.address])),
    ];
    for (name, child) in running {
        let output = child.wait_with_output().expect("its output can be read");
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{name}:\n{}{}", shown(&output.stdout), shown(&output.stderr));
    }
}
