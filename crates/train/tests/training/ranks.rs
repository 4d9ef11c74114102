//! Several ranks against one: the same losses, the same weights, from the same batches.

use crate::families::Room;
use crate::support::{device, fingerprint, recipe, run};
use aquatint_checkpoint::Weights;
use aquatint_compute::{Cuda, Device};
use aquatint_testing::Golden;
use aquatint_train::{
    Alone, Launch, ParallelError, Ranks, Resolved, Ring, ShardFigures, StepFigures, TrainError, Training, TrainingEvent,
};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Runs each rank in a thread; the figures of rank 0.
pub(crate) fn run_among(size: usize, recipe: &Resolved, resume: bool) -> Result<Vec<StepFigures>, TrainError> {
    among(size, recipe, resume).map(|(figures, _)| figures)
}

/// The figures of rank 0, and what each rank has of the states of the optimiser, where they are sharded.
type Figures = (Vec<StepFigures>, Vec<Option<ShardFigures>>);

fn among(size: usize, recipe: &Resolved, resume: bool) -> Result<Figures, TrainError> {
    among_on(size, recipe, resume, &|_, _| Ok(device()))
}

/// The same, where each rank chooses its device.
fn among_on<D: Device>(
    size: usize,
    recipe: &Resolved,
    resume: bool,
    device: &(dyn Fn(&Training<'_>, usize) -> Result<D, TrainError> + Sync),
) -> Result<Figures, TrainError> {
    let port = free_port();
    let one = |rank: usize| -> Result<(Vec<StepFigures>, Option<ShardFigures>), TrainError> {
        let (mut figures, mut shard) = (Vec::new(), None);
        let mut note = |event: TrainingEvent<'_>| match event {
            TrainingEvent::Step(step) => figures.push(step),
            TrainingEvent::Started(start) => shard = start.shard,
            _ => {}
        };
        let address = "127.0.0.1".to_owned();
        let launch = Launch { rank, size, local_rank: rank, local_size: Some(size), address, port };
        let ranks: Box<dyn Ranks> = if size == 1 { Box::new(Alone) } else { Box::new(Ring::join(&launch, b"")?) };
        let training = Training::new(recipe).resume(resume).ranks(ranks.as_ref());
        training.run(device(&training, rank)?, &mut note)?;
        Ok((figures, shard))
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..size).map(|rank| scope.spawn(move || one(rank))).collect();
        let first = one(0);
        let others: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        let (figures, shard) = first?;
        let mut shards = vec![shard];
        for other in others {
            let (reported, shard) = other?;
            assert!(reported.is_empty(), "only rank 0 reports");
            shards.push(shard);
        }
        Ok((figures, shards))
    })
}

/// Largest difference of the weights of two folders, relative to the largest weight of each tensor.
fn difference(one: &Path, other: &Path) -> f32 {
    let pairs = fingerprint(one).into_iter().zip(fingerprint(other));
    pairs.fold(0.0, |most, ((name, a), (same, b))| {
        assert_eq!((&name, a.len()), (&same, b.len()));
        let (a, b) = (a.iter().map(|bits| f32::from_bits(*bits)), b.iter().map(|bits| f32::from_bits(*bits)));
        let size = a.clone().fold(1e-3_f32, |size, a| size.max(a.abs()));
        a.zip(b).fold(most, |most, (a, b)| most.max((a - b).abs() / size))
    })
}

#[test]
fn the_loss_of_some_ranks_is_that_of_one() {
    let common: [&[&str]; 3] = [
        // Passes that two ranks share and four cut.
        &["optimiser.accumulate=2", "run.steps=20", "network.self_conditioning=true"],
        &["objective.process=simplex", "objective.time_sampling=adaptive", "run.steps=10"],
        &["objective.masking=complementary", "run.steps=10", "optimiser.kind=muon"],
    ];
    for set in common {
        let folder = tempfile::tempdir().unwrap();
        let alone = recipe(&folder.path().join("1"), set);
        let (_, expected) = run(&alone, false).unwrap();
        for size in [2, 4] {
            let together = recipe(&folder.path().join(size.to_string()), set);
            let got = run_among(size, &together, false).unwrap();
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!((got.step, got.tokens), (expected.step, expected.tokens));
                let error = (got.loss - expected.loss).abs() / expected.loss;
                assert!(error < 1e-4, "{set:?}, {size} ranks, step {}: {} {}", got.step, got.loss, expected.loss);
            }
            let apart = difference(&alone.output, &together.output);
            assert!(apart < 2e-2, "{set:?}, {size} ranks: {apart}");
        }
    }
}

