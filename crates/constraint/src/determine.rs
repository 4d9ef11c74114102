//! Expressions to deterministic automata: Thompson's construction, then the subsets of its states.

use crate::automaton::{ByteAutomaton, DEAD};
use crate::error::{Limit, TooLarge};
use crate::expression::{Expression, Item};
use std::cell::Cell;
use std::collections::HashMap;

type Node = u32;

/// The steps that all automata of one expression may take.
const MOST_STEPS: usize = 100_000_000;
/// Steps for each cell of a table in which states are joined.
const JOINING: usize = 20;

/// The steps that an expression has taken so far.
struct Steps(Cell<usize>);

impl Steps {
    fn take(&self, steps: usize) -> Result<(), TooLarge> {
        self.0.set(self.0.get().saturating_add(steps));
        if self.0.get() > MOST_STEPS { Err(TooLarge(Limit::Work)) } else { Ok(()) }
    }
}

/// A nondeterministic automaton in the making. Node 0 is the start.
struct Network<'a> {
    steps: &'a Steps,
    /// The nodes that stand at the same place of the text.
    same: Vec<Vec<Node>>,
    /// Ways on by a byte.
    bytes: Vec<Vec<(u8, u8, Node)>>,
}

/// The automaton of an expression.
pub(crate) fn determine(expression: &Expression) -> Result<ByteAutomaton, TooLarge> {
    determine_within(expression, &Steps(Cell::new(0)))
}

fn determine_within(expression: &Expression, steps: &Steps) -> Result<ByteAutomaton, TooLarge> {
    let mut network = Network { steps, same: Vec::new(), bytes: Vec::new() };
    let start = network.node()?;
    let end = network.add(expression, start)?;
    network.subsets(start, end)
}

