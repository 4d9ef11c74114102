//! The recorded trajectories of a family, as `golden.json` and `golden.safetensors` hold them.

use aquatint::Canvas;
use aquatint::diffusion::TokenId;
use aquatint_testing::Golden;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A family's folder.
pub(crate) struct Folder {
    path: PathBuf,
    about: Value,
    /// Recorded draws, by the names that trajectories give them.
    pub(crate) tensors: Golden,
}

/// One trajectory.
pub(crate) struct Trajectory(pub(crate) Value);

impl Folder {
    /// Reads what is recorded of a family's own code.
    pub(crate) fn open(family: &str) -> Self {
        Self::open_file(family, "golden.json")
    }

    /// Reads what is recorded of an engine that runs a family.
    pub(crate) fn open_file(family: &str, file: &str) -> Self {
        let path = Golden::folder(family);
        let text = std::fs::read(path.join(file)).expect("a file of trajectories");
        let tensors = Golden::read(&path.join("golden.safetensors"));
        Self { about: serde_json::from_slice(&text).expect("JSON"), tensors, path }
    }

    /// The same where prompts and states are of one row, and states begin with the block that has the prompt's end.
    pub(crate) fn in_rows(mut self) -> Self {
        let all = self.about["trajectories"].as_array_mut().expect("trajectories");
        for trajectory in all {
            let prompt = trajectory["prompt"].as_array().expect("a prompt").clone();
            let length = trajectory["settings"]["block_size"].as_u64().expect("a length") as usize;
            let shown = prompt.len() % length;
            let states = trajectory["states"].as_array_mut().expect("states");
            states.iter_mut().for_each(|state| *state = json!([state.as_array().expect("ids")[shown..].to_vec()]));
            trajectory["prompt"] = json!([prompt]);
        }
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its trajectories.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.all().iter().map(|trajectory| trajectory["name"].as_str().expect("a name"))
    }

    pub(crate) fn trajectory(&self, name: &str) -> Trajectory {
        let found = self.all().iter().find(|trajectory| trajectory["name"] == name);
        let mut trajectory = found.unwrap_or_else(|| panic!("no trajectory {name}")).clone();
        // The codes of pictures stand behind the tokens of text.
        trajectory["text_vocabulary"] = self.about["about"]["text_vocabulary"].clone();
        Trajectory(trajectory)
    }

    fn all(&self) -> &[Value] {
        self.about["trajectories"].as_array().expect("trajectories")
    }
}

impl Trajectory {
    /// A whole number among its settings.
    pub(crate) fn count(&self, key: &str) -> usize {
        self.0["settings"][key].as_u64().unwrap_or_else(|| panic!("a number `{key}`")) as usize
    }

    /// A number among its settings.
    pub(crate) fn number(&self, key: &str) -> f64 {
        self.0["settings"][key].as_f64().unwrap_or_else(|| panic!("a number `{key}`"))
    }

    /// The id of a token beside its settings.
    pub(crate) fn token(&self, key: &str) -> TokenId {
        self.0[key].as_u64().unwrap_or_else(|| panic!("a token `{key}`")) as TokenId
    }

    /// The canvas of each row: the prompt without its padding, and open positions behind it.
    pub(crate) fn canvases(&self, mask: TokenId) -> Vec<Canvas> {
        let rows = self.0["states"][0].as_array().expect("rows of a state").len();
        (0..rows).map(|row| self.canvas(row, mask)).collect()
    }