#[test]
fn a_run_is_resumed_by_another_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let whole = recipe(&folder.path().join("whole"), &["run.steps=20"]);
    let (_, expected) = run(&whole, false).unwrap();
    let half = |steps: &str| recipe(&folder.path().join("half"), &[steps]);
    run_among(2, &half("run.steps=10"), false).unwrap();
    let rest = run_among(4, &half("run.steps=20"), true).unwrap();
    let last = |figures: &[StepFigures]| figures.last().unwrap().loss;
    assert_eq!(rest.last().unwrap().step, 20);
    // The learning rate falls to the end of a run, which the first half did not know.
    assert!((last(&rest) - last(&expected)).abs() < 0.1, "{} {}", last(&rest), last(&expected));
}

#[test]
fn a_batch_that_cannot_be_shared_is_refused_by_every_rank() {
    let folder = tempfile::tempdir().unwrap();
    let error = run_among(3, &recipe(folder.path(), &[]), false).unwrap_err();
    assert!(matches!(error, TrainError::Parallel(ParallelError::Share { batch: 8, size: 3, multiple: 3 })), "{error}");
}

/// Every file of a folder, by its path there.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        match path.is_dir() {
            true => all.extend(files(&path).into_iter().map(|file| name.join(file))),
            false => drop(all.insert(name)),
        }
    }
    all
}

