//! Tiny models with a codec, of pictures or of sounds.

use aquatint::checkpoint::{Description, GenerationDefaults, ModelCodec, Storage, save_learner};
use aquatint::codec::{Picture, PictureCodec, PictureConfig, PictureKind, Sound, SoundCodec, SoundConfig, SoundKind};
use aquatint::compute::Cpu;
use aquatint::diffusion::{Axes, Domain, TokenId};
use aquatint::network::{AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, Network, NetworkSpec};
use aquatint::vocabulary::{Role, Vocabulary};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A model that has learned nothing: a vocabulary, behind it the marks of pictures and 9 codes in 4 rows of 4.
pub(crate) fn joint() -> String {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER
        .get_or_init(|| save(&empty("serving-joint"), "picture", Axes::Grid { rows: 4, columns: 4 }, &pictures))
        .clone()
}

/// The same with 9 codes of sounds, 40 to the second.
pub(crate) fn speaking() -> String {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| save(&empty("serving-speaking"), "sound", Axes::Line, &sounds)).clone()
}

fn empty(name: &str) -> PathBuf {
    let room = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&room);
    room
}

fn sounds(folder: &Path) {
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
    SoundCodec::new(Cpu::<f32>::scalar(), config, 1).unwrap().save(folder, Storage::F32).unwrap();
}

fn pictures(folder: &Path) {
    let config = PictureConfig {
        kind: PictureKind::Pictures,
        size: 8,
        patch: 2,
        overlap: 1,
        levels: vec![3, 3],
        width: 8,
        encoder_layers: 1,
        decoder_layers: 1,
        heads: 2,
        feed_forward_width: 8,
    };
    PictureCodec::new(Cpu::<f32>::scalar(), config, 1).unwrap().save(folder, Storage::F32).unwrap();
}

fn save(room: &Path, name: &str, axes: Axes, save_codec: &dyn Fn(&Path)) -> String {
    let (codec, folder) = (room.join("codec"), room.join("model"));
    save_codec(&codec);
    let vocabulary = Vocabulary::train(["A fox in the snow. ".repeat(20)].into_iter(), 270).unwrap();
    let open = vocabulary.len() as TokenId;
    let layer = LayerSpec::new(AttentionSpec::new(2, 1, 4), FeedForwardSpec::new(12));
    let spec = NetworkSpec {
        head: HeadSpec { tied: true, ..HeadSpec::default() },
        context_length: 128,
        mask_token: vocabulary.role(Role::Mask),
        ..NetworkSpec::new(open as usize + 11, 8, vec![layer])
    };
    let domain = Domain { ids: open + 2..open + 11, axes };
    let codecs = [ModelCodec { name: name.to_owned(), domain, open, close: open + 1, folder: codec }];
    let generation = GenerationDefaults { mask_token_id: spec.mask_token, ..GenerationDefaults::default() };
    let description = Description { codecs: &codecs, ..Description::native(&spec, &vocabulary, &generation) };
    let network = Network::new(Cpu::<f32>::scalar(), spec.clone(), 3).unwrap();
    save_learner(&folder, &description, &network, Storage::F32).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// A picture of one colour in a file, as a URL that holds it.
pub(crate) fn picture_url(colour: [u8; 4]) -> String {
    let file = Picture::new(8, 8, vec![colour; 64]).unwrap().to_png().unwrap();
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file))
}

/// A tone of 0.1 s as a WAV file.
pub(crate) fn tone() -> Vec<u8> {
    let samples = (0..800).map(|index| 0.5 * (index as f32 * 0.3).sin()).collect();
    Sound::new(8000, samples).unwrap().to_wav().unwrap()
}
