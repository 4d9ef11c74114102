//! Deterministic automata over bytes.

use std::collections::HashMap;

/// No way on.
pub(crate) const DEAD: u32 = u32::MAX;

/// Table cells that joining states may look at.
const MOST_WORK: usize = 20_000_000;

/// A deterministic automaton over bytes. Bytes that no state tells apart are one class.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ByteAutomaton {
    classes: Vec<u16>,
    stride: usize,
    /// `[states, stride]`: the next state, or [`DEAD`].
    table: Vec<u32>,
    accepting: Vec<bool>,
    start: u32,
}

impl ByteAutomaton {
    /// Without the states that no text passes on its way to an end, and with those that mean the same joined.
    pub(crate) fn new(classes: Vec<u16>, stride: usize, table: Vec<u32>, accepting: Vec<bool>, start: u32) -> Self {
        Self { classes, stride, table, accepting, start }.pruned().minimal()
    }

    pub(crate) fn states(&self) -> usize {
        self.accepting.len()
    }

    pub(crate) fn start(&self) -> u32 {
        self.start
    }

    pub(crate) fn accepts(&self, state: u32) -> bool {
        self.accepting[state as usize]
    }

    pub(crate) fn next(&self, state: u32, byte: u8) -> u32 {
        self.table[state as usize * self.stride + usize::from(self.classes[usize::from(byte)])]
    }

    /// The class of a byte.
    pub(crate) fn class(&self, byte: u8) -> u16 {
        self.classes[usize::from(byte)]
    }

    /// Whether it accepts nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.accepting.is_empty()
    }

    /// The ways on from a state, as ranges of bytes.
    pub(crate) fn ranges(&self, state: u32) -> Vec<(u8, u8, u32)> {
        let mut ranges: Vec<(u8, u8, u32)> = Vec::new();
        for byte in 0..=u8::MAX {
            let to = self.next(state, byte);
            match ranges.last_mut() {
                Some((_, last, before)) if *before == to && usize::from(*last) + 1 == usize::from(byte) => *last = byte,
                _ if to != DEAD => ranges.push((byte, byte, to)),
                _ => {}
            }
        }
        ranges
    }

    /// The texts of this automaton behind a blank that is part of the first token: a blank at the beginning is not theirs.
    pub(crate) fn behind_blank(&self) -> Self {
        let mut classes = self.classes.clone();
        let blank = classes[usize::from(b' ')];
        classes[usize::from(b' ')] = self.stride as u16;
        let stride = self.stride + 1;
        let with_blank = |row: &[u32]| row.iter().copied().chain([row[usize::from(blank)]]).collect::<Vec<u32>>();
        let mut table: Vec<u32> = self.table.chunks(self.stride).flat_map(with_blank).collect();
        let first = self.start as usize * stride;
        let mut owing = table[first..first + stride].to_vec();
        owing[self.stride] = self.start;
        table.extend(owing);
        let mut accepting = self.accepting.clone();
        accepting.push(self.accepts(self.start));
        Self { classes, stride, table, start: self.states() as u32, accepting }
    }

    /// The states that can be reached and from which an end can be, in the order in which they are found.
    fn pruned(self) -> Self {
        let states = self.states();
        let mut into = vec![Vec::new(); states];
        for state in 0..states {
            let row = &self.table[state * self.stride..][..self.stride];
            row.iter().filter(|to| **to != DEAD).for_each(|to| into[*to as usize].push(state));
        }
        let mut ends = self.accepting.clone();
        let mut open: Vec<usize> = (0..states).filter(|state| ends[*state]).collect();
        while let Some(state) = open.pop() {
            for &before in &into[state] {
                if !std::mem::replace(&mut ends[before], true) {
                    open.push(before);
                }
            }
        }
        let mut numbers = vec![DEAD; states];
        let mut order: Vec<usize> = Vec::new();
        if ends.get(self.start as usize) == Some(&true) {
            (numbers[self.start as usize], order) = (0, vec![self.start as usize]);
        }
        let mut index = 0;
        while let Some(&state) = order.get(index) {
            for &to in &self.table[state * self.stride..][..self.stride] {
                if to != DEAD && ends[to as usize] && numbers[to as usize] == DEAD {
                    numbers[to as usize] = order.len() as u32;
                    order.push(to as usize);
                }
            }
            index += 1;
        }
        let renamed = |to: &u32| if *to == DEAD { DEAD } else { numbers[*to as usize] };
        let table = order.iter().flat_map(|state| self.table[state * self.stride..][..self.stride].iter().map(renamed));
        let table = table.collect();
        let accepting = order.iter().map(|state| self.accepting[*state]).collect();
        Self { table, accepting, start: 0, ..self }
    }

    /// States that accept the same texts are one: classes are split until none has to be (Moore). Where that takes long,
    /// as with long counts, there is little to gain and all states stay.
    fn minimal(self) -> Self {
        let states = self.states();
        let mut class: Vec<u32> = self.accepting.iter().map(|accepts| u32::from(*accepts)).collect();
        let (mut count, mut work) = (0, 0_usize);
        loop {
            work = work.saturating_add(states * self.stride);
            if work > MOST_WORK {
                return self;
            }
            let mut numbers: HashMap<Vec<u32>, u32> = HashMap::new();
            let of = |to: &u32| if *to == DEAD { DEAD } else { class[*to as usize] };
            let signature = |state: usize| {
                let row = &self.table[state * self.stride..][..self.stride];
                std::iter::once(class[state]).chain(row.iter().map(of)).collect::<Vec<u32>>()
            };
            let next: Vec<u32> = (0..states)
                .map(|state| {
                    let number = numbers.len() as u32;
                    *numbers.entry(signature(state)).or_insert(number)
                })
                .collect();
            class = next;
            if numbers.len() == count {
                break;
            }
            count = numbers.len();
        }
        let mut first = vec![usize::MAX; count];
        (0..states).rev().for_each(|state| first[class[state] as usize] = state);
        let renamed = |to: &u32| if *to == DEAD { DEAD } else { class[*to as usize] };
        let table = first.iter().flat_map(|state| self.table[state * self.stride..][..self.stride].iter().map(renamed));
        let table = table.collect();
        let accepting = first.iter().map(|state| self.accepting[*state]).collect();
        let start = class.first().copied().unwrap_or(0);
        Self { table, accepting, start, ..self }
    }
}