/// A copy of a run's folder.
fn copied(from: &Path, to: &Path) {
    for file in files(from) {
        std::fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

#[test]
fn sharded_states_change_no_bit_of_what_is_saved() {
    let common: [&[&str]; 5] = [
        // The gradient is cut to a thirtieth of its size, of the sum of two passes.
        &["optimiser.kind=adamw", "optimiser.clip=0.05", "optimiser.accumulate=2", "optimiser.weight_decay=0.3"],
        &["optimiser.kind=muon", "optimiser.clip=0.05", "network.self_conditioning=true"],
        &["optimiser.ema=0.0", "optimiser.groups=[{ parameters = 'model.layers.0.*', trainable = false }]"],
        // Word vectors of length 1, and averages of them.
        &["objective.process=gaussian:8", "optimiser.kind=adamw", "objective.time_sampling=adaptive"],
        &["objective.process=gaussian:8", "optimiser.ema=0.0"],
    ];
    for set in common {
        let folder = tempfile::tempdir().unwrap();
        let set = [set, &["optimiser.batch=12", "run.steps=6", "run.validate_every=2", "run.save_every=4"]].concat();
        for size in [1, 2, 3] {
            let place = |name: &str| folder.path().join(format!("{name}-{size}"));
            let whole = among(size, &recipe(&place("whole"), &set), false).unwrap();
            let sharded = recipe(&place("sharded"), &[&set[..], &["optimiser.shard=true"]].concat());
            let shards = among(size, &sharded, false).unwrap();
            let figures = |(all, _): &(Vec<StepFigures>, _)| -> Vec<(u64, u64)> {
                all.iter().map(|figures| (figures.loss.to_bits(), figures.gradient_norm.to_bits())).collect()
            };
            assert_eq!(figures(&shards), figures(&whole), "{set:?}, {size} ranks");
            assert!(fingerprint(&place("whole")) == fingerprint(&place("sharded")), "{set:?}, {size} ranks");
            assert_eq!(files(&place("whole")), files(&place("sharded")), "{set:?}, {size} ranks");
            assert_eq!(shards.1.iter().flatten().count(), if size > 1 { size } else { 0 });
        }
    }
}

#[test]
fn sharded_states_of_an_adapter_change_no_bit() {
    let (room, base) = (Room::new(), Golden::folder("dream"));
    let set =
        ["adapter={ rank = 2, alpha = 4.0, dropout = 0.1 }", "run.steps=4", "optimiser.batch=3", "optimiser.ema=0.5"];
    let saved = |name: &str| -> Vec<(String, Vec<u32>)> {
        let file = |file: &str| Weights::open_file(&room.path(name).join(file)).unwrap();
        let all = [file("adapter_model.safetensors"), file("state/run.safetensors")];
        let bits = |weights: &Weights, name: &str| weights.read(name).unwrap().into_iter().map(f32::to_bits).collect();
        all.iter().flat_map(|weights| weights.names().map(|name| (name.to_owned(), bits(weights, name)))).collect()
    };
    run_among(3, &room.recipe(("whole", &base), &set), false).unwrap();
    let sharded = [&set[..], &["optimiser.shard=true"]].concat();
    run_among(3, &room.recipe(("sharded", &base), &sharded), false).unwrap();
    assert!(saved("whole").iter().any(|(name, _)| name.starts_with("average.") && name.contains("lora_A")));
    assert!(saved("whole") == saved("sharded"));
}

#[test]
fn a_sharded_run_is_resumed_by_any_number_of_ranks() {
    for kind in ["optimiser.kind=muon", "optimiser.kind=adamw"] {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let common = [kind, "optimiser.batch=12", "optimiser.lr_schedule=constant"];
        let of = |name: &str, set: &[&str]| recipe(&place(name), &[&common[..], set].concat());
        run_among(3, &of("begun", &["run.steps=5", "optimiser.shard=true"]), false).unwrap();
        // What goes on with all states on each rank is what every other has to agree with.
        for (size, sharded) in [(1, true), (2, true), (3, true), (2, false)] {
            let names = [format!("whole-{size}"), format!("other-{size}-{sharded}")];
            let shard = if sharded { "optimiser.shard=true" } else { "optimiser.shard=false" };
            for (name, shard) in names.iter().zip(["optimiser.shard=false", shard]) {
                copied(&place("begun"), &place(name));
                among(size, &of(name, &["run.steps=9", shard]), true).unwrap();
            }
            assert!(fingerprint(&place(&names[0])) == fingerprint(&place(&names[1])), "{kind}, {names:?}");
            std::fs::remove_dir_all(place(&names[0])).unwrap();
        }
        let step = |size: usize| run_among(size, &of("begun", &["run.steps=5"]), true);
        assert!(step(2).unwrap().is_empty(), "no step is left");
    }
}

#[test]
fn the_states_of_all_ranks_are_together_those_of_one() {
    for (kind, most) in [("optimiser.kind=adamw", 1.02), ("optimiser.kind=muon", 1.25)] {
        let folder = tempfile::tempdir().unwrap();
        let set = [kind, "optimiser.batch=6", "optimiser.shard=true", "run.steps=1"];
        let (_, shards) = among(3, &recipe(folder.path(), &set), false).unwrap();
        let bytes: Vec<u64> = shards.into_iter().map(|shard| shard.unwrap().bytes).collect();
        let state = Weights::open_file(&folder.path().join("state/run.safetensors")).unwrap();
        let states = state.names().filter(|name| !name.starts_with("value."));
        let all: usize = states.map(|name| 4 * state.read(name).unwrap().len()).sum();
        assert_eq!(bytes.iter().sum::<u64>(), all as u64, "{kind}");
        let largest = *bytes.iter().max().unwrap() as f64;
        assert!(largest < most * all as f64 / 3.0, "{kind}: {bytes:?} of {all}");
    }
}

#[test]
fn a_sharded_run_that_ends_early_is_measured_and_saved_by_all_ranks_together() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["optimiser.batch=6", "optimiser.shard=true", "run.max_minutes=0.0", "run.sample_every=1"];
    run_among(3, &recipe(folder.path(), &set), false).unwrap();
    assert!(!fingerprint(folder.path()).is_empty());
    let goes_on = ["optimiser.batch=6", "optimiser.shard=true", "run.steps=2", "run.sample_every=1"];
    assert_eq!(run_among(2, &recipe(folder.path(), &goes_on), true).unwrap().last().unwrap().step, 2);
}

#[test]
fn a_student_is_distilled_by_ranks_whose_averages_are_sharded() {
    let folder = tempfile::tempdir().unwrap();
    let (teacher, process) = (folder.path().join("teacher"), "objective.process=masked");
    run(&recipe(&teacher, &[process, "run.steps=2"]), false).unwrap();
    let initial = format!("initial={}", teacher.display());
    let set = [process, &initial, "distillation.steps=8", "distillation.rounds=2", "run.steps=4"];
    let distil = |name: &str, more: &[&str]| {
        run_among(2, &recipe(&folder.path().join(name), &[&set[..], more].concat()), false).unwrap();
        let teacher = folder.path().join(name).join("teacher-1/model.safetensors");
        (fingerprint(&folder.path().join(name)), std::fs::read(teacher).unwrap())
    };
    assert!(distil("whole", &[]) == distil("sharded", &["optimiser.shard=true"]));
}

/// Small, as an emulated GPU is slow.
const ON_GPUS: [&str; 7] = [
    "data.canvas_length=16",
    "optimiser.batch=4",
    "run.steps=2",
    "run.validate_every=1",
    "run.validate_canvases=1",
    "run.validate_times=1",
    "run.save_every=1",
];

/// So many emulated GPUs; none where there is no C++ compiler.
fn gpus(count: usize) -> Vec<Cuda> {
    (0..count).map_while(|_| Cuda::emulated(None, 0)).collect()
}

#[test]
fn gpus_that_nccl_connects_take_the_steps_of_those_on_the_ring() {
    let gpus = gpus(2);
    if gpus.is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for set in [&["optimiser.kind=muon"][..], &["optimiser.kind=muon", "optimiser.shard=true"]] {
        let place = |by: &str| folder.path().join(format!("{}-{by}", set.len()));
        let of = |by: &str| {
            let collectives = format!("run.collectives={by}");
            recipe(&place(by), &[&ON_GPUS[..], set, &[collectives.as_str()]].concat())
        };
        among_on(2, &of("ring"), false, &|_, rank| Ok(gpus[rank].clone())).unwrap();
        let connected = Mutex::new(Vec::new());
        let connect = |training: &Training<'_>, rank: usize| -> Result<Cuda, TrainError> {
            let gpu = training.connected(Some(&gpus[rank]))?.unwrap();
            connected.lock().unwrap().push(gpu.clone());
            Ok(gpu)
        };
        among_on(2, &of("nccl"), false, &connect).unwrap();
        assert!(fingerprint(&place("ring")) == fingerprint(&place("nccl")), "{set:?}");

        let calls: Vec<Vec<String>> = connected.lock().unwrap().iter().map(Cuda::nccl_calls).collect();
        assert_eq!(calls[0], calls[1], "all ranks call the same");
        let groups: Vec<&[String]> = calls[0].split(|call| call == "end").filter(|group| !group.is_empty()).collect();
        let count = |group: &[String]| -> usize {
            group.iter().map(|call| call.split(' ').nth(1).unwrap().parse::<usize>().unwrap()).sum()
        };
        let state = Weights::open_file(&place("ring").join("state/run.safetensors")).unwrap();
        let values = state.names().filter(|name| name.starts_with("value."));
        let all: usize = values.map(|name| state.read(name).unwrap().len()).sum();
        let kinds: String = groups.iter().map(|group| group[0].chars().next().unwrap()).collect();
        // Each step adds up all gradients, and then brings them, or the weights made with them, to the other rank.
        assert_eq!((count(groups[0]), count(groups[1]), groups[0].len()), (all, all, groups[1].len()));
        match set.len() {
            1 => assert_eq!(kinds, "rbrb"),
            // Averages are exchanged with weights and back for two measurements, two saves and a sample, and the states of
            // each save are brought together tensor by tensor.
            _ => {
                assert!(kinds.starts_with("rbbb") && kinds.matches('r').count() == 2, "{kinds}");
                assert_eq!(groups.iter().filter(|group| count(group) == all).count(), 2 + 2 + 2 * 5, "{kinds}");
            }
        }
    }
}

