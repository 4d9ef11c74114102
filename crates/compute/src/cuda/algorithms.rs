//! Which of a library's algorithms multiplies which shapes, kept on disk.
//!
//! Algorithms differ in the order of their sums, so that another one gives other bits; and which is fastest is measured,
//! so that another process may choose another one. What was chosen is therefore kept in a file, under a name made of
//! the library's and the driver's versions and the GPU, and a run that is resumed in another process takes the same.
//!
//! A shape takes the first algorithm of its class that can multiply it. Where there is none, one is chosen for it and put
//! behind the others of the class: what a shape took stays what it takes, whichever shapes came in between.

use super::compile::{fingerprint, keep};
use super::driver::ColumnMajor;
use crate::DType;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// An algorithm as the library describes it, which the same version of it reads again.
pub(super) type Algorithm = [u64; 8];

/// The first line of a file.
const FORMAT: &str = "aquatint-algorithms 1";

/// One of few sizes: multiples of 16, and from 128 on eight between a power of two and the next, at most an eighth more.
pub(super) fn near(size: usize) -> usize {
    size.next_multiple_of((size.next_power_of_two() / 16).max(16))
}

/// Stands for all shapes that are near enough to be multiplied alike. Rows that are asked for are as many at one step
/// and a few more at the next; to time algorithms for each number of them takes longer than the steps.
fn class(shape: &ColumnMajor) -> ColumnMajor {
    ColumnMajor { n: near(shape.n), k: near(shape.k), accumulate: false, ..*shape }
}

/// What was chosen for each class.
#[derive(Debug, Default)]
pub(super) struct Algorithms {
    of_class: HashMap<ColumnMajor, Vec<Algorithm>>,
    file: Option<PathBuf>,
}

impl Algorithms {
    /// Those that were chosen before with a library and a GPU that are described so, and are kept in `folder`.
    pub(super) fn open(folder: Option<&Path>, description: &str) -> Self {
        let name = format!("{:016x}.algorithms", fingerprint(description));
        let file = folder.map(|folder| folder.join(name));
        let mut algorithms = Self { of_class: HashMap::new(), file };
        algorithms.read();
        algorithms
    }

    /// The algorithm for a shape: the first of its class that it can take, or else the one that is chosen now.
    pub(super) fn of<E>(
        &mut self,
        shape: &ColumnMajor,
        mut can_take: impl FnMut(&Algorithm) -> bool,
        choose: impl FnOnce() -> Result<Algorithm, E>,
    ) -> Result<Algorithm, E> {
        let class = class(shape);
        let known = |known: &Self, can_take: &mut dyn FnMut(&Algorithm) -> bool| {
            known.of_class.get(&class).and_then(|all| all.iter().find(|algorithm| can_take(algorithm)).copied())
        };
        if let Some(algorithm) = known(self, &mut can_take) {
            return Ok(algorithm);
        }
        // Another process on this machine may have chosen one by now.
        self.read();
        if let Some(algorithm) = known(self, &mut can_take) {
            return Ok(algorithm);
        }
        let algorithm = choose()?;
        self.of_class.entry(class).or_default().push(algorithm);
        self.write();
        Ok(algorithm)
    }

    /// Adds what the file has of classes of which nothing is known here. A file of another form is none: what it said is
    /// measured again.
    fn read(&mut self) {
        let Some(text) = self.file.as_deref().and_then(|file| fs::read_to_string(file).ok()) else { return };
        let mut lines = text.lines();
        if lines.next() != Some(FORMAT) {
            return;
        }
        let Some(read) = lines.map(parse).collect::<Option<Vec<_>>>() else { return };
        let mut found: HashMap<ColumnMajor, Vec<Algorithm>> = HashMap::new();
        for (class, algorithm) in read {
            found.entry(class).or_default().push(algorithm);
        }
        for (class, algorithms) in found {
            self.of_class.entry(class).or_insert(algorithms);
        }
    }

    /// A disk that cannot be written to costs what this file is for and nothing else.
    fn write(&self) {
        let Some(file) = &self.file else { return };
        let all = self.of_class.iter().flat_map(|(class, all)| all.iter().map(move |algorithm| line(class, algorithm)));
        // By class, those of one in their order: the sort is stable, and a class is in front of its algorithm.
        let mut lines: Vec<(String, String)> = all.collect();
        lines.sort_by(|(a, _), (b, _)| a.cmp(b));
        let lines = lines.into_iter().map(|(class, algorithm)| format!("{class} {algorithm}\n"));
        let text = format!("{FORMAT}\n{}", lines.collect::<String>());
        let _ = keep(file, text.as_bytes());
    }
}

