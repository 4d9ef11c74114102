//! Codecs in folders: what is saved is opened, and what is something else is refused.

use aquatint_checkpoint::{Storage, Tensor, write_weights};
use aquatint_codec::{
    Codec, CodecKind, Extent, Matcher, Picture, PictureCodec, PictureConfig, Rate, Sound, SoundCodec, SoundConfig,
    kind_of,
};
use aquatint_compute::{Cpu, CpuPath, Device};
use std::path::Path;

const CONFIG: &str = r#"{"kind":"pictures","size":8,"patch":4,"overlap":1,"levels":[8,5],"width":16,
    "encoder_layers":1,"decoder_layers":1,"heads":2,"feed_forward_width":24}"#;

fn config() -> PictureConfig {
    serde_json::from_str(CONFIG).unwrap()
}

fn picture() -> Picture {
    Picture::new(8, 8, (0..64).map(|i| [4 * i, 255 - 4 * i, 99, if i % 3 == 0 { 0 } else { 255 }]).collect()).unwrap()
}

fn codes<D: Device>(folder: &Path, device: D) -> (Vec<u32>, Picture) {
    let codec = PictureCodec::open(folder, device).unwrap();
    let codes = codec.encode(&picture()).unwrap();
    let back = codec.decode(&codes).unwrap();
    (codes, back)
}

#[test]
fn what_is_saved_is_opened_on_every_path() {
    let folder = tempfile::tempdir().unwrap();
    let codec = PictureCodec::new(Cpu::<f32>::scalar(), config(), 5).unwrap();
    codec.save(folder.path(), Storage::F32).unwrap();
    // The weights may be replaced, the description not.
    codec.save(folder.path(), Storage::F32).unwrap();
    assert_eq!((codec.kind(), codec.rate(), codec.vocabulary_size()), ("pictures", Rate::PerPicture(4), 40));
    let (first, back) = codes(folder.path(), Cpu::<f32>::scalar());
    assert_eq!(first, codec.encode(&picture()).unwrap());
    for path in CpuPath::available() {
        let (on_device, same) = codes(folder.path(), Cpu::<f32>::new(path, 1).unwrap());
        assert_eq!(on_device, first);
        let off = same.pixels().iter().flatten().zip(back.pixels().iter().flatten());
        assert!(off.into_iter().all(|(a, b)| a.abs_diff(*b) <= 1));
    }
    let mut other = config();
    other.width = 32;
    let other = PictureCodec::new(Cpu::<f32>::scalar(), other, 5).unwrap();
    let error = other.save(folder.path(), Storage::F32).unwrap_err().to_string();
    assert!(error.ends_with("holds another model; its config.json differs"), "{error}");
}

#[test]
fn a_picture_of_another_size_is_fitted_and_several_are_as_each_alone() {
    let codec = PictureCodec::new(Cpu::<f32>::scalar(), config(), 5).unwrap();
    let large = Picture::new(3, 20, vec![[200, 10, 10, 255]; 60]).unwrap();
    assert_eq!(codec.encode(&large).unwrap(), codec.encode(&large.fitted(8)).unwrap());
    let (one, other) = (picture(), large.fitted(8));
    let both = codec.encode_all(&[&one, &other]).unwrap();
    assert_eq!(both, [codec.encode(&one).unwrap(), codec.encode(&other).unwrap()]);
    assert_eq!(codec.decode_all(&both).unwrap(), [codec.decode(&both[0]).unwrap(), codec.decode(&both[1]).unwrap()]);
    let error = codec.encode_all(&[&large]).unwrap_err().to_string();
    assert_eq!(error, "a picture of 3×20 pixels was given; this codec has 8×8");
    assert!(codec.decode(&[0, 1, 2, 40]).unwrap_err().to_string().contains("40 at index 3"));
    assert_eq!(codec.encode_all(&[]).unwrap(), Vec::<Vec<u32>>::new());
}

