//! What was measured, as a table and as JSON.

use super::measure::{Generated, Times};
use super::timed::{Operation, Spent};
use crate::machine::{bytes, count};
use aquatint_generate::Drift;
use aquatint_network::NetworkSpec;
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that one call of `aquatint bench` measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) network: String,
    pub(crate) spec: NetworkSpec,
    /// The description in its family's words.
    pub(crate) config: Value,
    pub(crate) random_weights: bool,
    pub(crate) work: Work,
    pub(crate) processor: Option<String>,
    pub(crate) path: String,
    pub(crate) rows: Vec<Row>,
}

/// What was run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Work {
    /// `forward` or `training step`.
    pub(crate) name: &'static str,
    pub(crate) batch: usize,
    pub(crate) length: usize,
    /// Rows of the whole batch with logits or targets.
    pub(crate) requested: usize,
    pub(crate) operations: u64,
    /// The generation in words.
    pub(crate) generation: Option<String>,
}

/// What was measured in one precision on one number of threads.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) precision: String,
    pub(crate) threads: usize,
    pub(crate) start_up: Duration,
    pub(crate) times: Times,
    /// What the processor can do in 10⁹ operations a second.
    pub(crate) peak: Option<f64>,
    pub(crate) generated: Option<Generated>,
    /// Bytes.
    pub(crate) peak_memory: Option<u64>,
    /// What each operation took over all repetitions.
    pub(crate) breakdown: Option<Vec<(Operation, Spent)>>,
}

impl Row {
    /// 10⁹ operations a second, by the median time.
    fn speed(&self, work: &Work) -> f64 {
        work.operations as f64 / self.times.median() / 1e6
    }

    fn drift(&self) -> Option<Drift> {
        self.generated.as_ref().and_then(|generated| generated.drift)
    }

    fn share_of_peak(&self, work: &Work) -> Option<f64> {
        self.peak.map(|peak| self.speed(work) / peak)
    }

    /// Rows of the batch read, or learned from, in a second.
    fn positions_per_second(&self, work: &Work) -> f64 {
        (work.batch * work.length) as f64 / (self.times.median() / 1e3)
    }

    /// Times of operations, per repetition, and what is left of the whole.
    fn operations(&self) -> Option<Vec<Line>> {
        let spent = self.breakdown.as_ref()?;
        let repetitions = self.times.all().len() as f64;
        let whole = self.times.all().iter().sum::<f64>() / repetitions;
        let line = |name: String, calls: f64, milliseconds: f64| Line {
            name,
            calls,
            milliseconds,
            share: milliseconds / whole,
        };
        let mut lines: Vec<Line> = spent
            .iter()
            .map(|(operation, spent)| {
                let name = match operation.product {
                    Some((inputs, outputs)) => format!("{} {inputs} -> {outputs}", operation.name),
                    None => operation.name.to_owned(),
                };
                line(name, spent.calls as f64 / repetitions, spent.time.as_secs_f64() * 1e3 / repetitions)
            })
            .collect();
        let rest = whole - lines.iter().map(|line| line.milliseconds).sum::<f64>();
        lines.push(line("between operations".to_owned(), 1.0, rest.max(0.0)));
        Some(lines)
    }
}

/// One operation in the breakdown of a repetition.
struct Line {
    name: String,
    calls: f64,
    milliseconds: f64,
    share: f64,
}

