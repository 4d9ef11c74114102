//! A crate uses only crates under it. Which those are stands in one place, the code map of ARCHITECTURE.md: the last
//! column of its table names what each room knows, and a room may use whatever those are built on.
//!
//! Tests may use `testing` and what is called `testing-…` besides; nothing else may.

use super::Findings;
use crate::repository::Repository;
use std::collections::{BTreeMap, BTreeSet};

const MAP: &str = "ARCHITECTURE.md";
const FIRST_HEADING: &str = "crate";
const LAST_HEADING: &str = "knows";
/// Stands in the last column for every other room but those for tests.
const ALL: &str = "all";
const TESTING: &str = "testing";

type Rooms = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(repository: &Repository) -> Findings {
    let Some(map) = repository.file(MAP) else { return vec![format!("{MAP} is missing")] };
    let rooms = rooms(&map.text);
    if rooms.is_empty() {
        return vec![format!(
            "{MAP} has no table whose headings begin with `{FIRST_HEADING}` and end with `{LAST_HEADING}`"
        )];
    }
    let mut findings = Findings::new();
    for package in &repository.packages {
        let room = room_of(&package.name);
        if !rooms.contains_key(room) {
            findings
                .push(format!("{}: not in the code map of {MAP}; write what it is and what it knows", package.name));
            continue;
        }
        let under = under(room, &rooms);
        for used in &package.uses {
            let other = room_of(&used.name);
            let allowed = if is_for_tests(other) { used.only_in_tests } else { under.contains(other) };
            // A test of a crate that `testing` is built on may name the crate itself.
            if !allowed && other != room {
                let how = if used.only_in_tests { "uses in its tests" } else { "uses" };
                findings.push(format!(
                    "{}: {how} `{}`, which is not under it in the code map of {MAP}",
                    package.name, used.name
                ));
            }
        }
    }
    for room in rooms.keys() {
        if !repository.packages.iter().any(|package| room_of(&package.name) == room) {
            findings.push(format!("{MAP}: the code map has `{room}`, the workspace has not"));
        }
    }
    findings
}

/// Whether a room is for tests only.
fn is_for_tests(room: &str) -> bool {
    room.strip_prefix(TESTING).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The short name, as the map has it.
fn room_of(package: &str) -> &str {
    package.strip_prefix("aquatint-").unwrap_or(package)
}

/// The rows of the code map: first column, and the names in backticks of the last.
fn rooms(text: &str) -> Rooms {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let is_heading = |line: &&str| {
        let cells = cells(line);
        cells.first().is_some_and(|c| c == FIRST_HEADING) && cells.last().is_some_and(|c| c == LAST_HEADING)
    };
    let rows = text.lines().skip_while(|line| !is_heading(line)).skip(2).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| {
        let cells = cells(row);
        let room = backticked(cells.first()?).next()?;
        Some((room, backticked(cells.last()?).collect()))
    })
    .collect()
}

fn backticked(cell: &str) -> impl Iterator<Item = String> + '_ {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Every room that can be reached from this one.
fn under(room: &str, rooms: &Rooms) -> BTreeSet<String> {
    let (mut reached, mut ahead) = (BTreeSet::new(), vec![room.to_owned()]);
    while let Some(room) = ahead.pop() {
        for next in rooms.get(&room).into_iter().flatten() {
            let names: Vec<&String> = if next == ALL { rooms.keys().collect() } else { vec![next] };
            for name in names.into_iter().filter(|name| !is_for_tests(name)) {
                if reached.insert(name.clone()) && next != ALL {
                    ahead.push(name.clone());
                }
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Package;
    use crate::repository::by_hand::{files, package};

    const TABLE: &str = "# Map\n\n| crate | its room | knows |\n|---|---|---|\n| `low` | a | – |\n| `middle` | uses `x` | `low` |\n\
                         | `high` | c | `middle` |\n| `cli` | d | `all` |\n| `testing` | e | `low` |\n| `testing-high` | f | `high` |\n\nMore.\n";

    fn findings(packages: Vec<Package>) -> Findings {
        let mut repository = files(&[(MAP, TABLE)]);
        repository.packages = packages;
        check(&repository)
    }

    fn house() -> Vec<Package> {
        vec![
            package("aquatint-low", &["aquatint-testing*"]),
            package("aquatint-middle", &["aquatint-low"]),
            package(
                "aquatint-high",
                &["aquatint-middle", "aquatint-low", "aquatint-testing*", "aquatint-testing-high*"],
            ),
            package("aquatint-cli", &["aquatint-high", "aquatint-low"]),
            package("aquatint-testing", &["aquatint-low"]),
            package("aquatint-testing-high", &["aquatint-high"]),
        ]
    }

    #[test]
    fn arrows_that_point_down_are_fine() {
        assert_eq!(findings(house()), Findings::new());
    }

    #[test]
    fn arrows_that_point_up_are_found() {
        let mut house = house();
        house[0] = package("aquatint-low", &["aquatint-middle"]);
        house[1] = package("aquatint-middle", &["aquatint-high*", "aquatint-testing"]);
        let findings = findings(house);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].contains("aquatint-low: uses `aquatint-middle`"), "{findings:?}");
        assert!(findings[1].contains("uses in its tests `aquatint-high`"), "{findings:?}");
        assert!(findings[2].contains("uses `aquatint-testing`"), "{findings:?}");
    }

    #[test]
    fn a_room_without_a_crate_and_a_crate_without_a_room_are_found() {
        let mut house = house();
        house[2] = package("aquatint-attic", &[]);
        let findings = findings(house);
        assert!(findings.iter().any(|f| f.contains("aquatint-attic: not in the code map")), "{findings:?}");
        assert!(findings.iter().any(|f| f.contains("the code map has `high`")), "{findings:?}");
    }

    #[test]
    fn a_map_without_a_table_is_found() {
        assert_eq!(check(&files(&[(MAP, "# Nothing\n")])).len(), 1);
    }
}