    fn canvas(&self, row: usize, mask: TokenId) -> Canvas {
        let (prompt, settings) = (self.prompt(row), &self.0["settings"]);
        let states = self.0["states"].as_array().expect("states");
        // What is to be filled in may stand in the prompt, or only in the first state (RND1).
        let laid_out = match settings["seq_len"].is_null() || prompt.contains(&mask) {
            true => prompt.clone(),
            false => ids(&states[0][row]),
        };
        let mut canvas = Canvas::new();
        if laid_out.contains(&mask) {
            for run in laid_out.chunk_by(|a, b| (*a == mask) == (*b == mask)) {
                match run[0] == mask {
                    true => canvas.push_open(run.len(), self.ends(), mask),
                    false => canvas.push_given(run),
                }
            }
            return canvas;
        }
        let length = states.iter().map(|state| ids(&state[row]).len()).max().expect("a state");
        let open = match self.0["states_whole_sequence"] == true {
            // dllm pads shorter canvases on the right.
            true if !settings["return_dict"].is_null() => self.count("max_new_tokens"),
            true => length - prompt.len(),
            false => length,
        };
        canvas.push_given(&prompt);
        canvas.push_open(open, self.ends(), mask);
        canvas
    }

    /// Whether its texts may end early.
    fn ends(&self) -> bool {
        ["stop_token", "stopping_criteria_idx", "eos_id"].iter().any(|key| !self.0["settings"][key].is_null())
    }

    /// The positions of a row that the result leaves away.
    pub(crate) fn left_away(&self, row: usize, canvas: &Canvas) -> Range<usize> {
        let states = self.0["states"].as_array().expect("states");
        let lengths: Vec<usize> = states.iter().map(|state| ids(&state[row]).len()).collect();
        match lengths.as_slice() {
            [.., before, last] if last < before => canvas.len() - (before - last)..canvas.len(),
            _ => canvas.len()..canvas.len(),
        }
    }

    /// The prompt of a row, without what its mask hides.
    pub(crate) fn prompt(&self, row: usize) -> Vec<TokenId> {
        let Some(tokens) = self.0["prompt"].as_array().map(|rows| ids(&rows[row])) else { return Vec::new() };
        let shown = |position: &usize| self.0["attention_mask"][row][*position].as_u64() != Some(0);
        (0..tokens.len()).filter(shown).map(|position| tokens[position]).collect()
    }

    /// Tokens before the prompt in the states of a row.
    fn padding(&self, row: usize) -> usize {
        let (first, given) = (ids(&self.0["states"][0][row]), self.prompt(row));
        let is_prompt = self.0["states_whole_sequence"] == true && !given.is_empty() && first.ends_with(&given);
        if is_prompt { first.len() - given.len() } else { 0 }
    }

    /// The canvas of a row at the beginning, before each pass and after the last. What a state does not reach is open.
    pub(crate) fn states(&self, row: usize, canvas: &Canvas, mask: TokenId) -> Vec<Vec<TokenId>> {
        let whole = self.0["states_whole_sequence"] == true;
        let given = self.prompt(row);
        let states = self.0["states"].as_array().expect("states").iter();
        let states = states.map(|state| {
            // What dllm pads on the left is of no row here.
            let written = ids(&state[row]).split_off(self.padding(row));
            let mut tokens = if whole { written } else { [given.clone(), written].concat() };
            tokens.resize(canvas.len(), mask);
            tokens
        });
        // Some recordings begin behind the prefill.
        let mut states: Vec<Vec<TokenId>> = std::iter::once(canvas.tokens().to_vec()).chain(states).collect();
        // The last state of a picture is its codes alone.
        if let (Some(offset), Some(last), true) =
            (self.0["text_vocabulary"].as_u64(), states.last_mut(), self.0["last"].is_string())
        {
            let codes: Vec<TokenId> = last.iter().map(|code| code + offset as TokenId).collect();
            last.copy_from_slice(canvas.tokens());
            canvas.open_positions().iter().zip(codes).for_each(|(position, code)| last[*position] = code);
        }
        states
    }
}

/// The ids in a list.
pub(crate) fn ids(list: &Value) -> Vec<TokenId> {
    let id = |value: &Value| value.as_u64().expect("an id") as TokenId;
    list.as_array().expect("a list of ids").iter().map(id).collect()
}