/// A class and one of its algorithms as they stand in a line.
fn line(class: &ColumnMajor, algorithm: &Algorithm) -> (String, String) {
    let &ColumnMajor { dtype, batch, m, n, k, a_transposed, b_transposed, accumulate: _, biased } = class;
    let flags = [a_transposed, b_transposed, biased].map(u8::from);
    let words = algorithm.map(|word| format!("{word:016x}")).join(" ");
    (format!("{} {batch} {m} {n} {k} {} {} {}", 8 * dtype.bytes(), flags[0], flags[1], flags[2]), words)
}

fn parse(line: &str) -> Option<(ColumnMajor, Algorithm)> {
    let words: Vec<&str> = line.split(' ').collect();
    let (shape, algorithm) = words.split_at_checked(8)?;
    let numbers = shape.iter().map(|word| word.parse().ok()).collect::<Option<Vec<usize>>>()?;
    let &[bits, batch, m, n, k, a_transposed, b_transposed, biased] = numbers.as_slice() else { return None };
    let dtype = [DType::F32, DType::Bf16].into_iter().find(|dtype| 8 * dtype.bytes() == bits)?;
    let flag = |number: usize| (number < 2).then_some(number == 1);
    let class = ColumnMajor {
        dtype,
        batch,
        m,
        n,
        k,
        a_transposed: flag(a_transposed)?,
        b_transposed: flag(b_transposed)?,
        accumulate: false,
        biased: flag(biased)?,
    };
    let words = algorithm.iter().map(|word| u64::from_str_radix(word, 16).ok()).collect::<Option<Vec<u64>>>()?;
    Some((class, words.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(n: usize) -> ColumnMajor {
        ColumnMajor {
            dtype: DType::Bf16,
            batch: 1,
            m: 768,
            n,
            k: 2048,
            a_transposed: true,
            b_transposed: false,
            accumulate: false,
            biased: true,
        }
    }

    fn take(algorithms: &mut Algorithms, n: usize, largest: u64, chosen: u64) -> u64 {
        let can_take = |algorithm: &Algorithm| algorithm[0] <= largest;
        algorithms.of(&shape(n), can_take, || Ok::<_, ()>([chosen, 1, 2, 3, 4, 5, u64::MAX, 7])).unwrap()[0]
    }

    #[test]
    fn a_shape_keeps_what_it_took_whatever_came_in_between_and_in_another_process() {
        let folder = std::env::temp_dir().join(format!("aquatint-algorithms-{}", std::process::id()));
        let mut first = Algorithms::open(Some(&folder), "library 1");
        assert_eq!(take(&mut first, 1000, 9, 5), 5);
        // Of the same class, near it, and one that cannot take what was chosen.
        assert_eq!(take(&mut first, 1001, 9, 6), 5);
        assert_eq!(take(&mut first, 1002, 4, 3), 3);
        assert_eq!(take(&mut first, 1003, 4, 2), 3);
        assert_eq!(take(&mut first, 1000, 9, 1), 5);
        // Another class.
        assert_eq!(take(&mut first, 10, 9, 8), 8);
        let mut second = Algorithms::open(Some(&folder), "library 1");
        assert_eq!(second.of_class, first.of_class);
        assert_eq!(
            [take(&mut second, 1003, 4, 0), take(&mut second, 1001, 9, 0), take(&mut second, 12, 9, 0)],
            [3, 5, 8]
        );
        // What one process chooses, another one that runs takes.
        assert_eq!(take(&mut second, 3000, 9, 7), 7);
        assert_eq!(take(&mut first, 3001, 9, 6), 7);
        // Another library, and nowhere to keep anything.
        assert_eq!(take(&mut Algorithms::open(Some(&folder), "library 2"), 1000, 9, 6), 6);
        assert_eq!(take(&mut Algorithms::open(None, "library 1"), 1000, 9, 6), 6);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_is_broken_is_measured_anew() {
        let folder = std::env::temp_dir().join(format!("aquatint-broken-algorithms-{}", std::process::id()));
        let mut first = Algorithms::open(Some(&folder), "library");
        take(&mut first, 1000, 9, 5);
        let file = first.file.clone().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2);
        for broken in [
            text.replace(" 1\n", " 2\n"),
            text.replace("16 1 768", "8 1 768"),
            text.replace(" 768 ", " x "),
            text.trim_end().rsplit_once(' ').unwrap().0.to_owned(),
            text.replace("ffffffffffffffff", "fffffffffffffffff"),
            "16 1 768".to_owned(),
        ] {
            assert_ne!(broken, text);
            fs::write(&file, broken).unwrap();
            assert_eq!(take(&mut Algorithms::open(Some(&folder), "library"), 1000, 9, 6), 6);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn near_shapes_are_of_one_class() {
        assert_eq!(class(&shape(1000)), class(&shape(1020)));
        assert_ne!(class(&shape(1000)), class(&shape(1100)));
        assert_eq!(class(&ColumnMajor { accumulate: true, ..shape(5) }), class(&shape(5)));
    }
}
