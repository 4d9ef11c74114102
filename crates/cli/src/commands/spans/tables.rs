//! What was measured, as tables.

use aquatint_evaluate::Share;
use aquatint_evaluate::spans::{JudgedPictures, NamedSpans, SpanReport};
use std::fmt::Write as _;

/// All tables of a report, one below the other.
pub(super) fn human(report: &SpanReport) -> String {
    let tables = [
        pictures(report),
        judged(report),
        named("picture", &report.captions),
        spoken(report),
        heard(report),
        codes(report),
    ];
    tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A chance, which is small where there is much to choose from.
fn chance(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A share with its interval.
fn within(rate: f64, [low, high]: [f64; 2]) -> String {
    format!("{} [{:.1}, {:.1}]", percent(rate), 100.0 * low, 100.0 * high)
}

fn share(share: Share) -> String {
    if share.count == 0 { "none".to_owned() } else { within(share.rate(), share.interval()) }
}

/// Lines of columns that are as wide as their widest cell, the first to the left, the others to the right.
fn table(heads: &[&str], lines: &[Vec<String>]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        let cells = cells.map(|cell| cell.chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for line in std::iter::once(&heads).chain(lines) {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a string does not fail.
            let _ = match column {
                0 => write!(row, "{cell:<width$}"),
                _ => write!(row, "  {cell:>width$}"),
            };
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

fn pictures(report: &SpanReport) -> String {
    let heads = [
        "picture behind",
        "steps",
        "guidance",
        "shows it",
        "chance",
        "codec alone",
        "distance",
        "of true ones",
        "seconds",
        "count",
        "concepts",
    ];
    let line = |line: &aquatint_evaluate::spans::ShownPictures| {
        vec![
            format!("a {}", line.kind),
            line.steps.to_string(),
            line.guidance_scale.to_string(),
            within(line.hit_rate, line.interval),
            percent(line.chance),
            percent(line.reconstruction_hit_rate),
            format!("{:.3}", line.distance),
            format!("{:.3}", line.true_distance),
            format!("{:.2}", line.seconds_each),
            line.count.to_string(),
            line.concepts.to_string(),
        ]
    };
    table(&heads, &report.pictures.iter().map(line).collect::<Vec<_>>())
}

fn judged(report: &SpanReport) -> String {
    let heads = ["judged behind", "steps", "guidance", "shows it", "chance", "codec alone", "true pictures", "names"];
    let lines = report.pictures.iter().filter_map(|line| {
        let judged: JudgedPictures = line.judged?;
        Some(vec![
            format!("a {}", line.kind),
            line.steps.to_string(),
            line.guidance_scale.to_string(),
            share(judged.made),
            chance(judged.chance()),
            share(judged.reconstructions),
            share(judged.originals),
            judged.names.to_string(),
        ])
    });
    table(&heads, &lines.collect::<Vec<_>>())
}

fn named(what: &str, spans: &[NamedSpans]) -> String {
    let first = format!("words behind a {what}");
    let line = |line: &NamedSpans| {
        let rate = within(line.hit_rate, line.interval);
        vec![line.lang.clone(), rate, format!("{:.2}", line.seconds_each), line.count.to_string()]
    };
    let mut lines: Vec<Vec<String>> = spans.iter().map(line).collect();
    if let [_, _, ..] = spans {
        let mean = spans.iter().map(|line| line.hit_rate).sum::<f64>() / spans.len() as f64;
        let of = if what == "picture" { "languages" } else { "sources" };
        lines.push(vec![format!("mean of {} {of}", spans.len()), percent(mean)]);
    }
    table(&[&first, "name it", "seconds", "count"], &lines)
}

fn heard(report: &SpanReport) -> String {
    named("sound", &report.heard)
}

fn spoken(report: &SpanReport) -> String {
    let heads =
        ["sound of a word", "steps", "guidance", "by", "says it", "chance", "codec alone", "recordings", "count"];
    let mut lines = Vec::new();
    for line in &report.spoken {
        let both = [("reading it", "", line.read), ("the nearest", &*chance(line.chance), line.nearest)];
        for (by, chance, shares) in both {
            lines.push(vec![
                line.source.clone(),
                line.steps.to_string(),
                line.guidance_scale.to_string(),
                by.to_owned(),
                share(shares.made),
                chance.to_owned(),
                share(shares.reconstructions),
                share(shares.originals),
                shares.made.count.to_string(),
            ]);
        }
    }
    let mut text = table(&heads, &lines);
    let heads = ["sound of a word", "steps", "guidance", "distance", "of true ones", "seconds"];
    let line = |line: &aquatint_evaluate::spans::SpokenWords| {
        vec![
            line.source.clone(),
            line.steps.to_string(),
            line.guidance_scale.to_string(),
            format!("{:.3}", line.distance),
            format!("{:.3}", line.true_distance),
            format!("{:.2}", line.seconds_each),
        ]
    };
    let distances = table(&heads, &report.spoken.iter().map(line).collect::<Vec<_>>());
    if !distances.is_empty() {
        text.push('\n');
        text += &distances;
    }
    text
}

fn codes(report: &SpanReport) -> String {
    let line = |(kind, cost): (&&str, &aquatint_evaluate::spans::CodesCost)| {
        let figures = [format!("{:.4}", cost.nats_per_code), format!("{:.4}", cost.uniform), cost.codes.to_string()];
        [format!("codes of a {kind}")].into_iter().chain(figures).collect::<Vec<_>>()
    };
    table(&["held out", "nats/code", "all alike", "codes"], &report.codes.iter().map(line).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_evaluate::spans::{CodesCost, ShownPictures, SpokenShares, SpokenWords};
    use insta::assert_snapshot;
    use std::collections::BTreeMap;

    fn empty() -> SpanReport {
        SpanReport {
            catalogue: 6000,
            pictures: Vec::new(),
            captions: Vec::new(),
            spoken: Vec::new(),
            heard: Vec::new(),
            codes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_report_of_pictures_is_their_tables() {
        let of = |hits, count| Share { hits, count };
        let judged =
            JudgedPictures { names: 2100, made: of(80, 200), reconstructions: of(120, 198), originals: of(150, 198) };
        let pictures = ShownPictures {
            kind: "passage".into(),
            steps: 16,
            guidance_scale: 2.0,
            count: 200,
            concepts: 120,
            hit_rate: 0.615,
            interval: of(123, 200).interval(),
            chance: 0.004,
            reconstruction_hit_rate: 0.98,
            judged: Some(judged),
            distance: 0.4215,
            true_distance: 0.01,
            seconds_each: 1.25,
        };
        let captions = |lang: &str, hits| {
            let share = of(hits, 40);
            let (hit_rate, interval) = (share.rate(), share.interval());
            NamedSpans { lang: lang.into(), count: 40, hit_rate, interval, seconds_each: 0.5 }
        };
        let report = SpanReport {
            pictures: vec![pictures],
            captions: vec![captions("en", 22), captions("de", 10)],
            codes: BTreeMap::from([("picture", CodesCost { nats_per_code: 3.25, codes: 12_800, uniform: 6.907_755 })]),
            ..empty()
        };
        assert_snapshot!(human(&report), @"
        picture behind  steps  guidance             shows it  chance  codec alone  distance  of true ones  seconds  count  concepts
        a passage          16         2  61.5 % [54.6, 68.0]   0.4 %       98.0 %     0.421         0.010     1.25    200       120

        judged behind  steps  guidance             shows it  chance          codec alone        true pictures  names
        a passage         16         2  40.0 % [33.5, 46.9]  0.05 %  60.6 % [53.7, 67.1]  75.8 % [69.3, 81.2]   2100

        words behind a picture              name it  seconds  count
        en                      55.0 % [39.8, 69.3]     0.50     40
        de                      25.0 % [14.2, 40.2]     0.50     40
        mean of 2 languages                  40.0 %

        held out            nats/code  all alike  codes
        codes of a picture     3.2500     6.9078  12800
        ");
        assert_eq!(human(&empty()), "");
    }

    #[test]
    fn a_report_of_sounds_is_their_tables() {
        let of = |hits, count| Share { hits, count };
        let spoken = SpokenWords {
            source: "espeak-ng".into(),
            steps: 16,
            guidance_scale: 2.0,
            count: 100,
            read: SpokenShares { made: of(40, 100), reconstructions: of(60, 100), originals: of(62, 100) },
            nearest: SpokenShares { made: of(20, 50), reconstructions: of(45, 50), originals: of(48, 50) },
            chance: 0.0006,
            distance: 0.1212,
            true_distance: 0.0805,
            seconds_each: 0.75,
        };
        let share = of(62, 100);
        let heard = NamedSpans {
            lang: "espeak-ng".into(),
            count: 100,
            hit_rate: share.rate(),
            interval: share.interval(),
            seconds_each: 0.25,
        };
        let report = SpanReport { spoken: vec![spoken], heard: vec![heard], ..empty() };
        assert_snapshot!(human(&report), @"
        sound of a word  steps  guidance           by              says it  chance          codec alone           recordings  count
        espeak-ng           16         2   reading it  40.0 % [30.9, 49.8]          60.0 % [50.2, 69.1]  62.0 % [52.2, 70.9]    100
        espeak-ng           16         2  the nearest  40.0 % [27.6, 53.8]  0.06 %  90.0 % [78.6, 95.7]  96.0 % [86.5, 98.9]     50

        sound of a word  steps  guidance  distance  of true ones  seconds
        espeak-ng           16         2     0.121         0.081     0.75

        words behind a sound              name it  seconds  count
        espeak-ng             62.0 % [52.2, 70.9]     0.25    100
        ");
    }
}
