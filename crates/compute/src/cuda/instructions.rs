//! The emulated instructions against their definitions (PTX ISA, "Warp Level Matrix Instructions" and "Data Movement
//! and Conversion Instructions"), and what the emulation is to find.

use super::arguments::{In, Out, Typed};
use super::driver::{Driver, DriverError, Launch};
use super::emulator::{Emulator, SharedUse};
use crate::cpu::Numbers;
use half::bf16;
use std::sync::Arc;

const LANES: usize = 32;
const WARP: Launch = Launch { blocks: (1, 1), threads: LANES as u32, shared: 512 };

fn emulated() -> Option<Arc<Emulator>> {
    Emulator::new(1 << 20)
}

fn upload<T: super::Plain>(driver: &Emulator, values: &[T]) -> u64 {
    let at = driver.allocate(size_of_val(values)).unwrap();
    driver.write(at, super::bytes(values)).unwrap();
    at
}

fn download<T: super::Plain>(driver: &Emulator, at: u64, count: usize) -> Vec<T> {
    let mut values = vec![T::default(); count];
    driver.read(at, super::bytes_mut(&mut values)).unwrap();
    values
}

/// Two numbers in a word, the first in the low half.
fn pair(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

#[test]
fn matrices_are_loaded_as_the_fragments_of_a_warp() {
    let Some(driver) = emulated() else { return };
    // Element `column` of row `row` of matrix `i`.
    let element = |i: usize, row: usize, column: usize| (64 * i + 8 * row + column) as u16;
    let words: Vec<u32> = (0..128).map(|word| pair(2 * word, 2 * word + 1)).collect();
    let (rows, out) = (upload(&driver, &words), upload(&driver, &[0_u32; 4 * LANES]));
    for turned in [false, true] {
        let list = [i32::from(turned).argument(), In::<bf16>::new(rows).argument(), Out::<u32>::new(out).argument()];
        driver.launch("try_load_matrices", WARP, &list).unwrap();
        let got = download::<u32>(&driver, out, 4 * LANES);
        for lane in 0..LANES {
            for i in 0..4 {
                let (row, column) = (lane / 4, lane % 4 * 2);
                let expected = match turned {
                    false => pair(element(i, row, column), element(i, row, column + 1)),
                    true => pair(element(i, column, row), element(i, column + 1, row)),
                };
                assert_eq!(got[4 * lane + i], expected, "turned: {turned}, lane {lane}, matrix {i}");
            }
        }
    }
    // Rows of 16 bytes behind each other lie in banks of their own.
    assert_eq!(driver.shared_use(), SharedUse { copies: 0, accesses: 8, conflicts: 0 });
    // All in the same banks: each of eight rows waits for those before it.
    let shared = 32 * 128;
    driver.launch("try_shared_banks", Launch { shared, ..WARP }, &[Out::<u32>::new(out).argument()]).unwrap();
    assert_eq!(driver.shared_use(), SharedUse { copies: 0, accesses: 4, conflicts: 4 * 7 });
}

#[test]
fn a_warp_multiplies_the_matrices_whose_fragments_its_lanes_hold() {
    let Some(driver) = emulated() else { return };
    let mut numbers = Numbers(3);
    let mut draw = |count: usize| -> Vec<bf16> { numbers.many(count).into_iter().map(bf16::from_f64).collect() };
    // A [16, 16] and B [16, 8], row after row.
    let (a, b) = (draw(256), draw(128));
    let word = |matrix: &[bf16], low: usize, high: usize| pair(matrix[low].to_bits(), matrix[high].to_bits());
    let (mut left, mut right, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    for lane in 0..LANES {
        let (group, place) = (lane / 4, lane % 4);
        // PTX ISA, fragments of mma.m16n8k16 for .bf16: row `groupID` for a0, a1, a4, a5, else `groupID + 8`; column
        // `2 threadID + (i & 1)`, and 8 more from a4 on. Of B the row `2 threadID + (i & 1)`, 8 more from b2 on.
        for i in [0, 2, 4, 6] {
            let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
            let column = place * 2 + if i < 4 { 0 } else { 8 };
            left.push(word(&a, 16 * row + column, 16 * row + column + 1));
        }
        for i in [0, 2] {
            let row = place * 2 + if i < 2 { 0 } else { 8 };
            right.push(word(&b, 8 * row + group, 8 * (row + 1) + group));
        }
        sums.extend((0..4).map(|i| (100 * lane + i) as f32));
    }
    let (left, right, d) = (upload(&driver, &left), upload(&driver, &right), upload(&driver, &sums));
    let list = [In::<u32>::new(left).argument(), In::<u32>::new(right).argument(), Out::<f32>::new(d).argument()];
    driver.launch("try_multiply", WARP, &list).unwrap();
    let got = download::<f32>(&driver, d, 4 * LANES);
    for lane in 0..LANES {
        for i in 0..4 {
            let (row, column) = (lane / 4 + if i < 2 { 0 } else { 8 }, lane % 4 * 2 + i % 2);
            let product: f64 = (0..16).map(|k| a[16 * row + k].to_f64() * b[8 * k + column].to_f64()).sum();
            let (got, expected) = (f64::from(got[4 * lane + i]), f64::from(sums[4 * lane + i]) + product);
            assert!((got - expected).abs() < 1e-3, "lane {lane}, d{i}: {got}, not {expected}");
        }
    }
}

#[test]
fn powers_and_pairs_are_those_of_their_instructions() {
    let Some(driver) = emulated() else { return };
    let tie = f32::from_bits(0x3f80_8000);
    let mut x = vec![0.0, 1.0, -1.0, 0.5, -126.0, -126.5, -200.0, f32::NEG_INFINITY, f32::INFINITY, f32::NAN, tie];
    x.extend(Numbers(9).many(200).into_iter().map(|value| value as f32 * 20.0));
    let (at, powers, pairs) = (upload(&driver, &x), upload(&driver, &x), upload(&driver, &vec![0_u32; x.len()]));
    let list = [
        (x.len() as i64).argument(),
        In::<f32>::new(at).argument(),
        Out::<f32>::new(powers).argument(),
        Out::<u32>::new(pairs).argument(),
    ];
    driver.launch("try_numbers", Launch { blocks: (1, 1), threads: 256, shared: 0 }, &list).unwrap();
    let (powers, pairs) = (download::<f32>(&driver, powers, x.len()), download::<u32>(&driver, pairs, x.len()));
    for ((&x, power), word) in x.iter().zip(powers).zip(pairs) {
        let exact = f64::from(x).exp2();
        match exact {
            _ if x.is_nan() => assert!(power.is_nan()),
            exact if exact < f64::from(f32::MIN_POSITIVE) => assert_eq!(power, 0.0, "2^{x}"),
            exact if exact > f64::from(f32::MAX) => assert_eq!(power, f32::INFINITY, "2^{x}"),
            exact => assert!((f64::from(power) / exact - 1.0).abs() <= 2.0_f64.powi(-22), "2^{x} is {power}"),
        }
        if x.is_nan() {
            // The canonical NaN of cvt.
            assert_eq!(word, 0x7fff_7fff);
        } else {
            assert_eq!(word, pair(bf16::from_f32(x).to_bits(), bf16::from_f32(-x).to_bits()), "{x}");
        }
    }
}

/// Copies with a fault, by number.
fn copies(driver: &Emulator, fault: i32, bytes: i32) -> Result<Vec<u32>, DriverError> {
    let words: Vec<u32> = (1..=8 * LANES as u32).collect();
    let (from, out) = (upload(driver, &words), upload(driver, &vec![0_u32; words.len()]));
    let list = [fault.argument(), bytes.argument(), In::<u32>::new(from).argument(), Out::<u32>::new(out).argument()];
    driver.launch("try_copies", WARP, &list)?;
    Ok(download(driver, out, words.len()))
}

#[test]
fn copies_arrive_at_the_wait_and_what_is_not_given_is_zero() {
    let Some(driver) = emulated() else { return };
    for bytes in [0, 4, 12, 16] {
        let got = copies(&driver, 0, bytes).unwrap();
        for (i, word) in got.into_iter().enumerate() {
            // What the next lane copied, of this round.
            let (round, lane, part) = (i / (4 * LANES), i / 4 % LANES, i % 4);
            let source = 4 * LANES * round + (lane + 1) % LANES * 4 + part;
            let expected = if part < bytes as usize / 4 { source as u32 + 1 } else { 0 };
            assert_eq!(word, expected, "{bytes} bytes, word {i}");
        }
    }
    // What a thread copied it may read without a barrier.
    assert!(copies(&driver, 3, 16).is_ok());
}

#[test]
fn copies_that_are_read_or_replaced_too_early_are_found() {
    let Some(driver) = emulated() else { return };
    for (fault, words) in [
        (1, "before the copy by thread "),
        (2, "before the copy by thread "),
        (4, "into which a copy is under way"),
        (5, "before the copy by thread "),
        (6, "no multiples of 16 bytes"),
        (7, "beyond the 512 bytes of shared memory"),
        (8, "without a barrier behind the wait by thread 0"),
        (9, "which others may still read"),
    ] {
        let refusal = copies(&driver, fault, 16).unwrap_err().to_string();
        assert!(refusal.contains("`try_copies`") && refusal.contains(words), "fault {fault}: {refusal}");
    }
    // The next launch is judged by itself.
    assert!(copies(&driver, 0, 16).is_ok());
}

#[test]
fn a_write_beyond_the_shared_memory_is_found() {
    let Some(driver) = emulated() else { return };
    let write = |word: i32| driver.launch("try_beyond", WARP, &[word.argument()]);
    write(127).unwrap();
    let refusal = write(128).unwrap_err().to_string();
    assert!(refusal.contains("byte 512 of 512 of shared memory was written"), "{refusal}");
}

#[test]
fn a_read_of_what_nothing_wrote_is_found() {
    let Some(driver) = emulated() else { return };
    let refusal = |read: i32, written: bool| {
        let at = driver.allocate(512).unwrap();
        let out = upload(&driver, &[0_u32; LANES]);
        let list = [read.argument(), i32::from(written).argument(), Out::<u32>::new(at).argument()];
        let done = driver.launch("try_unwritten", WARP, &[&list[..], &[Out::<u32>::new(out).argument()]].concat());
        done.err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (read, words) in [
        (0, "reads 4 bytes of memory, of which nothing wrote byte 0"),
        (1, "reads 4 bytes of memory, of which nothing wrote byte 0"),
        (2, "reads 4 bytes of memory, of which nothing wrote byte 0"),
        (3, "reads 2 bytes of memory that nothing wrote"),
        (4, "reads 8 bytes of memory, of which nothing wrote byte 0"),
        (5, "reads 16 bytes of memory, of which nothing wrote byte 8"),
    ] {
        assert!(refusal(read, false).contains(words), "read {read}: {}", refusal(read, false));
        assert_eq!(refusal(read, true), "", "read {read}");
    }
    // Memory that was given back and is lent again.
    let at = upload(&driver, &[7_u32; 4 * LANES]);
    driver.forget(at, 512);
    let out = upload(&driver, &[0_u32; LANES]);
    let places = [at, out].map(|at| Out::<u32>::new(at).argument());
    let done = driver.launch("try_unwritten", WARP, &[0_i32.argument(), 0_i32.argument(), places[0], places[1]]);
    assert!(done.is_err());
}