#[test]
fn what_is_no_codec_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = || PictureCodec::open(folder.path(), Cpu::<f32>::scalar()).unwrap_err().to_string();
    assert!(refused().contains("config.json"));
    for (text, part) in [
        ("{}", "missing field `model_type`"),
        ("[", "EOF"),
        (r#"{"model_type":"llama","codec":{"kind":"pictures"},"torch_dtype":"float32"}"#, "`model_type` is \"llama\""),
        (
            r#"{"model_type":"aquatint-codec","codec":{"kind":"smells"},"torch_dtype":"float32"}"#,
            "its `codec.kind` is \"smells\"",
        ),
    ] {
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        assert!(refused().contains("holds no codec of pictures: ") && refused().contains(part), "{}", refused());
    }
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let codec = PictureCodec::new(Cpu::<f32>::scalar(), config(), 5).unwrap();
    codec.save(folder.path(), Storage::F32).unwrap();
    // The same numbers in another shape are other weights.
    let weights = codec.autoencoder().weights();
    let turned = |name: &str, mut shape: Vec<usize>| {
        if name == "encoder.input.weight" {
            shape.reverse();
        }
        shape
    };
    let tensors = weights.parameter_list().into_iter().map(|info| {
        let values = weights.read_parameter(&info.name).unwrap();
        Tensor { shape: turned(&info.name, info.shape), name: info.name, values }
    });
    let file = folder.path().join("model.safetensors");
    write_weights(&file, &tensors.collect::<Vec<_>>(), Storage::F32).unwrap();
    assert!(refused().starts_with("tensor `encoder.input.weight` in `"), "{}", refused());
    assert!(refused().ends_with("has shape [144, 16]"), "{}", refused());
    std::fs::write(&file, "short").unwrap();
    assert!(refused().contains("model.safetensors"));
}

const SOUNDS: &str = r#"{"kind":"sounds","hop":40,"window":128,"bands":20,"frames":2,"levels":[8,5],"width":16,
    "encoder_layers":1,"decoder_layers":1,"heads":2,"feed_forward_width":24,"attention_window":3}"#;

fn sounds() -> SoundCodec<Cpu<f32>> {
    let config: SoundConfig = serde_json::from_str(SOUNDS).unwrap();
    SoundCodec::new(Cpu::<f32>::scalar(), config, 5).unwrap()
}

fn sound(samples: usize) -> Sound {
    Sound::new(8000, (0..samples).map(|n| ((n * n + 7 * n) % 201) as f32 / 100.0 - 1.0).collect()).unwrap()
}

#[test]
fn a_codec_of_sounds_is_saved_and_opened_and_is_none_of_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let codec = sounds();
    codec.save(folder.path(), Storage::F32).unwrap();
    assert_eq!(kind_of(folder.path()).unwrap(), CodecKind::Sounds);
    let again = SoundCodec::open(folder.path(), Cpu::<f32>::scalar()).unwrap();
    assert_eq!((again.kind(), again.rate(), again.vocabulary_size()), ("sounds", Rate::PerSecond(100.0), 40));
    assert_eq!(again.extent(), Extent::Line { most: 1 << 16 });
    let (one, codes) = (sound(805), again.encode(&sound(805)).unwrap());
    assert_eq!(codes, codec.encode(&one).unwrap());
    // Eleven codes of 80 samples: the last is filled up with silence.
    assert_eq!(codes.len(), 11);
    let back = again.decode(&codes).unwrap();
    assert_eq!((back.rate(), back.samples().len()), (8000, 880));
    assert_eq!(back, codec.decode(&codes).unwrap());
    let error = PictureCodec::open(folder.path(), Cpu::<f32>::scalar()).unwrap_err().to_string();
    assert!(error.ends_with("holds no codec of pictures: its `codec.kind` is \"sounds\""), "{error}");
}

#[test]
fn sounds_of_other_rates_are_resampled_and_several_are_as_each_alone() {
    let codec = sounds();
    let fast = Sound::new(16_000, vec![0.5; 3200]).unwrap();
    assert_eq!(codec.encode(&fast).unwrap(), codec.encode(&fast.resampled(8000).unwrap()).unwrap());
    let (one, other) = (sound(400), sound(1200));
    let both = codec.encode_all(&[&one, &other]).unwrap();
    assert_eq!(both, [codec.encode(&one).unwrap(), codec.encode(&other).unwrap()]);
    assert_eq!(codec.decode_all(&both).unwrap(), [codec.decode(&both[0]).unwrap(), codec.decode(&both[1]).unwrap()]);
    let refused = |result: Result<Sound, aquatint_codec::CodecError>| result.unwrap_err().to_string();
    assert_eq!(refused(codec.decode(&[])), "`codes` is a list of 0; allowed: 1 to 65536 codes");
    assert!(refused(codec.decode(&[1, 40])).contains("40 at index 1"));
    let error = codec.encode_all(&[&fast]).unwrap_err().to_string();
    assert_eq!(error, "a sound of 16000 samples a second was given; this codec has 8000");
    let long = Sound::new(8000, vec![0.0; 80 * 65_537]).unwrap();
    let error = codec.encode(&long).unwrap_err().to_string();
    assert_eq!(error, "a sound of 655.4 s was given; this codec has at most 65536 codes for one");
}