#[test]
fn ranks_without_a_gpu_of_their_own_are_refused_everywhere() {
    let gpus = gpus(2);
    if gpus.is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &[&ON_GPUS[..], &["run.collectives=nccl"]].concat());
    let refused = |of_rank: [Option<&Cuda>; 2]| {
        let connect = |training: &Training<'_>, rank: usize| -> Result<Cuda, TrainError> {
            let connected = training.connected(of_rank[rank]);
            Ok(connected.inspect_err(|error| assert!(error.hint().unwrap().contains("run.collectives")))?.unwrap())
        };
        among_on(2, &recipe, false, &connect).unwrap_err().to_string()
    };
    assert_eq!(refused([Some(&gpus[0]), None]), "rank 1 computes on a processor");
    assert_eq!(refused([None, None]), "rank 0 computes on a processor");
    assert_eq!(refused([Some(&gpus[0]), Some(&gpus[0].clone())]), "rank 1 has the same GPU as rank 0");
    let alone = Training::new(&recipe).connected(None).unwrap();
    assert!(alone.is_none(), "one rank has nobody to be connected with");
}

#[test]
fn what_only_several_ranks_do_is_said_to_change_nothing_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["run.steps=1", "optimiser.shard=true", "run.collectives=nccl"];
    let mut warnings = Vec::new();
    let mut note = |event: TrainingEvent<'_>| {
        if let TrainingEvent::Warning(warning) = event {
            warnings.push(warning.to_owned());
        }
    };
    Training::new(&recipe(folder.path(), &set)).run(device(), &mut note).unwrap();
    let shard = "`optimiser.shard` changes nothing: one process has all states of the optimiser";
    assert_eq!(warnings, [shard, "`run.collectives` changes nothing: one process exchanges nothing"]);
}