impl Network<'_> {
    fn node(&mut self) -> Result<Node, TooLarge> {
        if self.same.len() >= Limit::Parts.most() {
            return Err(TooLarge(Limit::Parts));
        }
        self.same.push(Vec::new());
        self.bytes.push(Vec::new());
        Ok(self.same.len() as Node - 1)
    }

    fn join(&mut self, from: Node, to: Node) {
        self.same[from as usize].push(to);
    }

    /// Adds the texts of an expression behind a node, which has no ways on of its own; returns the node behind them.
    fn add(&mut self, expression: &Expression, from: Node) -> Result<Node, TooLarge> {
        match expression {
            Expression::Bytes(bytes) => bytes.iter().try_fold(from, |from, byte| self.step(from, &[(*byte, *byte)])),
            Expression::Byte(ranges) => self.step(from, ranges),
            Expression::All(parts) => parts.iter().try_fold(from, |from, part| self.add(part, from)),
            Expression::Either(parts) => {
                let end = self.node()?;
                for part in parts {
                    let start = self.node()?;
                    self.join(from, start);
                    let behind = self.add(part, start)?;
                    self.join(behind, end);
                }
                Ok(end)
            }
            Expression::Repeat { of, least, most } => self.repeat(of, *least, *most, from),
            Expression::Loop { of, separator } => {
                let start = self.node()?;
                self.join(from, start);
                let behind = self.add(of, start)?;
                let again = self.node()?;
                self.join(behind, again);
                let again = self.add(separator, again)?;
                self.join(again, start);
                Ok(behind)
            }
            Expression::Both(parts) => self.embed(&intersect(parts, self.steps)?, from),
            Expression::List { items, separator, least, most } => self.list(items, separator, (*least, *most), from),
            Expression::Automaton(automaton) => self.embed(automaton, from),
        }
    }

    fn step(&mut self, from: Node, ranges: &[(u8, u8)]) -> Result<Node, TooLarge> {
        let (start, end) = (self.node()?, self.node()?);
        self.join(from, start);
        self.bytes[start as usize].extend(ranges.iter().map(|(first, last)| (*first, *last, end)));
        Ok(end)
    }

    fn repeat(&mut self, of: &Expression, least: usize, most: Option<usize>, from: Node) -> Result<Node, TooLarge> {
        let mut at = from;
        for _ in 0..least {
            at = self.add(of, at)?;
        }
        let end = self.node()?;
        self.join(at, end);
        match most {
            None => {
                let start = self.node()?;
                self.join(at, start);
                let behind = self.add(of, start)?;
                self.join(behind, start);
                self.join(behind, end);
            }
            Some(most) => {
                for _ in least..most {
                    let start = self.node()?;
                    self.join(at, start);
                    at = self.add(of, start)?;
                    self.join(at, end);
                }
            }
        }
        Ok(end)
    }

    fn embed(&mut self, automaton: &ByteAutomaton, from: Node) -> Result<Node, TooLarge> {
        let end = self.node()?;
        if automaton.is_empty() {
            return Ok(end);
        }
        let nodes: Vec<Node> = (0..automaton.states()).map(|_| self.node()).collect::<Result<_, _>>()?;
        for state in 0..automaton.states() as u32 {
            let ranges = automaton.ranges(state).into_iter();
            let branches = ranges.map(|(first, last, to)| (first, last, nodes[to as usize]));
            self.bytes[nodes[state as usize] as usize] = branches.collect();
            if automaton.accepts(state) {
                self.join(nodes[state as usize], end);
            }
        }
        self.join(from, nodes[automaton.start() as usize]);
        Ok(end)
    }

    /// Between two items the count of those that are there matters: up to 1 for the separator, further for limits.
    fn list(
        &mut self,
        items: &[Item],
        separator: &Expression,
        (least, most): (usize, Option<usize>),
        from: Node,
    ) -> Result<Node, TooLarge> {
        let counted = least.max(most.map_or(1, |most| most.saturating_add(1))).clamp(1, items.len().max(1));
        let mut row: Vec<Option<Node>> = vec![None; counted + 1];
        row[0] = Some(from);
        for item in items {
            let mut next: Vec<Option<Node>> = vec![None; counted + 1];
            let mut entries: Vec<Vec<Node>> = vec![Vec::new(); counted + 1];
            for (count, node) in row.iter().enumerate().filter_map(|(count, node)| Some((count, (*node)?))) {
                if !item.is_required {
                    let passed = self.at(&mut next[count])?;
                    self.join(node, passed);
                }
                if most.is_none_or(|most| count < most) {
                    let start = self.node()?;
                    self.join(node, start);
                    let start = if count == 0 { start } else { self.add(separator, start)? };
                    entries[(count + 1).min(counted)].push(start);
                }
            }
            for (count, entries) in entries.into_iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
                let start = self.node()?;
                entries.into_iter().for_each(|entry| self.join(entry, start));
                let behind = self.add(&item.of, start)?;
                let passed = self.at(&mut next[count])?;
                self.join(behind, passed);
            }
            row = next;
        }
        let end = self.node()?;
        for (count, node) in row.iter().enumerate() {
            if let (Some(node), true) = (node, count >= least) {
                self.join(*node, end);
            }
        }
        Ok(end)
    }

    /// The node of a place, made where there is none yet.
    fn at(&mut self, place: &mut Option<Node>) -> Result<Node, TooLarge> {
        match place {
            Some(node) => Ok(*node),
            None => {
                let node = self.node()?;
                *place = Some(node);
                Ok(node)
            }
        }
    }

    fn subsets(&self, start: Node, end: Node) -> Result<ByteAutomaton, TooLarge> {
        let (classes, stride) = self.classes();
        let mut closed = Closure { marks: vec![0; self.same.len()], mark: 0 };
        let mut numbers: HashMap<Vec<Node>, u32> = HashMap::new();
        let mut sets = vec![closed.of(self, vec![start])];
        numbers.insert(sets[0].clone(), 0);
        let (mut table, mut accepting) = (Vec::new(), Vec::new());
        let mut index = 0;
        while index < sets.len() {
            let set = sets[index].clone();
            accepting.push(set.contains(&end));
            let mut leads: Vec<Vec<Node>> = vec![Vec::new(); stride];
            let mut steps = stride * JOINING;
            for &(first, last, to) in set.iter().flat_map(|node| &self.bytes[*node as usize]) {
                let (first, last) = (classes[usize::from(first)], classes[usize::from(last)]);
                (first..=last).for_each(|class| leads[usize::from(class)].push(to));
                steps += usize::from(last - first) + 1;
            }
            for lead in leads {
                if lead.is_empty() {
                    table.push(DEAD);
                    continue;
                }
                let set = closed.of(self, lead);
                steps += set.len();
                let next = sets.len() as u32;
                let number = *numbers.entry(set).or_insert_with_key(|set| {
                    sets.push(set.clone());
                    next
                });
                table.push(number);
            }
            if sets.len() > Limit::States.most() {
                return Err(TooLarge(Limit::States));
            }
            self.steps.take(steps)?;
            index += 1;
        }
        Ok(ByteAutomaton::new(classes, stride, table, accepting, 0))
    }

    /// The class of each byte, ascending, and how many there are.
    fn classes(&self) -> (Vec<u16>, usize) {
        let mut begins = [false; 257];
        for &(first, last, _) in self.bytes.iter().flatten() {
            begins[usize::from(first)] = true;
            begins[usize::from(last) + 1] = true;
        }
        let mut class = 0;
        let classes = (0..256).map(|byte| {
            class += u16::from(byte > 0 && begins[byte]);
            class
        });
        let classes: Vec<u16> = classes.collect();
        (classes, usize::from(class) + 1)
    }
}