impl Report {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let spec = &self.spec;
        let work = &self.work;
        let weights = if self.random_weights { ", random weights" } else { "" };
        let mut head = vec![
            (
                "network",
                format!(
                    "{}: {} parameters, {} layers of width {}, {} tokens{weights}",
                    self.network,
                    count(spec.parameter_count() as u64),
                    spec.layers.len(),
                    spec.width,
                    spec.vocabulary_size
                ),
            ),
            (
                "work",
                format!(
                    "{} of {} x {} positions, {} of them with {}, {:.2} GFLOP",
                    work.name,
                    work.batch,
                    work.length,
                    work.requested,
                    if self.is_training() { "a target" } else { "logits" },
                    work.operations as f64 / 1e9
                ),
            ),
        ];
        head.extend(work.generation.iter().map(|text| ("generation", text.clone())));
        let processor = self.processor.as_deref().unwrap_or("unknown");
        head.push(("processor", format!("{processor}, {} path", self.path)));
        let mut text: String = head.iter().map(|(name, value)| format!("{name:<12}{value}\n")).collect();
        text.push('\n');
        text.push_str(&grid(&self.columns()));
        for row in &self.rows {
            if let Some(lines) = row.operations() {
                text.push_str(&format!("\n{}, {}\n", row.precision, threads(row.threads)));
                text.push_str(&grid(&[
                    column("operation", lines.iter().map(|line| line.name.clone())),
                    column("calls", lines.iter().map(|line| format!("{:.0}", line.calls))),
                    column("ms", lines.iter().map(|line| format!("{:.3}", line.milliseconds))),
                    column("share", lines.iter().map(|line| percent(line.share))),
                ]));
            }
        }
        text
    }

    fn is_training(&self) -> bool {
        self.work.name != FORWARD
    }

    fn columns(&self) -> Vec<Vec<String>> {
        let each = |text: &dyn Fn(&Row) -> String| self.rows.iter().map(text).collect::<Vec<_>>();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut columns = vec![
            column("precision", each(&|row| row.precision.clone())),
            column("threads", each(&|row| row.threads.to_string())),
            column("start-up", each(&|row| format!("{:.3} s", row.start_up.as_secs_f64()))),
            column("median", each(&|row| milliseconds(row.times.median()))),
            column("best", each(&|row| milliseconds(row.times.best()))),
            column("GFLOP/s", each(&|row| format!("{:.1}", row.speed(&self.work)))),
            column("of peak", each(&|row| or_dash(row.share_of_peak(&self.work).map(percent)))),
        ];
        if self.is_training() {
            columns.push(column("tokens/s", each(&|row| format!("{:.0}", row.positions_per_second(&self.work)))));
        }
        if self.work.generation.is_some() {
            let generated =
                |text: &dyn Fn(&Generated) -> String| each(&|row| or_dash(row.generated.as_ref().map(text)));
            columns.push(column("tokens/s", generated(&|generated| format!("{:.1}", generated.tokens_per_second()))));
            columns
                .push(column("tokens/pass", generated(&|generated| format!("{:.2}", generated.tokens_per_forward()))));
            columns.push(column("rows read", generated(&|generated| generated.rows_read.to_string())));
            if self.rows.iter().any(|row| row.drift().is_some()) {
                let drift = |text: &dyn Fn(Drift) -> String| each(&|row| or_dash(row.drift().map(text)));
                columns.push(column("drift", drift(&|drift| format!("{:.3}", drift.mean))));
                columns.push(column("most", drift(&|drift| format!("{:.3}", drift.largest))));
                columns.push(column("flipped", drift(&|drift| percent(drift.flipped))));
            }
        }
        columns.push(column("peak memory", each(&|row| or_dash(row.peak_memory.map(bytes)))));
        columns
    }

    /// The same for scripts.
    pub(crate) fn json(&self) -> Value {
        let work = &self.work;
        let times =
            |times: &Times| json!({ "median_ms": times.median(), "best_ms": times.best(), "times_ms": times.all() });
        let generated = |generated: &Generated| {
            json!({
                "time": times(&generated.times),
                "tokens": generated.tokens,
                "forward_passes": generated.forward_passes,
                "tokens_per_second": generated.tokens_per_second(),
                "tokens_per_forward": generated.tokens_per_forward(),
                "rows_read": generated.rows_read,
                // Total variation between predictions with the cache and without, and the share of other likeliest
                // tokens.
                "drift": generated.drift.map(|drift| json!({
                    "predictions": drift.rows, "mean": drift.mean, "largest": drift.largest, "flipped": drift.flipped,
                })),
            })
        };
        let operations = |lines: Vec<Line>| -> Vec<Value> {
            let one = |line: Line| json!({ "operation": line.name, "calls": line.calls, "ms": line.milliseconds, "share": line.share });
            lines.into_iter().map(one).collect()
        };
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "precision": row.precision,
                    "threads": row.threads,
                    "start_up_s": row.start_up.as_secs_f64(),
                    "time": times(&row.times),
                    "gflops": row.speed(work),
                    "peak_gflops": row.peak,
                    "share_of_peak": row.share_of_peak(work),
                    "positions_per_second": row.positions_per_second(work),
                    "generation": row.generated.as_ref().map(generated),
                    "peak_memory_bytes": row.peak_memory,
                    "breakdown": row.operations().map(operations),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "processor": self.processor,
            "path": self.path,
            "network": { "name": self.network, "parameters": self.spec.parameter_count(),
                "random_weights": self.random_weights, "config": self.config },
            "work": { "name": work.name, "batch": work.batch, "length": work.length, "rows": work.requested,
                "operations": work.operations, "generation": work.generation },
            "results": rows,
        })
    }
}