#[test]
fn settings_of_sounds_that_cannot_be_are_refused_by_their_key() {
    let refused = |set: &str| {
        let mut config: serde_json::Value = serde_json::from_str(SOUNDS).unwrap();
        let (key, value) = set.split_once('=').unwrap();
        config[key] = value.parse::<u64>().unwrap().into();
        let config: SoundConfig = serde_json::from_value(config).unwrap();
        SoundCodec::new(Cpu::<f32>::scalar(), config, 0).unwrap_err().to_string()
    };
    assert_eq!(refused("rate=7"), "`codec.rate` is 7; allowed: 1000 to 384000");
    assert_eq!(refused("window=127"), "`codec.window` is 127; allowed: an even number");
    assert_eq!(refused("window=20000"), "`codec.window` is 20000; allowed: 2 to 16384");
    assert_eq!(refused("hop=65"), "`codec.hop` is 65; allowed: 1 to half of `codec.window`, which is 128");
    assert_eq!(refused("hop=0"), "`codec.hop` is 0; allowed: 1 to half of `codec.window`, which is 128");
    assert_eq!(refused("bands=0"), "`codec.bands` is 0; allowed: 1 to 512");
    assert_eq!(refused("frames=65"), "`codec.frames` is 65; allowed: 1 to 64");
    assert_eq!(refused("heads=3"), "`codec.heads` is 3; allowed: a divisor of half of `codec.width`, which is 16");
    assert!(
        refused("attention_window=0").contains("`window` is 0; allowed: 1 or more"),
        "{}",
        refused("attention_window=0")
    );
}

#[test]
fn a_matcher_is_opened_on_every_path_and_refused_where_it_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Matcher::open(folder.path(), Cpu::<f32>::scalar()).unwrap_err().to_string();
    assert!(missing.contains("config.json"), "{missing}");
    aquatint_testing_codecs::save_matcher(folder.path());
    // The weights may be replaced.
    aquatint_testing_codecs::save_matcher(folder.path());
    let vectors = |path: CpuPath| {
        let matcher = Matcher::open(folder.path(), Cpu::<f32>::new(path, 1).unwrap()).unwrap();
        let texts = matcher.texts(&["A fox", "snow", "", &"in the snow ".repeat(20)]).unwrap();
        let pictures = matcher.pictures(&[&picture(), &picture().fitted(30)]).unwrap();
        [texts, pictures].concat()
    };
    let first = vectors(CpuPath::Scalar);
    assert_eq!(first.len(), 6);
    for vector in &first {
        let length = vector.iter().map(|value| value * value).sum::<f32>();
        assert!(vector.len() == 6 && (length - 1.0).abs() < 1e-5, "{vector:?}");
    }
    for path in CpuPath::available() {
        let same = vectors(path);
        let off = first.iter().flatten().zip(same.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-4, "{path}: {off}");
    }
    let config = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let refused = |from: &str, to: &str| {
        std::fs::write(folder.path().join("config.json"), config.replace(from, to)).unwrap();
        Matcher::open(folder.path(), Cpu::<f32>::scalar()).unwrap_err().to_string()
    };
    let other = refused("aquatint-matcher", "llama");
    assert!(other.ends_with("holds no matcher: its `model_type` is \"llama\""), "{other}");
    assert!(refused("\"patch\": 4", "\"patch\": 3").contains("`matcher.patch` is 3; allowed: a divisor"));
    assert!(refused("\"vector\": 6", "\"vector\": 7").contains("model.safetensors"));
    assert!(refused("\"width\"", "\"depth\"").contains("unknown field `depth`"));
}
