//! Results of the program that were recorded once, compared bit by bit: the same seeds give the same texts, figures and
//! weights. `fixtures/README.md` says how they were made and why they are never recorded again.

mod bits;
mod generation;
mod measuring;
mod path;
mod recorded;
mod training;

use path::CpuPath;

#[test]
fn training_on_the_scalar_path_gives_the_recorded_weights_and_losses() {
    recorded::compare("training", CpuPath::Scalar, training::cases);
}

#[test]
fn training_on_the_avx512_path_gives_the_recorded_weights_and_losses() {
    recorded::compare("training", CpuPath::Avx512, training::cases);
}

#[test]
fn generation_on_the_scalar_path_gives_the_recorded_texts_and_events() {
    recorded::compare("generation", CpuPath::Scalar, generation::cases);
}

#[test]
fn generation_on_the_avx512_path_gives_the_recorded_texts_and_events() {
    recorded::compare("generation", CpuPath::Avx512, generation::cases);
}

#[test]
fn measuring_on_the_scalar_path_gives_the_recorded_figures() {
    recorded::compare("measuring", CpuPath::Scalar, measuring::cases);
}

#[test]
fn measuring_on_the_avx512_path_gives_the_recorded_figures() {
    recorded::compare("measuring", CpuPath::Avx512, measuring::cases);
}