/// The name of the work that every other name is compared with.
pub(crate) const FORWARD: &str = "forward";

fn column(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(cells).collect()
}

/// Columns side by side, the first one to the left and the others to the right.
fn grid(columns: &[Vec<String>]) -> String {
    let widths: Vec<usize> =
        columns.iter().map(|cells| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let rows = columns.first().map_or(0, Vec::len);
    (0..rows)
        .map(|row| {
            let mut line = String::new();
            for (index, (cells, &width)) in columns.iter().zip(&widths).enumerate() {
                match index {
                    0 => line.push_str(&format!("{:<width$}", cells[row])),
                    _ => line.push_str(&format!("  {:>width$}", cells[row])),
                }
            }
            line.push('\n');
            line
        })
        .collect()
}

/// Three or four figures, as a clock of this kind is worth.
fn milliseconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.3} ms") } else { format!("{value:.1} ms") }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn threads(count: usize) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::batch::tests::spec;
    use aquatint_diffusion::Layout;

    fn report(work: Work) -> Report {
        let row = |precision: &str, threads, median: f64, peak| Row {
            precision: precision.to_owned(),
            threads,
            start_up: Duration::from_millis(52),
            times: Times::new(vec![median, 2.0 * median, 0.9 * median]),
            peak,
            generated: work.generation.as_ref().map(|_| Generated {
                times: Times::new(vec![400.0]),
                tokens: 96,
                forward_passes: 12,
                rows_read: 672,
                drift: (threads == 1).then_some(Drift { rows: 384, mean: 0.0123, largest: 0.25, flipped: 0.03 }),
            }),
            peak_memory: Some(187_654_321),
            breakdown: None,
        };
        let rows = vec![row("f32", 1, 60.0, Some(117.0)), row("int8", 16, 9.5, None)];
        Report {
            network: "tiny.json".to_owned(),
            spec: spec(Layout::Full),
            config: json!({ "hidden_size": 8 }),
            random_weights: true,
            work,
            processor: Some("A Fine Processor".to_owned()),
            path: "avx512".to_owned(),
            rows,
        }
    }

    fn forward() -> Work {
        Work { name: FORWARD, batch: 1, length: 128, requested: 128, operations: 6_000_000_000, generation: None }
    }

    #[test]
    fn a_forward_pass_is_reported_in_a_table() {
        insta::assert_snapshot!(report(forward()).table());
    }

    #[test]
    fn a_generation_adds_its_columns() {
        let generation = Some("96 tokens behind 32 given ones".to_owned());
        insta::assert_snapshot!(report(Work { generation, ..forward() }).table());
    }

    #[test]
    fn a_training_step_with_its_operations_is_reported_in_tables() {
        let mut report = report(Work { name: "training step", requested: 64, ..forward() });
        report.rows.truncate(1);
        let spent = |calls, milliseconds| Spent { calls, time: Duration::from_millis(milliseconds) };
        report.rows[0].breakdown = Some(vec![
            (Operation { name: "linear", product: Some((512, 1536)) }, spent(24, 120)),
            (Operation { name: "attention", product: None }, spent(24, 60)),
        ]);
        insta::assert_snapshot!(report.table());
    }

    #[test]
    fn scripts_get_the_same_figures() {
        let json = report(forward()).json();
        let first = &json["results"][0];
        assert_eq!(first["time"]["median_ms"], 60.0);
        assert_eq!(first["gflops"], 100.0);
        assert_eq!(first["share_of_peak"], 100.0 / 117.0);
        assert_eq!(json["results"][1]["share_of_peak"], Value::Null);
        assert_eq!(json["network"]["config"]["hidden_size"], 8);
    }
}
