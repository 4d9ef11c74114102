//! For tests only: tiny codecs of pictures and sounds and a matcher that have learned nothing, and tiny models of text that have them, as
//! folders on the disk. It reports errors by panics: only tests call it.
#![forbid(unsafe_code)]

use aquatint_checkpoint::{Description, GenerationDefaults, ModelCodec, Storage, save_learner};
use aquatint_codec::{
    Matcher, MatcherConfig, PictureCodec, PictureConfig, PictureKind, SoundCodec, SoundConfig, SoundKind,
};
use aquatint_compute::Cpu;
use aquatint_diffusion::{Axes, Domain, TokenId};
use aquatint_network::{AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, Network, NetworkSpec};
use aquatint_vocabulary::{MediaKind, Role, Vocabulary};
use std::path::{Path, PathBuf};

/// Codes that each codec has.
pub const CODES: u32 = 9;
/// Pixels of a side of a picture.
pub const SIDE: usize = 8;

/// Saves a codec of pictures of 8×8 pixels: [`CODES`] codes, in `grid` rows of `grid`.
pub fn save_pictures(folder: &Path, grid: usize) {
    let config = PictureConfig {
        kind: PictureKind::Pictures,
        size: SIDE,
        patch: SIDE / grid,
        overlap: 1,
        levels: vec![3, 3],
        width: 8,
        encoder_layers: 1,
        decoder_layers: 1,
        heads: 2,
        feed_forward_width: 8,
    };
    let codec = PictureCodec::new(Cpu::<f32>::scalar(), config, 1).expect("a tiny codec can be");
    codec.save(folder, Storage::F32).expect("a codec is saved in a folder of its own");
}

/// Saves a codec of sounds of 8 kHz: [`CODES`] codes in a line, 40 to the second.
pub fn save_sounds(folder: &Path) {
    let config = SoundConfig {
        kind: SoundKind::Sounds,
        rate: 8000,
        hop: 50,
        window: 128,
        bands: 8,
        frames: 4,
        levels: vec![3, 3],
        width: 8,
        encoder_layers: 1,
        decoder_layers: 1,
        heads: 2,
        feed_forward_width: 8,
        attention_window: 4,
    };
    let codec = SoundCodec::new(Cpu::<f32>::scalar(), config, 1).expect("a tiny codec can be");
    codec.save(folder, Storage::F32).expect("a codec is saved in a folder of its own");
}

/// Saves a matcher of pictures of 8×8 pixels and a few words.
pub fn save_matcher(folder: &Path) {
    let config = MatcherConfig {
        size: SIDE,
        patch: 4,
        text_length: 8,
        width: 8,
        picture_layers: 1,
        text_layers: 1,
        heads: 2,
        feed_forward_width: 8,
        vector: 6,
    };
    let matcher = Matcher::new(Cpu::<f32>::scalar(), config, vocabulary(), 1).expect("a tiny matcher can be");
    matcher.save(folder, Storage::F32).expect("a matcher is saved in a folder of its own");
}

fn vocabulary() -> Vocabulary {
    Vocabulary::train(["A fox in the snow. ".repeat(20)].into_iter(), 270).expect("a few words are text")
}

/// Saves a model of 128 positions in a folder of `room` and returns it: a vocabulary of a few words, behind it what opens and
/// closes the spans of each kind, and behind that their codes, those of pictures in 4 rows of 4.
pub fn save_model(room: &Path, kinds: &[MediaKind]) -> PathBuf {
    let vocabulary = vocabulary();
    let (mut mark, mut first) = (vocabulary.len() as TokenId, (vocabulary.len() + 2 * kinds.len()) as TokenId);
    let mut codecs = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let files = room.join(format!("codec-{kind}"));
        let axes = match kind {
            MediaKind::Picture => {
                save_pictures(&files, 4);
                Axes::Grid { rows: 4, columns: 4 }
            }
            MediaKind::Sound => {
                save_sounds(&files);
                Axes::Line
            }
        };
        let domain = Domain { ids: first..first + CODES, axes };
        codecs.push(ModelCodec {
            name: kind.name().to_owned(),
            domain,
            open: mark,
            close: mark + 1,
            files: (&files).into(),
        });
        (mark, first) = (mark + 2, first + CODES);
    }
    let layer = LayerSpec::new(AttentionSpec::new(2, 1, 4), FeedForwardSpec::new(12));
    let spec = NetworkSpec {
        head: HeadSpec { tied: true, ..HeadSpec::default() },
        context_length: 128,
        mask_token: vocabulary.role(Role::Mask),
        ..NetworkSpec::new(first as usize, 8, vec![layer])
    };
    let generation = GenerationDefaults { mask_token_id: spec.mask_token, ..GenerationDefaults::default() };
    let description = Description { codecs: &codecs, ..Description::native(&spec, &vocabulary, &generation) };
    let network = Network::new(Cpu::<f32>::scalar(), spec.clone(), 3).expect("a tiny network can be");
    let folder = room.join("model");
    save_learner(&folder, &description, &network, Storage::F32).expect("a model is saved in a folder of its own");
    folder
}
