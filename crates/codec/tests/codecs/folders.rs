//! Codecs in folders: what is saved is opened, and what is something else is refused.

use aquatint_checkpoint::{Storage, Tensor, write_weights};
use aquatint_codec::{Codec, Picture, PictureCodec, PictureConfig, Rate};
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
            "unknown variant `smells`",
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
