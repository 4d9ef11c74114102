//! `aquatint quantize`: a model whose matrices are small integers, for less memory and faster products.

use crate::arguments::{HeadChoice, QuantiseArguments};
use crate::failure::Failure;
use crate::machine::bytes;
use crate::model;
use crate::printer::Printer;
use aquatint_checkpoint::{Checkpoint, QuantisePlan};
use aquatint_compute::Bits;
use std::collections::BTreeMap;

/// Inputs that share a scale in 4 bits where nothing is said.
const GROUP_OF_FOUR_BITS: usize = 32;

pub(crate) fn run(arguments: &QuantiseArguments, printer: &Printer) -> Result<(), Failure> {
    let checkpoint = model::open(Some(&arguments.model), printer)?;
    // Files of a model that is there would be replaced one by one.
    if arguments.out.join("config.json").exists() {
        return Err(Failure::new(format!("`{}` already holds a model", arguments.out.display()))
            .hint("choose another folder, or remove this one"));
    }
    let bits = match arguments.bits {
        4 => Bits::Four,
        8 => Bits::Eight,
        other => return Err(Failure::new(format!("`bits` is {other}; allowed: 4, 8"))),
    };
    let group = arguments.group.or((bits == Bits::Four).then_some(GROUP_OF_FOUR_BITS));
    let plan = QuantisePlan { bits, group, head: arguments.head == HeadChoice::Eight };
    let quantised = checkpoint.quantise(plan, &arguments.out)?;

    let written = Checkpoint::load(&arguments.out)?;
    printer.status(format_args!("{:<12}{}", "quantised", quantised.quantisation));
    printer.status(format_args!("{:<12}{}", "the rest", quantised.storage));
    let ((_, before), (_, after)) = (checkpoint.size(), written.size());
    printer.status(format_args!("{:<12}{} before, {} after", "size", bytes(before), bytes(after)));
    printer.status("the largest error of a matrix of each kind, as a share of its norm");
    let mut largest: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, error) in &quantised.errors {
        let kind = name.trim_end_matches(".weight").rsplit('.').next().unwrap_or(name);
        let place = largest.entry(kind).or_default();
        *place = place.max(*error);
    }
    for (kind, error) in largest {
        printer.status(format_args!("{kind:<12}{:.3} %", 100.0 * error));
    }
    printer.data_line(arguments.out.display())
}