/// Finds the nodes at the same place.
struct Closure {
    marks: Vec<u32>,
    mark: u32,
}

impl Closure {
    /// The set with all nodes at the same place that have ways on by bytes or none at all, ascending.
    fn of(&mut self, network: &Network<'_>, mut open: Vec<Node>) -> Vec<Node> {
        self.mark += 1;
        let mut found = Vec::new();
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut self.marks[node as usize], self.mark) == self.mark {
                continue;
            }
            let same = &network.same[node as usize];
            if same.is_empty() || !network.bytes[node as usize].is_empty() {
                found.push(node);
            }
            open.extend(same);
        }
        found.sort_unstable();
        found
    }
}

/// The texts that all expressions allow.
fn intersect(parts: &[Expression], steps: &Steps) -> Result<ByteAutomaton, TooLarge> {
    let mut automata = parts.iter().map(|part| determine_within(part, steps));
    let first = automata.next().unwrap_or_else(|| determine_within(&Expression::never(), steps))?;
    automata.try_fold(first, |both, next| product(&both, &next?, steps))
}

fn product(a: &ByteAutomaton, b: &ByteAutomaton, steps: &Steps) -> Result<ByteAutomaton, TooLarge> {
    if a.is_empty() || b.is_empty() {
        return determine_within(&Expression::never(), steps);
    }
    // Bytes that neither tells apart.
    let mut pairs_of_classes: HashMap<(u16, u16), u16> = HashMap::new();
    let mut examples = Vec::new();
    let mut classes = Vec::with_capacity(256);
    for byte in 0..=u8::MAX {
        let next = pairs_of_classes.len() as u16;
        let class = *pairs_of_classes.entry((a.class(byte), b.class(byte))).or_insert(next);
        if class == next {
            examples.push(byte);
        }
        classes.push(class);
    }
    let mut pairs = vec![(a.start(), b.start())];
    let mut numbers: HashMap<(u32, u32), u32> = HashMap::from([(pairs[0], 0)]);
    let (mut table, mut accepting, mut index) = (Vec::new(), Vec::new(), 0);
    while index < pairs.len() {
        let (x, y) = pairs[index];
        steps.take(examples.len() * JOINING)?;
        accepting.push(a.accepts(x) && b.accepts(y));
        for &byte in &examples {
            let pair = (a.next(x, byte), b.next(y, byte));
            if pair.0 == DEAD || pair.1 == DEAD {
                table.push(DEAD);
                continue;
            }
            let next = pairs.len() as u32;
            let number = *numbers.entry(pair).or_insert(next);
            if number == next {
                pairs.push(pair);
            }
            table.push(number);
        }
        if pairs.len() > Limit::States.most() {
            return Err(TooLarge(Limit::States));
        }
        index += 1;
    }
    Ok(ByteAutomaton::new(classes, examples.len(), table, accepting, 0))
}
