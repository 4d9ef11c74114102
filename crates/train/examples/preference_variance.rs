//! The variance of the margin of preferences by how their bounds are sampled.
//!
//! Run with: `cargo run --release -p aquatint-train --example preference_variance -- tales models/tales-16m data/sample/preferences/valid.jsonl 1 2`
//!
//! The arguments are a reference, a model tuned from it, a file of preferences, and the numbers of pairs and of draws.
//!
//! The margin of a pair is `(B_θ(y_w) − B_ref(y_w)) − (B_θ(y_l) − B_ref(y_l))` in nats, where the first model is the reference.
//! Each of `PAIRS` pairs (8) is estimated `DRAWS` times (16) with other noise; the table has the mean over pairs of the variance
//! of an estimate, in nats squared, and in parentheses how many times less that is than with one sample of noise of its own for
//! every bound. Texts only, on one thread for each processor.

use aquatint_batch::{BoundSamples, BoundSampling, PackedBatch};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Cpu, CpuPath};
use aquatint_corpus::{ConversationLayout, PreferenceCanvases, Source};
use aquatint_diffusion::{Key, TimeSampling};
use aquatint_generate::process_of;
use aquatint_network::Denoiser;
use aquatint_vocabulary::ChatTemplate;
use std::error::Error;

/// Noisy versions of an answer.
const SAMPLES: [usize; 4] = [1, 2, 4, 8];

/// A scheme of sampling.
struct Scheme {
    name: &'static str,
    spread: TimeSampling,
    complementary: bool,
    /// Whether both networks read the same noise.
    networks: bool,
    /// Whether both answers have the same times and random numbers.
    answers: bool,
}

const fn scheme(name: &'static str, spread: TimeSampling, [complementary, networks, answers]: [bool; 3]) -> Scheme {
    Scheme { name, spread, complementary, networks, answers }
}

const SCHEMES: [Scheme; 5] = [
    scheme("nothing shared", TimeSampling::Uniform, [false, false, false]),
    scheme("networks", TimeSampling::Uniform, [false, true, false]),
    scheme("networks, even times", TimeSampling::LowDiscrepancy, [false, true, false]),
    scheme("networks, antithetic", TimeSampling::LowDiscrepancy, [true, true, false]),
    scheme("networks and answers, antithetic", TimeSampling::LowDiscrepancy, [true, true, true]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reference, model, data, rest @ ..] = arguments.as_slice() else {
        return Err("name the reference, a model and a file of preferences".into());
    };
    let number = |at: usize, usual: usize| rest.get(at).map_or(Ok(usual), |text| text.parse());
    let (pairs, draws) = (number(0, 8)?, number(1, 16)?);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let device = Cpu::<f32>::new(CpuPath::best(), threads)?;
    let (reference, model) = (Checkpoint::open(reference)?, Checkpoint::open(model)?);
    let template = ChatTemplate::new(ChatTemplate::PLAIN, "", "")?;
    let layout = ConversationLayout {
        vocabulary: &model.vocabulary,
        template: &template,
        canvas_length: model.spec.context_length,
        answer_length: 0,
        packing: false,
    };
    let snapshot = Source::new(data).snapshot(&mut |_| true)?;
    let (laid, _) = PreferenceCanvases::read(&[snapshot], (&layout, false), &mut |_| true)?;
    let process = process_of(&model.spec, None)?;
    let networks = [reference.network(device.clone())?, model.network(device)?];
    let rows = laid
        .spread(pairs)
        .into_iter()
        .map(|number| Ok(PackedBatch::new(&laid.batch(&[number])?, model.spec.attention)?))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;

    let margin = |rows: &PackedBatch, scheme: &Scheme, samples: usize, draw: u64| -> Result<f64, Box<dyn Error>> {
        let sampling = BoundSampling { samples, spread: scheme.spread, complementary: scheme.complementary };
        let streams = if scheme.answers { [0, 0] } else { [0, 1] };
        let bounds = |network: &dyn Denoiser, key: u64| {
            BoundSamples::draw((rows, process.as_ref()), sampling, (Key::new(key), draw), &streams)
                .bounds(network, rows)
        };
        let [of_reference, of_model] = &networks;
        let reference = bounds(of_reference, if scheme.networks { 1 } else { 2 })?;
        let model = bounds(of_model, 1)?;
        Ok((reference[0] - model[0]) - (reference[1] - model[1]))
    };
    println!("{} pairs, {draws} draws each", rows.len());
    print!("{:<34}", "shared");
    SAMPLES.iter().for_each(|samples| print!("{:>18}", format!("n = {samples}")));
    println!("{:>18}", "mean margin");
    let mut first = None;
    for scheme in &SCHEMES {
        print!("{:<34}", scheme.name);
        let mut mean = 0.0;
        for samples in SAMPLES {
            let mut variance = 0.0;
            mean = 0.0;
            for rows in &rows {
                let margins = (0..draws as u64)
                    .map(|draw| margin(rows, scheme, samples, draw))
                    .collect::<Result<Vec<f64>, Box<dyn Error>>>()?;
                let own = margins.iter().sum::<f64>() / margins.len() as f64;
                let squares: f64 = margins.iter().map(|margin| (margin - own).powi(2)).sum();
                variance += squares / (margins.len() as f64 - 1.0) / pairs as f64;
                mean += own / pairs as f64;
            }
            let whole = *first.get_or_insert(variance);
            print!("{:>18}", format!("{variance:.3} ({:.1}x)", whole / variance));
        }
        println!("{mean:>18.3}");
    }
    Ok(())
}
