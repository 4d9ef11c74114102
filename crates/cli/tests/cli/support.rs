//! Runs the binary, and a small model for it to run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What a run of the program left behind.
pub(crate) struct ProgramOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl ProgramOutput {
    /// Insists on an exit code, showing everything where it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

impl From<Output> for ProgramOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            err: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
        }
    }
}

/// The program in an empty environment, so that no setting of whoever runs the tests leaks in.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aquatint"));
    command.env_clear().env("XDG_CACHE_HOME", room("cache")).current_dir(room("work")).stdin(Stdio::null());
    command
}

/// Runs the program with these arguments.
pub(crate) fn aquatint(arguments: &[&str]) -> ProgramOutput {
    program().args(arguments).output().expect("the program starts").into()
}

/// Runs the program with these arguments and standard input.
pub(crate) fn piped(arguments: &[&str], input: &[u8]) -> ProgramOutput {
    let mut child = program()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("there is a pipe").write_all(input).expect("the program reads");
    child.wait_with_output().expect("the program ends").into()
}

/// A folder for these tests, emptied on first use.
pub(crate) fn room(name: &str) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aquatint-cli");
        let _ = fs::remove_dir_all(&root);
        root
    });
    let room = root.join(name);
    fs::create_dir_all(&room).expect("the target folder can be written to");
    room
}

/// A small text: sentences out of a few words, the same at every call.
pub(crate) fn story(sentences: usize) -> String {
    let nouns = ["fox", "owl", "miller", "river", "king", "cat"];
    let verbs = ["saw", "loved", "followed", "feared", "helped"];
    (0..sentences)
        .map(|n| format!("The {} {} the {}. ", nouns[n % 6], verbs[n * 7 % 5], nouns[(n * 5 + 2) % 6]))
        .collect()
}

/// A recipe for a network so small that its training takes a moment.
pub(crate) fn recipe(name: &str) -> PathBuf {
    let room = room(name);
    for (folder, sentences) in [("train", 400), ("valid", 40)] {
        fs::create_dir_all(room.join(folder)).expect("the folder can be made");
        fs::write(room.join(folder).join("a.txt"), story(sentences)).expect("the text can be written");
    }
    let text = format!(
        "output = {run:?}\nsize = \"1m\"\nseed = 1\n[data]\ntrain = [{{ path = {train:?} }}]\nvalid = [{{ path = \
         {valid:?} }}]\ncanvas_length = 32\nvocabulary_size = 300\n[network]\nwidth = 16\nlayers = 1\nheads = \
         1\nhead_size = 16\nfeed_forward_width = 32\n[optimiser]\nbatch = 4\nwarm_up = 2\n[run]\nsteps = 6\nlog_every = \
         3\nvalidate_every = 100\nvalidate_canvases = 8\nvalidate_times = 2\nsave_every = 100\nsample_every = 0\n",
        run = room.join("run"),
        train = room.join("train"),
        valid = room.join("valid"),
    );
    let path = room.join("recipe.toml");
    fs::write(&path, text).expect("the recipe can be written");
    path
}

/// A folder with a small trained model, made by the program itself.
pub(crate) fn model() -> &'static str {
    static MODEL: OnceLock<String> = OnceLock::new();
    MODEL.get_or_init(|| {
        let recipe = recipe("model");
        let output = aquatint(&["train", text(&recipe), "--threads", "1"]).expect(0);
        output.out.trim_end().to_owned()
    })
}

/// A copy of the small model that a test may break.
pub(crate) fn copy_of_model(name: &str) -> PathBuf {
    let copy = room(name);
    for file in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(Path::new(model()).join(file), copy.join(file)).expect("the model can be copied");
    }
    copy
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("the target folder's path is UTF-8")
}
